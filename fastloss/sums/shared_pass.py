"""What a walk is that terms of a sum share: one pass over what they all read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import keras

from fastloss.terms.inputs import Tensor, TensorLike
from fastloss.terms.reduction import REDUCTIONS

if TYPE_CHECKING:
    from fastloss.losses.base import Term


class Part(NamedTuple):
    """A term of a sum in one call: the loss, its factor, and how it is computed from what."""

    loss: keras.losses.Loss
    factor: float
    term: Term
    y_true: Tensor
    y_pred: Tensor


class SharedWalk(Protocol):
    """Terms that one op computes."""

    name: str

    def leads(self, part: Part) -> bool:
        """Whether the part can be computed by this walk."""

    def joins(self, lead: Part, part: Part) -> bool:
        """Whether a part that could lead can be computed together with `lead`."""

    def run(
        self, parts: Sequence[Part], sample_weight: TensorLike, mask: TensorLike
    ) -> tuple[Tensor, Tensor | None]:
        """The weighted sum, and each part's own value where the walk knows it."""


def reduction_of(part: Part) -> str:
    """The reduction as the ops name it."""
    return REDUCTIONS.get(part.loss.reduction or "none", "none")


def same_inputs(lead: Part, part: Part) -> bool:
    """Whether both are losses of one dtype and reduction, of the same labels and predictions."""
    return (
        part.y_true is lead.y_true
        and part.y_pred is lead.y_pred
        and reduction_of(part) == reduction_of(lead)
        and part.loss.dtype == lead.loss.dtype
    )
