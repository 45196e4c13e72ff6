"""How an elementwise loss with its arguments is computed."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from fastloss import ops
from fastloss.terms.inputs import (
    Tensor,
    TensorLike,
    accumulation,
    in_dtype,
    same_rank,
    same_shape,
)
from fastloss.terms.reduction import (
    REDUCTIONS,
    aligned,
    fits_one_walk,
    merged_weight,
    reduce,
    replicas,
)


class Elementwise(NamedTuple):
    """A loss with its arguments, as `fastloss.ops.elementwise` takes it."""

    loss: str
    parameters: tuple[float, ...] = ()
    axis: int | tuple[int, ...] | None = -1
    column_weight: Any = None
    broadcasts: bool = True

    def aligned(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Both of the same rank, by Keras's rule."""
        return same_rank(y_true, y_pred)

    def rows(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One loss per row: the mean (or the loss's sum) over `axis`."""
        y_true, y_pred = same_shape(self.loss, self.broadcasts, y_true, y_pred)
        rank = len(y_pred.shape)
        if rank == 0:
            y_true, y_pred, rank = y_true[tf.newaxis], y_pred[tf.newaxis], 1
        column_weight = self._column_weight(y_pred)
        arguments = (None, column_weight, "none", 1)
        if self._rows_are_last(rank):
            return ops.elementwise(self.loss, self.parameters, y_true, y_pred, *arguments)
        values = ops.elementwise(
            self.loss,
            self.parameters,
            y_true[..., tf.newaxis],
            y_pred[..., tf.newaxis],
            *arguments,
        )
        return tf.reduce_mean(values, axis=self.axis)

    def scalar(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: TensorLike,
        mask: TensorLike,
        reduction: str | None,
    ) -> Tensor:
        """The loss weighed, masked and reduced."""
        y_true, y_pred = same_shape(self.loss, self.broadcasts, y_true, y_pred)
        weight = merged_weight(sample_weight, mask, reduction, accumulation(y_pred))
        shape = y_pred.shape[:-1].as_list()
        if (
            reduction in REDUCTIONS
            and self._rows_are_last(len(y_pred.shape))
            and fits_one_walk(shape, weight)
        ):
            return ops.elementwise(
                self.loss,
                self.parameters,
                y_true,
                y_pred,
                aligned(weight, shape),
                self._column_weight(y_pred),
                REDUCTIONS[reduction],
                replicas(reduction),
            )
        return reduce(self.rows(y_true, y_pred), weight, reduction)

    def _rows_are_last(self, rank: int) -> bool:
        return self.axis == -1 or self.axis == rank - 1

    def _column_weight(self, y_pred: Tensor) -> Tensor | None:
        if self.column_weight is None:
            return None
        weight = in_dtype("pos_weight", self.column_weight, accumulation(y_pred))
        shape, classes = weight.shape, y_pred.shape[-1]
        if shape.rank and (shape.rank > 1 or shape[0] not in (1, classes, None)):
            raise ValueError(
                f"pos_weight has shape {tuple(shape)}; expected a scalar or one weight for each "
                f"of the {classes} classes in the last dimension of y_pred"
            )
        return weight
