"""Losses that Keras does not have, as they are written with what it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import keras
from keras import ops

from fastloss.benchmark.cases import LossSpec


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


_STAND_INS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "pinball(tau=0.9)": partial(_pinball, tau=0.9),
        "sparse_categorical_focal_crossentropy(from_logits=True)": partial(
            _sparse_categorical_focal_crossentropy, from_logits=True
        ),
        "kl_divergence(from_logits=True)": _kl_divergence,
        "jensen_shannon_divergence": _jensen_shannon_divergence,
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
    return None if rows is None else _StandIn(spec.name, rows)
