"""A loss at a point with its derivatives, and how far a result may be from it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

Array = np.ndarray
Wide = np.longdouble


@dataclass
class Point:
    """A loss and its derivatives by the prediction.

    Attributes:
        value: The loss.
        slope: The first derivative.
        curvature: The second; None where it is not looked at.
        value_terms: The sum of the absolute terms of the value, by which rounding is measured.
        slope_terms: The same of the slope.
        curvature_terms: The same of the curvature.
        kink: Where the last derivative that is given does not exist.
    """

    value: Array
    slope: Array
    curvature: Array | None = None
    value_terms: Array | None = None
    slope_terms: Array | None = None
    curvature_terms: Array | None = None
    kink: Array = field(default_factory=lambda: np.zeros((), bool))

    def terms(self, kind: str) -> Array:
        """The sum of the absolute terms of "value", "slope" or "curvature"."""
        terms = getattr(self, f"{kind}_terms")
        return abs(getattr(self, kind)) if terms is None else terms


def times(weight: Array, x: Array) -> Array:
    """The product, 0 for a weight of 0 even where x is infinite."""
    return np.where(weight == 0, 0 * np.where(np.isnan(x), x, 0), weight * x)


def clip(x: Array, low: float, high: float) -> tuple[Array, Array]:
    """The clipped number, and whether it is clipped: NaN and the bounds are not."""
    return np.clip(x, low, high), (x < low) | (x > high)


def computing(dtype: str) -> type:
    """The type that predictions of a dtype are computed in."""
    return np.float64 if dtype == "float64" else np.float32


def bounds(epsilon: float, compute: type) -> tuple[Wide, Wide]:
    """The clip bounds of probabilities, as the computing type has them."""
    return Wide(compute(epsilon)), Wide(compute(1) - compute(epsilon))


def wrong(actual: Array, right: Array, terms: Array, stored: str, units: float) -> Array:
    """Where a result is wrong: NaN, infinite or another number where the right one is not.

    Args:
        actual: The result, of the dtype `stored` and in wide floats.
        right: The right one.
        terms: The sum of the absolute terms of the right one.
        stored: The dtype of the result.
        units: How many spacings, at `terms`, of the computing type it may be off. Results smaller
            than 128 times the smallest normal number may be 0.
    """
    info = np.finfo(computing(stored))
    half = stored in ("bfloat16", "float16")
    eps = Wide(2) ** {"bfloat16": -8, "float16": -11}[stored] if half else Wide(0)
    smallest = Wide(2) ** {"bfloat16": -133, "float16": -24}[stored] if half else Wide(0)
    largest = Wide(tf.as_dtype(stored).max)
    with np.errstate(all="ignore"):
        bound = units * info.eps * terms + 128 * Wide(info.tiny)
        bound = bound + np.maximum(1.001 * times(eps, abs(right)), 0.501 * smallest)
        close = abs(actual - right) <= bound
        overflow = (abs(right) + bound >= largest) & (abs(actual) + bound >= largest)
        overflow &= np.sign(actual) == np.sign(right)
    close |= (actual == right) | overflow | (np.isnan(actual) & np.isnan(right))
    return ~close
