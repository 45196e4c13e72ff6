"""PyTorch on the CPU, for the losses it has; the only module that needs it.

The inputs are those of the other contenders, copied once: class numbers become int64, the only
type that `cross_entropy` takes, and leading dimensions become one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf
import torch
from torch.nn import functional

from fastloss.tools.bench.cases import LossSpec
from fastloss.tools.bench.inputs import DOMAINS
from fastloss.tools.bench.roof import default_threads


def _cross_entropy(y_true: Any, y_pred: Any) -> Any:
    # Class numbers and rows of probabilities alike.
    return functional.cross_entropy(y_pred, y_true)


def _cosine_similarity(y_true: Any, y_pred: Any) -> Any:
    return -functional.cosine_similarity(y_true, y_pred, dim=-1).mean()


def _kl_divergence(y_true: Any, y_pred: Any) -> Any:
    log_p = functional.log_softmax(y_true, dim=-1)
    log_q = functional.log_softmax(y_pred, dim=-1)
    return functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def _dice_and_crossentropy(y_true: Any, y_pred: Any) -> Any:
    from monai.losses import DiceCELoss

    epsilon = 1e-7
    loss = DiceCELoss(softmax=True, to_onehot_y=True, batch=True, smooth_nr=0, smooth_dr=epsilon)
    return loss(y_pred, y_true)


LOSSES: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        "sparse_categorical_crossentropy(from_logits=True)": _cross_entropy,
        "categorical_crossentropy(from_logits=True)": _cross_entropy,
        "cosine_similarity": _cosine_similarity,
        "kl_divergence(from_logits=True)": _kl_divergence,
        "dice+sparse_categorical_crossentropy": _dice_and_crossentropy,
    }
)
# Of images and volumes, whose classes MONAI has behind the batch.
_CHANNELS_FIRST = ("dice+sparse_categorical_crossentropy",)


def _as_torch(tensor: tf.Tensor) -> Any:
    if tensor.dtype == tf.bfloat16:
        # NumPy has no such type, so the bits travel as integers.
        bits = tf.bitcast(tensor, tf.int16).numpy()
        return torch.from_numpy(np.ascontiguousarray(bits)).view(torch.bfloat16)
    return torch.from_numpy(np.ascontiguousarray(tensor.numpy()))


def make_tensors(spec: LossSpec, y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[Any, Any]:
    """Copies the inputs.

    Args:
        spec: The loss.
        y_true: Labels.
        y_pred: Predictions.

    Returns:
        Labels and predictions of PyTorch, a row for each sample.
    """
    if spec.label in _CHANNELS_FIRST:
        labels = _as_torch(tf.cast(y_true, tf.int64)).unsqueeze(1)
        return labels, _as_torch(y_pred).movedim(-1, 1).contiguous()
    predictions = _as_torch(y_pred).reshape(-1, y_pred.shape[-1])
    if DOMAINS[spec.domain].has_class_numbers:
        return _as_torch(tf.cast(y_true, tf.int64)).reshape(-1), predictions
    return _as_torch(y_true).reshape(predictions.shape), predictions


def make_step(mode: str, spec: LossSpec, *, forward_only: bool) -> Callable[[Any, Any], Any]:
    """Builds the function of (y_true, y_pred) that is executed.

    Args:
        mode: `eager` or `compile`.
        spec: The loss.
        forward_only: Whether the gradient is left out.

    Returns:
        A function that returns the loss, or the loss and its gradient.
    """
    loss = LOSSES[spec.label]
    if mode == "compile":
        # Else the ninth shape of a function would quietly run in eager mode.
        torch.compiler.reset()
        loss = torch.compile(loss, dynamic=False)

    def forward(y_true: Any, y_pred: Any) -> Any:
        with torch.no_grad():
            return loss(y_true, y_pred)

    def forward_and_gradient(y_true: Any, y_pred: Any) -> Any:
        value = loss(y_true, y_pred)
        (gradient,) = torch.autograd.grad(value, y_pred)
        return value.detach(), gradient

    return forward if forward_only else forward_and_gradient


def _reason(error: Exception) -> str:
    """The first line of what the compiler said; torch.compile wraps it in words about itself."""
    inner = getattr(error, "inner_exception", error)
    return (str(inner).strip() or type(inner).__name__).splitlines()[0]


def make_call(
    mode: str, spec: LossSpec, y_true: tf.Tensor, y_pred: tf.Tensor, *, forward_only: bool
) -> Callable[[], float]:
    """Builds what is timed, and calls it twice, so that nothing is left to compile.

    Args:
        mode: `eager` or `compile`.
        spec: The loss.
        y_true: Labels.
        y_pred: Predictions.
        forward_only: Whether the gradient is left out.

    Returns:
        A function without arguments that returns the loss.

    Raises:
        RuntimeError: `torch.compile` does not work here, for instance for want of a compiler.
    """
    # TensorFlow says 0 where it chooses for itself, and it chooses all.
    torch.set_num_threads(
        tf.config.threading.get_intra_op_parallelism_threads() or default_threads()
    )
    labels, predictions = make_tensors(spec, y_true, y_pred)
    predictions.requires_grad_(not forward_only)
    step = make_step(mode, spec, forward_only=forward_only)

    def call() -> float:
        if forward_only:
            return float(step(labels, predictions))
        value, _ = step(labels, predictions)
        return float(value)

    try:
        call()
        call()
    except Exception as error:
        if mode == "compile":
            raise RuntimeError(f"torch.compile failed: {_reason(error)}") from error
        raise
    return call
