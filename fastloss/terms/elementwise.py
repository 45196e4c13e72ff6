"""How an elementwise loss with its arguments is evaluated."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf

from fastloss import ops
from fastloss.calls import PER_ROW, Inputs, Reduction, Tensor, accumulation
from fastloss.terms.inputs import TensorLike, in_dtype, same_rank, same_shape
from fastloss.terms.reduction import weigh_and_reduce


class Elementwise(NamedTuple):
    """A loss with its arguments, as `fastloss.ops.elementwise` takes it.

    Attributes:
        loss: A kernel of the registry.
        parameters: Its parameters.
        axis: What is averaged over (or summed, where the loss sums).
        column_weight: `pos_weight`, or None.
        broadcasts: Whether labels and predictions of different shapes are broadcast, as in Keras.
    """

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
        return self._values(y_true, y_pred)

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
        return weigh_and_reduce(
            partial(self._values, y_true, y_pred),
            y_pred.shape[:-1].as_list() if self._rows_are_last(len(y_pred.shape)) else None,
            accumulation(y_pred),
            sample_weight,
            mask,
            reduction,
        )

    def _values(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        weight: Tensor | None = None,
        reduction: Reduction = PER_ROW,
    ) -> Tensor:
        rank = len(y_pred.shape)
        if rank == 0:
            y_true, y_pred, rank = y_true[tf.newaxis], y_pred[tf.newaxis], 1
        column_weight = self._column_weight(y_pred)
        if self._rows_are_last(rank):
            inputs = Inputs(y_true, y_pred, weight, reduction)
            return ops.elementwise(self.loss, self.parameters, inputs, column_weight)
        inputs = Inputs(y_true[..., tf.newaxis], y_pred[..., tf.newaxis])
        values = ops.elementwise(self.loss, self.parameters, inputs, column_weight)
        return tf.reduce_mean(values, axis=self.axis)

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
