"""A loss computed on a batch: its value, its rows, its gradient, and what is not finite there."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fastloss import ops
from fastloss.sums.weighted_sum import Algebra
from fastloss.testing import in_float64
from fastloss.tools.diagnose.batch import Array, Batch, is_finite, samples_of


@dataclass(frozen=True)
class Evaluation:
    """What a loss gives.

    Attributes:
        value: What it returns with weights, mask and reduction; None if it fails.
        rows: What its `call` returns: one loss per row, for most losses; None if that fails.
        gradient: Of the sum of `value` by y_pred, in float64; None if there is none.
        error: The message of the exception, if it fails.
    """

    value: Array | None = None
    rows: Array | None = None
    gradient: Array | None = None
    error: str = ""

    @property
    def is_finite(self) -> bool:
        """Whether all that is known is finite."""
        known = (self.value, self.rows, self.gradient)
        return all(x is None or bool(is_finite(x).all()) for x in known)

    def bad_samples(self, size: int) -> Array:
        """The samples whose loss is not finite or, if none is told apart, whose gradient is not."""
        for x in (self.rows, self.gradient):
            if x is None or not x.ndim or len(x) != size:
                continue
            found = samples_of(~is_finite(x))
            if len(found):
                return found
        return np.zeros(0, np.int64)


def evaluate(loss: keras.losses.Loss, batch: Batch) -> Evaluation:
    """The loss computed eagerly on the batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = _tried(loss, batch)
        if not result.error:
            return result
        # The kernels refuse labels that are no class; the reference computes NaN for their rows.
        with ops.use_backend("reference"):
            again = _tried(loss, batch)
        return result if again.error else replace(again, error=result.error)


def evaluate_in_float64(loss: keras.losses.Loss, batch: Batch) -> Evaluation:
    """The same in float64, where nothing overflows that is not beyond all bounds."""
    pred = batch.pred.astype(np.float64)
    true = batch.true.astype(np.float64) if batch.true.dtype.kind == "f" else batch.true
    weight = None if batch.weight is None else batch.weight.astype(np.float64)
    return evaluate(in_float64(loss), Batch(true, pred, weight, batch.mask))


def _tried(loss: keras.losses.Loss, batch: Batch) -> Evaluation:
    try:
        return _evaluated(loss, batch)
    except Exception as error:  # a loss of the user's may raise anything
        lines = str(getattr(error, "message", error)).strip().splitlines() or [repr(error)]
        return Evaluation(error=f"{type(error).__name__}: {lines[0]}")


def _evaluated(loss: keras.losses.Loss, batch: Batch) -> Evaluation:
    y_true, y_pred = tf.convert_to_tensor(batch.y_true), tf.convert_to_tensor(batch.y_pred)
    if not y_pred.dtype.is_floating:
        y_pred = tf.cast(y_pred, keras.config.floatx())
    if batch.mask is not None:
        y_pred._keras_mask = tf.convert_to_tensor(batch.mask)
    weight = None if batch.sample_weight is None else tf.convert_to_tensor(batch.sample_weight)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = tf.convert_to_tensor(loss(y_true, y_pred, weight))
        total = tf.reduce_sum(value)
    gradient = tape.gradient(total, y_pred)
    return Evaluation(
        _array(value),
        _rows(loss, y_true, y_pred),
        None if gradient is None else _array(tf.convert_to_tensor(gradient)),
    )


def _rows(loss: keras.losses.Loss, y_true: Any, y_pred: Any) -> Array | None:
    # As keras.losses.Loss.__call__ does it; ours read the dtype that comes.
    if not isinstance(loss, Algebra):
        y_true, y_pred = tf.cast(y_true, loss.dtype), tf.cast(y_pred, loss.dtype)
    try:
        return _array(tf.convert_to_tensor(loss.call(y_true, y_pred)))
    except (ValueError, tf.errors.InvalidArgumentError):
        # A sum of losses of rows and of regions has a value, but no rows.
        return None


def _array(x: Any) -> Array:
    return tf.cast(x, tf.float64).numpy()
