"""Which terms of a sum read their inputs together.

A kind of shared walk says which term may lead it, which others may join that one, and computes all
of them at once. What no walk takes is computed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import keras

from fastloss import ops
from fastloss.losses.elementwise import Elementwise
from fastloss.losses.inputs import Tensor, TensorLike, accumulation, same_shape
from fastloss.losses.reduction import (
    REDUCTIONS,
    aligned,
    fits_one_walk,
    merged_weight,
    reduce,
    replicas,
)

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


class ElementwiseWalk:
    """Elementwise losses of the last axis that agree on reduction and dtype."""

    name = "elementwise"

    def leads(self, part: Part) -> bool:
        term = part.term
        return (
            isinstance(term, Elementwise)
            and term.column_weight is None
            and term.axis == -1
            and len(part.y_pred.shape) > 0
        )

    def joins(self, lead: Part, part: Part) -> bool:
        return (
            self.leads(part)
            and part.y_true is lead.y_true
            and part.y_pred is lead.y_pred
            and _reduction(part) == _reduction(lead)
            and part.loss.dtype == lead.loss.dtype
            and (_broadcasts(part) == _broadcasts(lead) or _same_static_shape(lead))
        )

    def run(
        self, parts: Sequence[Part], sample_weight: TensorLike, mask: TensorLike
    ) -> tuple[Tensor, Tensor | None]:
        lead = parts[0]
        y_true, y_pred = lead.term.aligned(lead.y_true, lead.y_pred)
        name = " + ".join(part.loss.name for part in parts)
        y_true, y_pred = same_shape(name, _broadcasts(lead), y_true, y_pred)
        terms = tuple(
            ops.Term(part.term.loss, part.term.parameters, part.factor)
            for part in parts
            if isinstance(part.term, Elementwise)
        )
        reduction = lead.loss.reduction
        weight = merged_weight(sample_weight, mask, reduction, accumulation(y_pred))
        shape = y_pred.shape[:-1].as_list()
        if reduction in REDUCTIONS and fits_one_walk(shape, weight):
            return ops.elementwise_sum(
                terms,
                y_true,
                y_pred,
                aligned(weight, shape),
                REDUCTIONS[reduction],
                replicas(reduction),
            )
        rows, _ = ops.elementwise_sum(terms, y_true, y_pred, None, "none", 1)
        return reduce(rows, weight, reduction), None


def _reduction(part: Part) -> str:
    return REDUCTIONS.get(part.loss.reduction or "none", "none")


def _broadcasts(part: Part) -> bool:
    return isinstance(part.term, Elementwise) and part.term.broadcasts


def _same_static_shape(part: Part) -> bool:
    y_true, y_pred = part.term.aligned(part.y_true, part.y_pred)
    return y_true.shape.as_list() == y_pred.shape.as_list()


# In the order in which they take parts: what leads an earlier walk may be joined by parts that a
# later one could take too.
WALKS: tuple[SharedWalk, ...] = (ElementwiseWalk(),)


def plan(parts: Sequence[Part | None]) -> list[tuple[SharedWalk | None, list[int]]]:
    """The passes over the inputs, each as its walk and the indices of its parts.

    A part that is None, or that nothing joins, has a pass of its own and no walk.
    """
    left = dict(enumerate(parts))
    passes: list[tuple[SharedWalk | None, list[int]]] = []
    for walk in WALKS:
        for index, lead in enumerate(parts):
            if index not in left or lead is None or not walk.leads(lead):
                continue
            together = [i for i, part in left.items() if part and walk.joins(lead, part)]
            together = sorted({index, *together})
            if len(together) > 1:
                passes.append((walk, together))
                left = {i: part for i, part in left.items() if i not in together}
    alone: list[tuple[SharedWalk | None, list[int]]] = [(None, [index]) for index in left]
    return sorted([*passes, *alone], key=lambda shared: shared[1][0])
