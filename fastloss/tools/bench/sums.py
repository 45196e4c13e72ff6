"""Sums of losses: as fastloss adds them up, and as they are written with what Keras has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

import fastloss as fl


class Composed(NamedTuple):
    """A loss that is composed.

    Attributes:
        ours: Makes the loss of fastloss.
        baseline: The loss of a batch, in Keras's losses and ops, or those of TensorFlow.
    """

    ours: Callable[[], Any]
    baseline: Callable[[Any, Any], Any]


def _dice(y_true: Any, p: Any, axis: tuple[int, ...] | None) -> Any:
    both = ops.sum(y_true, axis=axis) + ops.sum(p, axis=axis)
    dice = 2 * ops.sum(y_true * p, axis=axis) / (both + keras.config.epsilon())
    return 1 - ops.mean(dice)


def _dice_and_binary_crossentropy(y_true: Any, y_pred: Any) -> Any:
    crossentropy = keras.losses.binary_crossentropy(y_true, y_pred, from_logits=True)
    return _dice(y_true, ops.sigmoid(y_pred), None) + ops.mean(crossentropy)


def _dice_and_crossentropy(y_true: Any, y_pred: Any) -> Any:
    crossentropy = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
    rows = ops.one_hot(y_true, y_pred.shape[-1], dtype=y_pred.dtype)
    positions = tuple(range(len(y_pred.shape) - 1))
    return _dice(rows, ops.softmax(y_pred), positions) + ops.mean(crossentropy)


def _three_errors(y_true: Any, y_pred: Any) -> Any:
    losses = keras.losses
    squared = ops.mean(losses.mean_squared_error(y_true, y_pred))
    absolute = ops.mean(losses.mean_absolute_error(y_true, y_pred))
    return 0.5 * squared + 0.3 * absolute + 0.2 * ops.mean(losses.huber(y_true, y_pred))


def _two_tasks(y_true: Any, y_pred: Any) -> Any:
    losses = keras.losses
    number = ops.mean(losses.huber(y_true[..., :1], y_pred[..., :1]))
    labels = losses.binary_crossentropy(y_true[..., 1:], y_pred[..., 1:], from_logits=True)
    return number + ops.mean(labels)


THREE_ERRORS = Composed(
    lambda: 0.5 * fl.MeanSquaredError() + 0.3 * fl.MeanAbsoluteError() + 0.2 * fl.Huber(),
    _three_errors,
)
TWO_TASKS = Composed(
    lambda: fl.MultiTask({0: fl.Huber(), (1, None): fl.BinaryCrossentropy(from_logits=True)}),
    _two_tasks,
)
DICE_AND_BINARY_CROSSENTROPY = Composed(
    lambda: fl.Dice(from_logits=True) + fl.BinaryCrossentropy(from_logits=True),
    _dice_and_binary_crossentropy,
)
DICE_AND_CROSSENTROPY = Composed(
    lambda: (
        fl.Dice(sparse=True, from_logits=True) + fl.SparseCategoricalCrossentropy(from_logits=True)
    ),
    _dice_and_crossentropy,
)
