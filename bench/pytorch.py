"""PyTorch and MONAI on the CPU as contenders, for the losses they have.

The inputs are those of the other contenders, copied once: class numbers become int64, the only
type that `cross_entropy` takes, and leading dimensions become one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from fastloss.tools.bench.cases import LossSpec
from fastloss.tools.bench.contenders import Contender
from fastloss.tools.inputs import DOMAINS
from fastloss.tools.machine import available_cpus


@cache
def version() -> str | None:
    """The version of PyTorch, which this imports; None where it cannot be imported."""
    try:
        import torch
    except (ImportError, OSError):  # The latter for a library that its wheel does not find.
        return None
    return str(torch.__version__)


def contenders_of(spec: LossSpec) -> tuple[Contender, ...]:
    """PyTorch, eager and compiled, if it has the loss; it is imported only then."""
    if spec.label not in LOSSES or version() is None:
        return ()
    if spec.label in _MONAI and find_spec("monai") is None:
        return ()
    return CONTENDERS


def _cross_entropy(y_true: Any, y_pred: Any) -> Any:
    from torch.nn import functional

    # Class numbers and rows of probabilities alike.
    return functional.cross_entropy(y_pred, y_true)


def _cosine_similarity(y_true: Any, y_pred: Any) -> Any:
    from torch.nn import functional

    return -functional.cosine_similarity(y_true, y_pred, dim=-1).mean()


def _kl_divergence(y_true: Any, y_pred: Any) -> Any:
    from torch.nn import functional

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
"""The losses by label."""

# Of images and volumes, whose classes it has behind the batch.
_MONAI = ("dice+sparse_categorical_crossentropy",)


@dataclass(frozen=True)
class TorchContender(Contender):
    """PyTorch, whose mode is `eager` or `compile` (`torch.compile`)."""

    def make_call(
        self, spec: LossSpec, y_true: tf.Tensor, y_pred: tf.Tensor, *, forward_only: bool
    ) -> Callable[[], float]:
        """See `Contender.make_call`.

        Raises:
            RuntimeError: `torch.compile` does not work here, for instance for want of a compiler.
        """
        import torch

        # TensorFlow says 0 where it chooses for itself, and it chooses all.
        torch.set_num_threads(
            tf.config.threading.get_intra_op_parallelism_threads() or available_cpus()
        )
        labels, predictions = make_tensors(spec, y_true, y_pred)
        predictions.requires_grad_(not forward_only)
        step = self.make_step(spec, forward_only=forward_only)

        def call() -> float:
            if forward_only:
                return float(step(labels, predictions))
            value, _ = step(labels, predictions)
            return float(value)

        try:
            call()
            call()
        except Exception as error:
            if self.mode == "compile":
                raise RuntimeError(f"torch.compile failed: {_reason(error)}") from error
            raise
        return call

    def make_step(self, spec: LossSpec, *, forward_only: bool) -> Callable[[Any, Any], Any]:
        """See `Contender.make_step`."""
        import torch

        loss = LOSSES[spec.label]
        if self.mode == "compile":
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


CONTENDERS: tuple[Contender, ...] = (
    TorchContender("torch_eager", "PyTorch, eager", "torch", "eager"),
    TorchContender("torch_compile", "PyTorch, compiled", "torch", "compile"),
)


def make_tensors(spec: LossSpec, y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[Any, Any]:
    """Copies the inputs."""
    if spec.label in _MONAI:
        labels = _as_torch(tf.cast(y_true, tf.int64)).unsqueeze(1)
        return labels, _as_torch(y_pred).movedim(-1, 1).contiguous()
    predictions = _as_torch(y_pred).reshape(-1, y_pred.shape[-1])
    if DOMAINS[spec.domain].has_class_numbers:
        return _as_torch(tf.cast(y_true, tf.int64)).reshape(-1), predictions
    return _as_torch(y_true).reshape(predictions.shape), predictions


def _as_torch(tensor: tf.Tensor) -> Any:
    import torch

    if tensor.dtype == tf.bfloat16:
        # NumPy has no such type, so the bits travel as integers.
        bits = tf.bitcast(tensor, tf.int16).numpy()
        return torch.from_numpy(np.ascontiguousarray(bits)).view(torch.bfloat16)
    return torch.from_numpy(np.ascontiguousarray(tensor.numpy()))


def _reason(error: Exception) -> str:
    """The first line of what the compiler said; torch.compile wraps it in words about itself."""
    inner = getattr(error, "inner_exception", error)
    return (str(inner).strip() or type(inner).__name__).splitlines()[0]
