"""Who is measured: Keras and fastloss in every execution mode, and the reference.

Every contender gets y_true and y_pred as arguments (captured tensors would be folded into
constants), returns the scalar loss and, unless forward only, the gradient with respect to y_pred.
The loss is read back to the host, so that no work is left in flight, and the gradient is dropped
before the next call, so that its buffer is free.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

import fastloss as fl
from fastloss.benchmark.cases import Case, LossSpec, make_inputs


@dataclass(frozen=True)
class Contender:
    """A library in an execution mode.

    Attributes:
        name: Key of the CSV, `keras_graph`.
        label: Name in tables and pictures.
        library: `keras`, `fastloss` or `reference`.
        mode: `eager`, `graph` (`tf.function`) or `xla` (`tf.function(jit_compile=True)`).
    """

    name: str
    label: str
    library: str
    mode: str


CONTENDERS: tuple[Contender, ...] = (
    Contender("keras_eager", "Keras, eager", "keras", "eager"),
    Contender("keras_graph", "Keras, graph", "keras", "graph"),
    Contender("keras_xla", "Keras, XLA", "keras", "xla"),
    Contender("fastloss_eager", "fastloss, eager", "fastloss", "eager"),
    Contender("fastloss_graph", "fastloss, graph", "fastloss", "graph"),
    Contender("fastloss_xla", "fastloss, XLA", "fastloss", "xla"),
    Contender("reference_graph", "reference, graph", "reference", "graph"),
)


class _KerasPinball(keras.losses.Loss):
    """The pinball loss as it is written with `keras.ops`; Keras itself has none."""

    def __init__(self, tau: float) -> None:
        super().__init__(name="pinball")
        self.tau = tau

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Rows of the loss."""
        error = y_true - y_pred
        return keras.ops.mean(keras.ops.maximum(self.tau * error, (self.tau - 1) * error), axis=-1)


def make_loss(library: str, spec: LossSpec) -> Callable[[Any, Any], Any]:
    """Builds the loss object of a library.

    Args:
        library: `keras`, `fastloss` or `reference`.
        spec: The loss.

    Returns:
        A Keras loss.
    """
    if library == "keras":
        found: Any = getattr(keras.losses, spec.class_name, None)
        if found is None and spec.name == "pinball":
            found = _KerasPinball
    else:
        found = getattr(fl, spec.class_name, None)
    if found is None:
        raise ValueError(f"{library} has no {spec.class_name}.")
    loss: Callable[[Any, Any], Any] = found(**dict(spec.arguments))
    return loss


def make_tensors(spec: LossSpec, case: Case) -> tuple[tf.Tensor, tf.Tensor]:
    """The inputs of a case.

    Args:
        spec: The loss, which says what kind of inputs it takes.
        case: Shape and dtype.

    Returns:
        y_true and y_pred.
    """
    y_true, y_pred = make_inputs(spec.domain, case.shape)
    return tf.cast(y_true, case.dtype), tf.cast(y_pred, case.dtype)


def make_step(
    contender: Contender, spec: LossSpec, *, forward_only: bool
) -> Callable[[Any, Any], Any]:
    """Builds the function of (y_true, y_pred) that a contender executes.

    Args:
        contender: Library and mode.
        spec: The loss.
        forward_only: Whether the gradient is left out.

    Returns:
        A function that returns the loss, or the loss and its gradient.
    """
    loss = make_loss(contender.library, spec)

    def forward(y_true: Any, y_pred: Any) -> Any:
        return loss(y_true, y_pred)

    def forward_and_gradient(y_true: Any, y_pred: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, y_pred)
        return value, tape.gradient(value, y_pred)

    step = forward if forward_only else forward_and_gradient
    if contender.mode == "eager":
        return step
    compiled: Callable[[Any, Any], Any] = tf.function(
        step, autograph=False, jit_compile=contender.mode == "xla"
    )
    return compiled


def _backend(contender: Contender) -> AbstractContextManager[Any]:
    if contender.library == "reference":
        backend: AbstractContextManager[Any] = fl.use_backend("reference")
        return backend
    return nullcontext()


def make_call(
    contender: Contender,
    spec: LossSpec,
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    *,
    forward_only: bool,
) -> Callable[[], float]:
    """Builds what is timed, and calls it twice, so that nothing is left to trace or compile.

    Args:
        contender: Library and mode.
        spec: The loss.
        y_true: Labels.
        y_pred: Predictions.
        forward_only: Whether the gradient is left out.

    Returns:
        A function without arguments that returns the loss.
    """
    step = make_step(contender, spec, forward_only=forward_only)
    has_gpu = bool(tf.config.list_logical_devices("GPU"))

    def call() -> float:
        if forward_only:
            value = step(y_true, y_pred)
        else:
            value, gradient = step(y_true, y_pred)
            if gradient is None:
                raise RuntimeError(f"{contender.label} gave no gradient for {spec.label}.")
        if has_gpu:
            tf.test.experimental.sync_devices()
        return float(value.numpy())

    # The backend is chosen when a function is traced, so the first call settles it.
    with _backend(contender):
        call()
        call()
    return call
