"""The elementwise losses: each takes labels and predictions of one float dtype and one shape.

The names and the order of the parameters are those of `csrc/losses/elementwise.h`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import NamedTuple, TypeAlias

import tensorflow as tf

Tensor: TypeAlias = tf.Tensor


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
    loss.__name__: loss
    for loss in (
        mean_squared_error,
        mean_absolute_error,
        mean_absolute_percentage_error,
        mean_squared_logarithmic_error,
        huber,
        log_cosh,
        poisson,
        hinge,
        squared_hinge,
        kl_divergence,
        pinball,
        binary_crossentropy,
        binary_crossentropy_from_logits,
        binary_focal_crossentropy,
        binary_focal_crossentropy_from_logits,
    )
}


def parameter_count(loss: str) -> int:
    """How many parameters a loss takes."""
    names = list(signature(LOSSES[loss]).parameters)
    return len([name for name in names if name not in ("y_true", "y_pred", "pos_weight")])


class Term(NamedTuple):
    """One of the losses that are added up: `factor` times the loss."""

    loss: str
    parameters: tuple[float, ...] = ()
    factor: float = 1.0


SUMMED_OVER_ROWS = ("kl_divergence",)


def elementwise(
    loss: str,
    parameters: Sequence[float],
    y_true: Tensor,
    y_pred: Tensor,
    weight: Tensor | None,
    column_weight: Tensor | None,
    reduction: str,
    replicas: int,
) -> Tensor:
    """The same as `fastloss.ops.elementwise`, argument for argument."""
    dtype = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
    y_pred = tf.cast(y_pred, dtype)
    y_true = tf.cast(y_true, dtype)
    weights = {}
    if column_weight is not None:
        # As a flat pattern: the last dimension of y_pred may be split off as rows.
        count = tf.size(column_weight)
        pattern = tf.tile(tf.reshape(column_weight, [-1]), [tf.size(y_pred) // count])
        weights = {"pos_weight": tf.reshape(pattern, tf.shape(y_pred))}
    values = LOSSES[loss](y_true, y_pred, *parameters, **weights)
    join = tf.reduce_sum if loss in SUMMED_OVER_ROWS else tf.reduce_mean
    rows = join(values, axis=-1)
    if weight is not None:
        rows *= weight
    if reduction == "none":
        return rows
    total = tf.reduce_sum(rows)
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and weight is not None:
        divisor = tf.reduce_sum(weight)
    else:
        divisor = tf.cast(tf.size(rows, tf.int64), dtype)
    return tf.math.divide_no_nan(total, divisor) / replicas


def elementwise_sum(
    terms: Sequence[Term],
    y_true: Tensor,
    y_pred: Tensor,
    weight: Tensor | None,
    reduction: str,
    replicas: int,
) -> tuple[Tensor, Tensor | None]:
    """The same as `fastloss.ops.elementwise_sum`, argument for argument."""
    values = [
        elementwise(term.loss, term.parameters, y_true, y_pred, weight, None, reduction, replicas)
        for term in terms
    ]
    total = tf.add_n([term.factor * value for term, value in zip(terms, values, strict=True)])
    return total, None if reduction == "none" else tf.stop_gradient(tf.stack(values))
