"""Special values for every loss, and every backend's answers at them, held to the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from cases import numpy_dtype

import fastloss as fl
from oracle.point import Array, Point, Wide, computing, wrong

BACKENDS = ("kernel", "graph", "reference", "jit")
DTYPES = ("float16", "bfloat16", "float32", "float64")
KINDS = ("value", "slope", "curvature")


def dtypes(backend: str) -> tuple[str, ...]:
    """Those a backend is tried with: XLA compiles for seconds, and sees half types cast."""
    return ("float32", "float64") if backend == "jit" else DTYPES


Answer = dict[str, Array]
Inputs = tuple[Array, Array]


class LatticeCase(Protocol):
    """A loss with arguments, and its special values."""

    parameters: dict[str, Any]

    @property
    def id(self) -> str:
        """Its arguments."""

    def right(self, dtype: str, inputs: Inputs) -> Point:
        """What the oracle says."""


def around(dtype: str, *centres: float) -> list[float]:
    """Numbers with their neighbours on both sides."""
    number = np.dtype(numpy_dtype(dtype)).type
    found = []
    for centre in map(number, centres):
        found += [centre, *(np.nextafter(centre, number(end)) for end in (-np.inf, np.inf))]
    return [float(x) for x in found]


def numbers(dtype: str) -> list[float]:
    """Predictions of any size: both zeros, ends of the format, and what functions turn at."""
    info, number = tf.as_dtype(dtype), np.dtype(numpy_dtype(dtype)).type
    tiny = float(np.nextafter(number(0), number(1)))
    sizes = [0.25, 0.5, 1e-4, 20, 88, 104, 750, 1e4, tiny, float(info.max), float("inf")]
    return [0.0, -0.0, *sizes, *(-x for x in sizes), *around(dtype, -1, 1), float("nan")]


def probabilities(dtype: str, epsilon: float) -> list[float]:
    """Predicted probabilities: 0, 1 and the clip bounds with their neighbours."""
    wide = np.float64 if dtype == "float64" else np.float32
    clips = (wide(epsilon), wide(1) - wide(epsilon))
    return [-0.0, 0.25, 0.5, *around(dtype, 0, 1, *clips), float("nan")]


def pairs(
    labels: Sequence[float], predictions: Sequence[float], dtype: str, beside: Sequence[float] = ()
) -> Inputs:
    """Every label with every prediction, with itself and with numbers `beside` it: two columns.

    Of labels infinity stands for the largest finite number.
    """
    rows = [
        (label, prediction)
        for label in labels
        for prediction in [
            *predictions,
            label,
            *(label + x for x in (*beside, *(-x for x in beside))),
        ]
    ]
    with np.errstate(over="ignore"):
        table = np.array(rows, np.float64).astype(numpy_dtype(dtype))
        table[:, 0] = np.where(np.isinf(table[:, 0]), tf.as_dtype(dtype).max, table[:, 0])
    return np.ascontiguousarray(table[:, :1]), np.ascontiguousarray(table[:, 1:])


def _derivatives(loss: Any, y_true: tf.Tensor, y_pred: tf.Tensor, order: int) -> list[tf.Tensor]:
    with tf.GradientTape() as outer:
        outer.watch(y_pred)
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, y_pred)
        slope = tape.gradient(value, y_pred)
    if order == 1:
        return [value, slope]
    return [value, slope, outer.gradient(slope, y_pred, unconnected_gradients="zero")]


def answers(
    backend: str, losses: Sequence[Any], inputs: Sequence[Inputs], order: int = 1
) -> list[Answer]:
    """What a backend gives for each loss: one value per row, and derivatives up to an order."""

    def evaluate(inputs: Any) -> list[list[tf.Tensor]]:
        return [_derivatives(loss, *pair, order) for loss, pair in zip(losses, inputs, strict=True)]

    run: Callable[[Any], Any] = evaluate
    if backend in ("graph", "jit"):
        run = tf.function(evaluate, jit_compile=backend == "jit")
    tensors = [tuple(map(tf.constant, pair)) for pair in inputs]
    with fl.use_backend("reference" if backend == "reference" else "fused"):
        found = run(tensors)
    return [
        {kind: result.numpy() for kind, result in zip(KINDS, results, strict=False)}
        for results in found
    ]


# Known faults


Where = Callable[[Array, Array, dict[str, Any]], Array]


class Fault(NamedTuple):
    """What is known to be wrong; its tests fail as soon as it is not.

    Attributes:
        reason: What the issue says.
        losses: Kernels, as patterns of names.
        backends: Where it shows.
        kinds: In what it shows.
        where: At which labels, predictions and parameters it may show; anywhere by default.
        dtypes: Of which predictions.
    """

    reason: str
    losses: tuple[str, ...]
    backends: tuple[str, ...]
    kinds: tuple[str, ...] = KINDS
    where: Where = lambda t, p, parameters: np.ones(len(p), bool)
    dtypes: tuple[str, ...] = DTYPES

    def concerns(self, loss: str, backend: str) -> bool:
        return backend in self.backends and any(fnmatch(loss, name) for name in self.losses)


@dataclass
class Findings:
    """What one backend gets wrong of one loss, and which of the known faults it shows."""

    loss: str
    backend: str
    faults: Sequence[Fault]
    unknown: list[str] = field(default_factory=list)
    shown: set[tuple[int, str]] = field(default_factory=set)

    def compare(
        self, case: LatticeCase, dtype: str, inputs: Inputs, answer: Answer, units: float
    ) -> None:
        """Hold an answer to the oracle, in predictions of a dtype."""
        t, p = inputs
        right, rough = case.right(dtype, inputs), case.right(dtype, flushed(inputs, dtype))
        for kind, actual in answer.items():
            expected = getattr(right, kind)
            stored = dtype if kind != "value" else str(actual.dtype)

            def bad(point: Point, kind: str = kind, stored: str = stored, actual: Array = actual):
                expected = getattr(point, kind)
                found = actual.astype(Wide).reshape(expected.shape)
                found = wrong(found, expected, point.terms(kind), stored, units)
                if kind == ("slope" if point.curvature is None else "curvature"):
                    found &= ~point.kink
                return found & np.isfinite(expected) if kind == "curvature" else found

            rows = bad(right)
            # TensorFlow's own ops take subnormal numbers for 0; they make second derivatives too.
            if self.backend not in ("kernel", "graph") or kind == "curvature":
                rows &= bad(rough)
            if kind == "curvature":
                rows &= np.isfinite(t) & np.isfinite(p)
            rows = _flat(rows)
            if kind != "value" and t.dtype.kind not in "iub":
                # The loss of a label that is no number is none; its slope may be anything.
                rows &= ~np.isnan(_flat(t).astype(np.float64)).any(axis=1, keepdims=True)
            for number, fault in enumerate(self.faults):
                if fault.concerns(self.loss, self.backend) and dtype in fault.dtypes:
                    covered = _flat(fault.where(*wide(inputs), case.parameters))
                    if kind in fault.kinds and (rows & covered).any():
                        self.shown.add((number, kind))
                        rows = rows & ~covered
            self._note(f"{case.id} {dtype} {kind}", rows, inputs, actual, expected)

    def _note(self, what: str, rows: Array, inputs: Inputs, actual: Array, right: Array) -> None:
        found = np.flatnonzero(rows.any(axis=1))
        for row in found[:4]:
            t, p = (_short(x[row]) for x in inputs)
            got, want = (_short(_flat(x)[row]) for x in (actual, right))
            self.unknown.append(f"{what}: label {t} prediction {p}: {got}, right {want}")
        if len(found) > 4:
            self.unknown.append(f"{what}: and {len(found) - 4} more")

    def report(self) -> None:
        """Fail for what is wrong and not known, and for known faults that no longer show."""
        mended = [
            f"{kind}: {fault.reason}"
            for number, fault in enumerate(self.faults)
            if fault.concerns(self.loss, self.backend)
            for kind in fault.kinds
            if (number, kind) not in self.shown
        ]
        assert not self.unknown + mended, "\n".join(
            [
                f"{self.loss}, {self.backend}:",
                *self.unknown,
                "no longer wrong, to be taken away:",
                *mended,
            ]
        )


def _flat(x: Array) -> Array:
    return x.reshape(len(x), int(np.prod(x.shape[1:])))


def _short(x: Array) -> list[float]:
    return np.ravel(x)[:4].astype(np.float64).tolist()


def flushed(inputs: Inputs, dtype: str) -> Inputs:
    """The same with 0 for what is subnormal in the computing type."""
    tiny = np.finfo(computing(dtype)).tiny
    return tuple(np.where(abs(x.astype(Wide)) < tiny, 0, x).astype(x.dtype) for x in inputs)


def wide(inputs: Inputs) -> Iterator[Array]:
    """Labels and predictions as the oracle takes them."""
    return (x.astype(Wide) for x in inputs)
