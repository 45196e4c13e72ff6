"""Losses that Keras does not have, written with what it has."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


def pinball(y_true: Any, y_pred: Any, tau: float) -> Any:
    """The quantile loss."""
    error = y_true - y_pred
    return ops.mean(ops.maximum(tau * error, (tau - 1) * error), axis=-1)


def sparse_categorical_focal_crossentropy(y_true: Any, y_pred: Any, from_logits: bool) -> Any:
    """The focal cross-entropy of class numbers."""
    rows = ops.one_hot(y_true, y_pred.shape[-1], dtype=y_pred.dtype)
    return keras.losses.categorical_focal_crossentropy(rows, y_pred, from_logits=from_logits)


def kl_divergence_from_logits(y_true: Any, y_pred: Any, from_logits: bool) -> Any:
    """The divergence of the distributions behind logits."""
    assert from_logits
    return keras.losses.kl_divergence(ops.softmax(y_true), ops.softmax(y_pred))


def jensen_shannon_divergence(y_true: Any, y_pred: Any) -> Any:
    """The symmetric divergence of the distributions behind logits."""
    p, q = ops.softmax(y_true), ops.softmax(y_pred)
    mixture = (p + q) / 2
    divergences = (keras.losses.kl_divergence(rows, mixture) for rows in (p, q))
    return sum(divergences) / 2


def box_loss(kind: str, y_true: Any, y_pred: Any) -> Any:
    """A loss of pairs of boxes, by its name."""
    low, high = ops.minimum(y_true, y_pred), ops.maximum(y_true, y_pred)
    sides = ops.maximum(low[..., 2:] - high[..., :2], 0)
    size, label_size = (boxes[..., 2:] - boxes[..., :2] for boxes in (y_pred, y_true))
    overlap = sides[..., 0] * sides[..., 1]
    union = size[..., 0] * size[..., 1] + label_size[..., 0] * label_size[..., 1] - overlap
    hull = high[..., 2:] - low[..., :2]
    loss = 1 - overlap / union
    if kind == "box_iou":
        return loss
    if kind == "generalized_box_iou":
        area = hull[..., 0] * hull[..., 1]
        return loss + (area - union) / area
    shift = (y_pred[..., :2] + y_pred[..., 2:] - y_true[..., :2] - y_true[..., 2:]) / 2
    distance = ops.sum(shift * shift, axis=-1) / ops.sum(hull * hull, axis=-1)
    if kind == "distance_box_iou":
        return loss + distance
    angles = [ops.arctan(extent[..., 0] / extent[..., 1]) for extent in (label_size, size)]
    v = 4 / math.pi**2 * ops.square(angles[0] - angles[1])
    return loss + distance + ops.stop_gradient(v / (loss + v)) * v
