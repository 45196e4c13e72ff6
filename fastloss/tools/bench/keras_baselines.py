"""Losses that Keras does not have, as they are written with what it and TensorFlow have."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import keras
from keras import ops

from fastloss.tools.bench.cases import LossSpec
from fastloss.tools.bench.custom import CUSTOM
from fastloss.tools.bench.sums import SUMS


def _pinball(y_true: Any, y_pred: Any, tau: float) -> Any:
    error = y_true - y_pred
    return ops.mean(ops.maximum(tau * error, (tau - 1) * error), axis=-1)


def _sparse_categorical_focal_crossentropy(y_true: Any, y_pred: Any, from_logits: bool) -> Any:
    rows = ops.one_hot(y_true, y_pred.shape[-1], dtype=y_pred.dtype)
    return keras.losses.categorical_focal_crossentropy(rows, y_pred, from_logits=from_logits)


def _kl_divergence(y_true: Any, y_pred: Any) -> Any:
    return keras.losses.kl_divergence(ops.softmax(y_true), ops.softmax(y_pred))


def _jensen_shannon_divergence(y_true: Any, y_pred: Any) -> Any:
    p, q = ops.softmax(y_true), ops.softmax(y_pred)
    mixture = (p + q) / 2
    divergences = (keras.losses.kl_divergence(rows, mixture) for rows in (p, q))
    return sum(divergences) / 2


def _box_loss(y_true: Any, y_pred: Any, kind: str) -> Any:
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


_STAND_INS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "pinball(tau=0.9)": partial(_pinball, tau=0.9),
        "sparse_categorical_focal_crossentropy(from_logits=True)": partial(
            _sparse_categorical_focal_crossentropy, from_logits=True
        ),
        "kl_divergence(from_logits=True)": _kl_divergence,
        "jensen_shannon_divergence": _jensen_shannon_divergence,
        **{name: found.written for name, found in {**SUMS, **CUSTOM}.items()},
        **{
            kind: partial(_box_loss, kind=kind)
            for kind in ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou")
        },
    }
)


class _StandIn(keras.losses.Loss):
    def __init__(self, name: str, rows: Callable[[Any, Any], Any]) -> None:
        super().__init__(name=name)
        self.rows = rows

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Rows of the loss."""
        return self.rows(y_true, y_pred)


def stand_in(spec: LossSpec) -> keras.losses.Loss | None:
    """The loss written with `keras.ops`; None where Keras has it.

    Args:
        spec: The loss.

    Returns:
        A Keras loss or None.
    """
    rows = _STAND_INS.get(spec.label)
    # TensorFlow's names of scopes have no such signs.
    name = re.sub(r"\W+", "_", spec.name).strip("_")
    return None if rows is None else _StandIn(name, rows)
