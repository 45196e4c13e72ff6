"""How a rowwise loss with its arguments is evaluated, and what may be asked of its rows."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf

from fastloss import ops, registry
from fastloss.calls import (
    NO_OPTIONS,
    PER_ROW,
    SUM,
    Inputs,
    Reduction,
    RowwiseOptions,
    Tensor,
    accumulation,
)
from fastloss.reference.rowwise import counted_rows
from fastloss.terms.classes import class_axis, class_weight, without_classes
from fastloss.terms.inputs import TensorLike, in_dtype, same_rank, same_shape
from fastloss.terms.reduction import REDUCTIONS, fits_one_pass, weigh_and_reduce


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
    """A loss with its arguments, as `fastloss.ops.rowwise` takes it.

    Attributes:
        loss: A kernel of the registry.
        parameters: Its parameters.
        axis: The axis of the classes in y_pred.
        options: What a user may add to any cross-entropy.
        class_weights: One weight for each class, or None.
        broadcasts: Whether labels and predictions of different shapes are broadcast, as in Keras.
    """

    loss: str
    parameters: tuple[float, ...] = ()
    axis: int = -1
    options: RowwiseOptions = NO_OPTIONS
    class_weights: Any = None
    broadcasts: bool = False

    @property
    def sparse(self) -> bool:
        """Whether a label is a class number, one for each row."""
        return registry.kernel(self.loss).sparse

    def aligned(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Labels one dimension below the predictions for a sparse loss, else of the same rank."""
        if not self.sparse:
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
        values = self._values(y_true, y_pred)
        if self.options.ignore_class is not None:
            values._keras_mask = self._counted(y_true, y_pred)
        return values

    def rows_and_metrics(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, RowMetrics]:
        """One loss per row, and what else is known of the row."""
        inputs = Inputs(*self._same_rows(y_true, y_pred))
        values, *metrics = ops.rowwise_metrics(
            self.loss, self.parameters, inputs, *self._of_classes(inputs.y_pred)
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
        rows = without_classes(y_pred.shape, class_axis(self.axis, len(y_pred.shape))).as_list()
        values = partial(self._values, y_true, y_pred)
        if self.options.ignore_class is not None:
            if sample_weight is not None:
                sample_weight = in_dtype("sample_weight", sample_weight, dtype)
            one_pass = reduction in REDUCTIONS and fits_one_pass(rows, sample_weight)
            if mask is not None or not one_pass:
                # The op would count the rows that a mask leaves out.
                counted = self._counted(y_true, y_pred)
                mask = counted if mask is None else tf.cast(mask, tf.bool) & counted
                values = partial(self._values_of_mask, y_true, y_pred, counted)
        return weigh_and_reduce(values, rows, dtype, sample_weight, mask, reduction)

    def _values(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        weight: Tensor | None = None,
        reduction: Reduction = PER_ROW,
    ) -> Tensor:
        inputs = Inputs(y_true, y_pred, weight, reduction)
        return ops.rowwise(self.loss, self.parameters, inputs, *self._of_classes(y_pred))

    def _values_of_mask(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        counted: Tensor,
        weight: Tensor | None,
        reduction: Reduction,
    ) -> Tensor:
        """The losses where ignored rows are masked rows, which are part of the weight."""
        if reduction.kind == "none":
            return self._values(y_true, y_pred)
        total = self._values(y_true, y_pred, weight, SUM)
        if reduction.kind == "sum":
            return total
        if reduction.kind == "mean_with_sample_weight":
            divisor = tf.reduce_sum(weight)
        else:
            divisor = tf.cast(tf.size(counted, tf.int64), total.dtype)
        return tf.math.divide_no_nan(total, divisor) / reduction.replicas

    def _of_classes(self, y_pred: Tensor) -> tuple[int, RowwiseOptions, Tensor | None]:
        """What the ops are told of the classes: their axis, options and weights."""
        axis = class_axis(self.axis, len(y_pred.shape))
        return axis, self.options, class_weight(self.class_weights, y_pred, axis)

    def _counted(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        ignored = self.options.ignore_class
        assert ignored is not None
        return counted_rows(self.loss, y_true, ignored, class_axis(self.axis, len(y_pred.shape)))

    def _same_rows(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Both, if their static shapes go together; broadcast, if the loss does that in Keras.

        Raises:
            ValueError: If they do not.
        """
        rank = len(y_pred.shape)
        if not rank:
            raise ValueError(
                f"{self.loss}: y_pred has shape (); expected at least the dimension of the classes"
            )
        axis = class_axis(self.axis, rank)
        if not self.sparse:
            y_true, y_pred = same_shape(self.loss, self.broadcasts, y_true, y_pred)
            class_axis(self.axis, len(y_pred.shape))
            return y_true, y_pred
        rows = without_classes(y_pred.shape, axis)
        if not y_true.shape.is_compatible_with(rows):
            raise ValueError(
                f"{self.loss}: y_true has shape {tuple(y_true.shape)} and y_pred has shape "
                f"{tuple(y_pred.shape)}; expected one label per row, of shape {tuple(rows)}"
            )
        return y_true, y_pred
