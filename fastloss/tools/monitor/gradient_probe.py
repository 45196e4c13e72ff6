"""A look at the gradient that reaches predictions, which changes neither."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from fastloss.terms.inputs import Tensor

_ACTIVATIONS = {"Sigmoid": tf.nn.sigmoid, "Softmax": tf.nn.softmax}
_LEFT_BY_KERAS = ("_keras_mask", "_fastloss_step")


def tapped(y_pred: Tensor, see: Callable[[Tensor], None]) -> Tensor:
    """The same predictions; `see` is called with the gradient while it is computed.

    Losses look for the logits behind probabilities, in what Keras leaves on these and, inside a
    graph, by the op that they come from. Both stay as they are; the gradient is then seen where the
    loss takes its input.
    """
    logits = getattr(y_pred, "_keras_logits", None)
    activation = None if logits is not None else _activation_of(y_pred)
    if activation is not None:
        twin = _ACTIVATIONS[activation](_tap(y_pred.op.inputs[0], see))
    else:
        twin = _tap(y_pred, see)
    if logits is not None:
        twin._keras_logits = _tap(logits, see)
    for name in _LEFT_BY_KERAS:
        if hasattr(y_pred, name):
            setattr(twin, name, getattr(y_pred, name))
    return twin


def hand_back(twin: Tensor, y_pred: Tensor) -> None:
    """What the loss left on the twin for those behind it."""
    if hasattr(twin, "_fastloss_step"):
        y_pred._fastloss_step = twin._fastloss_step


def _activation_of(y_pred: Tensor) -> str | None:
    if hasattr(y_pred, "numpy") or not hasattr(y_pred, "op"):
        return None
    return y_pred.op.type if y_pred.op.type in _ACTIVATIONS else None


def _tap(x: Tensor, see: Callable[[Tensor], None]) -> Tensor:
    @tf.custom_gradient
    def identity(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def backward(upstream: Tensor) -> Tensor:
            see(upstream)
            return upstream

        return tf.identity(x), backward

    return identity(x)
