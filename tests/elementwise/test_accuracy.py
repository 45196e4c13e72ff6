"""Three-way: formulas in extended precision, ours, and Keras, on ordinary and extreme inputs.

The error of a number is measured in units of the rounding of the numbers that it is made of: a
value that is the difference of two large terms cannot be better than these. One unit is the spacing
of the computing type (float64 for float64 predictions, else float32) at the sum of the absolute
terms; gradients of half types are rounded once more, by half a spacing of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
import tensorflow as tf
from cases import PREDICTION_DTYPES, find, float64, numpy_dtype, value_and_gradient

import fastloss as fl

Array = np.ndarray
Wide = np.longdouble

# Largest error in units: of the loss, of the gradient.
BOUNDS: dict[str, tuple[float, float]] = {
    "MeanSquaredError": (2, 1),
    "MeanAbsoluteError": (1, 1),
    "MeanAbsolutePercentageError": (3, 3),
    "MeanSquaredLogarithmicError": (6, 6),
    "Huber": (2, 1),
    "SmoothL1": (2, 1),
    "LogCosh": (4, 4),
    "Poisson": (3, 3),
    "Hinge": (2, 1),
    "SquaredHinge": (4, 3),
    "KLDivergence": (4, 2),
    "Pinball": (2, 1),
    "BinaryCrossentropy": (4, 4),
    "BinaryCrossentropy logits": (4, 4),
    "BinaryFocalCrossentropy": (8, 8),
    "BinaryFocalCrossentropy logits": (8, 8),
}
# How many units worse than Keras the largest error may be.
SLACK = 2.0


class Truth(NamedTuple):
    """A loss and its derivative by y_pred, each with the sum of its absolute terms."""

    value: Array
    slope: Array
    value_terms: Array
    slope_terms: Array


def of(
    value: Array, slope: Array, value_terms: Array | None = None, slope_terms: Array | None = None
):
    return Truth(
        value,
        slope,
        abs(value) if value_terms is None else value_terms,
        abs(slope) if slope_terms is None else slope_terms,
    )


def mean_squared_error(t: Array, p: Array, eps: Wide) -> Truth:
    return of((p - t) ** 2, 2 * (p - t))


def mean_absolute_error(t: Array, p: Array, eps: Wide) -> Truth:
    return of(abs(p - t), np.sign(p - t))


def mean_absolute_percentage_error(t: Array, p: Array, eps: Wide) -> Truth:
    scale = 100 / np.maximum(abs(t), eps)
    return of(abs(p - t) * scale, np.sign(p - t) * scale)


def mean_squared_logarithmic_error(t: Array, p: Array, eps: Wide) -> Truth:
    x, y = np.log1p(np.maximum(p, eps)), np.log1p(np.maximum(t, eps))
    slope = np.where(p < eps, 0, 2 * (x - y) / (1 + p))
    terms = x + y
    return of(
        (x - y) ** 2, slope, terms * abs(x - y) + (x - y) ** 2, 2 * terms / (1 + np.maximum(p, 0))
    )


def huber(t: Array, p: Array, eps: Wide) -> Truth:
    e = p - t
    far = abs(e) > 1
    return of(
        np.where(far, abs(e) - 0.5, e * e / 2),
        np.clip(e, -1, 1),
        np.where(far, abs(e) + 0.5, e * e / 2),
    )


def log_cosh(t: Array, p: Array, eps: Wide) -> Truth:
    e = abs(p - t)
    near = np.log1p(2 * np.sinh(np.minimum(e, 1) / 2) ** 2)
    value = np.where(e < 1, near, e + np.log1p(np.exp(-2 * e)) - np.log(Wide(2)))
    return of(value, np.tanh(p - t))


def poisson(t: Array, p: Array, eps: Wide) -> Truth:
    logarithm, ratio = t * np.log(p + eps), t / (p + eps)
    return of(p - logarithm, 1 - ratio, abs(p) + abs(logarithm) + abs(t), 1 + abs(ratio))


def hinge(t: Array, p: Array, eps: Wide) -> Truth:
    margin = 1 - t * p
    value = np.maximum(margin, 0)
    return of(value, np.where(margin < 0, 0, -t), 1 + abs(t * p))


def squared_hinge(t: Array, p: Array, eps: Wide) -> Truth:
    violation = np.maximum(1 - t * p, 0)
    terms = 1 + abs(t * p)
    return of(violation**2, -2 * t * violation, terms * violation, 2 * abs(t) * terms)


def kl_divergence(t: Array, p: Array, eps: Wide) -> Truth:
    t, q = np.clip(t, eps, 1), np.clip(p, eps, 1)
    value = t * np.log(t / q)
    slope = np.where((p < eps) | (p > 1), 0, -t / q)
    return of(value, slope, abs(value) + t)


def pinball(t: Array, p: Array, eps: Wide) -> Truth:
    e = t - p
    tau = Wide(0.9)
    return of(np.where(e < 0, (tau - 1) * e, tau * e), np.where(e < 0, 1 - tau, -tau))


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


def sigmoid(x: Array) -> Array:
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-abs(x)))


def crossentropy_logits(t: Array, x: Array, eps: Wide) -> Truth:
    value = t * softplus(-x) + (1 - t) * softplus(x)
    hit, miss = t * sigmoid(-x), (1 - t) * sigmoid(x)
    return of(value, miss - hit, value, miss + hit)


def clipped(p: Array, eps: Wide, high: Wide) -> tuple[Array, Array]:
    return np.clip(p, eps, high), (p < eps) | (p > high)


def crossentropy(t: Array, p: Array, eps: Wide, high: Wide) -> Truth:
    q, outside = clipped(p, eps, high)
    value = -(t * np.log(q) + (1 - t) * np.log1p(-q))
    hit, miss = t / q, (1 - t) / (1 - q)
    slope = np.where(outside, 0, miss - hit)
    # 1 - p is exact near 1, where it is small, and rounded near 0, where its logarithm is small.
    return of(value, slope, value + (1 - t) * (1 + 0 * q), np.where(outside, 0, miss + hit))


def focal(
    y: Array, q_hit: Array, q_miss: Array, entropy: Truth, tilt: Array, gamma: int = 2
) -> Truth:
    miss = y * q_miss + (1 - y) * q_hit
    factor, bend = miss**gamma, gamma * miss ** (gamma - 1)
    second = bend * tilt * entropy.value
    return of(
        factor * entropy.value,
        factor * entropy.slope + second,
        factor * entropy.value_terms,
        factor * entropy.slope_terms + abs(bend * tilt) * entropy.value_terms,
    )


def focal_logits(t: Array, x: Array, eps: Wide) -> Truth:
    entropy = crossentropy_logits(t, x, eps)
    p, q = sigmoid(x), sigmoid(-x)
    return focal(t, p, q, entropy, (1 - 2 * t) * p * q)


def focal_probabilities(t: Array, p: Array, eps: Wide, high: Wide) -> Truth:
    return focal(t, p, 1 - p, crossentropy(t, p, eps, high), 1 - 2 * t)


class Subject(NamedTuple):
    truth: Callable[..., Truth]
    inputs: str
    arguments: dict


SUBJECTS: dict[str, Subject] = {
    "MeanSquaredError": Subject(mean_squared_error, "errors", {}),
    "MeanAbsoluteError": Subject(mean_absolute_error, "errors", {}),
    "MeanAbsolutePercentageError": Subject(mean_absolute_percentage_error, "errors", {}),
    "MeanSquaredLogarithmicError": Subject(mean_squared_logarithmic_error, "counts", {}),
    "Huber": Subject(huber, "errors", {}),
    "SmoothL1": Subject(huber, "errors", {"beta": 1.0}),
    "LogCosh": Subject(log_cosh, "errors", {}),
    "Poisson": Subject(poisson, "rates", {}),
    "Hinge": Subject(hinge, "margins", {}),
    "SquaredHinge": Subject(squared_hinge, "margins", {}),
    "KLDivergence": Subject(kl_divergence, "probabilities", {}),
    "Pinball": Subject(pinball, "errors", {"tau": 0.9}),
    "BinaryCrossentropy": Subject(crossentropy, "probabilities", {}),
    "BinaryCrossentropy logits": Subject(crossentropy_logits, "logits", {"from_logits": True}),
    "BinaryFocalCrossentropy": Subject(focal_probabilities, "probabilities", {}),
    "BinaryFocalCrossentropy logits": Subject(focal_logits, "logits", {"from_logits": True}),
}
assert SUBJECTS.keys() == BOUNDS.keys()


def inputs(kind: str, dtype: str) -> tuple[Array, Array]:
    """Labels and predictions, ordinary and extreme, as columns."""
    random = np.random.default_rng(12)
    size = 400
    if kind == "errors":
        t = random.normal(0, 3, size)
        labels = [t, t, 1e5 + t, np.zeros(size), np.zeros(size), np.ones(size), 1e-6 * t]
        offsets = [random.normal(0, 1, size), 1e-4 * t, t, 10.0 ** random.uniform(-37, 3, size)]
        offsets += [10.0 ** random.uniform(3, 17, size), 2.0 ** random.integers(-10, 10, size), t]
        y_true = np.concatenate(labels)
        y_pred = y_true + np.concatenate(offsets)
    elif kind in ("counts", "rates"):
        y_true = np.concatenate([random.poisson(3, size), 10.0 ** random.uniform(-9, 6, size)])
        y_pred = np.concatenate([random.gamma(3, 1, size), 10.0 ** random.uniform(-9, 6, size)])
        y_pred[:50] = y_true[:50] * (1 + 1e-4)
        if kind == "counts":
            y_pred[50:80] = [-1, 0, 1e-7] * 10
    elif kind == "margins":
        y_true = random.choice([-1.0, 1.0, 0.5], 3 * size)
        y_pred = np.concatenate([random.normal(0, 2, size), 10.0 ** random.uniform(-37, 4, size)])
        y_pred = np.concatenate([y_pred, 1 + 10.0 ** random.uniform(-7, 0, size)])
        y_pred[::2] *= -1
    elif kind == "logits":
        edges = [0, 1e-37, 1e-30, 1e-8, 1, 16, 17, 50, 87, 88, 89, 104, 200, 1e4]
        x = np.concatenate(
            [np.repeat(edges, 6), random.normal(0, 3, size), random.uniform(0, 120, size)]
        )
        y_pred = np.concatenate([x, -x])
        y_true = random.choice([0.0, 1.0, 0.0, 1.0, 0.25, 0.9], y_pred.size)
    else:
        edges = [0, 1, 1e-37, 1e-8, 1e-7, 2e-7, 1e-3, 0.5, 1 - 2e-7, 1 - 1e-7, 1 - 6e-8, 1 - 2**-24]
        p = np.concatenate([np.repeat(edges, 6), random.uniform(0, 1, size)])
        p = np.concatenate(
            [p, 10.0 ** random.uniform(-9, 0, size), 1 - 10.0 ** random.uniform(-7, -1, size)]
        )
        y_pred = p
        y_true = random.choice([0.0, 1.0, 0.0, 1.0, 0.25, 0.9], p.size)
    with np.errstate(all="ignore"):
        y_true, y_pred = (x.astype(numpy_dtype(dtype))[:, None] for x in (y_true, y_pred))
        finite = np.isfinite(float64(y_true)) & np.isfinite(float64(y_pred))
        y_pred = np.where(abs(float64(y_pred) - float64(y_true)) < 1e-37, y_true, y_pred)
    return y_true[finite][:, None], y_pred[finite][:, None]


def truth_of(name: str, y_true: Array, y_pred: Array, compute: type) -> Truth:
    """The right answer for these very inputs; epsilon is that of the computing type."""
    t, p = (float64(x)[:, 0].astype(Wide) for x in (y_true, y_pred))
    eps = compute(1e-7)
    limits = [Wide(eps)]
    if SUBJECTS[name].inputs == "probabilities" and name != "KLDivergence":
        limits.append(Wide(compute(1) - eps))
    with np.errstate(all="ignore"):
        return SUBJECTS[name].truth(t, p, *limits)


def units(actual: Array, expected: Array, terms: Array, compute: type, stored: str) -> Array:
    """Errors in units; an overflow that is right counts as none."""
    info, narrow = np.finfo(compute), tf.as_dtype(stored)
    actual = float64(actual).ravel()
    largest, eps = float(narrow.max), 2.0 ** {"bfloat16": -7, "float16": -10}.get(stored, -200)
    overflow = (abs(expected) >= largest * (1 - eps)) | (terms > float(info.max))
    # TensorFlow flushes subnormal numbers to zero, in ours as in Keras's ops.
    smallest = 2.0**-24 if stored == "float16" else float(info.tiny)
    with np.errstate(all="ignore"):
        error = abs(actual - expected) - 0.501 * np.maximum(eps * abs(expected), smallest)
        unit = float(info.eps) * terms + float(info.tiny)
        result = np.maximum(error, 0) / unit
    result = np.where(overflow & ~np.isnan(actual), 0, result)
    return np.where(np.isnan(result), np.inf, result).astype(np.float64)


def measured(
    name: str, dtype: str, loss: object, y_true: Array, y_pred: Array
) -> tuple[Array, Array]:
    compute = np.float64 if dtype == "float64" else np.float32
    expected = truth_of(name, y_true, y_pred, compute)
    value, slope = value_and_gradient(loss, y_true, y_pred)
    return (
        units(value, expected.value, expected.value_terms, compute, value.dtype.name),
        units(slope, expected.slope, expected.slope_terms, compute, dtype),
    )


def of_ours(name: str, dtype: str) -> object:
    arguments = {"reduction": "none", "dtype": "float64" if dtype == "float64" else "float32"}
    return getattr(fl, name.split()[0])(**SUBJECTS[name].arguments, **arguments)


def of_keras(name: str, dtype: str) -> object:
    import keras

    arguments = {"reduction": "none", "dtype": "float64" if dtype == "float64" else "float32"}
    public = name.split()[0]
    if not hasattr(keras.losses, public):
        return replace(find(public), arguments=SUBJECTS[name].arguments).keras(**arguments)
    return getattr(keras.losses, public)(**SUBJECTS[name].arguments, **arguments)


@pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
@pytest.mark.parametrize("name", SUBJECTS)
def test_error_is_within_bounds_and_not_above_that_of_keras(name, dtype):
    y_true, y_pred = inputs(SUBJECTS[name].inputs, dtype)
    ours = measured(name, dtype, of_ours(name, dtype), y_true, y_pred)
    theirs = measured(name, dtype, of_keras(name, dtype), y_true, y_pred)
    for what, bound, error, keras_error in zip(
        ("loss", "gradient"), BOUNDS[name], ours, theirs, strict=True
    ):
        worst = int(error.argmax())
        at = f"{what} at y_true {y_true[worst, 0]!r}, y_pred {y_pred[worst, 0]!r}"
        assert error[worst] <= bound, f"{error[worst]:.3g} units in the {at}, not {bound}"
        limit = keras_error.max() + SLACK
        assert error[worst] <= limit, f"{error[worst]:.3g} units in the {at}, Keras {limit}"


def test_extended_precision_truth_is_right():
    with mpmath.workdps(40):
        for x in (-70.0, -17.0, -1e-8, 0.3, 50.0):
            expected = mpmath.log1p(mpmath.exp(mpmath.mpf(x)))
            np.testing.assert_allclose(float(softplus(Wide(x))), float(expected), rtol=1e-15)
            expected = 1 / (1 + mpmath.exp(-mpmath.mpf(x)))
            np.testing.assert_allclose(float(sigmoid(Wide(x))), float(expected), rtol=1e-15)
        for e in (1e-12, 1e-3, 0.9, 1.1, 30.0):
            expected = mpmath.log(mpmath.cosh(mpmath.mpf(e)))
            truth = log_cosh(np.array([Wide(0)]), np.array([Wide(e)]), Wide(0)).value[0]
            np.testing.assert_allclose(float(truth), float(expected), rtol=1e-14)


# What Keras gets wrong


def test_log_cosh_of_a_tiny_error_is_half_its_square():
    error = np.array([[1e-4], [-3e-6], [1e-12]], np.float32)
    loss = fl.LogCosh(reduction="none")(np.zeros_like(error), error)
    np.testing.assert_allclose(loss, float64(error)[:, 0] ** 2 / 2, rtol=1e-6)


def test_focal_gradient_on_the_hardest_examples_is_that_of_crossentropy():
    logits = np.array([[-17.0], [-50.0], [-200.0], [-1e4]], np.float32)
    y_true = np.ones_like(logits)
    for make in (fl.BinaryFocalCrossentropy, fl.BinaryCrossentropy):
        _, gradient = value_and_gradient(make(from_logits=True, reduction="sum"), y_true, logits)
        np.testing.assert_allclose(gradient, -1, rtol=1e-4)


def test_bfloat16_predictions_are_summed_in_float32():
    y_pred = np.full((300, 700), 1.0, numpy_dtype("bfloat16"))
    y_true = np.zeros((300, 700), np.uint8)
    assert float(fl.MeanSquaredError(reduction="sum")(y_true, y_pred)) == 300.0
    assert float(fl.MeanSquaredError()(y_true, y_pred)) == 1.0


# NaN, infinity


SPECIAL = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
@pytest.mark.parametrize("name", SUBJECTS)
def test_nan_and_infinity_are_never_hidden(name, dtype):
    numpy = numpy_dtype(dtype)
    usual = [0.0, 0.25, 1.0]
    pairs = [(t, p) for t in SPECIAL + usual for p in SPECIAL + usual if {t, p} - set(usual)]
    y_true, y_pred = np.array(pairs, np.float32).T[..., None].astype(numpy)
    ours, gradient = (
        float64(x).ravel() for x in value_and_gradient(of_ours(name, dtype), y_true, y_pred)
    )
    theirs, their_gradient = (
        float64(x).ravel() for x in value_and_gradient(of_keras(name, dtype), y_true, y_pred)
    )
    for i, (t, p) in enumerate(pairs):
        what = f"y_true {t}, y_pred {p}: ours {ours[i]} and {gradient[i]}, Keras {theirs[i]} and "
        what += str(their_gradient[i])
        if np.isnan(t) or np.isnan(p):
            assert np.isnan(ours[i]), what
        if np.isnan(p):
            assert np.isnan(gradient[i]), what
        if not np.isfinite(theirs[i]):
            assert not np.isfinite(ours[i]), what
        if np.isfinite(theirs[i]):
            np.testing.assert_allclose(ours[i], theirs[i], rtol=1e-2, atol=1e-6, err_msg=what)


def test_one_nan_among_many_reaches_the_loss_and_stays_in_its_row():
    y_true, y_pred = find("Huber").data((500, 40))
    y_pred[123, 7] = np.nan
    loss, gradient = value_and_gradient(fl.Huber(), y_true, y_pred)
    assert np.isnan(loss)
    assert np.argwhere(np.isnan(gradient)).tolist() == [[123, 7]]
    rows = fl.Huber(reduction="none")(y_true, y_pred)
    assert np.flatnonzero(np.isnan(rows)).tolist() == [123]
