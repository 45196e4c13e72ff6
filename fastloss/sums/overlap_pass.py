"""An overlap loss and losses of each element or position in the same walks."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from fastloss import ops
from fastloss.reference.elementwise import SUMMED_OVER_ROWS
from fastloss.sums.shared_pass import Part, reduction_of, same_inputs
from fastloss.terms.elementwise import Elementwise
from fastloss.terms.inputs import Tensor, TensorLike, accumulation
from fastloss.terms.overlap import Overlap
from fastloss.terms.reduction import replicas
from fastloss.terms.rowwise import Rowwise, class_axis

# Elementwise losses that add a row up instead of averaging it, or that look at all labels first.
_MORE_THAN_ELEMENTS = (*SUMMED_OVER_ROWS, "hinge", "squared_hinge")
# Rowwise losses that take the softmax which the overlap loss takes as well: those of rows of
# labels, and those of class numbers.
_OF_ROWS = (
    "categorical_crossentropy_from_logits",
    "categorical_focal_crossentropy_from_logits",
)
_OF_CLASSES = (
    "sparse_categorical_crossentropy_from_logits",
    "sparse_categorical_focal_crossentropy_from_logits",
    "categorical_generalized_cross_entropy_from_logits",
)


class OverlapWalk:
    """An overlap loss with what reads the same elements, or, after a softmax, the same rows."""

    name = "overlap"

    def leads(self, part: Part) -> bool:
        return (
            isinstance(part.term, Overlap)
            and reduction_of(part) in ("mean", "sum")
            and len(part.y_pred.shape) > 0
        )

    def joins(self, lead: Part, part: Part) -> bool:
        if part is lead:
            return True
        if not isinstance(lead.term, Overlap) or not same_inputs(lead, part):
            return False
        if isinstance(part.term, Elementwise):
            return _reads_elements(lead, lead.term, part.term)
        return isinstance(part.term, Rowwise) and _reads_rows(lead, lead.term, part.term)

    def run(
        self, parts: Sequence[Part], sample_weight: TensorLike, mask: TensorLike
    ) -> tuple[Tensor, Tensor | None]:
        lead = next(part for part in parts if isinstance(part.term, Overlap))
        assert isinstance(lead.term, Overlap)
        if sample_weight is not None or mask is not None:
            # Weights broadcast to the groups of one and to the elements of the other.
            return _one_by_one(parts, sample_weight, mask)
        y_true, y_pred = lead.term.aligned(lead.y_true, lead.y_pred)
        y_true, y_pred = lead.term.same_positions(y_true, y_pred)
        others = [part for part in parts if part is not lead]
        reduction = reduction_of(lead)
        total, values = ops.overlap_sum(
            lead.term.loss,
            lead.term.parameters,
            lead.factor,
            [
                ops.Term(part.term.loss, part.term.parameters, part.factor)
                for part in others
                if isinstance(part.term, (Elementwise, Rowwise))
            ],
            y_true,
            y_pred,
            lead.term.class_weight(y_pred),
            lead.term.options,
            *lead.term.layout(y_pred),
            reduction,
            replicas(lead.loss.reduction),
        )
        if parts[0] is not lead:
            order = [1 + others.index(part) if part is not lead else 0 for part in parts]
            values = tf.gather(values, order)
        return total, values


def _reads_elements(lead: Part, overlap: Overlap, term: Elementwise) -> bool:
    return (
        overlap.activation != "softmax"
        and not overlap.settings.sparse
        and overlap.settings.ignore_class is None
        # The sum of all losses has a mean over the columns in it, which the walk does not know of.
        and reduction_of(lead) == "mean"
        and term.axis == -1
        and term.column_weight is None
        and term.loss not in _MORE_THAN_ELEMENTS
        and lead.y_true.shape.as_list() == lead.y_pred.shape.as_list()
    )


def _reads_rows(lead: Part, overlap: Overlap, term: Rowwise) -> bool:
    rank = len(lead.y_pred.shape)
    return (
        overlap.activation == "softmax"
        and term.loss in (_OF_CLASSES if overlap.settings.sparse else _OF_ROWS)
        and class_axis(term.axis, rank) == overlap.layout(lead.y_pred).class_axis
        and term.options == ops.Options(ignore_class=overlap.settings.ignore_class)
        and term.class_weights is None
    )


def _one_by_one(
    parts: Sequence[Part], sample_weight: TensorLike, mask: TensorLike
) -> tuple[Tensor, Tensor]:
    values = []
    for part in parts:
        y_true, y_pred = part.term.aligned(part.y_true, part.y_pred)
        value = part.term.scalar(y_true, y_pred, sample_weight, mask, part.loss.reduction)
        values.append(tf.cast(value, accumulation(y_pred)))
    total = tf.add_n([part.factor * value for part, value in zip(parts, values, strict=True)])
    return total, tf.stop_gradient(tf.stack(values))
