"""One call for every rowwise loss, through the kernels or the reference."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from fastloss import reference
from fastloss.ops.context import is_recorded
from fastloss.ops.library import float64_bits, ops, runs_reference
from fastloss.reference.rowwise import Options


def _inputs(
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    weight: tf.Tensor | None,
    class_weight: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
    return (
        y_true,
        y_pred,
        [] if weight is None else [weight],
        [] if class_weight is None else [class_weight],
    )


def _ignored(options: Options) -> tuple[int, int]:
    return (0, 0) if options.ignore_class is None else (1, options.ignore_class)


def _with_shape(rows: tf.Tensor, y_pred: tf.Tensor, axis: int) -> tf.Tensor:
    """Rows with the shape that is known while tracing: an op's shape function sees no `axis`."""
    if not tf.executing_eagerly():
        rows.set_shape(y_pred.shape[:axis].concatenate(y_pred.shape[axis + 1 :]))
    return rows


def rowwise(
    loss: str,
    parameters: Sequence[float],
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    weight: tf.Tensor | None,
    class_weight: tf.Tensor | None,
    options: Options,
    axis: int,
    reduction: str,
    replicas: int,
) -> tf.Tensor:
    """A loss over rows of classes, reduced.

    Args:
        loss: A name of `csrc/losses/rowwise.h`, as "categorical_crossentropy".
        parameters: Its parameters in the order of that file, a tuple.
        y_true: For a sparse loss one label per row, of y_pred's shape without `axis`; for the
            others a matrix of y_pred's shape.
        y_pred: Predictions; float16, bfloat16, float32 or float64; at least one dimension.
        weight: One weight per row, broadcastable to y_pred's shape without `axis`, of the
            accumulation dtype: float64 for float64 predictions, else float32. Or None.
        class_weight: `(classes,)`, of the accumulation dtype. Or None.
        options: What a user may add to any cross-entropy.
        axis: The dimension of the classes, from 0 to rank - 1.
        reduction: "none" (one loss per row), "sum", "mean" or "mean_with_sample_weight". Ignored
            rows count in neither mean.
        replicas: Divides the two means.

    Returns:
        The loss in the accumulation dtype: y_pred's shape without `axis` for "none", else a scalar.
    """
    if runs_reference():
        return reference.rowwise(
            loss,
            parameters,
            y_true,
            y_pred,
            weight,
            class_weight,
            options,
            axis,
            reduction,
            replicas,
        )
    kernels = ops()
    dtype = y_pred.dtype
    accumulation = tf.float64 if dtype == tf.float64 else tf.float32
    inputs = _inputs(y_true, y_pred, weight, class_weight)
    has_ignore_class, ignore_class = _ignored(options)
    start = (loss, float64_bits(parameters), reduction, float64_bits(options[:4]), axis)
    end = (replicas, has_ignore_class, ignore_class)
    if reduction == "none":
        rows = kernels.fastloss_rowwise_rows(*inputs, *start, accumulation, *end)
        return _with_shape(rows, y_pred, axis)
    # As for the elementwise losses: a float16 gradient is made after the loss scale.
    if dtype == tf.float16 or not is_recorded(y_pred):
        return kernels.fastloss_rowwise(*inputs, *start, accumulation, *end)
    value, gradient = kernels.fastloss_rowwise_with_gradient(*inputs, *start, accumulation, *end)
    if not tf.executing_eagerly():
        return value
    return kernels.fastloss_rowwise_record(*inputs, value, gradient, *start, *end)


def rowwise_metrics(
    loss: str,
    parameters: Sequence[float],
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    class_weight: tf.Tensor | None,
    options: Options,
    axis: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The losses of the rows, their log-sum-exp and whether the largest logit is the label's.

    Returns:
        `(loss, log_sum_exp, hit)`, each of y_pred's shape without `axis`; the last two carry no
        gradient. `hit` is boolean; of equal logits the first counts as the largest. An ignored row
        has 0 and False.
    """
    if runs_reference():
        return reference.rowwise_metrics(
            loss, parameters, y_true, y_pred, class_weight, options, axis
        )
    has_ignore_class, ignore_class = _ignored(options)
    value, log_sum_exp, hit = ops().fastloss_rowwise_metrics(
        *_inputs(y_true, y_pred, None, class_weight),
        loss,
        float64_bits(parameters),
        "none",
        float64_bits(options[:4]),
        axis,
        tf.float64 if y_pred.dtype == tf.float64 else tf.float32,
        1,
        has_ignore_class,
        ignore_class,
    )
    rows = (value, tf.stop_gradient(log_sum_exp), hit)
    return tuple(_with_shape(row, y_pred, axis) for row in rows)
