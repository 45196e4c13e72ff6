"""Losses of users, as functions from the literature: plain, and fused by `fl.fuse`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

import fastloss as fl
from fastloss.tools.bench.cases import ELEMENTWISE, Case, Cases, LossSpec


def charbonnier(y_true: Any, y_pred: Any) -> Any:
    """Charbonnier et al., 1994: image restoration."""
    return tf.reduce_mean(tf.sqrt(tf.square(y_pred - y_true) + 1e-6), axis=-1)


def wing(y_true: Any, y_pred: Any) -> Any:
    """Feng et al., 2018 (arXiv:1711.06753): landmarks."""
    width, curvature = 10.0, 2.0
    shift = width - width * math.log1p(width / curvature)
    error = tf.abs(y_pred - y_true)
    near = width * tf.math.log1p(error / curvature)
    return tf.reduce_mean(tf.where(error < width, near, error - shift), axis=-1)


def general_robust(y_true: Any, y_pred: Any) -> Any:
    """Barron, 2019 (arXiv:1701.03077), with alpha 1.5."""
    alpha = 1.5
    distance = abs(alpha - 2)
    power = (tf.square(y_pred - y_true) / distance + 1) ** (alpha / 2)
    return tf.reduce_mean(distance / alpha * (power - 1), axis=-1)


def quantile_huber(y_true: Any, y_pred: Any) -> Any:
    """Dabney et al., 2018 (arXiv:1710.10044): distributional reinforcement learning."""
    error = y_true - y_pred
    size = tf.abs(error)
    huber = tf.where(size <= 1, 0.5 * tf.square(error), size - 0.5)
    return tf.reduce_mean(tf.abs(0.3 - tf.cast(error < 0, error.dtype)) * huber, axis=-1)


def asymmetric(y_true: Any, y_pred: Any) -> Any:
    """Ridnik et al., 2021 (arXiv:2009.14119): many labels, from logits."""
    p = tf.sigmoid(y_pred)
    shifted = tf.maximum(p - 0.05, 0)
    positive = y_true * tf.math.log(tf.maximum(p, 1e-8)) * (1 - p)
    negative = (1 - y_true) * tf.math.log(tf.maximum(1 - shifted, 1e-8)) * shifted**4
    return -tf.reduce_mean(positive + negative, axis=-1)


def focal_dice(y_true: Any, y_pred: Any) -> Any:
    """A focal cross-entropy and one soft Dice over everything, from logits."""
    p = tf.sigmoid(y_pred)
    crossentropy = tf.nn.sigmoid_cross_entropy_with_logits(y_true, y_pred)
    missed = y_true * (1 - p) + (1 - y_true) * p
    focal = tf.reduce_mean((0.25 * y_true + 0.75 * (1 - y_true)) * missed**2 * crossentropy)
    both = tf.reduce_sum(y_true) + tf.reduce_sum(p)
    return focal + 1 - 2 * tf.reduce_sum(y_true * p) / (both + 1e-6)


def _spec(function: Callable[[Any, Any], Any], domain: str) -> LossSpec:
    return LossSpec(
        function.__name__,
        "custom",
        domain,
        Cases((Case((16384, 1024)), Case((32, 10))), ELEMENTWISE.quick),
        ours=partial(fl.fuse, function),
        baseline=function,
    )


LOSSES: tuple[LossSpec, ...] = (
    *(_spec(function, "real") for function in (charbonnier, wing, general_robust, quantile_huber)),
    *(_spec(function, "logits") for function in (asymmetric, focal_dice)),
)
