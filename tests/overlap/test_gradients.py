"""Gradients of the overlap losses: of every input and order, against differences in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from cases import (
    GRADIENT_BOUNDS,
    PREDICTION_DTYPES,
    Findings,
    assert_close,
    assert_same,
    float64,
    value_and_gradient,
)
from overlap_cases import CASES, IDS, SUMMED, SUMMED_IDS, find

import fastloss as fl
from fastloss.testing import check_gradients

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)
summed_cases = pytest.mark.parametrize("case", SUMMED, ids=SUMMED_IDS)

SHAPE = (2, 3, 3)
STEP = 1e-5


def soft(case, seed=0):
    """Labels and predictions in float64; labels between 0 and 1, if they are not class numbers."""
    y_true, y_pred = case.data(SHAPE, "float64", seed=seed)
    if not case.is_sparse:
        y_true = np.random.default_rng(seed + 1).uniform(0.05, 0.95, SHAPE)
    return y_true, y_pred


def differences(function, x):
    """The gradient of a scalar function at x."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = STEP
        gradient[index] = (float(function(x + step)) - float(function(x - step))) / (2 * STEP)
    return gradient


def groups_of(case, y_true, y_pred):
    return case.ours(reduction="none", dtype="float64")(y_true, y_pred).shape


@every_case
def test_gradient_of_predictions(case, backend):
    y_true, y_pred = case.data(SHAPE, "float64") if "Lovasz" in case.public else soft(case)
    random = np.random.default_rng(3)
    weight = random.uniform(0.5, 2, groups_of(case, y_true, y_pred))
    for reduction in ("sum_over_batch_size", "none"):
        loss = case.ours(reduction=reduction, dtype="float64")
        _, gradient = value_and_gradient(loss, y_true, y_pred, weight)
        expected = differences(
            lambda p, loss=loss: tf.reduce_sum(loss(y_true, tf.constant(p), weight)), y_pred
        )
        assert_close(gradient, expected, 1e-7, reduction, 1e-9)


@summed_cases
def test_gradients_of_labels_and_weights(case, backend):
    y_true, y_pred = soft(case)
    weight = np.random.default_rng(3).uniform(0.5, 2, groups_of(case, y_true, y_pred))
    for reduction in ("mean_with_sample_weight", "none"):
        loss = case.ours(reduction=reduction, dtype="float64")
        inputs = [tf.constant(x) for x in (y_true, y_pred, weight)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = loss(*inputs)
        label, prediction, weighed = tape.gradient(value, inputs)
        assert_close(prediction, value_and_gradient(loss, *inputs)[1], 1e-12)
        expected = differences(lambda w, f=loss, x=inputs: tf.reduce_sum(f(x[0], x[1], w)), weight)
        assert_close(weighed, expected, 1e-7, f"weight {reduction}", 1e-9)
        if case.is_sparse:
            assert label is None
            continue
        expected = differences(lambda t, f=loss, x=inputs: tf.reduce_sum(f(t, x[1], x[2])), y_true)
        assert_close(label, expected, 1e-7, f"label {reduction}", 1e-9)


@summed_cases
def test_second_gradients(case, backend):
    """The derivative of a slope along some directions."""
    y_true, y_pred = (tf.constant(x) for x in soft(case))
    towards, *others = np.random.default_rng(4).normal(size=(4, *SHAPE))

    def slope(function, p):
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = function(y_true, p)
        return tf.reduce_sum(tape.gradient(value, p) * towards)

    mean = case.ours(dtype="float64")
    for function in (mean, tf.function(mean), case.ours(reduction="none", dtype="float64")):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            first = slope(function, y_pred)
        second = tape.gradient(first, y_pred)
        for other in others:
            step = STEP * other
            expected = (slope(function, y_pred + step) - slope(function, y_pred - step)) / STEP / 2
            actual = tf.reduce_sum(second * other)
            np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("case", CASES[:4] + CASES[9:10], ids=IDS[:4] + IDS[9:10])
def test_gradient_checker_passes(case, backend):
    y_true, y_pred = case.data(SHAPE)
    report = check_gradients(case.ours(), y_true, y_pred)
    assert report, str(report)


@summed_cases
def test_gradients_in_every_dtype(case, backend):
    wide = "float64"
    with Findings() as findings:
        for dtype in PREDICTION_DTYPES:
            y_true, y_pred = case.data((3, 9, 3), dtype)
            value, gradient = value_and_gradient(case.ours(reduction="sum"), y_true, y_pred)
            labels = y_true if case.is_sparse else float64(y_true)
            expected = value_and_gradient(
                case.ours(reduction="sum", dtype=wide), labels, float64(y_pred)
            )
            with findings.of(dtype):
                assert gradient.dtype.name == dtype
                assert_close(value, expected[0], 4e-6)
                tiny = 1e-7 if dtype == "float16" else 0
                assert_close(gradient, expected[1], GRADIENT_BOUNDS[dtype], tiny=tiny)


def test_a_gradient_of_float16_survives_a_large_loss_scale(backend):
    """One position of 262144 changes the loss by less than float16 holds."""
    y_true, y_pred = find("Dice").data((1, 512, 512, 1), "float16")
    y_pred = tf.constant(y_pred)
    scale = 2.0**15
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        loss = fl.Dice()(y_true, y_pred) * scale
    gradient = tape.gradient(loss, y_pred)
    expected = value_and_gradient(fl.Dice(dtype="float64"), float64(y_true), float64(y_pred))[1]
    assert_close(gradient, expected * scale, GRADIENT_BOUNDS["float16"], tiny=1e-7)


def test_focal_loss_of_a_perfect_prediction_has_no_slope(backend):
    y_true = np.array([[1.0, 0.0, 1.0]], np.float32)
    for gamma in (0.75, 1.0, 2.0):
        value, gradient = value_and_gradient(
            fl.FocalTversky(gamma=gamma, smooth_denominator=0.0), y_true, y_true
        )
        assert float(value) == 0
        assert (gradient.numpy() == 0).all()


def test_upstream_gradient_reaches_every_group(backend):
    y_true, y_pred = find("Dice").data((3, 4, 2))
    factors = tf.constant([[1.0, 2.0], [0.0, -3.0], [0.5, 1.0]])
    loss = fl.Dice("none", axis=1)
    total = value_and_gradient(lambda t, p: loss(t, p) * factors, y_true, y_pred)
    weighed = value_and_gradient(loss, y_true, y_pred, factors)
    assert_same(total, weighed, "float32")
    assert (total[1].numpy()[1, :, 0] == 0).all()
