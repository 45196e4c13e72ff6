"""The elementwise losses: each takes labels and predictions of one float dtype and one shape.

The names and the order of the parameters are those of `csrc/losses/elementwise.h`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from fastloss.calls import Inputs, KernelTerm, Tensor
from fastloss.reference.reduction import reduced
from fastloss.registry import Pattern, kernel, kernels


def mean_squared_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    return tf.square(y_pred - y_true)


def mean_absolute_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    return tf.abs(y_pred - y_true)


def mean_absolute_percentage_error(y_true: Tensor, y_pred: Tensor, epsilon: float) -> Tensor:
    return 100 * tf.abs((y_pred - y_true) / tf.maximum(tf.abs(y_true), epsilon))


def mean_squared_logarithmic_error(y_true: Tensor, y_pred: Tensor, epsilon: float) -> Tensor:
    return tf.square(
        tf.math.log1p(tf.maximum(y_pred, epsilon)) - tf.math.log1p(tf.maximum(y_true, epsilon))
    )


def huber(y_true: Tensor, y_pred: Tensor, delta: float) -> Tensor:
    error = y_pred - y_true
    size = tf.abs(error)
    return tf.where(size <= delta, 0.5 * tf.square(error), delta * size - 0.5 * delta * delta)


def smooth_l1(y_true: Tensor, y_pred: Tensor, beta: float) -> Tensor:
    error = y_pred - y_true
    size = tf.abs(error)
    # The square of a far error may be infinite, and 0 times infinity would be its gradient.
    bounded = tf.clip_by_value(error, -beta, beta)
    near = tf.math.divide_no_nan(0.5 * tf.square(bounded), beta)
    return tf.where(size < beta, near, size - 0.5 * beta)


def log_cosh(y_true: Tensor, y_pred: Tensor) -> Tensor:
    error = y_pred - y_true
    return error + tf.math.softplus(-2 * error) - tf.math.log(tf.constant(2, error.dtype))


def poisson(y_true: Tensor, y_pred: Tensor, epsilon: float) -> Tensor:
    return y_pred - y_true * tf.math.log(y_pred + epsilon)


def _signs(y_true: Tensor) -> Tensor:
    is_binary = tf.reduce_all((y_true == 0) | (y_true == 1))
    return tf.where(is_binary, 2 * y_true - 1, y_true)


def hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    return tf.maximum(1 - _signs(y_true) * y_pred, 0)


def squared_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    return tf.square(hinge(y_true, y_pred))


def kl_divergence(y_true: Tensor, y_pred: Tensor, epsilon: float) -> Tensor:
    y_true = tf.clip_by_value(y_true, epsilon, 1)
    return y_true * tf.math.log(y_true / tf.clip_by_value(y_pred, epsilon, 1))


def pinball(y_true: Tensor, y_pred: Tensor, tau: float) -> Tensor:
    error = y_true - y_pred
    return tf.maximum(tau * error, (tau - 1) * error)


def _smooth(y_true: Tensor, label_smoothing: float) -> Tensor:
    return y_true * (1 - label_smoothing) + 0.5 * label_smoothing


def binary_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    label_smoothing: float,
    epsilon: float,
    pos_weight: Tensor | float = 1.0,
) -> Tensor:
    y_true = _smooth(y_true, label_smoothing)
    y_pred = tf.clip_by_value(y_pred, epsilon, 1 - epsilon)
    hit = pos_weight * y_true * tf.math.log(y_pred)
    return -(hit + (1 - y_true) * tf.math.log(1 - y_pred))


def binary_crossentropy_from_logits(
    y_true: Tensor,
    y_pred: Tensor,
    label_smoothing: float,
    pos_weight: Tensor | float = 1.0,
) -> Tensor:
    return tf.nn.weighted_cross_entropy_with_logits(
        _smooth(y_true, label_smoothing), y_pred, pos_weight
    )


def binary_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    label_smoothing: float,
    gamma: float,
    base: float,
    balance: float,
    epsilon: float,
) -> Tensor:
    entropy = binary_crossentropy(y_true, y_pred, label_smoothing, epsilon)
    y_true = _smooth(y_true, label_smoothing)
    miss = y_true * (1 - y_pred) + (1 - y_true) * y_pred
    return (base + balance * y_true) * tf.pow(miss, gamma) * entropy


def binary_focal_crossentropy_from_logits(
    y_true: Tensor,
    y_pred: Tensor,
    label_smoothing: float,
    gamma: float,
    base: float,
    balance: float,
) -> Tensor:
    entropy = binary_crossentropy_from_logits(y_true, y_pred, label_smoothing)
    y_true = _smooth(y_true, label_smoothing)
    miss = y_true * tf.sigmoid(-y_pred) + (1 - y_true) * tf.sigmoid(y_pred)
    return (base + balance * y_true) * tf.pow(miss, gamma) * entropy


LOSSES: dict[str, Callable[..., Tensor]] = {
    kernel.name: globals()[kernel.name] for kernel in kernels(Pattern.ELEMENTWISE)
}


def elementwise(
    loss: str,
    parameters: Sequence[float],
    inputs: Inputs,
    column_weight: Tensor | None = None,
) -> Tensor:
    """The same as `fastloss.ops.elementwise`, argument for argument."""
    dtype = inputs.accumulation
    y_pred = tf.cast(inputs.y_pred, dtype)
    y_true = tf.cast(inputs.y_true, dtype)
    weights = {}
    if column_weight is not None:
        # As a flat pattern: the last dimension of y_pred may be split off as rows.
        count = tf.size(column_weight)
        pattern = tf.tile(tf.reshape(column_weight, [-1]), [tf.size(y_pred) // count])
        weights = {"pos_weight": tf.reshape(pattern, tf.shape(y_pred))}
    values = LOSSES[loss](y_true, y_pred, *parameters, **weights)
    over_row = tf.reduce_sum if kernel(loss).row_reduction == "sum" else tf.reduce_mean
    return reduced(over_row(values, axis=-1), inputs.weight, inputs.reduction)


def elementwise_sum(terms: Sequence[KernelTerm], inputs: Inputs) -> tuple[Tensor, Tensor | None]:
    """The same as `fastloss.ops.elementwise_sum`, argument for argument."""
    values = [elementwise(term.loss, term.parameters, inputs) for term in terms]
    total = tf.add_n([term.factor * value for term, value in zip(terms, values, strict=True)])
    per_row = inputs.reduction.kind == "none"
    return total, None if per_row else tf.stop_gradient(tf.stack(values))
