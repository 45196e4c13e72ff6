"""An overlap loss and losses of each element or position in the same passes."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from fastloss import ops, registry
from fastloss.calls import Inputs, KernelTerm, RowwiseOptions, Tensor, accumulation
from fastloss.sums.shared_pass import Batch, Member, Part, same_inputs
from fastloss.terms.classes import class_axis
from fastloss.terms.elementwise import Elementwise
from fastloss.terms.overlap import Overlap
from fastloss.terms.reduction import kernel_reduction
from fastloss.terms.rowwise import Rowwise


class OverlapPass:
    """An overlap loss with what reads the same elements, or, after a softmax, the same rows."""

    name = "overlap"

    def leads(self, part: Part) -> bool:
        return (
            isinstance(part.term, Overlap)
            and part.reduction in ("mean", "sum")
            and len(part.y_pred) > 0
        )

    def joins(self, lead: Part, part: Part) -> bool:
        if part is lead:
            return True
        if not isinstance(lead.term, Overlap) or not same_inputs(lead, part):
            return False
        if isinstance(part.term, Elementwise):
            return _reads_elements(lead, lead.term, part.term)
        return isinstance(part.term, Rowwise) and _reads_rows(lead, lead.term, part.term)

    def run(self, members: Sequence[Member], batch: Batch) -> tuple[Tensor, Tensor | None]:
        if batch.sample_weight is not None or batch.mask is not None:
            # Weights broadcast to the groups of one and to the elements of the other.
            return _one_by_one(members, batch)
        lead = next(i for i, member in enumerate(members) if isinstance(member.term, Overlap))
        overlap = members[lead].term
        assert isinstance(overlap, Overlap)
        y_true, y_pred = overlap.aligned(batch.y_true, batch.y_pred)
        y_true, y_pred = overlap.same_positions(y_true, y_pred)
        total, values = ops.overlap_sum(
            KernelTerm(overlap.loss, overlap.parameters, members[lead].factor),
            [
                KernelTerm(member.term.loss, member.term.parameters, member.factor)
                for member in members
                if isinstance(member.term, (Elementwise, Rowwise))
            ],
            Inputs(y_true, y_pred, None, kernel_reduction(batch.reduction)),
            overlap.options,
            overlap.layout(y_pred.shape),
            overlap.class_weight(y_pred),
        )
        if lead > 0:
            # The op has the overlap loss first.
            order = [*range(1, lead + 1), 0, *range(lead + 1, len(members))]
            values = tf.gather(values, order)
        return total, values


def _reads_elements(lead: Part, overlap: Overlap, term: Elementwise) -> bool:
    kernel = registry.kernel(term.loss)
    return (
        overlap.activation != "softmax"
        and not overlap.arguments.sparse
        and overlap.arguments.ignore_class is None
        # The sum of all losses has a mean over the columns in it, which the pass does not know of.
        and lead.reduction == "mean"
        and term.axis == -1
        and term.column_weight is None
        and kernel.fuses_with_overlap
        and kernel.row_reduction == "mean"
        and lead.y_true.as_list() == lead.y_pred.as_list()
    )


def _reads_rows(lead: Part, overlap: Overlap, term: Rowwise) -> bool:
    kernel, arguments = registry.kernel(term.loss), overlap.arguments
    return (
        overlap.activation == "softmax"
        and kernel.fuses_with_overlap
        and kernel.sparse == arguments.sparse
        and class_axis(term.axis, len(lead.y_pred)) == overlap.layout(lead.y_pred).class_axis
        and term.options == RowwiseOptions(ignore_class=arguments.ignore_class)
        and term.class_weights is None
    )


def _one_by_one(members: Sequence[Member], batch: Batch) -> tuple[Tensor, Tensor]:
    values = []
    for _, _, term in members:
        y_true, y_pred = term.aligned(batch.y_true, batch.y_pred)
        value = term.scalar(y_true, y_pred, batch.sample_weight, batch.mask, batch.reduction)
        values.append(tf.cast(value, accumulation(y_pred)))
    total = tf.add_n([member.factor * x for member, x in zip(members, values, strict=True)])
    return total, tf.stop_gradient(tf.stack(values))
