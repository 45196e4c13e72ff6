"""From one loss per row to the loss: sample weights, masks and reductions, as in Keras."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from fastloss.calls import PER_ROW, SUM, Reduction, Tensor
from fastloss.terms.inputs import TensorLike, in_dtype, same_rank

# Keras's reductions, as the ops name them.
REDUCTIONS = {
    "sum_over_batch_size": "mean",
    "mean": "mean",
    "mean_with_sample_weight": "mean_with_sample_weight",
    "sum": "sum",
}

Shape = Sequence[int | None]


def weigh_and_reduce(
    values: Callable[[Tensor | None, Reduction], Tensor],
    rows: Shape | None,
    dtype: tf.DType,
    sample_weight: TensorLike,
    mask: TensorLike,
    reduction: str | None,
) -> Tensor:
    """The loss weighed, masked and reduced: in one pass, if the kernel's reduction is Keras's.

    Args:
        values: Computes the losses, given the weight of each and the reduction.
        rows: Static shape of the losses; None if they are not what the kernel reduces.
        dtype: The accumulation dtype.
        sample_weight: As Keras takes it.
        mask: As Keras takes it.
        reduction: Keras's name of the reduction.
    """
    weight = merged_weight(sample_weight, mask, reduction, dtype)
    if reduction in REDUCTIONS and rows is not None and fits_one_pass(rows, weight):
        return values(aligned(weight, rows), kernel_reduction(reduction))
    return reduce(values(None, PER_ROW), weight, reduction)


def kernel_reduction(reduction: str | None) -> Reduction:
    """Keras's reduction as the ops take it."""
    kind = REDUCTIONS.get(reduction or "none", "none")
    if kind == "none":
        return PER_ROW
    return SUM if kind == "sum" else Reduction(kind, _replicas_in_sync())


def replicas(reduction: str | None) -> int:
    """What the means are divided by under `tf.distribute`."""
    if REDUCTIONS.get(reduction or "", "sum") == "sum":
        return 1
    return _replicas_in_sync()


def _replicas_in_sync() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync


def merged_weight(
    sample_weight: TensorLike, mask: TensorLike, reduction: str | None, dtype: tf.DType
) -> Tensor | None:
    """Weights and mask as one tensor; under a mean, masked entries do not count."""
    if sample_weight is not None:
        sample_weight = in_dtype("sample_weight", sample_weight, dtype)
    if mask is None:
        return sample_weight
    mask = in_dtype("mask", mask, dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        total = tf.cast(tf.size(mask, tf.int64), dtype)
        valid = tf.reduce_sum(mask)
        mask = tf.where(mask != 0, tf.math.divide_no_nan(total, valid), tf.zeros([], dtype))
    if sample_weight is None:
        return mask
    mask, sample_weight = same_rank(mask, sample_weight)
    return sample_weight * mask


def reduce(values: Tensor, weight: Tensor | None, reduction: str | None) -> Tensor:
    """Weigh and reduce losses that are one per row, in TensorFlow, as Keras does."""
    if weight is not None:
        values, weight = same_rank(values, weight)
        values = values * weight
    if reduction in (None, "none") or values.shape.rank == 0 or values.shape == (0,):
        return values
    total = tf.reduce_sum(values)
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and weight is not None:
        divisor = tf.reduce_sum(weight)
    else:
        divisor = tf.cast(tf.size(values, tf.int64), values.dtype)
    return tf.math.divide_no_nan(total, divisor) / replicas(reduction)


def _broadcasts_to(weight: Shape, rows: Shape) -> bool:
    if len(weight) > len(rows):
        return False
    tail = rows[len(rows) - len(weight) :]
    return all(
        w in (1, row) or w is None or row is None for w, row in zip(weight, tail, strict=True)
    )


def _gains_dimension(weight: Shape, rows: Shape) -> bool:
    """Keras aligns (batch,) weights with (batch, 1) losses, and (a, b) with (a, b, 1)."""
    return len(rows) == len(weight) + 1 and rows[-1] == 1


def fits_one_pass(rows: Shape, weight: Tensor | None) -> bool:
    """Whether the kernel's reduction is Keras's here; else TensorFlow reduces after it.

    Args:
        rows: Static shape of the losses.
        weight: Weights and mask as one tensor.
    """
    if not rows or (len(rows) == 1 and rows[0] == 0):
        return False
    if weight is None:
        return True
    shape: Shape = weight.shape.as_list()
    if len(shape) == 2 and len(rows) == 1 and shape[-1] == 1:
        shape = shape[:-1]
    elif _gains_dimension(shape, rows):
        shape = [*shape, 1]
    return _broadcasts_to(shape, rows)


def aligned(weight: Tensor | None, rows: Shape) -> Tensor | None:
    """A weight that fits one pass, so that it broadcasts to the rows as Keras pairs them."""
    if weight is None:
        return None
    if len(weight.shape) > len(rows):
        return tf.squeeze(weight, -1)
    return weight[..., tf.newaxis] if _gains_dimension(weight.shape.as_list(), rows) else weight
