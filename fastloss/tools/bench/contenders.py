"""Who is measured: Keras and fastloss in every execution mode, and the reference.

Every contender gets y_true and y_pred as arguments (captured tensors would be folded into
constants), returns the scalar loss and, unless forward only, the gradient with respect to y_pred.
The loss is read back to the host, so that no work is left in flight, and the gradient is dropped
before the next call, so that its buffer is free.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

import fastloss as fl
from fastloss.ops.context import has_gpu
from fastloss.tools.bench.cases import Case, LossSpec
from fastloss.tools.inputs import DOMAINS, make_inputs


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

    def make_call(
        self, spec: LossSpec, y_true: tf.Tensor, y_pred: tf.Tensor, *, forward_only: bool
    ) -> Callable[[], float]:
        """Builds what is timed; called twice, so that nothing is left to trace or compile."""
        step = self.make_step(spec, forward_only=forward_only)
        on_gpu = has_gpu()

        def call() -> float:
            if forward_only:
                value = step(y_true, y_pred)
            else:
                value, gradient = step(y_true, y_pred)
                if gradient is None:
                    raise RuntimeError(f"{self.label} gave no gradient for {spec.label}.")
            if on_gpu:
                tf.test.experimental.sync_devices()
            return float(value.numpy())

        # The backend is chosen when a function is traced, so the first call settles it.
        with fl.use_backend("reference") if self.library == "reference" else nullcontext():
            call()
            call()
        return call

    def make_step(self, spec: LossSpec, *, forward_only: bool) -> Callable[[Any, Any], Any]:
        """Builds a function of (y_true, y_pred) that gives the loss, or loss and gradient."""
        loss = _keras_loss(spec) if self.library == "keras" else _our_loss(spec)

        def forward(y_true: Any, y_pred: Any) -> Any:
            return loss(y_true, y_pred)

        def forward_and_gradient(y_true: Any, y_pred: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(y_pred)
                value = loss(y_true, y_pred)
            return value, tape.gradient(value, y_pred)

        step = forward if forward_only else forward_and_gradient
        if self.mode == "eager":
            return step
        compiled: Callable[[Any, Any], Any] = tf.function(
            step, autograph=False, jit_compile=self.mode == "xla"
        )
        return compiled


CONTENDERS: tuple[Contender, ...] = (
    Contender("keras_eager", "Keras, eager", "keras", "eager"),
    Contender("keras_graph", "Keras, graph", "keras", "graph"),
    Contender("keras_xla", "Keras, XLA", "keras", "xla"),
    Contender("fastloss_eager", "fastloss, eager", "fastloss", "eager"),
    Contender("fastloss_graph", "fastloss, graph", "fastloss", "graph"),
    Contender("fastloss_xla", "fastloss, XLA", "fastloss", "xla"),
    Contender("reference_graph", "reference, graph", "reference", "graph"),
)


def contenders_of(spec: LossSpec) -> tuple[Contender, ...]:
    """Who can run a loss, in the order of reports: Keras only where it has the loss."""
    if spec.baseline is not None or hasattr(keras.losses, spec.class_name):
        return CONTENDERS
    return tuple(one for one in CONTENDERS if one.library != "keras")


def make_tensors(spec: LossSpec, case: Case) -> tuple[tf.Tensor, tf.Tensor]:
    """The inputs of a case, y_true and y_pred."""
    y_true, y_pred = make_inputs(spec.domain, case.shape)
    label_dtype = DOMAINS[spec.domain].label_dtype(case.dtype)
    return tf.cast(y_true, label_dtype), tf.cast(y_pred, case.dtype)


class _Baseline(keras.losses.Loss):
    """A function as a Keras loss."""

    def __init__(self, name: str, function: Callable[[Any, Any], Any]) -> None:
        # TensorFlow's names of scopes have no signs such as those of a sum.
        super().__init__(name=re.sub(r"\W+", "_", name).strip("_"))
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """What the function gives."""
        return self.function(y_true, y_pred)


def _keras_loss(spec: LossSpec) -> Any:
    if spec.baseline is not None:
        return _Baseline(spec.name, spec.baseline)
    return getattr(keras.losses, spec.class_name)(**dict(spec.arguments))


def _our_loss(spec: LossSpec) -> Any:
    if spec.ours is not None:
        return spec.ours()
    return getattr(fl, spec.class_name)(**dict(spec.arguments))
