"""One call for every rowwise loss, through the kernels or the reference."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from fastloss import reference
from fastloss.calls import NO_OPTIONS, Inputs, RowwiseOptions
from fastloss.ops.context import is_recorded
from fastloss.ops.library import float64_bits, kernels, runs_reference


def rowwise(
    loss: str,
    parameters: Sequence[float],
    inputs: Inputs,
    axis: int,
    options: RowwiseOptions = NO_OPTIONS,
    class_weight: tf.Tensor | None = None,
) -> tf.Tensor:
    """A loss over rows of classes, reduced.

    Args:
        loss: A kernel of the registry, as "categorical_crossentropy".
        parameters: Its parameters in the order of the registry, a tuple.
        inputs: Predictions of at least one dimension; labels of that shape, or, for a sparse loss,
            one per row, of that shape without `axis`; a weight of each row, and the reduction.
            Ignored rows count in neither mean.
        axis: The axis of the classes, from 0 to rank - 1.
        options: What a user may add to any cross-entropy.
        class_weight: `(classes,)`, of the accumulation dtype. Or None.

    Returns:
        The loss in the accumulation dtype: y_pred's shape without `axis` for the reduction "none",
        else a scalar.
    """
    if runs_reference():
        return reference.rowwise(loss, parameters, inputs, axis, options, class_weight)
    y_pred, (reduction, replicas) = inputs.y_pred, inputs.reduction
    tensors = _tensors(inputs, class_weight)
    start = (loss, float64_bits(parameters), reduction, float64_bits(options[:4]), axis)
    end = (replicas, *_ignored(options))
    wide = inputs.accumulation
    if reduction == "none":
        rows = kernels().fastloss_rowwise_rows(*tensors, *start, wide, *end)
        return _with_shape(rows, y_pred, axis)
    # As for the elementwise losses: a float16 gradient is made after the loss scale.
    if y_pred.dtype == tf.float16 or not is_recorded(y_pred):
        return kernels().fastloss_rowwise(*tensors, *start, wide, *end)
    value, gradient = kernels().fastloss_rowwise_with_gradient(*tensors, *start, wide, *end)
    if not tf.executing_eagerly():
        return value
    return kernels().fastloss_rowwise_record(*tensors, value, gradient, *start, *end)


def rowwise_metrics(
    loss: str,
    parameters: Sequence[float],
    inputs: Inputs,
    axis: int,
    options: RowwiseOptions = NO_OPTIONS,
    class_weight: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The losses of the rows, their log-sum-exp and whether the largest logit is the label's.

    Args:
        loss: As of `rowwise`.
        parameters: As of `rowwise`.
        inputs: As of `rowwise`, without a weight and a reduction.
        axis: As of `rowwise`.
        options: As of `rowwise`.
        class_weight: As of `rowwise`.

    Returns:
        `(loss, log_sum_exp, hit)`, each of y_pred's shape without `axis`; the last two carry no
        gradient. `hit` is boolean; of equal logits the first counts as the largest. An ignored row
        has 0 and False.
    """
    if runs_reference():
        return reference.rowwise_metrics(loss, parameters, inputs, axis, options, class_weight)
    value, log_sum_exp, hit = kernels().fastloss_rowwise_metrics(
        *_tensors(inputs, class_weight),
        loss,
        float64_bits(parameters),
        "none",
        float64_bits(options[:4]),
        axis,
        inputs.accumulation,
        1,
        *_ignored(options),
    )
    rows = (value, tf.stop_gradient(log_sum_exp), hit)
    return tuple(_with_shape(row, inputs.y_pred, axis) for row in rows)


def _tensors(
    inputs: Inputs, class_weight: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
    return (
        inputs.y_true,
        inputs.y_pred,
        [] if inputs.weight is None else [inputs.weight],
        [] if class_weight is None else [class_weight],
    )


def _ignored(options: RowwiseOptions) -> tuple[int, int]:
    return (0, 0) if options.ignore_class is None else (1, options.ignore_class)


def _with_shape(rows: tf.Tensor, y_pred: tf.Tensor, axis: int) -> tf.Tensor:
    """Rows with the shape that is known while tracing: an op's shape function sees no `axis`."""
    if not tf.executing_eagerly():
        rows.set_shape(y_pred.shape[:axis].concatenate(y_pred.shape[axis + 1 :]))
    return rows
