"""Holds the scalar functions to the errors published in docs/numerics.md."""

from __future__ import annotations

import functools
import pathlib
import re
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from ulp import WIDER, binades, specials, ulp_error

from fastloss import c_api

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
Array = np.ndarray


def published() -> dict[str, dict[np.dtype, float]]:
    """The table of docs/numerics.md: for each function, the most ULP allowed for each dtype."""
    text = (pathlib.Path(__file__).parents[2] / "docs" / "numerics.md").read_text()
    section = text.split("## Scalar functions: maximum error in ULP")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)\(.*\)` \|.*\| ([\d.]+) \| ([\d.]+) \|$", section, re.MULTILINE)
    return {name: dict(zip(DTYPES, map(float, limits), strict=True)) for name, *limits in rows}


LIMITS = published()


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


TRUTH: dict[str, Callable[..., Array]] = {
    "exp": np.exp,
    "exp_flushed": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": softplus,
    "log_sigmoid": lambda x: -softplus(-x),
    "pow": np.power,
    "atan2": np.arctan2,
}

MP_TRUTH: dict[str, Callable[..., mpmath.mpf]] = {
    "exp": mpmath.exp,
    "exp_flushed": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "log_sigmoid": lambda x: -mpmath.log1p(mpmath.exp(-x)),
    "pow": mpmath.power,
    "atan2": mpmath.atan2,
}
# Of two arguments.
BINARY = ("pow", "atan2")


def pow_points(dtype: np.dtype, rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Bases of every size and next to 1, with powers that reach every result, and usual ones."""
    info = np.finfo(dtype)
    any_size = np.exp2(rng.uniform(info.minexp - info.nmant, info.maxexp, count)).astype(dtype)
    near_one = (
        1 + rng.choice([-1, 1], count) * np.exp2(rng.uniform(-info.nmant, 0, count))
    ).astype(dtype)
    probability = rng.uniform(0, 1, count).astype(dtype)
    x = np.concatenate([any_size, near_one, probability])
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        reach = rng.uniform(info.minexp - info.nmant - 2, info.maxexp + 1, x.size)
        y = (reach / np.log2(x.astype(np.float64))).astype(dtype)
        usual = rng.choice([0.25, 0.5, 1, 1.5, 2, 3, 5], probability.size).astype(dtype)
    grid_x, grid_y = (side.ravel() for side in np.meshgrid(specials(dtype), specials(dtype)))
    grid = ~np.signbit(grid_x)
    x = np.concatenate([x, probability, grid_x[grid]])
    return x, np.concatenate([y, usual, grid_y[grid]])


def atan2_points(dtype: np.dtype, rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Points of every angle, near and far, and points of every two sizes, right of the origin."""
    info = np.finfo(dtype)
    angle, size = rng.uniform(-np.pi / 2, np.pi / 2, count), np.exp2(rng.uniform(-20, 20, count))
    x, y = np.abs(size * np.cos(angle)), size * np.sin(angle)
    any_size = np.exp2(rng.uniform(info.minexp, info.maxexp - 1, (2, count)))
    simple = np.array([0, 1, 2, 1e-3, info.tiny, info.max / 2])
    grid_y, grid_x = (side.ravel() for side in np.meshgrid([*simple, *-simple], simple))
    y = np.concatenate([y, rng.choice([-1, 1], count) * any_size[0], grid_y])
    return y.astype(dtype), np.concatenate([x, any_size[1], grid_x]).astype(dtype)


def points(function: str, dtype: np.dtype, count: int) -> tuple[Array, Array | None]:
    rng = np.random.default_rng(7)
    if function == "pow":
        return pow_points(dtype, rng, 100 * count)
    if function == "atan2":
        return atan2_points(dtype, rng, 100 * count)
    if function == "exp_flushed":
        return -np.concatenate(
            [rng.uniform(0, 87, 200 * count), np.exp2(rng.uniform(-70, 6, 50 * count)), [0, -0.0]]
        ).astype(dtype), None
    moderate = rng.uniform(-24, 24, 100 * count).astype(dtype)
    return np.concatenate([moderate, binades(dtype, rng, count, count // 20)]), None


@functools.cache
def measured(function: str, dtype: np.dtype) -> tuple[Array, Array | None, Array]:
    """Points and the truth at them, once for all instruction sets."""
    x, y = points(function, dtype, 2000)
    arguments = [side.astype(WIDER[dtype]) for side in (x, y) if side is not None]
    with np.errstate(all="ignore"):
        return x, y, TRUTH[function](*arguments)


@pytest.mark.parametrize("isa", c_api.isas())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function", TRUTH)
def test_error_is_as_published(function: str, dtype: np.dtype, isa: str) -> None:
    x, y, truth = measured(function, dtype)
    error = ulp_error(c_api.scalar(function, x, y, isa), truth)
    worst = int(np.argmax(error))
    at = x[worst] if y is None else (x[worst], y[worst])
    print(f"{function} {dtype} {isa}: {error[worst]:.3f} ULP at {at!r}")
    assert error[worst] <= LIMITS[function][dtype], f"at {at!r}"


@pytest.mark.parametrize("isa", c_api.isas())
@pytest.mark.parametrize("function", TRUTH)
def test_double_agrees_with_mpmath(function: str, isa: str) -> None:
    """The truth in extended precision could be wrong itself: not at these points."""
    dtype = np.dtype(np.float64)
    x, y = points(function, dtype, 2000)
    valid = np.isfinite(x) & (x > (0 if function in ("log", "pow", "atan2") else -1))
    if y is not None:
        valid &= np.isfinite(y)
    chosen = np.random.default_rng(8).choice(np.flatnonzero(valid & (np.abs(x) < 1e4)), 300)
    x, y = x[chosen], None if y is None else y[chosen]
    arguments = [side for side in (x, y) if side is not None]
    with mpmath.workdps(60):
        rows = zip(*(map(mpmath.mpf, map(float, side)) for side in arguments), strict=True)
        exact = [MP_TRUTH[function](*row) for row in rows]
        heads = [float(value) for value in exact]
        tails = [float(value - head) for value, head in zip(exact, heads, strict=True)]
    truth = np.array(heads, np.longdouble) + np.array(tails, np.longdouble)
    error = ulp_error(c_api.scalar(function, x, y, isa), truth)
    assert error.max() <= LIMITS[function][dtype], f"at {x[error.argmax()]!r}"


@pytest.mark.parametrize("isa", c_api.isas())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_smallest_shares_are_flushed(dtype: np.dtype, isa: str) -> None:
    flush = -88.0 if dtype == np.float32 else -709.0
    beyond = [flush, 1.01 * flush, 2 * flush, -1e30, float(np.finfo(dtype).min), -np.inf]
    assert not c_api.scalar("exp_flushed", np.array(beyond * 8, dtype), isa=isa).any()
    near = np.linspace(flush + 2, flush, 10001).astype(dtype)
    error = abs(c_api.scalar("exp_flushed", near, isa=isa) - np.exp(near.astype(WIDER[dtype])))
    assert error.max() < np.finfo(dtype).tiny
    assert np.isnan(c_api.scalar("exp_flushed", np.array([np.nan], dtype), isa=isa)).all()


@pytest.mark.parametrize("isa", c_api.isas())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function", ["expm1", "log1p", "tanh"])
def test_zero_keeps_its_sign(function: str, dtype: np.dtype, isa: str) -> None:
    zeros = np.array([0.0, -0.0] * 16, dtype)
    assert np.array_equal(np.signbit(c_api.scalar(function, zeros, isa=isa)), np.signbit(zeros))


@pytest.mark.parametrize("isa", c_api.isas())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_selection_propagates_nan(dtype: np.dtype, isa: str) -> None:
    x, y = (side.ravel() for side in np.meshgrid(specials(dtype), specials(dtype)))
    np.testing.assert_array_equal(c_api.scalar("min", x, y, isa), np.minimum(x, y))
    np.testing.assert_array_equal(c_api.scalar("max", x, y, isa), np.maximum(x, y))
    np.testing.assert_array_equal(c_api.scalar("abs", x, None, isa), np.abs(x))


@pytest.mark.parametrize("isa", c_api.isas())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("function", TRUTH)
def test_position_does_not_matter(function: str, dtype: np.dtype, isa: str) -> None:
    x = np.abs(np.random.default_rng(9).normal(size=67)).astype(dtype)
    y = x[::-1].copy() if function in BINARY else None
    whole = c_api.scalar(function, x, y, isa)
    for i in range(x.size):
        alone = c_api.scalar(function, x[i : i + 1], None if y is None else y[i : i + 1], isa)
        assert alone[0] == whole[i]
