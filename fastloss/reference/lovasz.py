"""The Lovász losses; TensorFlow's sort is all there is to them, so there is no kernel."""

from __future__ import annotations

import tensorflow as tf

from fastloss.calls import Tensor, accumulation
from fastloss.reference.overlap import activated, as_class, counted_positions, one_hot


def _extension(errors: Tensor, labelled: Tensor) -> Tensor:
    """The Lovász extension of the Jaccard loss, of vectors in the last dimension.

    Errors that are negative add nothing.
    """
    # A NaN has no place in an order.
    key = tf.where(tf.math.is_nan(errors), tf.constant(float("inf"), errors.dtype), errors)
    order = tf.argsort(tf.stop_gradient(key), direction="DESCENDING")
    batch = len(errors.shape) - 1
    errors = tf.gather(errors, order, batch_dims=batch)
    labelled = tf.gather(labelled, order, batch_dims=batch)
    # Counts, exact beyond 2^24; the union of the first i positions with the label is never empty.
    hits = tf.cumsum(tf.cast(labelled, tf.float64), axis=-1)
    total = tf.reduce_sum(tf.cast(labelled, tf.float64), axis=-1, keepdims=True)
    count = tf.cast(tf.range(1, tf.shape(errors, tf.int64)[-1] + 1), tf.float64)
    union = total + count - hits
    # The differences of J, without subtracting what is nearly equal.
    outside = (total - hits) / (union * tf.maximum(union - 1, 1))
    step = tf.where(labelled | (union == 1), 1 / union, outside)
    return tf.reduce_sum(tf.nn.relu(errors) * tf.cast(step, errors.dtype), axis=-1)


def _flat(x: Tensor, first: list[int]) -> Tensor:
    """The axes `first` in this order, then all others as one."""
    rank = len(x.shape)
    x = tf.transpose(x, first + [axis for axis in range(rank) if axis not in first])
    shape = tf.shape(x)
    rest = tf.reduce_prod(shape[len(first) :], keepdims=True)
    return tf.reshape(x, tf.concat([shape[: len(first)], rest], 0))


def _accumulated(y_pred: Tensor) -> Tensor:
    return tf.cast(y_pred, accumulation(y_pred))


def softmax_groups(
    y_true: Tensor,
    y_pred: Tensor,
    activation: str,
    sparse: bool,
    class_axis: int,
    per_image: bool,
    ignore_class: int | None,
    only_present: bool,
) -> Tensor:
    """The mean over the classes, for the batch or for each image."""
    y_pred = _accumulated(y_pred)
    counted = None
    if ignore_class is not None:
        counted = counted_positions(y_true, sparse, ignore_class, class_axis)
        y_pred = tf.where(counted, y_pred, tf.zeros_like(y_pred))
    if sparse:
        if counted is not None:
            y_true = tf.where(tf.squeeze(counted, class_axis), y_true, tf.zeros_like(y_true))
        y_true, y_pred, _ = one_hot(y_true, y_pred, class_axis)
    labelled = tf.cast(y_true, y_pred.dtype) > 0.5
    p = activated(y_pred, activation, class_axis)
    errors = tf.abs(tf.cast(labelled, p.dtype) - p)
    if counted is not None:
        labelled &= counted
        errors = tf.where(counted, errors, -tf.ones_like(errors))
    first = [0, class_axis] if per_image else [class_axis]
    labelled = _flat(labelled, first)
    values = _extension(_flat(errors, first), labelled)
    if not only_present:
        return tf.math.divide_no_nan(
            tf.reduce_sum(values, axis=-1), tf.cast(tf.shape(values)[-1], values.dtype)
        )
    present = tf.cast(tf.reduce_any(labelled, axis=-1), values.dtype)
    count = tf.maximum(tf.reduce_sum(present, axis=-1), 1)
    # A product, since a NaN must come out even if no class is there.
    return tf.reduce_sum(values * present, axis=-1) / count


def hinge_groups(
    y_true: Tensor, y_pred: Tensor, per_image: bool, ignore_class: int | None
) -> Tensor:
    """The loss of one class, for the batch or for each image."""
    y_pred = _accumulated(y_pred)
    labelled = tf.cast(y_true, y_pred.dtype) > 0.5
    errors = 1 - tf.where(labelled, y_pred, -y_pred)
    if ignore_class is not None:
        counted = as_class(y_true) != ignore_class
        labelled &= counted
        errors = tf.where(counted, errors, -tf.ones_like(errors))
    first = [0] if per_image else []
    return _extension(_flat(errors, first), _flat(labelled, first))
