"""A quick test of every loss on every device: value and gradient against float64."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from fastloss import ops, registry
from fastloss.calls import Inputs, Layout, OverlapOptions, Reduction
from fastloss.ops.library import LoadError, why_not_on_gpu
from fastloss.parameters import range_of
from fastloss.registry import Kernel, Pattern
from fastloss.tools.inputs import domain_of, make_inputs

Loss: TypeAlias = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# Largest error allowed in a value, relative, and in a gradient, as a share of its largest entry.
BOUND = 2e-5
BUDGET_SECONDS = 8.0

_SHAPES = {
    Pattern.ELEMENTWISE: (41, 7),
    Pattern.ROWWISE: (41, 7),
    Pattern.OVERLAP: (3, 9, 8, 4),
    Pattern.BOXES: (41, 4),
}


class Case(NamedTuple):
    """A loss with the data that it is called on."""

    pattern: str
    name: str
    loss: Loss
    y_true: np.ndarray
    y_pred: np.ndarray


def cases() -> Iterator[Case]:
    """Every loss that has a kernel."""
    for pattern, shape in _SHAPES.items():
        for kernel in registry.kernels(pattern):
            loss = registry.loss_of_kernel(kernel.name)
            # Regions are told from scores, by a sigmoid.
            domain = domain_of(loss, kernel.from_logits or pattern is Pattern.OVERLAP)
            inputs = make_inputs(domain, shape, seed=5)
            yield Case(pattern.value, kernel.name, _mean_loss(kernel), *inputs)


def _mean_loss(kernel: Kernel) -> Loss:
    public = registry.loss_of_kernel(kernel.name).name
    parameters = tuple(range_of(public, name).sample for name in kernel.parameters)
    op: Callable[..., tf.Tensor] = getattr(ops, kernel.pattern.value)
    rest: tuple[Any, ...] = {
        Pattern.ELEMENTWISE: (),
        Pattern.ROWWISE: (1,),
        Pattern.OVERLAP: (OverlapOptions(activation="sigmoid"), Layout((0,), 3)),
        Pattern.BOXES: ("corners",),
    }[kernel.pattern]

    def loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        inputs = Inputs(y_true, y_pred, reduction=Reduction("mean"))
        return op(kernel.name, parameters, inputs, *rest)

    return loss


def run(budget: float = BUDGET_SECONDS) -> dict[str, Any]:
    """Test them all, for as long as the budget lasts.

    Returns:
        Facts as JSON can hold them: for each device what served, how many losses were tested, what
        failed, whether XLA compiles there, and how many losses the time was too short for.
    """
    start = time.perf_counter()
    everything = list(cases())
    with ops.use_backend("reference"), tf.device("/CPU:0"):
        expected = [_value_and_gradient(case, tf.float64) for case in everything]
    devices = {}
    for device in tf.config.list_logical_devices():
        if device.device_type not in ("CPU", "GPU"):
            continue
        backend = _fused_if_it_runs(on_gpu=device.device_type == "GPU")
        failures: list[str] = []
        tested = 0
        with ops.use_backend(backend), tf.device(device.name):
            for case, right in zip(everything, expected, strict=True):
                if time.perf_counter() - start > budget:
                    break
                tested += 1
                failures.extend(_failures(case, right))
        devices[device.name.removeprefix("/device:")] = {
            "backend": backend,
            "tested": tested,
            "left_out": len(everything) - tested,
            "failures": failures,
            "xla": _compiled_by_xla(device.name),
        }
    return {"devices": devices, "seconds": round(time.perf_counter() - start, 2)}


def _fused_if_it_runs(on_gpu: bool) -> str:
    try:
        lacking = why_not_on_gpu()
    except LoadError:
        return "reference"
    return "reference" if on_gpu and lacking else "fused"


def _value_and_gradient(case: Case, dtype: tf.DType) -> tuple[float, np.ndarray]:
    y_true = tf.constant(case.y_true, None if case.y_true.dtype.kind in "iu" else dtype)
    y_pred = tf.constant(case.y_pred, dtype)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = case.loss(y_true, y_pred)
    return float(value), tf.cast(tape.gradient(value, y_pred), tf.float64).numpy()


def _failures(case: Case, expected: tuple[float, np.ndarray]) -> list[str]:
    name = f"{case.pattern} {case.name}"
    try:
        value, gradient = _value_and_gradient(case, tf.float32)
    except (tf.errors.OpError, ValueError, TypeError, RuntimeError) as error:
        return [f"{name}: {str(error).splitlines()[0][:200]}"]
    found = []
    off = abs(value - expected[0]) / max(abs(expected[0]), 1e-3)
    if not off <= BOUND:
        found.append(f"{name}: its value is {value:.7g}, expected {expected[0]:.7g}")
    off = float(np.max(abs(gradient - expected[1])) / np.max(abs(expected[1])))
    if not off <= BOUND:
        found.append(f"{name}: its gradient is off by {off:.1e} of its largest entry")
    return found


def _compiled_by_xla(device: str) -> str:
    """Empty if XLA compiles a loss and its gradient there, else why not."""
    y_pred = tf.constant(np.linspace(-1, 1, 12).reshape(3, 4), tf.float32)
    loss = _mean_loss(registry.kernel("mean_squared_error"))

    @tf.function(jit_compile=True, autograph=False)
    def compiled(y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(tf.zeros_like(y_pred), y_pred)
        return value, tape.gradient(value, y_pred)

    try:
        with tf.device(device):
            value, gradient = compiled(y_pred)
    except (tf.errors.OpError, ValueError, TypeError, RuntimeError) as error:
        return str(error).splitlines()[0][:300]
    exact = np.allclose(value, np.mean(np.square(y_pred))) and np.allclose(gradient, y_pred / 6)
    return "" if exact else "it gives other numbers"
