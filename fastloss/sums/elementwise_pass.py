"""Elementwise terms of a sum in one pass."""

from __future__ import annotations

from collections.abc import Sequence

from fastloss import ops
from fastloss.calls import Inputs, KernelTerm, Reduction, Tensor, accumulation
from fastloss.sums.shared_pass import Batch, Member, Part, same_inputs
from fastloss.terms.elementwise import Elementwise
from fastloss.terms.inputs import same_shape
from fastloss.terms.reduction import weigh_and_reduce


class ElementwisePass:
    """Elementwise losses of the last axis that agree on reduction and dtype."""

    name = "elementwise"

    def leads(self, part: Part) -> bool:
        term = part.term
        return (
            isinstance(term, Elementwise)
            and term.column_weight is None
            and term.axis == -1
            and len(part.y_pred) > 0
        )

    def joins(self, lead: Part, part: Part) -> bool:
        return (
            self.leads(part)
            and same_inputs(lead, part)
            and (_broadcasts(part.term) == _broadcasts(lead.term) or _have_same_shape(lead))
        )

    def run(self, members: Sequence[Member], batch: Batch) -> tuple[Tensor, Tensor | None]:
        lead = members[0].term
        y_true, y_pred = lead.aligned(batch.y_true, batch.y_pred)
        name = " + ".join(member.name for member in members)
        y_true, y_pred = same_shape(name, _broadcasts(lead), y_true, y_pred)
        terms = tuple(
            KernelTerm(member.term.loss, member.term.parameters, member.factor)
            for member in members
            if isinstance(member.term, Elementwise)
        )
        of_terms: Tensor | None = None

        def total(weight: Tensor | None, reduction: Reduction) -> Tensor:
            nonlocal of_terms
            value, of_terms = ops.elementwise_sum(terms, Inputs(y_true, y_pred, weight, reduction))
            return value

        value = weigh_and_reduce(
            total,
            y_pred.shape[:-1].as_list(),
            accumulation(y_pred),
            batch.sample_weight,
            batch.mask,
            batch.reduction,
        )
        return value, of_terms


def _broadcasts(term: object) -> bool:
    return isinstance(term, Elementwise) and term.broadcasts


def _have_same_shape(part: Part) -> bool:
    """Whether labels and predictions have the same static shape once their ranks are aligned."""
    true, pred = part.y_true.as_list(), part.y_pred.as_list()
    if len(true) == len(pred) + 1 and true[-1] == 1:
        true = true[:-1]
    elif len(pred) == len(true) + 1 and pred[-1] == 1:
        pred = pred[:-1]
    return true == pred
