"""A quick test of every loss on every device: value and gradient against float64."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from inspect import signature
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from fastloss import ops, reference
from fastloss.calls import Inputs, Layout, OverlapOptions, Reduction
from fastloss.ops.library import LoadError, why_not_on_gpu
from fastloss.registry import kernel

Loss: TypeAlias = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# Largest error allowed in a value, relative, and in a gradient, as a share of its largest entry.
BOUND = 2e-5
BUDGET_SECONDS = 8.0

_PARAMETERS = {
    "alpha": 0.3,
    "balance": 0.25,
    "base": 0.5,
    "beta": 0.6,
    "delta": 0.2,
    "epsilon": 1e-7,
    "gamma": 1.5,
    "label_smoothing": 0.1,
    "power": 2.0,
    "q": 0.7,
    "smooth_denominator": 1.0,
    "smooth_numerator": 0.5,
    "tau": 0.3,
}
_ROWS, _COLUMNS = 41, 7


class Case(NamedTuple):
    """A loss with the data that it is called on."""

    pattern: str
    name: str
    loss: Loss
    y_true: np.ndarray
    y_pred: np.ndarray


def cases() -> Iterator[Case]:
    """Every loss that has a kernel."""
    random = np.random.default_rng(5)
    yield from map(partial(_elementwise, random), reference.LOSSES)
    yield from map(partial(_rowwise, random), reference.ROWWISE_LOSSES)
    yield from map(partial(_overlap, random), reference.OVERLAP_LOSSES)
    yield from map(partial(_boxes, random), reference.BOX_LOSSES)


def run(budget: float = BUDGET_SECONDS) -> dict[str, Any]:
    """Test them all, for as long as the budget lasts.

    Returns:
        Facts as JSON can hold them: for each device what served, how many losses were tested, what
        failed, whether XLA compiles there, and how many losses the time was too short for.
    """
    start = time.perf_counter()
    everything = list(cases())
    expected = {}
    with ops.use_backend("reference"), tf.device("/CPU:0"):
        for case in everything:
            expected[case.name, case.pattern] = _value_and_gradient(case, tf.float64)
    devices = {}
    for device in tf.config.list_logical_devices():
        if device.device_type not in ("CPU", "GPU"):
            continue
        backend = _fused_if_it_runs(on_gpu=device.device_type == "GPU")
        failures: list[str] = []
        tested = 0
        with ops.use_backend(backend), tf.device(device.name):
            for case in everything:
                if time.perf_counter() - start > budget:
                    break
                tested += 1
                failures.extend(_failures(case, expected[case.name, case.pattern]))
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

    @tf.function(jit_compile=True, autograph=False)
    def compiled(y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = _called(ops.elementwise, "mean_squared_error")(tf.zeros_like(y_pred), y_pred)
        return value, tape.gradient(value, y_pred)

    try:
        with tf.device(device):
            value, gradient = compiled(y_pred)
    except (tf.errors.OpError, ValueError, TypeError, RuntimeError) as error:
        return str(error).splitlines()[0][:300]
    exact = np.allclose(value, np.mean(np.square(y_pred))) and np.allclose(gradient, y_pred / 6)
    return "" if exact else "it gives other numbers"


def _parameters(function: Callable[..., Any]) -> tuple[float, ...]:
    return tuple(
        _PARAMETERS[name] for name in signature(function).parameters if name in _PARAMETERS
    )


def _called(op: Callable[..., tf.Tensor], name: str, *options: Any) -> Loss:
    tables = {
        "elementwise": reference.LOSSES,
        "rowwise": reference.ROWWISE_LOSSES,
        "overlap": reference.OVERLAP_LOSSES,
        "boxes": reference.BOX_LOSSES,
    }
    parameters = _parameters(tables[op.__name__][name])

    def loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        inputs = Inputs(y_true, y_pred, None, Reduction("mean"))
        return op(name, parameters, inputs, *options)

    return loss


def _elementwise(random: np.random.Generator, name: str) -> Case:
    shape = (_ROWS, _COLUMNS)
    y_pred = random.normal(size=shape) * 2 if "logits" in name else random.uniform(0.1, 0.9, shape)
    y_true = random.uniform(0.1, 0.9, shape)
    if "binary" in name or "hinge" in name:
        y_true = np.round(y_true)
    return Case("elementwise", name, _called(ops.elementwise, name), y_true, y_pred)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits)
    return powers / powers.sum(axis=-1, keepdims=True)


def _rowwise(random: np.random.Generator, name: str) -> Case:
    y_pred, y_true = random.normal(size=(2, _ROWS, _COLUMNS)) * 2
    if "logits" not in name:
        y_pred = _softmax(y_pred)
    if kernel(name).sparse:
        y_true = random.integers(0, _COLUMNS, _ROWS)
    elif "hinge" in name:
        y_true = np.eye(_COLUMNS)[random.integers(0, _COLUMNS, _ROWS)]
    elif not name.endswith("divergence_from_logits"):
        y_true = _softmax(y_true)
    loss = _called(ops.rowwise, name, 1)
    return Case("rowwise", name, loss, y_true, y_pred)


def _overlap(random: np.random.Generator, name: str) -> Case:
    shape = (3, 9, 8, 4)
    y_true, y_pred = np.round(random.random(shape)), random.normal(size=shape)
    options = OverlapOptions(activation="sigmoid")
    loss = _called(ops.overlap, name, options, Layout((0,), 3))
    return Case("overlap", name, loss, y_true, y_pred)


def _boxes(random: np.random.Generator, name: str) -> Case:
    centre, size = random.random((_ROWS, 2)), random.uniform(0.3, 1.0, (_ROWS, 2))
    y_true = np.concatenate([centre - size, centre + size], axis=1)
    y_pred = y_true + random.normal(size=y_true.shape) * 0.1
    return Case("boxes", name, _called(ops.boxes, name, "corners"), y_true, y_pred)
