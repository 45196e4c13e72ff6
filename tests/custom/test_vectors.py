"""What XLA has no vectors for on a CPU: powers of other ops, and calls that stay uncompiled."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from cases import assert_close

import fastloss as fl
from fastloss.custom import row_blocks
from fastloss.custom import value_and_gradient as machinery
from fastloss.custom.powers import power

ROWS, COLUMNS = 12, 5
EXPONENTS = [0.75, -0.25, -0.5, 1.5, 4.0, -2.0, -3.0, 7.0, -2.25, 63.75]
SPECIAL = [-np.inf, -2.0, -1.0, -0.0, 0.0, 1.0, 1e-30, 1e30, np.inf, np.nan]


@pytest.fixture(autouse=True)
def _small_inputs_are_compiled_too(monkeypatch):
    monkeypatch.setattr(machinery, "_WORTH_COMPILING", 0)


def data():
    random = np.random.default_rng(0)
    return [tf.constant(random.uniform(0.1, 1, (ROWS, COLUMNS)), tf.float32) for _ in range(2)]


def value_and_slope(loss, y_true, y_pred):
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred)
    return value, tape.gradient(value, y_pred)


def powers_in_the_program(loss):
    """How many there are in what XLA made of a loss, or of its blocks, that was called once."""
    (found,) = loss._programs.values()
    compiled, inputs = found._value_and_slope, data()
    if row_blocks._BLOCK < ROWS * COLUMNS:
        (blocks,) = found._blocks._traced.values()
        compiled = blocks._block
        inputs = [*(x[: blocks._rows] for x in inputs), tf.ones(blocks._rows)]
    hlo = compiled._fused_once.experimental_get_compiler_ir(*inputs)(stage="optimized_hlo")
    return hlo.count(" power(")


def robust(y_true, y_pred, exponent=0.75):
    return tf.reduce_mean((2 * (y_pred - y_true) ** 2 + 1) ** exponent, axis=-1)


# Powers


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_power_is_rounded_once(exponent):
    random = np.random.default_rng(1)
    limit = min(20, 80 / abs(exponent))
    x = np.exp(random.uniform(-limit, limit, 100_000)).astype(np.float32)
    if exponent.is_integer():
        x *= random.choice(np.float32([-1, 1]), x.shape)
    exact = np.power(x.astype(np.float64), exponent)
    for run in (power, tf.function(power, jit_compile=True)):
        error = np.abs(run(tf.constant(x), exponent).numpy() - exact)
        assert (error / np.spacing(np.abs(exact).astype(np.float32))).max() < 0.5001


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_powers_of_special_values(exponent):
    x = np.float32(SPECIAL)
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), exponent).astype(np.float32)
    expected[np.abs(expected) < np.finfo(np.float32).tiny] *= 0
    for run in (power, tf.function(power, jit_compile=True)):
        actual = run(tf.constant(x), exponent).numpy()
        np.testing.assert_allclose(actual, expected, rtol=1e-7)
        numbers = ~np.isnan(expected)
        assert (np.signbit(actual) == np.signbit(expected))[numbers].all()


@pytest.mark.parametrize("exponent", [0.75, 4, 5.0, -1.25])
@pytest.mark.parametrize("blocks", [False, True])
def test_no_power_is_left_in_the_program(exponent, blocks, monkeypatch):
    if blocks:
        monkeypatch.setattr(row_blocks, "_BLOCK", 4 * COLUMNS)
        monkeypatch.setattr(row_blocks, "_WORTH_BLOCKS", 2)
    loss = fl.fuse(robust).with_(exponent=exponent)
    y_true, y_pred = data()
    value, slope = value_and_slope(loss, y_true, y_pred)
    assert powers_in_the_program(loss) == 0
    # Of these numbers, in float64.
    wide = [tf.cast(x, tf.float64) for x in (y_true, y_pred)]
    expected = value_and_slope(lambda y, p: tf.reduce_mean(robust(y, p, exponent)), *wide)
    assert_close(value, expected[0], 2e-7)
    assert_close(slope, expected[1], 2e-6)


@pytest.mark.parametrize("exponent", [0.45, 65.0])
def test_other_exponents_are_left_to_xla(exponent):
    loss = fl.fuse(robust).with_(exponent=exponent)
    actual = value_and_slope(loss, *data())
    assert powers_in_the_program(loss) > 0
    expected = value_and_slope(lambda y, p: tf.reduce_mean(robust(y, p, exponent)), *data())
    for ours, theirs in zip(actual, expected, strict=True):
        assert_close(ours, theirs, 2e-5)


@pytest.mark.parametrize("exponent", [2.0, 3])
def test_powers_that_xla_simplifies(exponent):
    loss = fl.fuse(robust).with_(exponent=exponent)
    value_and_slope(loss, *data())
    assert powers_in_the_program(loss) == 0


def test_exponent_in_a_variable():
    exponent = tf.Variable(0.75)
    loss = fl.fuse(robust).with_(exponent=exponent)
    for x in (0.75, 4.0):
        exponent.assign(x)
        assert_close(loss(*data()), tf.reduce_mean(robust(*data(), x)), 4e-6)


def test_slope_where_the_power_of_the_gradient_is_of_zero():
    def error(y_true, y_pred):
        return tf.reduce_mean(tf.abs(y_pred - y_true) ** 1.5, axis=-1)

    y_true = data()[0]
    _, slope = value_and_slope(fl.fuse(error), y_true, y_true)
    np.testing.assert_array_equal(slope, tf.zeros_like(slope))


def test_second_gradients_of_powers():
    y_true, y_pred = data()

    def second(loss):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            norm = tf.reduce_sum(value_and_slope(loss, y_true, y_pred)[1] ** 2)
        return tape.gradient(norm, y_pred)

    assert_close(second(fl.fuse(robust)), second(lambda y, p: tf.reduce_mean(robust(y, p))), 4e-6)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_variable_beside_a_power(mode):
    scale = tf.Variable(2.0)

    def scaled(y_true, y_pred):
        return scale * robust(y_true, y_pred)

    loss, inputs = fl.fuse(scaled), data()

    def step(loss):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = loss(*inputs)
        return [value, *tape.gradient(value, [scale, *inputs])]

    run = tf.function(lambda: step(loss)) if mode == "graph" else lambda: step(loss)
    for x in (2.0, 3.0):
        scale.assign(x)
        expected = step(lambda y, p: tf.reduce_mean(scaled(y, p)))
        for ours, theirs in zip(run(), expected, strict=True):
            assert_close(ours, theirs, 4e-6)


def test_powers_beside_a_function_of_the_graph():
    def stepwise(y_true, y_pred):
        def halve(i, x):
            return i + 1, x / 2

        small = tf.while_loop(lambda i, _: i < 3, halve, (0, y_pred), maximum_iterations=3)[1]
        return (small - y_true) ** 4

    actual = value_and_slope(fl.fuse(stepwise), *data())
    expected = value_and_slope(lambda y, p: tf.reduce_mean(stepwise(y, p)), *data())
    for ours, theirs in zip(actual, expected, strict=True):
        assert_close(ours, theirs, 4e-6)


# Calls


def alone(y_true, y_pred, call):
    return tf.reduce_mean(call(y_pred - y_true), axis=-1)


def among_others(y_true, y_pred, call):
    error, p = tf.abs(y_pred - y_true), tf.sigmoid(y_pred)
    huber = tf.where(error < 1, 0.5 * error * error, error - 0.5)
    focal = y_true * tf.square(1 - p) * tf.math.log(p + 1e-6)
    return tf.reduce_mean(huber + focal + tf.exp(-error) + call(y_pred - y_true), axis=-1)


@pytest.mark.parametrize("call", [tf.sin, tf.cos, tf.atan, tf.asin, tf.acos])
@pytest.mark.parametrize(("function", "compiled"), [(alone, False), (among_others, True)])
def test_calls_are_compiled_among_enough_other_ops(call, function, compiled, recwarn):
    loss = fl.fuse(function).with_(call=call)
    actual = value_and_slope(loss, *data())
    (found,) = loss._programs.values()
    assert found._value_and_slope._supported == compiled
    # What is chosen for speed is no news. AutoGraph's own warnings are of another kind.
    assert not [x for x in recwarn if issubclass(x.category, UserWarning)]
    expected = value_and_slope(lambda y, p: tf.reduce_mean(function(y, p, call)), *data())
    for ours, theirs in zip(actual, expected, strict=True):
        assert_close(ours, theirs, 4e-6)


def test_what_has_vectors_is_compiled():
    for call in (tf.exp, tf.tanh, tf.math.erf, tf.math.lgamma, tf.tan):
        loss = fl.fuse(alone).with_(call=call)
        value_and_slope(loss, *data())
        (found,) = loss._programs.values()
        assert found._value_and_slope._supported
