"""Elementwise terms of a sum in one walk."""

from __future__ import annotations

from collections.abc import Sequence

from fastloss import ops
from fastloss.sums.shared_pass import Part, same_inputs
from fastloss.terms.elementwise import Elementwise
from fastloss.terms.inputs import Tensor, TensorLike, accumulation, same_shape
from fastloss.terms.reduction import (
    REDUCTIONS,
    aligned,
    fits_one_walk,
    merged_weight,
    reduce,
    replicas,
)


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
            and same_inputs(lead, part)
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


def _broadcasts(part: Part) -> bool:
    return isinstance(part.term, Elementwise) and part.term.broadcasts


def _same_static_shape(part: Part) -> bool:
    y_true, y_pred = part.term.aligned(part.y_true, part.y_pred)
    return y_true.shape.as_list() == y_pred.shape.as_list()
