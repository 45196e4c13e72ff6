"""A loss at the points of one axis: labels and predictions, values and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from fastloss.tools.plot.kind import Kind

# What a loss is drawn against, and what the axis is called.
AXES = {
    "error": "error, y_pred - y_true",
    "margin": "margin: logit of the true class less the others'",
    "probability": "predicted probability of the true class",
    "angle": "angle between y_true and y_pred, radians",
    "shift": "shift of the box, in widths",
}
_LIMITS = {
    "error": (-3.0, 3.0),
    "margin": (-4.0, 4.0),
    "probability": (0.05, 0.95),
    "angle": (-math.pi, math.pi),
    "shift": (-2.0, 2.0),
}
_SHARE = 0.7
# A mask of 4 x 4 pixels, a quarter of them of the region.
_REGION = np.zeros((1, 4, 4), np.float32)
_REGION[:, :2, :2] = 1


def default_axis(kind: Kind) -> str:
    """What a loss of this kind is drawn against."""
    known = {"number": "error", "vector": "angle", "box": "shift"}
    return known.get(kind.labels, "margin" if kind.logits else "probability")


def possible_axes(kind: Kind) -> tuple[str, ...]:
    """What it could be drawn against."""
    first = default_axis(kind)
    return ("margin", "probability") if first in ("margin", "probability") else (first,)


def limits(against: str, kinds: list[Kind], target: float) -> tuple[float, float]:
    """The part of the axis to show."""
    lower, upper = _LIMITS[against]
    if against == "error" and any(kind.positive for kind in kinds):
        return max(lower, 0.1 - target), upper
    return lower, upper


def default_target(kinds: list[Kind]) -> float:
    """The label that shows most of all of them."""
    labels = {kind.labels for kind in kinds}
    if "distribution" in labels:
        return _SHARE
    return max(kind.target for kind in kinds) if "number" in labels else 1.0


def values_and_gradients(
    loss: Callable[..., Any], kind: Kind, against: str, target: float, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The values of a loss and its derivatives at each point of the axis."""

    @tf.function(autograph=False)
    def at(point: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(point)
            y_true, y_pred = inputs(kind, against, target, point)
            value = tf.reduce_mean(tf.cast(loss(y_true, y_pred), tf.float32))
        gradient = tape.gradient(value, point, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return value, gradient

    found = [at(tf.constant(point, tf.float32)) for point in x]
    values, gradients = (np.array([float(pair[i]) for pair in found]) for i in (0, 1))
    return values, gradients


def inputs(kind: Kind, against: str, target: float, x: tf.Tensor) -> tuple[np.ndarray, tf.Tensor]:
    """Labels and predictions of one sample at a point of the axis."""
    if kind.labels == "number":
        return np.full((1, 1), target, np.float32), tf.reshape(target + x, [1, 1])
    if kind.labels == "vector":
        return np.array([[1, 0]], np.float32), tf.stack([tf.cos(x), tf.sin(x)])[tf.newaxis]
    if kind.labels == "box":
        return _boxes(kind, x)
    true, others = _scores(kind, against, x)
    if kind.labels == "binary":
        label = np.full((1, 1), target, np.float32)
        return label, tf.reshape(true if target > 0.5 else _of_no(kind, true), [1, 1])
    if kind.labels == "mask":
        return _mask(kind, true, others)
    row = tf.stack([true, *[others] * (kind.classes - 1)])
    if kind.labels == "distribution":
        return _distribution(kind, target), row[tf.newaxis]
    if kind.axis == -1:
        label = np.zeros(1, np.int32) if kind.labels == "sparse" else _one_hot(kind.classes)
        return label, row[tf.newaxis]
    row = _moved(tf.reshape(row, [1, 1, 1, -1]), kind.axis)
    if kind.labels == "sparse":
        return np.zeros((1, 1, 1), np.int32), row
    return np.moveaxis(_one_hot(kind.classes).reshape(1, 1, 1, -1), -1, kind.axis), row


def _scores(kind: Kind, against: str, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What y_pred holds for the true class and for each other one: logits or probabilities."""
    others = max(kind.classes - 1, 1)
    if kind.logits:
        margin = x if against == "margin" else tf.math.log(others * x / (1 - x))
        # A mask of one channel has the same margin on both sides of its threshold.
        return margin, -margin if kind.classes == 1 else tf.zeros_like(x)
    share = x if against == "probability" else tf.sigmoid(x - math.log(others))
    return share, (1 - share) / others


def _of_no(kind: Kind, score: tf.Tensor) -> tf.Tensor:
    """The score of "yes" where the true class is "no"."""
    return -score if kind.logits else 1 - score


def _one_hot(classes: int) -> np.ndarray:
    return np.eye(1, classes, dtype=np.float32)


def _distribution(kind: Kind, share: float) -> np.ndarray:
    rest = (1 - share) / (kind.classes - 1)
    row = np.array([[share, *[rest] * (kind.classes - 1)]], np.float32)
    return np.log(row) if kind.logits else row


def _boxes(kind: Kind, shift: tf.Tensor) -> tuple[np.ndarray, tf.Tensor]:
    label = np.array([[0.5, 0.5, 1, 1] if kind.centred else [0, 0, 1, 1]], np.float32)
    moved = np.array([[1, 0, 0, 0] if kind.centred else [1, 0, 1, 0]], np.float32)
    return label, label + shift * moved


def _mask(kind: Kind, true: tf.Tensor, others: tf.Tensor) -> tuple[np.ndarray, tf.Tensor]:
    """Every pixel is as right, or as wrong, as every other."""
    if kind.classes == 1:
        return _REGION[..., np.newaxis], tf.where(_REGION > 0, true, others)[..., tf.newaxis]
    classes = _REGION.astype(np.int32)
    one_hot = np.eye(kind.classes, dtype=np.float32)[classes]
    y_pred = _moved(tf.where(one_hot > 0, true, others), kind.axis)
    return (classes, y_pred) if kind.sparse else (np.moveaxis(one_hot, -1, kind.axis), y_pred)


def _moved(x: tf.Tensor, axis: int) -> tf.Tensor:
    order = [0, 1, 2]
    order.insert(axis % 4, 3)
    return tf.transpose(x, order)
