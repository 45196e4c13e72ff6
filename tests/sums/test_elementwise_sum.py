"""Several elementwise losses in one pass, at the level of the C interface and of the ops."""

from __future__ import annotations

import importlib
import itertools

import kernels
import numpy as np
import pytest
import tensorflow as tf
from cases import GRADIENT_BOUNDS, PREDICTION_DTYPES, assert_close, numpy_dtype
from kernels import MEAN, MEAN_WITH_SAMPLE_WEIGHT, NONE, SUM, Term, same_bits

from fastloss import c_api, ops, reference
from fastloss.calls import Inputs, KernelTerm, Reduction
from fastloss.ops.elementwise import MAX_TERMS

# Means and a sum over rows, labels looked at first, a cheaper loop for hard labels.
TERMS = (
    Term("mean_squared_error", 1.5),
    Term("kl_divergence", -0.25),
    Term("hinge", 0.5),
    Term("binary_crossentropy", 2.0),
)
REDUCTIONS = (NONE, SUM, MEAN, MEAN_WITH_SAMPLE_WEIGHT)
# Several rows to a tile, one row over several, and over several pieces; a column.
SHAPES = ((33, 10), (3, 1700), (2, 70001), (700, 1))


@pytest.fixture(autouse=True)
def _settings_are_put_back():
    yield
    c_api.set_isa("")
    c_api.set_threads(0)


def data(shape, dtype="float32", binary=False, seed=0):
    random = np.random.default_rng(seed)
    y_true = random.integers(0, 2, shape) if binary else random.uniform(0, 1, shape)
    return y_true.astype("float32"), random.uniform(0.01, 0.99, shape).astype(numpy_dtype(dtype))


def separately(y_true, y_pred, reduction, weight):
    return [kernels.elementwise(term.loss, y_true, y_pred, reduction, weight) for term in TERMS]


@pytest.mark.parametrize("binary", [False, True], ids=["soft", "binary"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
def test_sum_is_the_sum(dtype, shape, binary):
    y_true, y_pred = data(shape, dtype, binary)
    random = np.random.default_rng(1)
    for reduction, weight in itertools.product(REDUCTIONS, (None, random.uniform(0, 2, shape[0]))):
        parts = separately(y_true, y_pred, reduction, weight)
        value, gradient = kernels.elementwise(TERMS, y_true, y_pred, reduction, weight)
        factors = [term.factor for term in TERMS]
        expected = sum(f * np.float64(x) for f, (x, _) in zip(factors, parts, strict=True))
        size = max(
            np.abs(f * np.float64(x)).max() for f, (x, _) in zip(factors, parts, strict=True)
        )
        assert np.abs(np.float64(value) - expected).max() <= 1e-6 * size
        slopes = [f * np.float64(x) for f, (_, x) in zip(factors, parts, strict=True)]
        largest = max(np.abs(slope).max() for slope in slopes)
        # Each part on its own is rounded to the half type, and so is the sum.
        bound = (len(TERMS) + 1) * GRADIENT_BOUNDS[dtype] * largest
        assert np.abs(np.float64(gradient) - sum(slopes)).max() <= bound


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("isa", c_api.isas())
def test_a_term_has_the_bits_that_it_has_alone(isa, shape):
    c_api.set_isa(isa)
    y_true, y_pred = data(shape)
    weight = np.random.default_rng(1).uniform(0, 2, shape[0])
    for reduction in REDUCTIONS[1:]:
        values = np.full(len(TERMS), np.nan, np.float32)
        kernels.elementwise(TERMS, y_true, y_pred, reduction, weight, term_values=values)
        alone = [value for value, _ in separately(y_true, y_pred, reduction, weight)]
        assert same_bits(values, np.array(alone, np.float32))


@pytest.mark.parametrize("loss", c_api.elementwise_losses())
def test_one_term_of_factor_one_is_the_loss(loss):
    y_true, y_pred = data((40, 700))
    for reduction in REDUCTIONS:
        alone = kernels.elementwise(loss, y_true, y_pred, reduction)
        one = kernels.elementwise([Term(loss)], y_true, y_pred, reduction)
        assert same_bits(one[0], alone[0])
        assert same_bits(one[1], alone[1])


@pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
def test_threads_runs_and_buffers_change_no_bit(dtype):
    terms = [term for term in TERMS if term.loss != "hinge"]
    y_true, y_pred = data((300, 1000), dtype)
    for reduction in REDUCTIONS:
        results = []
        for threads in (1, 2, 5):
            c_api.set_threads(threads)
            results.append(kernels.elementwise(terms, y_true, y_pred, reduction))
        if reduction != NONE:
            copy = y_pred.copy()
            results.append(kernels.elementwise(terms, y_true, copy, reduction, in_place=True))
        for value, gradient in results[1:]:
            assert same_bits(value, results[0][0])
            assert same_bits(gradient, results[0][1])


def test_a_wrong_guess_about_the_labels_is_corrected_for_every_term():
    terms = [Term("hinge"), Term("mean_squared_error", 0.5), Term("squared_hinge", 2.0)]
    y_true, y_pred = data((4, 70000), binary=True)
    y_true[-1, -1] = 0.5
    value, gradient = kernels.elementwise(terms, y_true, y_pred, SUM)
    parts = [kernels.elementwise(term.loss, y_true, y_pred, SUM) for term in terms]
    assert_close(value, sum(t.factor * x for t, (x, _) in zip(terms, parts, strict=True)), 1e-6)
    assert_close(gradient, sum(t.factor * x for t, (_, x) in zip(terms, parts, strict=True)), 1e-6)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "term_count is 0"),
        ([Term("mean_squared_error"), Term("hubert", 1.0, ())], "'hubert' is unknown"),
        ([Term("mean_squared_error"), Term("huber", 1.0, ())], "takes 1 parameters"),
    ],
)
def test_wrong_terms_are_refused(terms, message):
    with pytest.raises(ValueError, match=message):
        kernels.elementwise(terms, *data((2, 3)))


def test_a_gradient_in_place_is_refused_if_any_term_may_walk_twice():
    y_true, y_pred = data((2, 3))
    with pytest.raises(ValueError, match="'hinge' may need a second pass"):
        kernels.elementwise(TERMS, y_true, y_pred, in_place=True)


OP_TERMS = (
    KernelTerm("mean_squared_error", (), 1.0),
    KernelTerm("huber", (0.5,), 0.5),
    KernelTerm("kl_divergence", (1e-7,), -0.3),
)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
def test_op_equals_reference_to_second_order(dtype, graph):
    y_true, y_pred = map(tf.constant, data((7, 30), dtype))
    accumulation = tf.float64 if dtype == "float64" else tf.float32
    weight = tf.constant(np.random.default_rng(1).uniform(0, 2, 7), accumulation)

    def derivatives(module, reduction):
        with tf.GradientTape() as outer:
            outer.watch(y_pred)
            with tf.GradientTape() as tape:
                tape.watch([y_pred, weight])
                inputs = Inputs(y_true, y_pred, weight, Reduction(reduction))
                value, values = module.elementwise_sum(OP_TERMS, inputs)
                total = tf.reduce_sum(value)
            first = tape.gradient(total, [y_pred, weight])
            square = tf.reduce_sum(tf.cast(first[0], accumulation) ** 2)
        second = outer.gradient(square, y_pred)
        return [value, *first, second, *([] if values is None else [values])]

    run = tf.function(derivatives) if graph else derivatives
    half = dtype in ("float16", "bfloat16")
    for reduction in ("none", "sum", "mean", "mean_with_sample_weight"):
        for ours, theirs in zip(
            run(ops, reduction), derivatives(reference, reduction), strict=True
        ):
            assert_close(ours, theirs, 2e-2 if half else 1e-5, reduction, 1e-4 if half else 1e-9)


@pytest.mark.parametrize(
    ("loss", "parameters", "factors", "message"),
    [
        ("huber+mean_squared_error", [0], [0], "expected one for each of the 2 losses"),
        ("huber+mean_squared_error", [], [0, 0], "takes 1 parameters"),
        ("huber+mean_squared_error", [0, 0], [0, 0], "takes 0 parameters"),
        ("huber+", [0], [0, 0], "losses|unknown"),
        ("huber+hubert", [0], [0, 0], "unknown"),
    ],
)
def test_wrong_attributes_of_the_op_are_refused(loss, parameters, factors, message):
    kernel, x = ops.library.kernels(), tf.ones([2, 3])
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        kernel.fastloss_elementwise_sum(
            x, x, [], [], loss, parameters, "sum", tf.float32, 0, 1, factors
        )


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("lacking", ["", "no CUDA"], ids=["gpu", "cpu"])
def test_more_terms_than_a_gpu_takes_at_once(monkeypatch, reduction, lacking):
    module = importlib.import_module("fastloss.ops.elementwise")
    monkeypatch.setattr(module, "why_not_on_gpu", lambda: lacking)
    terms = tuple(KernelTerm("huber", (0.1 + 0.1 * k,), 1.0 + k) for k in range(MAX_TERMS + 2))
    y_true, y_pred = np.random.default_rng(4).normal(size=(2, 6, 3))
    weight = tf.constant(np.linspace(0.5, 2, 6))
    results = []
    for call in (ops.elementwise_sum, reference.elementwise_sum):
        predictions = tf.constant(y_pred)
        with tf.GradientTape() as tape:
            tape.watch(predictions)
            inputs = Inputs(tf.constant(y_true), predictions, weight, Reduction(reduction))
            value, values = call(terms, inputs)
        results.append((value, values, tape.gradient(value, predictions)))
    traced = tf.function(lambda p: ops.elementwise_sum(terms, inputs._replace(y_pred=p)))
    graph = traced.get_concrete_function(tf.constant(y_pred)).graph
    passes = [x for x in graph.get_operations() if x.type.startswith("FastlossElementwise")]
    assert len(passes) == (1 if lacking else 2)
    for actual, expected in zip(*results, strict=True):
        assert (actual is None) == (expected is None)
        if actual is not None:
            assert_close(actual, expected, 1e-12)
