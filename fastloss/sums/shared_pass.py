"""What a pass is that terms of a sum share: one over what they all read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import tensorflow as tf

from fastloss.calls import Tensor
from fastloss.terms.inputs import TensorLike
from fastloss.terms.term import Term


class Part(NamedTuple):
    """A term of a sum as the planner sees it: all that decides what is computed together.

    Attributes:
        term: The loss with its arguments.
        reduction: As the ops name it.
        dtype: Of the loss.
        y_true: Static shape of the labels.
        y_pred: Static shape of what the term reads as predictions.
        source: The same number for terms that read the same tensor.
    """

    term: Term
    reduction: str
    dtype: str
    y_true: tf.TensorShape
    y_pred: tf.TensorShape
    source: int


class Member(NamedTuple):
    """A term in a pass that is run: its name, its factor, and how it is computed."""

    name: str
    factor: float
    term: Term


class Batch(NamedTuple):
    """What the members of a pass are computed of; the reduction as Keras names it."""

    y_true: Tensor
    y_pred: Tensor
    sample_weight: TensorLike
    mask: TensorLike
    reduction: str | None


class SharedPass(Protocol):
    """Terms that one op computes."""

    name: str

    def leads(self, part: Part) -> bool:
        """Whether the part can be computed by this pass."""

    def joins(self, lead: Part, part: Part) -> bool:
        """Whether a part that could lead can be computed together with `lead`."""

    def run(self, members: Sequence[Member], batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The weighted sum, and each member's own value where the pass knows it."""


def same_inputs(lead: Part, part: Part) -> bool:
    """Whether both are losses of one dtype and reduction, of the same labels and predictions."""
    return (part.source, part.reduction, part.dtype) == (lead.source, lead.reduction, lead.dtype)
