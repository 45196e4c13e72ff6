"""A look at the gradient that reaches predictions, which changes neither."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from fastloss.terms.inputs import Tensor

_ACTIVATIONS = {"Sigmoid": tf.nn.sigmoid, "Softmax": tf.nn.softmax}
_LEFT_BY_KERAS = ("_keras_mask", "_fastloss_step")


def probed(y_pred: Tensor, see: Callable[[Tensor], None]) -> Tensor:
    """The same predictions; `see` is called with the gradient while it is computed.

    Losses look for the logits behind probabilities, in what Keras leaves on these and, inside a
    graph, by the op that they come from. Both stay as they are; the gradient is then seen where the
    loss takes its input.
    """
    logits = getattr(y_pred, "_keras_logits", None)
    activation = None if logits is not None else _activation_of(y_pred)
    if activation is not None:
        probe = _ACTIVATIONS[activation](_identity(y_pred.op.inputs[0], see))
    else:
        probe = _identity(y_pred, see)
    if logits is not None:
        probe._keras_logits = _identity(logits, see)
    for name in _LEFT_BY_KERAS:
        if hasattr(y_pred, name):
            setattr(probe, name, getattr(y_pred, name))
    return probe


def give_back(probe: Tensor, y_pred: Tensor) -> None:
    """Give the predictions what the loss left on their probe, for the losses after it."""
    if hasattr(probe, "_fastloss_step"):
        y_pred._fastloss_step = probe._fastloss_step


def _activation_of(y_pred: Tensor) -> str | None:
    if hasattr(y_pred, "numpy") or not hasattr(y_pred, "op"):
        return None
    return y_pred.op.type if y_pred.op.type in _ACTIVATIONS else None


def _identity(x: Tensor, see: Callable[[Tensor], None]) -> Tensor:
    @tf.custom_gradient
    def identity(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def backward(upstream: Tensor) -> Tensor:
            see(upstream)
            return upstream

        return tf.identity(x), backward

    return identity(x)
