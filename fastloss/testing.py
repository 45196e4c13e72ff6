"""Gradient checks, for the losses of this package and for your own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from fastloss import ops

__all__ = ["BOUNDS", "Comparison", "GradientReport", "check_gradients"]

Array: TypeAlias = np.ndarray
Loss: TypeAlias = Callable[..., Any]

# Largest error allowed in a gradient, as a share of its largest entry, by the dtype of what is
# differentiated: against the reference, and against central differences in float64.
BOUNDS: dict[str, tuple[float, float]] = {
    "float64": (1e-11, 1e-7),
    "float32": (1e-5, 1e-5),
    "bfloat16": (1e-2, 1e-2),
    "float16": (2e-3, 2e-3),
}

_STEP = 1e-4  # of central differences, as a share of the value
_HEADER = (
    *("gradient of", "against", "entries", "kinks", "max abs error", "max rel error"),
    *("bound", "worst at", "value", "expected", "verdict"),
)


@dataclass(frozen=True)
class Comparison:
    """One gradient against one expectation.

    Attributes:
        source: "y_pred", "y_true" or "sample_weight".
        against: What it was compared with.
        entries: How many numbers were compared.
        kinks: How many were left out, since the loss has no derivative there.
        absolute: Largest absolute error.
        relative: Largest error as a share of the expected number.
        bound: Largest absolute error allowed, at the worst entry.
        index: Where the error exceeds its bound most, or comes closest to it.
        value: The gradient there.
        expected: The expectation there.
        passed: Whether every error is within its bound.
    """

    source: str
    against: str
    entries: int
    kinks: int
    absolute: float
    relative: float
    bound: float
    index: tuple[int, ...]
    value: float
    expected: float
    passed: bool

    def cells(self) -> tuple[str, ...]:
        """The row of the report's table."""
        numbers = (self.absolute, self.relative, self.bound)
        return (
            *(self.source, self.against, str(self.entries), str(self.kinks)),
            *(f"{number:.2e}" for number in numbers),
            str(self.index),
            *(f"{number:.6g}" for number in (self.value, self.expected)),
            "ok" if self.passed else "FAILED",
        )


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found; true if all is well, a table when printed.

    Attributes:
        comparisons: Each gradient against each expectation.
    """

    comparisons: tuple[Comparison, ...]

    @property
    def passed(self) -> bool:
        """Whether every comparison passed."""
        return all(comparison.passed for comparison in self.comparisons)

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        table = [_HEADER, *(comparison.cells() for comparison in self.comparisons)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        )

    def raise_if_failed(self) -> None:
        """Raise an AssertionError with the table, if a comparison failed."""
        if not self.passed:
            raise AssertionError(f"the gradient check failed:\n{self}")


@dataclass(frozen=True)
class _Problem:
    """A loss and where it is differentiated; `upstream` weighs a loss that is not a scalar."""

    loss: Loss
    inputs: dict[str, Any]
    mask: Any
    upstream: Array | None = None

    @property
    def sources(self) -> list[str]:
        return [name for name, x in self.inputs.items() if x.dtype.is_floating]

    def __call__(self, inputs: dict[str, Any]) -> tf.Tensor:
        if self.mask is not None:
            inputs["y_pred"]._keras_mask = self.mask
        value = tf.convert_to_tensor(self.loss(*inputs.values()))
        if self.upstream is not None:
            value *= tf.cast(self.upstream, value.dtype)
        return tf.reduce_sum(value)

    def gradients(self) -> dict[str, Array | None]:
        """Of each floating input, in float64; None where there is none."""
        inputs = {name: tf.identity(x) for name, x in self.inputs.items()}
        watched = [inputs[name] for name in self.sources]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            value = self(inputs)
        gradients = tape.gradient(value, watched)
        return {
            name: None if gradient is None else tf.cast(gradient, tf.float64).numpy()
            for name, gradient in zip(self.sources, gradients, strict=True)
        }

    def in_float64(self) -> _Problem:
        inputs = {
            name: tf.cast(x, tf.float64) if x.dtype.is_floating else x
            for name, x in self.inputs.items()
        }
        return _Problem(in_float64(self.loss), inputs, self.mask, self.upstream)

    def derivative(self, source: str, direction: Array, step: float) -> tuple[float, bool]:
        """The derivative in a direction, and whether the loss has a kink there."""
        base = self.inputs[source].numpy()

        def at(distance: float) -> float:
            moved = tf.constant(base + distance * direction)
            return float(self({**self.inputs, source: moved}))

        middle = at(0.0)
        steps = [step, step / 2]
        above, below = [at(h) for h in steps], [at(-h) for h in steps]
        slopes = [(a - b) / (2 * h) for a, b, h in zip(above, below, steps, strict=True)]
        bends = [abs(a + b - 2 * middle) / h for a, b, h in zip(above, below, steps, strict=True)]
        scale = max(abs(slopes[0]), abs(slopes[1]), bends[1])
        noise = 16 * np.finfo(np.float64).eps * abs(middle) / step
        uneven = abs(slopes[0] - slopes[1]) > 1e-3 * scale + noise
        # Around a smooth point the bend shrinks with the step; at a kink it does not.
        bent = bends[1] > 0.01 * scale + noise and bends[1] > 0.75 * bends[0]
        return (4 * slopes[1] - slopes[0]) / 3, bool(uneven or bent)


def in_float64(loss: Loss) -> Loss:
    """The same loss computed in float64; a function as it is."""
    if not isinstance(loss, keras.losses.Loss) or loss.dtype == "float64":
        return loss
    try:
        return type(loss).from_config({**loss.get_config(), "dtype": "float64"})
    except (TypeError, ValueError, NotImplementedError):
        # Keras copies a loss by saving it, which needs a class that is registered.
        twin: Any = object.__new__(type(loss))
        twin.__dict__.update(loss.__dict__, _dtype="float64")
        for name, value in loss.__dict__.items():
            if isinstance(value, keras.losses.Loss):
                twin.__dict__[name] = in_float64(value)
            elif isinstance(value, list) and any(isinstance(x, keras.losses.Loss) for x in value):
                twin.__dict__[name] = [in_float64(x) for x in value]
        return twin


def _compare(
    source: str,
    against: str,
    indices: list[tuple[int, ...]],
    kinks: int,
    numbers: Array,
    bound: Array,
) -> Comparison:
    """`numbers` holds the values and what was expected of them."""
    if not indices:
        return Comparison(source, against, 0, kinks, 0.0, 0.0, 0.0, (), 0.0, 0.0, True)
    value, expected = numbers
    with np.errstate(all="ignore"):
        error = np.where(np.isfinite(value) & np.isfinite(expected), abs(value - expected), np.inf)
        relative = np.where(error == 0, 0, error / abs(expected))
        worst = int(np.argmax(error - bound))
    return Comparison(
        source,
        against,
        entries=len(indices),
        kinks=kinks,
        absolute=float(error.max()),
        relative=float(relative.max()),
        bound=float(bound[worst]),
        index=tuple(map(int, indices[worst])),
        value=float(value[worst]),
        expected=float(expected[worst]),
        passed=bool((error <= bound).all()),
    )


def _bounds(
    expected: Array, dtype: tf.DType, share: float, rtol: float | None, atol: float | None
) -> Array:
    if atol is None:
        finite = abs(expected[np.isfinite(expected)])
        tiny = 2 * float(np.finfo("float16").smallest_subnormal) if dtype == tf.float16 else 0.0
        atol = share * float(np.max(finite, initial=0)) + tiny
    return atol + (share if rtol is None else rtol) * abs(expected)


def _chosen(shape: tuple[int, ...], samples: int, random: np.random.Generator) -> Array:
    count = int(np.prod(shape))
    if count <= samples:
        return np.arange(count)
    return np.sort(random.choice(count, samples, replace=False))


def _comparisons(
    problem: _Problem,
    rtol: float | None,
    atol: float | None,
    samples: int,
    random: np.random.Generator,
) -> Iterator[Comparison]:
    gradients = problem.gradients()
    with ops.use_backend("reference"):
        references = problem.gradients()
    wide = problem.in_float64()
    for source, gradient in gradients.items():
        dtype = problem.inputs[source].dtype
        shares = BOUNDS[dtype.name]
        if gradient is None:
            nan = float("nan")
            yield Comparison(source, "None", 0, 0, nan, nan, 0.0, (), nan, nan, False)
            continue
        everywhere = list(np.ndindex(gradient.shape))
        finite = np.isfinite(gradient).ravel()
        counted = np.stack([~finite, np.zeros(finite.shape)]).astype(np.float64)
        yield _compare(source, "finite numbers", everywhere, 0, counted, np.zeros(finite.size))
        reference = references[source]
        if reference is not None:
            pair = np.stack([gradient.ravel(), reference.ravel()])
            bound = _bounds(pair[1], dtype, shares[0], rtol, atol)
            yield _compare(source, "reference", everywhere, 0, pair, bound)

        base = wide.inputs[source].numpy().astype(np.float64)
        chosen = _chosen(gradient.shape, samples, random)
        found = []
        with ops.use_backend("reference"):
            for flat in chosen:
                direction = np.zeros(base.size)
                direction[flat] = 1
                step = _STEP * max(abs(float(base.flat[flat])), 1e-2)
                slope, kink = wide.derivative(source, direction.reshape(base.shape), step)
                if not kink:
                    found.append((everywhere[flat], gradient.flat[flat], slope))
            kinks = len(chosen) - len(found)
            pair = np.array([entry[1:] for entry in found], np.float64).reshape(-1, 2).T
            bound = _bounds(pair[1], dtype, shares[1], rtol, atol)
            where = [entry[0] for entry in found]
            yield _compare(source, "central differences", where, kinks, pair, bound)
            if len(chosen) < base.size:
                direction = random.choice([-1.0, 1.0], base.shape)
                slope, kink = wide.derivative(source, direction, _STEP * 1e-2)
                pair = np.array([[np.sum(gradient * direction)], [slope]])
                # Errors of the entries may add up in the direction.
                size = float(np.sqrt(np.sum(np.square(gradient))))
                bound = np.array([(atol or 0) + shares[1] * (abs(slope) + size)])
                where = [] if kink else [()]
                yield _compare(source, "directional derivative", where, int(kink), pair, bound)


def check_gradients(
    loss: Loss,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any = None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    samples: int = 64,
    seed: int = 0,
) -> GradientReport:
    """Check the gradients of a loss against the reference and against central differences.

    The gradients with respect to y_pred, y_true and sample_weight, as far as they are floating
    point, must be finite, must equal those of the reference (see `fastloss.set_backend`; this says
    something about losses of this package and losses built from them), and must equal central
    differences of the loss computed in float64. Entries where the loss has a kink, seen by two step
    sizes that disagree, are left out and counted.

    Example:
        >>> report = fl.testing.check_gradients(fl.Huber(delta=0.5), [[0.0, 1.0]], [[0.2, 3.0]])
        >>> report.passed
        True
        >>> report.raise_if_failed()

    Args:
        loss: A Keras loss or a function, called as `loss(y_true, y_pred)`, or
            `loss(y_true, y_pred, sample_weight)` where there are weights. It may return a scalar or
            any tensor, as one value per row.
        y_true: Labels.
        y_pred: Predictions; float16, bfloat16, float32 or float64.
        sample_weight: Weights, or None.
        rtol: Error allowed in an entry, as a share of the entry; by default that of `BOUNDS`.
        atol: Error allowed besides; by default the share in `BOUNDS` of the largest entry.
        samples: In larger arrays, so many randomly chosen entries are compared with central
            differences, and the whole with a directional derivative.
        seed: Of the random choices.

    Returns:
        A report: true if all passed, a table when printed.
    """
    random = np.random.default_rng(seed)
    inputs = {"y_true": tf.convert_to_tensor(y_true), "y_pred": tf.convert_to_tensor(y_pred)}
    if sample_weight is not None:
        inputs["sample_weight"] = tf.convert_to_tensor(sample_weight)
    problem = _Problem(loss, inputs, getattr(y_pred, "_keras_mask", None))
    shape = tf.convert_to_tensor(loss(*inputs.values())).shape
    if shape.rank:
        problem = _Problem(loss, inputs, problem.mask, random.uniform(0.5, 1.5, shape))
    return GradientReport(tuple(_comparisons(problem, rtol, atol, samples, random)))
