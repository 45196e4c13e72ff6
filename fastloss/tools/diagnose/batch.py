"""Labels, predictions and weights of one batch as arrays, and how sentences speak of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray

_SHOWN = 8


def wide(x: Any) -> Array:
    """As an array that NumPy computes with: half types as float32."""
    x = np.asarray(x)
    return x.astype(np.float32) if x.dtype.name in ("bfloat16", "float16") else x


@dataclass(frozen=True)
class Batch:
    """What a loss is called with.

    Attributes:
        y_true: Labels.
        y_pred: Predictions.
        sample_weight: Weights, or None.
        mask: Keras's mask of y_pred, or None.
    """

    y_true: Any
    y_pred: Any
    sample_weight: Any = None
    mask: Any = None

    @cached_property
    def true(self) -> Array:
        """y_true as an array."""
        return wide(self.y_true)

    @cached_property
    def pred(self) -> Array:
        """y_pred as an array."""
        return wide(self.y_pred)

    @cached_property
    def weight(self) -> Array | None:
        """sample_weight as an array, if there is one."""
        return None if self.sample_weight is None else wide(self.sample_weight)

    @property
    def pred_dtype(self) -> str:
        """The dtype that y_pred came in."""
        return np.asarray(self.y_pred).dtype.name

    @property
    def true_dtype(self) -> str:
        """The dtype that y_true came in."""
        return np.asarray(self.y_true).dtype.name

    @property
    def size(self) -> int:
        """How many samples there are."""
        return self.pred.shape[0] if self.pred.ndim else 1

    def facts(self) -> tuple[str, ...]:
        """A line each for y_true, y_pred, weights and mask."""
        lines = [_fact("y_true", self.true, self.true_dtype)]
        lines.append(_fact("y_pred", self.pred, self.pred_dtype))
        if self.weight is not None:
            dtype = np.asarray(self.sample_weight).dtype.name
            lines.append(_fact("sample_weight", self.weight, dtype))
        if self.mask is not None:
            mask = np.asarray(self.mask)
            lines.append(f"mask: {np.count_nonzero(mask)} of {mask.size} positions count")
        return tuple(lines)


def _fact(name: str, x: Array, dtype: str) -> str:
    return f"{name}: {dtype}, shape {x.shape}, {span(x)}"


def is_finite(x: Array) -> Array:
    """Where the numbers are finite."""
    return np.isfinite(x) if x.dtype.kind == "f" else np.ones(x.shape, bool)


def span(x: Array) -> str:
    """The range of an array: "-1 to 4, 2 NaN"."""
    if not x.size:
        return "empty"
    finite = is_finite(x)
    good = x[finite] if not finite.all() else x
    text = "no finite number" if not good.size else span_of(good.min(), good.max())
    if finite.all():
        return text
    nan = int(np.count_nonzero(np.isnan(x)))
    infinite = int(np.count_nonzero(np.isinf(x)))
    counts = [f"{n} {name}" for n, name in ((nan, "NaN"), (infinite, "Inf")) if n]
    return ", ".join([text, *counts]) + f" of {x.size}"


def span_of(low: Any, high: Any) -> str:
    """Two numbers as a range."""
    low, high = f"{float(low):.4g}", f"{float(high):.4g}"
    return low if low == high else f"{low} to {high}"


def samples_of(where: Array) -> Array:
    """The indices along the first axis where something holds anywhere."""
    if not where.ndim:
        return np.flatnonzero(where)
    return np.flatnonzero(where.reshape(len(where), -1).any(axis=1))


def listed(indices: Array) -> str:
    """Some indices: "samples 3, 7 and 12 more"."""
    shown = [str(int(i)) for i in indices[:_SHOWN]]
    more = len(indices) - len(shown)
    name = "sample" if len(indices) == 1 else "samples"
    if more:
        return f"{name} {', '.join(shown)} and {more} more"
    return f"{name} {', '.join(shown[:-1])} and {shown[-1]}" if shown[1:] else f"{name} {shown[0]}"


def counted(where: Array, what: str) -> str:
    """How many entries, and the samples that they are of."""
    return f"{np.count_nonzero(where)} of {where.size} {what}, of {listed(samples_of(where))}"
