"""From one loss per row to the loss, as the kernels reduce it."""

from __future__ import annotations

import tensorflow as tf

from fastloss.calls import Reduction, Tensor


def reduced(values: Tensor, weight: Tensor | None, reduction: Reduction) -> Tensor:
    """The losses weighed and reduced."""
    if weight is not None:
        values *= weight
    if reduction.kind == "none":
        return values
    total = tf.reduce_sum(values)
    if reduction.kind == "sum":
        return total
    if reduction.kind == "mean_with_sample_weight" and weight is not None:
        divisor = tf.reduce_sum(weight)
    else:
        divisor = tf.cast(tf.size(values, tf.int64), values.dtype)
    return tf.math.divide_no_nan(total, divisor) / reduction.replicas
