"""How a rowwise loss with its arguments is computed, and what may be asked of its rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from fastloss import ops
from fastloss.ops import Options
from fastloss.reference.rowwise import SPARSE, kept_rows
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

_NO_OPTIONS = Options()


class RowMetrics(NamedTuple):
    """What is known of each row besides its loss; without a gradient.

    Example:
        >>> _, metrics = fl.sparse_categorical_crossentropy(
        ...     [1], [[0.0, 0.0]], from_logits=True, return_metrics=True
        ... )
        >>> round(float(metrics.log_sum_exp[0]), 4), bool(metrics.hit[0])
        (0.6931, False)

    Attributes:
        log_sum_exp: Logarithm of the sum of the exponentials of the row's logits, as the loss sees
            them: after softcap and temperature.
        hit: Whether the largest logit is the label's; of equal logits the first is the largest.

    Ignored rows have 0 and False.
    """

    log_sum_exp: Tensor
    hit: Tensor


class Rowwise(NamedTuple):
    """A loss with its arguments, as `fastloss.ops.rowwise` takes it."""

    loss: str
    parameters: tuple[float, ...] = ()
    axis: int = -1
    options: Options = _NO_OPTIONS
    class_weights: Any = None
    broadcasts: bool = False

    def aligned(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Labels one dimension below the predictions for a sparse loss, else of the same rank."""
        if self.loss not in SPARSE:
            return same_rank(y_true, y_pred)
        rank = len(y_pred.shape)
        if len(y_true.shape) == rank:
            axis = class_axis(self.axis, rank)
            if y_true.shape[axis] == 1:
                y_true = tf.squeeze(y_true, axis)
        return y_true, y_pred

    def rows(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One loss per row; which rows count goes with it as Keras's mask."""
        y_true, y_pred = self._same_rows(y_true, y_pred)
        values = self._op(y_true, y_pred)
        if self.options.ignore_class is not None:
            values._keras_mask = self._kept(y_true, y_pred)
        return values

    def rows_and_metrics(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, RowMetrics]:
        """One loss per row, and what else is known of the row."""
        y_true, y_pred = self._same_rows(y_true, y_pred)
        values, *metrics = ops.rowwise_metrics(
            self.loss,
            self.parameters,
            y_true,
            y_pred,
            self._class_weight(y_pred),
            self.options,
            class_axis(self.axis, len(y_pred.shape)),
        )
        return values, RowMetrics(*metrics)

    def scalar(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: TensorLike,
        mask: TensorLike,
        reduction: str | None,
    ) -> Tensor:
        """The loss weighed, masked and reduced."""
        y_true, y_pred = self._same_rows(y_true, y_pred)
        dtype = accumulation(y_pred)
        shape = y_pred.shape.as_list()
        del shape[class_axis(self.axis, len(shape))]
        has_ignore_class = self.options.ignore_class is not None
        if has_ignore_class and mask is not None:
            return self._scalar_of_kept(y_true, y_pred, sample_weight, mask, reduction, shape)
        weight = merged_weight(sample_weight, mask, reduction, dtype)
        if reduction in REDUCTIONS and fits_one_walk(shape, weight):
            arguments = (aligned(weight, shape), REDUCTIONS[reduction], replicas(reduction))
            return self._op(y_true, y_pred, *arguments)
        if has_ignore_class:
            return self._scalar_of_kept(y_true, y_pred, sample_weight, None, reduction, shape)
        return reduce(self._op(y_true, y_pred), weight, reduction)

    def _scalar_of_kept(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: TensorLike,
        mask: TensorLike,
        reduction: str | None,
        shape: list[int | None],
    ) -> Tensor:
        """Ignored rows as masked rows: the op would count the rows that a mask leaves out."""
        kept = self._kept(y_true, y_pred)
        mask = kept if mask is None else tf.cast(mask, tf.bool) & kept
        weight = merged_weight(sample_weight, mask, reduction, accumulation(y_pred))
        assert weight is not None
        if reduction not in REDUCTIONS or not fits_one_walk(shape, weight):
            return reduce(self._op(y_true, y_pred), weight, reduction)
        total = self._op(y_true, y_pred, aligned(weight, shape), "sum")
        if reduction == "sum":
            return total
        if reduction == "mean_with_sample_weight":
            divisor = tf.reduce_sum(weight)
        else:
            divisor = tf.cast(tf.size(kept, tf.int64), total.dtype)
        return tf.math.divide_no_nan(total, divisor) / replicas(reduction)

    def _op(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        weight: Tensor | None = None,
        reduction: str = "none",
        replicas: int = 1,
    ) -> Tensor:
        return ops.rowwise(
            self.loss,
            self.parameters,
            y_true,
            y_pred,
            weight,
            self._class_weight(y_pred),
            self.options,
            class_axis(self.axis, len(y_pred.shape)),
            reduction,
            replicas,
        )

    def _kept(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        ignored = self.options.ignore_class
        assert ignored is not None
        return kept_rows(self.loss, y_true, ignored, class_axis(self.axis, len(y_pred.shape)))

    def _same_rows(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Both, if their static shapes go together; broadcast, if the loss does that in Keras.

        Raises:
            ValueError: If they do not.
        """
        true_shape, rank = y_true.shape, len(y_pred.shape)
        if not rank:
            raise ValueError(
                f"{self.loss}: y_pred has shape (); expected at least the dimension of the classes"
            )
        axis = class_axis(self.axis, rank)
        if self.loss not in SPARSE:
            y_true, y_pred = same_shape(self.loss, self.broadcasts, y_true, y_pred)
            class_axis(self.axis, len(y_pred.shape))
            return y_true, y_pred
        rows = y_pred.shape[:axis].concatenate(y_pred.shape[axis + 1 :])
        if not true_shape.is_compatible_with(rows):
            raise ValueError(
                f"{self.loss}: y_true has shape {tuple(true_shape)} and y_pred has shape "
                f"{tuple(y_pred.shape)}; expected one label per row, of shape {tuple(rows)}"
            )
        return y_true, y_pred

    def _class_weight(self, y_pred: Tensor) -> Tensor | None:
        return class_weight(self.class_weights, y_pred, self.axis)


def class_weight(class_weights: TensorLike, y_pred: Tensor, axis: int) -> Tensor | None:
    """The weights of the classes in the accumulation dtype.

    Raises:
        ValueError: If there is not one for each class.
    """
    if class_weights is None:
        return None
    weight = in_dtype("class_weights", class_weights, accumulation(y_pred))
    classes = y_pred.shape[axis]
    if not weight.shape.is_compatible_with([classes]):
        raise ValueError(
            f"class_weights has shape {tuple(weight.shape)}; expected one weight for each of "
            f"the {'' if classes is None else f'{classes} '}classes of y_pred"
        )
    return weight


def class_axis(axis: int, rank: int, argument: str = "axis") -> int:
    """The axis of the classes, from 0 to rank - 1.

    Raises:
        ValueError: If y_pred does not have it.
    """
    if not -rank <= axis < rank:
        raise ValueError(
            f"{argument} is {axis}, but y_pred has {rank} dimensions; expected {-rank} to "
            f"{rank - 1}"
        )
    return axis % rank
