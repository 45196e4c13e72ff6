"""Distance of a result from the truth in units in the last place, and points to measure it at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# The format the truth is computed in: wide enough for its own error not to count.
WIDER = {np.dtype(np.float32): np.float64, np.dtype(np.float64): np.longdouble}


def ulp_error(got: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """|got - truth| over the spacing, at truth, of got's format; infinite if one alone is NaN.

    truth is of a wider format than got. Infinity counts as the first power of two out of range, so
    that overflow is right where rounding overflows and nowhere else.
    """
    info = np.finfo(got.dtype)
    wide = truth.dtype.type
    limit = np.ldexp(wide(1), int(info.maxexp))
    value = np.clip(got.astype(wide), -limit, limit)
    truth = np.clip(truth, -limit, limit)
    exponent = np.clip(np.frexp(truth)[1] - 1, info.minexp, info.maxexp - 1)
    with np.errstate(invalid="ignore"):
        error = np.abs(value - truth) / np.ldexp(wide(1), exponent - info.nmant)
    both_nan = np.isnan(got) & np.isnan(truth)
    return np.where(both_nan, 0, np.where(np.isnan(error), np.inf, error)).astype(np.float64)


def specials(dtype: np.dtype) -> np.ndarray:
    """Zeros, infinities, NaN, the edges of the format and some small numbers, of both signs."""
    info = np.finfo(dtype)
    tiny = info.smallest_subnormal
    positive = [0, tiny, 3 * tiny, info.tiny, info.eps, 0.5, 1, 2, 3, 100, info.max, np.inf, np.nan]
    values = np.array(positive, dtype)
    return np.concatenate([values, -values, np.nextafter(dtype.type([1, -1]), dtype.type(0))])


def binades(dtype: np.dtype, rng: np.random.Generator, dense: int, sparse: int) -> np.ndarray:
    """Random points of both signs in every binade: dense ones from 2^-64 to 2^12, else sparse."""
    info = np.finfo(dtype)

    def draw() -> Iterator[np.ndarray]:
        for exponent in range(int(info.minexp - info.nmant), int(info.maxexp)):
            count = dense if -64 <= exponent < 12 else sparse
            magnitude = np.ldexp(rng.uniform(1, 2, count), exponent).astype(dtype)
            yield magnitude
            yield -magnitude

    with np.errstate(over="ignore"):
        return np.concatenate([specials(dtype), *draw()])
