"""Elementwise losses of ranges of columns in one pass: the kernel, the op, and MultiTask."""

from __future__ import annotations

import importlib

import keras
import kernels
import numpy as np
import pytest
import tensorflow as tf
from cases import GRADIENT_BOUNDS, PREDICTION_DTYPES, assert_close, numpy_dtype
from kernels import MEAN, MEAN_WITH_SAMPLE_WEIGHT, SUM, Task, same_bits

import fastloss as fl
from fastloss import c_api, calls, ops, reference
from fastloss.calls import Inputs, Reduction
from fastloss.ops.elementwise import MAX_TERMS

REDUCTIONS = (SUM, MEAN, MEAN_WITH_SAMPLE_WEIGHT)
# Narrow and wide against a tile, with a hole; the last two overlap.
LAYOUTS = {
    "narrow": (
        (7, 9),
        (
            Task("huber", 0, 0, 4, 1.5),
            Task("binary_crossentropy_from_logits", 5, 4, 1, 2.0),
            Task("kl_divergence", 4, 6, 3, -0.25),
        ),
    ),
    "wide": (
        (1300, 5000),
        (
            Task("mean_squared_error", 0, 0, 1300, 1.5),
            Task("log_cosh", 100, 3000, 700, 2.0),
            Task("mean_absolute_error", 900, 3600, 400, 0.5),
        ),
    ),
    "one": ((1, 1), (Task("mean_squared_error", 0, 0, 1),)),
}
layouts = pytest.mark.parametrize(("widths", "tasks"), LAYOUTS.values(), ids=LAYOUTS)


@pytest.fixture(autouse=True)
def _settings_are_put_back():
    yield
    c_api.set_isa("")
    c_api.set_threads(0)


def data(rows, widths, dtype="float32", label_dtype="float32", seed=0):
    random = np.random.default_rng(seed)
    y_true = random.integers(0, 2, (rows, widths[0])).astype(label_dtype)
    return y_true, random.uniform(0.05, 0.95, (rows, widths[1])).astype(numpy_dtype(dtype))


def cut(tasks, y_true, y_pred):
    for task in tasks:
        true = y_true[:, task.first_true : task.first_true + task.columns]
        pred = y_pred[:, task.first_pred : task.first_pred + task.columns]
        yield task, np.ascontiguousarray(true), np.ascontiguousarray(pred)


def separately(tasks, y_true, y_pred, reduction, weight):
    """The same by a call for each task, on columns that are cut out."""
    values, gradient = [], np.zeros(y_pred.shape)
    for task, true, pred in cut(tasks, y_true, y_pred):
        value, slope = kernels.elementwise(task.loss, true, pred, reduction, weight)
        values.append(float(value))
        to = gradient[:, task.first_pred : task.first_pred + task.columns]
        to += task.factor * np.float64(slope)
    return np.array(values), gradient


@layouts
@pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
@pytest.mark.parametrize("label_dtype", ["float32", "int64", "bool", "float16"])
def test_equals_the_losses_of_columns_cut_out(widths, tasks, dtype, label_dtype):
    y_true, y_pred = data(37, widths, dtype, label_dtype)
    for reduction in REDUCTIONS:
        for weight in (None, np.random.default_rng(1).uniform(0, 2, 37)):
            values, gradient = separately(tasks, y_true, y_pred, reduction, weight)
            actual = kernels.columns(tasks, y_true, y_pred, reduction, weight)
            factors = np.array([task.factor for task in tasks])
            assert_close(actual[1], values, 1e-6)
            np.testing.assert_allclose(
                float(actual[0]), (factors * values).sum(), rtol=0, atol=1e-6 * abs(values).max()
            )
            # Where ranges overlap each part was rounded before it was added.
            assert_close(actual[2], gradient, 2 * GRADIENT_BOUNDS[dtype])
            later = kernels.columns(tasks, y_true, y_pred, reduction, weight, upstream=1.0)
            assert same_bits(later[2], actual[2])


@layouts
@pytest.mark.parametrize("isa", c_api.isas())
def test_threads_runs_and_place_change_no_bit(isa, widths, tasks):
    c_api.set_isa(isa)
    y_true, y_pred = data(4000 if widths[1] < 100 else 50, widths)
    results = []
    for threads in (1, 2, 5):
        c_api.set_threads(threads)
        results.append(kernels.columns(tasks, y_true, y_pred))
    results.append(kernels.columns(tasks, y_true, y_pred.copy(), in_place=True))
    for result in results[1:]:
        assert all(map(same_bits, result, results[0]))


def test_a_large_gradient_has_the_bits_of_a_small_one():
    """Large gradients are written past the caches."""
    (widths, tasks), rows = LAYOUTS["narrow"], 500_000
    y_true, y_pred = data(rows, widths)
    whole = kernels.columns(tasks, y_true, y_pred, SUM)[2]
    for begin in (0, 123_457, rows - 1000):
        part = slice(begin, begin + 1000)
        small = kernels.columns(tasks, y_true[part].copy(), y_pred[part].copy(), SUM)[2]
        assert same_bits(whole[part].copy(), small)


def test_columns_of_no_task_have_no_gradient_and_are_not_read():
    y_true, y_pred = data(40, (3, 6))
    tasks = (Task("huber", 1, 2, 2),)
    y_true[:, 0] = y_pred[:, :2] = y_pred[:, 4:] = np.nan
    value, _, gradient = kernels.columns(tasks, y_true, y_pred)
    assert np.isfinite(value)
    assert not gradient[:, [0, 1, 4, 5]].any()
    assert np.isfinite(gradient).all()
    assert gradient[:, 2:4].any()


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Task("huber", 0, 0, 4), "takes 4 columns from column 0 on, but y_true has 3"),
        (Task("huber", 0, 5, 2), "takes 2 columns from column 5 on, but y_pred has 6"),
        (Task("huber", 0, -1, 2), "from column -1 on"),
        (Task("hinge", 0, 0, 2), "reads all labels before it starts"),
    ],
)
def test_wrong_calls_are_refused(task, message):
    with pytest.raises(ValueError, match=message):
        kernels.columns((task,), *data(5, (3, 6)))
    with pytest.raises(ValueError, match="expected a reduction to a scalar"):
        kernels.columns((Task("huber", 0, 0, 2),), *data(5, (3, 6)), reduction=kernels.NONE)


@pytest.mark.parametrize("shape", [(0, 9), (2, 0, 9)])
def test_no_rows(shape):
    y_pred = tf.zeros(shape)
    y_true = tf.zeros((*shape[:-1], 7))
    tasks = (calls.Task("huber", (1.0,), 0, 0, 4),)
    value, values = ops.columns(
        tasks, tf.constant([2.0]), Inputs(y_true, y_pred, None, Reduction("mean"))
    )
    assert float(value) == 0
    assert values.numpy().tolist() == [0]


# The op

OP_TASKS = (
    calls.Task("huber", (1.0,), 0, 0, 3),
    calls.Task("binary_crossentropy_from_logits", (0.1,), 3, 3, 2),
    calls.Task("mean_squared_error", (), 0, 5, 2),
)


def gradients_of(function, inputs, second=False):
    """The value with its gradients, and with the gradients of a sum of these."""
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(inputs)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value, values = function(*inputs)
            value = tf.square(value)
        first = tape.gradient(value, inputs)
        mixed = tf.add_n([tf.reduce_sum(tf.sin(x) * x) for x in first])
    return [value, values, *first, *(outer.gradient(mixed, inputs) if second else [])]


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_gradients_of_all_inputs_in_both_orders(mode):
    random = np.random.default_rng(0)
    y_true, y_pred = random.uniform(0, 1, (6, 5)), random.normal(0, 1, (6, 7))
    weight, factor = random.uniform(0.5, 2, 6), np.array([2.0, 0.5, -1.0])
    inputs = list(map(tf.constant, (y_true, y_pred, weight, factor)))

    def run(columns):
        def function(true, pred, weight, factor):
            reduction = Reduction("mean_with_sample_weight")
            return columns(OP_TASKS, factor, Inputs(true, pred, weight, reduction))

        once = gradients_of
        if mode == "graph":
            return tf.function(lambda *x: once(function, list(x), second=True))(*inputs)
        return once(function, inputs, second=True)

    for actual, expected in zip(run(ops.columns), run(reference.columns), strict=True):
        assert_close(actual, expected, 1e-12)


@pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_op_equals_the_reference(mode, dtype):
    y_true, y_pred = data(30, (5, 7), dtype)
    wide = np.float64 if dtype == "float64" else np.float32
    weight, factor = np.linspace(0, 2, 30).astype(wide), np.array([2, 0.5, -1], wide)

    def run(columns):
        def once(*inputs):
            with tf.GradientTape() as tape:
                tape.watch(inputs[1])
                given = Inputs(*inputs[:3], Reduction("mean", 2))
                value, values = columns(OP_TASKS, inputs[3], given)
            return value, values, tape.gradient(value, inputs[1])

        inputs = list(map(tf.constant, (y_true, y_pred, weight, factor)))
        return (once if mode == "eager" else tf.function(once))(*inputs)

    for actual, expected in zip(run(ops.columns), run(reference.columns), strict=True):
        assert_close(actual, expected, max(GRADIENT_BOUNDS[dtype], 1e-6))


# MultiTask


def ops_of(loss, *shapes):
    """The types of the ops in the graph of a loss and its gradient."""

    @tf.function
    def step(y_true, y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, y_pred)
        return value, tape.gradient(value, y_pred)

    graph = step.get_concrete_function(*map(tf.TensorSpec, shapes)).graph
    return [op.type for op in graph.get_operations()]


def box_and_object():
    return fl.Huber(), fl.BinaryCrossentropy(from_logits=True)


@pytest.mark.parametrize("weights", [None, [2.0, 0.5]])
def test_no_columns_are_copied(weights):
    first, second = box_and_object()
    loss = fl.MultiTask({(0, 4): first + 0.5 * fl.MeanSquaredError(), (4, 5): second}, weights)
    for batch in (8, None):
        found = ops_of(loss, (batch, 5), (batch, 5))
        assert found.count("FastlossColumns") == 1
        assert not {"StridedSlice", "StridedSliceGrad", "Pad", "AddN"} & set(found)


@pytest.mark.parametrize(
    "other",
    [
        fl.Hinge(),
        fl.CosineSimilarity(),
        fl.BinaryCrossentropy(from_logits=True, pos_weight=2.0),
        fl.Huber() + fl.CosineSimilarity(),
        keras.losses.Huber(),
    ],
    ids=lambda loss: loss.name,
)
def test_other_tasks_have_their_columns_cut_out(other):
    y_true, y_pred = data(20, (9, 9))
    loss = fl.MultiTask({(0, 4): fl.Huber(), (4, 7): other, (7, 9): fl.Huber(delta=0.3)})
    found = ops_of(loss, (20, 9), (20, 9))
    assert found.count("FastlossColumns") == 1
    assert "StridedSlice" in found
    expected = fl.Huber()(y_true[:, :4], y_pred[:, :4]) + fl.Huber(delta=0.3)(
        y_true[:, 7:], y_pred[:, 7:]
    )
    assert_close(loss(y_true, y_pred), expected + other(y_true[:, 4:7], y_pred[:, 4:7]), 1e-6)


def test_losses_of_different_reductions_and_a_sigmoid_before():
    y_true, y_pred = data(20, (4, 4))
    tasks = {
        (0, 2): fl.BinaryCrossentropy(),
        (2, 4): fl.MeanSquaredError(reduction="sum"),
        3: fl.MeanAbsoluteError(),
    }
    loss = fl.MultiTask(tasks)
    run = tf.function(lambda true, logits: loss(true, tf.sigmoid(logits)))
    p = tf.sigmoid(y_pred).numpy()
    expected = (
        keras.losses.BinaryCrossentropy()(y_true[:, :2], p[:, :2])
        + keras.losses.MeanSquaredError(reduction="sum")(y_true[:, 2:], p[:, 2:])
        + keras.losses.MeanAbsoluteError()(y_true[:, 3:], p[:, 3:])
    )
    assert_close(run(tf.constant(y_true), tf.constant(y_pred)), expected, 2e-6)


def test_lists_are_taken():
    loss = fl.MultiTask({(0, 2): fl.MeanSquaredError(), 2: fl.CosineSimilarity()})
    assert float(loss([[1.0, 2.0, 1.0]], [[2.0, 4.0, 3.0]])) == pytest.approx(2.5 - 1)


def test_learned_weights_share_the_walk():
    loss = fl.MultiTask(zip([(0, 4), (4, 5)], box_and_object(), strict=True), "uncertainty")
    layer = loss.layer()
    layer.log_variances.assign([0.3, -0.7])
    y_true, y_pred = map(tf.constant, data(20, (5, 5)))
    weight = tf.constant(np.linspace(0, 2, 20), tf.float32)

    def step(y_true, y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, layer(y_pred), weight)
        return value, *tape.gradient(value, [y_pred, layer.log_variances.value])

    graph = tf.function(step)
    found = [op.type for op in graph.get_concrete_function(y_true, y_pred).graph.get_operations()]
    assert found.count("FastlossColumns") == 1
    with fl.use_backend("reference"):
        expected = step(y_true, y_pred)
    for run in (step, graph):
        for x, y in zip(run(y_true, y_pred), expected, strict=True):
            assert_close(tf.convert_to_tensor(x), tf.convert_to_tensor(y), 2e-6)


@pytest.mark.parametrize("lacking", ["", "no CUDA"], ids=["gpu", "cpu"])
def test_more_tasks_than_a_gpu_takes_at_once(monkeypatch, lacking):
    module = importlib.import_module("fastloss.ops.columns")
    monkeypatch.setattr(module, "why_not_on_gpu", lambda: lacking)
    count = MAX_TERMS + 2
    y_true, y_pred = np.random.default_rng(4).normal(size=(2, 6, count))
    tasks = tuple(calls.Task("huber", (0.5,), k, k, 1) for k in range(count))
    factor = tf.constant(np.linspace(-1, 2, count))
    results = []
    for call in (ops.columns, reference.columns):
        predictions = tf.constant(y_pred)
        with tf.GradientTape() as tape:
            tape.watch([predictions, factor])
            inputs = Inputs(tf.constant(y_true), predictions, None, Reduction("mean"))
            value, values = call(tasks, factor, inputs)
        results.append((value, values, *tape.gradient(value, [predictions, factor])))
    for actual, expected in zip(*results, strict=True):
        assert_close(actual, expected, 1e-12)
