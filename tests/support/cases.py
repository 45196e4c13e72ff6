"""The losses with arguments and data on which they are tested."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import fastloss as fl
from fastloss import reference

Array = np.ndarray

BFLOAT16 = tf.bfloat16.as_numpy_dtype
PREDICTION_DTYPES = ("float32", "float64", "bfloat16", "float16")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
LABEL_DTYPES = ("bool", *INTEGERS, *PREDICTION_DTYPES)
REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None)

# Largest error against float64, as a share of the largest number in the result. Losses of half
# types are float32; their gradients are rounded once, to the half type.
LOSS_BOUNDS = {"float64": 1e-12, "float32": 4e-6, "bfloat16": 4e-6, "float16": 4e-6}
GRADIENT_BOUNDS = {"float64": 1e-12, "float32": 4e-6, "bfloat16": 4e-3, "float16": 6e-4}


class FromFunction(keras.losses.MeanSquaredError):
    """A Keras loss, rank adjustment included, of a function that Keras does not have."""

    def __init__(self, function: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.fn = function


def pinball_in_keras(tau: float = 0.5, **arguments: Any) -> keras.losses.Loss:
    def pinball(y_true: Any, y_pred: Any) -> Any:
        error = y_true - y_pred
        return keras.ops.mean(keras.ops.maximum(tau * error, (tau - 1) * error), axis=-1)

    return FromFunction(pinball, **arguments)


def log_cosh_in_keras(**arguments: Any) -> keras.losses.Loss:
    """Keras takes log(2) in float32 even for float64, which is 1.9e-9 off."""

    def log_cosh(y_true: Any, y_pred: Any) -> Any:
        error = y_pred - y_true
        return keras.ops.mean(error + keras.ops.softplus(-2 * error) - np.log(2), axis=-1)

    return FromFunction(log_cosh, **arguments)


def defined_in_keras(
    loss: str, parameters: dict[str, float], **arguments: Any
) -> keras.losses.Loss:
    """The definition of a loss that Keras does not have; its parameters are those of the kernel."""
    definition = partial(reference.LOSSES[loss], **parameters)
    return FromFunction(lambda t, p: keras.ops.mean(definition(t, p), axis=-1), **arguments)


def weighted_crossentropy_in_keras(
    pos_weight: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    **arguments: Any,
) -> keras.losses.Loss:
    """Binary cross-entropy with PyTorch's pos_weight, in TensorFlow ops."""

    def weighted_crossentropy(y_true: Any, y_pred: Any) -> Any:
        y_true.shape.assert_is_compatible_with(y_pred.shape)
        weight = tf.constant(pos_weight, y_pred.dtype)
        y_true = y_true * (1 - label_smoothing) + 0.5 * label_smoothing
        if from_logits:
            value = tf.nn.weighted_cross_entropy_with_logits(y_true, y_pred, weight)
        else:
            y_pred = keras.ops.clip(y_pred, keras.config.epsilon(), 1 - keras.config.epsilon())
            hit = weight * y_true * tf.math.log(y_pred)
            value = -(hit + (1 - y_true) * tf.math.log(1 - y_pred))
        return keras.ops.mean(value, axis=axis)

    return FromFunction(weighted_crossentropy, **arguments)


@dataclass(frozen=True)
class Case:
    """A loss with arguments, and what its labels and predictions look like."""

    loss: str
    public: str
    labels: str
    predictions: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        extra = [f"{name}={value}" for name, value in self.arguments.items()]
        return "-".join([self.public, self.labels, *extra]).replace(" ", "")

    @property
    def function(self) -> str:
        """Name of the public function."""
        return self.loss.removesuffix("_from_logits")

    def ours(self, **arguments: Any) -> Any:
        return getattr(fl, self.public)(**self.arguments, **arguments)

    def keras(self, **arguments: Any) -> Any:
        if self.public == "Pinball":
            return pinball_in_keras(**self.arguments, **arguments)
        if self.public == "LogCosh":
            return log_cosh_in_keras(**self.arguments, **arguments)
        if "pos_weight" in self.arguments:
            return weighted_crossentropy_in_keras(**self.arguments, **arguments)
        if not hasattr(keras.losses, self.public):
            return defined_in_keras(self.loss, self.arguments, **arguments)
        return getattr(keras.losses, self.public)(**self.arguments, **arguments)

    def data(
        self,
        shape: tuple[int, ...],
        dtype: str = "float32",
        label_dtype: str | None = None,
        seed: int = 0,
    ) -> tuple[Array, Array]:
        """Labels and predictions, away from the ends of their ranges."""
        random = np.random.default_rng(seed)
        labels = draw(self.labels, shape, label_dtype or dtype, random)
        return labels, draw(self.predictions, shape, dtype, random)


def numpy_dtype(name: str) -> Any:
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)


def draw(kind: str, shape: tuple[int, ...], dtype: str, random: np.random.Generator) -> Array:
    """Random numbers of a kind; integer dtypes get the integers of that kind."""
    whole = dtype in ("bool", *INTEGERS)
    unsigned = dtype in ("bool", "uint8", "uint16", "uint32", "uint64")
    if kind in ("binary", "sign") or (whole and kind == "probability"):
        values = random.integers(0, 2, shape)
        if kind == "sign":
            values = np.where(values == 0, 2 if unsigned else -1, 1)
    elif whole:
        values = random.integers(0 if unsigned or kind == "positive" else -4, 5, shape)
    elif kind == "real":
        values = random.normal(0, 2, shape)
    elif kind == "positive":
        values = random.uniform(0.05, 4, shape)
    else:
        assert kind == "probability", kind
        values = random.uniform(0.02, 0.98, shape)
    return np.asarray(values).astype(numpy_dtype(dtype))


def _binary(public: str, loss: str, **arguments: Any) -> Case:
    logits = arguments.get("from_logits", False)
    labels = "probability" if arguments.pop("soft", False) else "binary"
    return Case(
        f"{loss}_from_logits" if logits else loss,
        public,
        labels,
        "real" if logits else "probability",
        arguments,
    )


_BCE = ("BinaryCrossentropy", "binary_crossentropy")
_FOCAL = ("BinaryFocalCrossentropy", "binary_focal_crossentropy")

CASES = (
    Case("mean_squared_error", "MeanSquaredError", "real", "real"),
    Case("mean_absolute_error", "MeanAbsoluteError", "real", "real"),
    Case("mean_absolute_percentage_error", "MeanAbsolutePercentageError", "positive", "real"),
    Case("mean_squared_logarithmic_error", "MeanSquaredLogarithmicError", "positive", "positive"),
    Case("huber", "Huber", "real", "real"),
    Case("huber", "Huber", "real", "real", {"delta": 0.3}),
    Case("smooth_l1", "SmoothL1", "real", "real", {"beta": 0.5}),
    Case("log_cosh", "LogCosh", "real", "real"),
    Case("poisson", "Poisson", "positive", "positive"),
    Case("hinge", "Hinge", "sign", "real"),
    Case("hinge", "Hinge", "binary", "real"),
    Case("squared_hinge", "SquaredHinge", "sign", "real"),
    Case("squared_hinge", "SquaredHinge", "binary", "real"),
    Case("kl_divergence", "KLDivergence", "probability", "probability"),
    Case("pinball", "Pinball", "real", "real", {"tau": 0.9}),
    _binary(*_BCE),
    _binary(*_BCE, label_smoothing=0.2, soft=True),
    _binary(*_BCE, pos_weight=3.0),
    _binary(*_BCE, from_logits=True),
    _binary(*_BCE, from_logits=True, label_smoothing=0.1),
    _binary(*_BCE, from_logits=True, pos_weight=2.5, soft=True),
    _binary(*_FOCAL),
    _binary(*_FOCAL, apply_class_balancing=True, alpha=0.3, gamma=1.5, label_smoothing=0.1),
    _binary(*_FOCAL, from_logits=True, soft=True),
    _binary(*_FOCAL, from_logits=True, apply_class_balancing=True, gamma=3.0, label_smoothing=0.1),
)
IDS = [case.id for case in CASES]
# One for each way through the code: mean and sum over rows, labels looked at first, pos_weight.
CORE = tuple(
    case
    for case in CASES
    if (case.public, case.labels) in (("KLDivergence", "probability"), ("Hinge", "binary"))
    or case.arguments in ({"delta": 0.3}, {"from_logits": True, "pos_weight": 2.5})
)
CORE_IDS = [case.id for case in CORE]


def find(public: str) -> Case:
    """The first case of a class."""
    return next(case for case in CASES if case.public == public)


def float64(x: Any) -> Array:
    return tf.cast(x, tf.float64).numpy()


def value_and_gradient(loss: Any, y_true: Any, y_pred: Any, *weight: Any) -> tuple[Any, Any]:
    """The loss, and the gradient of its sum with respect to y_pred."""
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred, *weight)
    return value, tape.gradient(value, y_pred)


def in_keras(case: Case, y_true: Any, y_pred: Any, *weight: Any, **arguments: Any) -> Any:
    """Keras's loss and gradient of the same numbers, in float64."""
    loss = case.keras(dtype="float64", **arguments)
    wide = [None if x is None else float64(x) for x in weight]
    return value_and_gradient(loss, float64(y_true), float64(y_pred), *wide)


def assert_close(
    actual: Any, expected: Any, share: float, what: str = "", tiny: float = 0.0
) -> None:
    """Equal shapes, and no error larger than `share` of the largest finite number expected."""
    actual, expected = float64(actual), float64(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, not {expected.shape}"
    finite = np.abs(expected[np.isfinite(expected)])
    limit = share * finite.max(initial=0) + tiny
    np.testing.assert_allclose(actual, expected, rtol=0, atol=limit, err_msg=what)


def assert_same(ours: tuple[Any, Any], theirs: tuple[Any, Any], dtype: str, what: str = "") -> None:
    """Loss and gradient within the bounds of the dtype of y_pred."""
    # Losses whose terms have both signs may cancel to something smaller than their rounding.
    floor = LOSS_BOUNDS[dtype] / 4 if np.any(float64(theirs[0])) else 0.0
    assert_close(ours[0], theirs[0], LOSS_BOUNDS[dtype], f"loss {what}", floor)
    if theirs[1] is None:
        assert ours[1] is None, f"gradient {what}"
        return
    expected, tiny = float64(theirs[1]), 0.0
    if dtype == "float16":
        tiny = 1e-7
        expected = np.where(np.abs(expected) > 65520, np.copysign(np.inf, expected), expected)
    assert_close(ours[1], expected, GRADIENT_BOUNDS[dtype], f"gradient {what}", tiny)


class Findings:
    """Collects what fails in a loop over many inputs, so that one failure does not hide others."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __enter__(self) -> Findings:
        return self

    @contextmanager
    def of(self, what: Any) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            self.found.append(f"{what}: {type(error).__name__}: {' '.join(lines)[:400]}")

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None and self.found:
            raise AssertionError(f"{len(self.found)} failures\n" + "\n".join(self.found))


def run_python(source: str, **environment: str) -> str:
    """The output of a program in a process of its own; an AssertionError if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", source],
        # Python looks in the working folder first, and the source tree may have no library.
        cwd=tempfile.gettempdir(),
        env={**os.environ, "PYTHONPATH": str(Path(fl.__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
