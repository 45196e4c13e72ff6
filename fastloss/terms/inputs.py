"""What may come in: dtypes, ranks, shapes, and logits behind probabilities."""

from __future__ import annotations

import warnings
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from fastloss import ops
from fastloss.calls import Tensor

TensorLike: TypeAlias = Any

_PREDICTION_DTYPES = (tf.float32, tf.bfloat16, tf.float16, tf.float64)


def prediction(y_pred: TensorLike, dtype: str | None = None) -> Tensor:
    """y_pred as a float tensor; of at least the precision of `dtype`, else as it came."""
    if not isinstance(y_pred, tf.Tensor):
        y_pred = tf.convert_to_tensor(y_pred)
    if y_pred.dtype not in _PREDICTION_DTYPES:
        if not (y_pred.dtype.is_integer or y_pred.dtype.is_bool):
            raise ValueError(
                f"y_pred has dtype {y_pred.dtype.name}; expected float16, bfloat16, float32 or "
                "float64"
            )
        y_pred = tf.cast(y_pred, dtype or keras.config.floatx())
    if dtype == "float64" and y_pred.dtype != tf.float64:
        y_pred = tf.cast(y_pred, tf.float64)
    return y_pred


def label(y_true: TensorLike) -> Tensor:
    """y_true as a tensor of the dtype it came in."""
    if not isinstance(y_true, tf.Tensor):
        y_true = tf.convert_to_tensor(y_true)
    if y_true.dtype not in ops.LABEL_DTYPES:
        raise ValueError(
            f"y_true has dtype {y_true.dtype.name}; expected a boolean, an integer or a float"
        )
    return y_true


def in_dtype(argument: str, x: TensorLike, dtype: tf.DType) -> Tensor:
    """A weight or a mask as a tensor of that dtype.

    Raises:
        ValueError: If it does not hold numbers; the message names the `argument`.
    """
    if not isinstance(x, tf.Tensor):
        # TensorFlow would round a list of Python's numbers to float32.
        hint = dtype if isinstance(x, (list, tuple, float)) else None
        x = tf.convert_to_tensor(x, dtype_hint=hint)
    if x.dtype not in ops.LABEL_DTYPES:
        raise ValueError(
            f"{argument} has dtype {x.dtype.name}; expected a boolean, an integer or a float"
        )
    return x if x.dtype == dtype else tf.cast(x, dtype)


def same_rank(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Keras's rule: ranks that differ by one meet by a last dimension of 1."""
    x_rank, y_rank = len(x.shape), len(y.shape)
    if x_rank == y_rank + 1 and x.shape[-1] == 1:
        return (x, y[..., tf.newaxis]) if y_rank == 1 else (tf.squeeze(x, -1), y)
    if y_rank == x_rank + 1 and y.shape[-1] == 1:
        return (x[..., tf.newaxis], y) if x_rank == 1 else (x, tf.squeeze(y, -1))
    return x, y


def same_shape(
    loss: str, broadcasts: bool, y_true: Tensor, y_pred: Tensor
) -> tuple[Tensor, Tensor]:
    """Broadcast both where their static shapes differ, if the loss does that in Keras.

    Raises:
        ValueError: If they cannot be broadcast.
    """
    true_shape, pred_shape = y_true.shape.as_list(), y_pred.shape.as_list()
    if true_shape == pred_shape:
        return y_true, y_pred
    try:
        if not broadcasts:
            y_true.shape.assert_is_compatible_with(y_pred.shape)
            return y_true, y_pred
        static = tf.broadcast_static_shape(y_true.shape, y_pred.shape)
    except ValueError:
        rule = ", or shapes that broadcast" if broadcasts else ""
        raise ValueError(
            f"{loss}: y_true has shape {tuple(true_shape)} and y_pred has shape "
            f"{tuple(pred_shape)}; expected the same shape{rule}"
        ) from None
    shape = tf.broadcast_dynamic_shape(tf.shape(y_true), tf.shape(y_pred))

    def broadcast(x: Tensor) -> Tensor:
        x = tf.broadcast_to(x, shape)
        x.set_shape(static)
        return x

    return (
        y_true if true_shape == static.as_list() else broadcast(y_true),
        y_pred if pred_shape == static.as_list() else broadcast(y_pred),
    )


def logits_behind(
    y_pred: Tensor, from_logits: bool, loss: str, activation: str
) -> tuple[Tensor, bool]:
    """The logits, if y_pred is the output of an activation whose input is still known.

    Going back to them is exact where the probabilities have run into 0 or 1.

    Args:
        y_pred: Predictions.
        from_logits: What the user says about them.
        loss: Name of the loss, for the warning.
        activation: "Sigmoid" or "Softmax", the type of TensorFlow's op.

    Returns:
        The predictions to use, and whether they are logits.
    """
    logits = getattr(y_pred, "_keras_logits", None)
    if logits is None and not hasattr(y_pred, "numpy") and y_pred.op.type == activation:
        logits = y_pred.op.inputs[0]
    if logits is None:
        return y_pred, from_logits
    if from_logits:
        warnings.warn(
            f"{loss} got from_logits=True, but y_pred is the output of a {activation.lower()}: "
            "these are probabilities. The logits behind them are used; set from_logits=False.",
            stacklevel=5,
        )
    return logits, True
