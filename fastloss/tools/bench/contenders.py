"""Who is measured: Keras and fastloss in every execution mode, the reference, and PyTorch.

Every contender gets y_true and y_pred as arguments (captured tensors would be folded into
constants), returns the scalar loss and, unless forward only, the gradient with respect to y_pred.
The loss is read back to the host, so that no work is left in flight, and the gradient is dropped
before the next call, so that its buffer is free.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import keras
import tensorflow as tf

import fastloss as fl
from fastloss.ops.context import has_gpu
from fastloss.tools.bench.cases import Case, LossSpec
from fastloss.tools.bench.custom import CUSTOM
from fastloss.tools.bench.inputs import DOMAINS, make_inputs
from fastloss.tools.bench.keras_baselines import stand_in
from fastloss.tools.bench.sums import SUMS


@dataclass(frozen=True)
class Contender:
    """A library in an execution mode.

    Attributes:
        name: Key of the CSV, `keras_graph`.
        label: Name in tables and pictures.
        library: `keras`, `fastloss`, `reference` or `torch`.
        mode: `eager`, `graph` (`tf.function`), `xla` (`tf.function(jit_compile=True)`) or
            `compile` (`torch.compile`).
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


TORCH_CONTENDERS: tuple[Contender, ...] = (
    Contender("torch_eager", "PyTorch, eager", "torch", "eager"),
    Contender("torch_compile", "PyTorch, compiled", "torch", "compile"),
)
# By label, so that nobody imports PyTorch to learn that it has no such loss.
TORCH_LOSSES: frozenset[str] = frozenset(
    {
        "sparse_categorical_crossentropy(from_logits=True)",
        "categorical_crossentropy(from_logits=True)",
        "cosine_similarity",
        "kl_divergence(from_logits=True)",
    }
)
# Of MONAI, which is on top of PyTorch.
MONAI_LOSSES: frozenset[str] = frozenset({"dice+sparse_categorical_crossentropy"})


@cache
def torch_version() -> str | None:
    """The version of PyTorch, which this imports; None where it cannot be imported."""
    try:
        import torch
    except (ImportError, OSError):  # The latter for a library that its wheel does not find.
        return None
    return str(torch.__version__)


def contenders_of(spec: LossSpec) -> tuple[Contender, ...]:
    """Who can run a loss; imports PyTorch if that has the loss.

    Args:
        spec: The loss.

    Returns:
        The contenders, in the order of reports; MONAI's losses count as PyTorch's.
    """
    written = spec.label in TORCH_LOSSES or (spec.label in MONAI_LOSSES and find_spec("monai"))
    if written and torch_version() is not None:
        return CONTENDERS + TORCH_CONTENDERS
    if spec.name in CUSTOM:
        # No kernel of ours is in them, so that the reference is the same.
        return tuple(one for one in CONTENDERS if one.library != "reference")
    return CONTENDERS


def make_loss(library: str, spec: LossSpec) -> Callable[[Any, Any], Any]:
    """Builds the loss object of a library.

    Args:
        library: `keras`, `fastloss` or `reference`.
        spec: The loss.

    Returns:
        A Keras loss.
    """
    if library == "keras":
        written = stand_in(spec)
        if written is not None:
            return written
    elif spec.name in (composed := {**SUMS, **CUSTOM}):
        fused: Callable[[Any, Any], Any] = composed[spec.name].fused()
        return fused
    found: Any = getattr(keras.losses if library == "keras" else fl, spec.class_name, None)
    if found is None:
        raise ValueError(f"{library} has no {spec.class_name}.")
    loss: Callable[[Any, Any], Any] = found(**dict(spec.arguments))
    return loss


def make_tensors(spec: LossSpec, case: Case) -> tuple[tf.Tensor, tf.Tensor]:
    """The inputs of a case.

    Args:
        spec: The loss, which says what kind of inputs it takes.
        case: Shape and dtype of the predictions.

    Returns:
        y_true and y_pred.
    """
    y_true, y_pred = make_inputs(spec.domain, case.shape)
    label_dtype = DOMAINS[spec.domain].label_dtype(case.dtype)
    return tf.cast(y_true, label_dtype), tf.cast(y_pred, case.dtype)


def make_step(
    contender: Contender, spec: LossSpec, *, forward_only: bool
) -> Callable[[Any, Any], Any]:
    """Builds the function of (y_true, y_pred) that a contender of TensorFlow executes.

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
    if contender.library == "torch":
        from fastloss.tools.bench import pytorch

        return pytorch.make_call(contender.mode, spec, y_true, y_pred, forward_only=forward_only)
    step = make_step(contender, spec, forward_only=forward_only)
    on_gpu = has_gpu()

    def call() -> float:
        if forward_only:
            value = step(y_true, y_pred)
        else:
            value, gradient = step(y_true, y_pred)
            if gradient is None:
                raise RuntimeError(f"{contender.label} gave no gradient for {spec.label}.")
        if on_gpu:
            tf.test.experimental.sync_devices()
        return float(value.numpy())

    # The backend is chosen when a function is traced, so the first call settles it.
    with _backend(contender):
        call()
        call()
    return call
