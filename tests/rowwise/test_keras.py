"""The rowwise losses against Keras, which computes in float64 on the same numbers."""

from __future__ import annotations

import itertools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import (
    INTEGERS,
    LABEL_DTYPES,
    LOSS_BOUNDS,
    PREDICTION_DTYPES,
    Findings,
    assert_close,
    assert_same,
    float64,
    value_and_gradient,
)
from rowwise_cases import (
    CASES,
    CORE,
    CORE_IDS,
    DISTINCT,
    IDS,
    assert_same_outcome,
    compare,
    find,
    in_keras,
    outcome,
    weights,
)

import fastloss as fl

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)
core_cases = pytest.mark.parametrize("case", CORE, ids=CORE_IDS)


# Arguments, dtypes, shapes


@every_case
def test_loss_and_gradient_equal_keras(case, backend):
    y_true, y_pred = case.data((4, 3, 5))
    with Findings() as findings:
        for reduction, weight in itertools.product(DISTINCT, ([], [weights((4, 3))])):
            with findings.of((reduction, len(weight))):
                assert_same_outcome(case, y_true, y_pred, *weight, reduction=reduction)


def check_dtypes(case, y_true, y_pred):
    # The mean over rows that are not ignored is rounded to float32 in Keras 3.12.
    dtype = y_pred.dtype.name
    loss, gradient = value_and_gradient(case.ours(reduction="sum"), y_true, y_pred)
    assert gradient.dtype.name == dtype
    assert loss.dtype == tf.float32
    expected = in_keras(case, y_true, y_pred, reduction="sum")
    # The divergences cancel to something smaller than their terms.
    assert_close(loss, expected[0], LOSS_BOUNDS["float32"], tiny=1e-6)
    assert_same((expected[0], gradient), expected, dtype)


@every_case
def test_every_prediction_dtype(case, backend):
    with Findings() as findings:
        for dtype in PREDICTION_DTYPES:
            label_dtype = "int64" if case.is_sparse else "float64" if dtype == "float64" else None
            y_true, y_pred = case.data((6, 7), dtype, label_dtype or "float32")
            with findings.of(dtype):
                check_dtypes(case, y_true, y_pred)


@core_cases
def test_every_label_dtype(case, backend):
    labels = LABEL_DTYPES
    if case.is_sparse:
        labels = (*INTEGERS, *PREDICTION_DTYPES)
    elif case.labels == "real":
        labels = PREDICTION_DTYPES
    with Findings() as findings:
        for label_dtype in labels:
            with findings.of(label_dtype):
                check_dtypes(case, *case.data((6, 7), "float32", label_dtype))


@every_case
def test_float64_loss_is_computed_in_float64(case, backend):
    y_true, y_pred = case.data((6, 7), "float64")
    ours = value_and_gradient(case.ours(dtype="float64", reduction="sum"), y_true, y_pred)
    assert ours[0].dtype == tf.float64
    assert_same(ours, in_keras(case, y_true, y_pred, reduction="sum"), "float64")


def test_boolean_class_numbers(backend):
    case = find("SparseCategoricalCrossentropy", from_logits=True)
    y_true, y_pred = case.data((6, 2), label_dtype="bool")
    assert_same_outcome(case, y_true, y_pred)


def test_class_numbers_stay_integers(backend):
    """65537 in bfloat16 or float16 is another number."""
    y_true, y_pred = np.array([65537, 257]), np.zeros((2, 65600), np.float16)
    y_pred[0, 65537], y_pred[1, 257] = 60000, 60000
    loss = fl.SparseCategoricalCrossentropy(from_logits=True, dtype="float16")
    assert float(loss(y_true, y_pred)) == 0


SHAPES = [(1,), (5,), (1, 1), (1, 5), (4, 2), (2, 3, 4), (2, 1, 3, 1, 2), (2, 1, 2, 1, 3, 2)]
EMPTY = [(0, 3), (2, 0, 3), (0, 2, 3)]


@core_cases
@pytest.mark.parametrize("reduction", DISTINCT)
def test_rank_1_to_6_and_zero_rows(case, reduction, backend):
    with Findings() as findings, warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        for shape in [*SHAPES, *EMPTY]:
            # Keras refuses the one label of one class.
            if shape == (1,) and case.is_sparse:
                continue
            y_true, y_pred = case.data(shape)
            with findings.of(shape):
                assert_same_outcome(case, y_true, y_pred, reduction=reduction)


@pytest.mark.parametrize("case", [c for c in CORE if not c.is_sparse], ids=lambda case: case.id)
def test_no_classes_is_no_crash(case, backend):
    for shape in [(0,), (3, 0), (0, 0), (2, 3, 0)]:
        y_true, y_pred = case.data(shape)
        value, gradient = value_and_gradient(case.ours(reduction="none"), y_true, y_pred)
        assert value.shape == shape[:-1]
        assert gradient.shape == shape


# Keras mixes up the rows of CategoricalGeneralizedCrossEntropy; see test_differences.
COLUMNS = [case for case in CASES if case.is_sparse and "Generalized" not in case.public]


@pytest.mark.parametrize("case", COLUMNS, ids=lambda case: case.id)
def test_sparse_labels_may_have_a_last_dimension_of_one(case, backend):
    for shape in [(5, 4), (2, 3, 4)]:
        y_true, y_pred = case.data(shape)
        assert_same_outcome(case, y_true[..., np.newaxis], y_pred)
        assert_same_outcome(case, y_true, y_pred)


SPARSE_SHAPES = [
    ((4,), (5, 3)),
    ((5, 3), (5, 3)),
    ((5,), (2, 5, 3)),
    ((2, 5), (5, 3)),
    ((5,), (5,)),
]


@pytest.mark.parametrize("public", ["SparseCategoricalCrossentropy", "SparseCategoricalHinge"])
def test_sparse_labels_that_do_not_fit_are_refused(public, backend):
    for label, prediction in SPARSE_SHAPES:
        assert_same_outcome(find(public), np.zeros(label, int), np.ones(prediction, np.float32))


BROADCASTS = [
    *[((5, 1), (5,)), ((5,), (5, 1)), ((1, 3), (5, 3)), ((5, 3), (1, 3)), ((3,), (5, 3))],
    *[((2, 3), (2, 3, 1)), ((2, 3, 1), (2, 3)), ((2, 1, 4), (2, 3, 4)), ((), (5, 1)), ((4,), (5,))],
    *[((2, 3), (3, 2)), ((2, 3, 4), (2, 3)), ((2, 3, 4, 1), (2, 3, 4))],
]


@pytest.mark.parametrize(
    "public",
    [
        *("CategoricalCrossentropy", "CategoricalHinge", "CosineSimilarity"),
        "JensenShannonDivergence",
    ],
)
def test_broadcasting_and_rank_adjustment(public, backend):
    case = find(public)
    random = np.random.default_rng(0)
    with Findings() as findings, warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        for true_shape, pred_shape in BROADCASTS:
            y_true = random.uniform(0.1, 1, true_shape).astype(np.float32)
            y_pred = random.uniform(0.1, 1, pred_shape).astype(np.float32)
            for reduction in ("sum_over_batch_size", "none"):
                with findings.of(f"labels {true_shape}, predictions {pred_shape}, {reduction}"):
                    assert_same_outcome(case, y_true, y_pred, reduction=reduction)


@pytest.mark.parametrize(
    "public", ["CategoricalCrossentropy", "CategoricalFocalCrossentropy", "CosineSimilarity"]
)
def test_axis(public, backend):
    kinds = (
        [{}] if public == "CosineSimilarity" else [{"from_logits": True}, {"from_logits": False}]
    )
    with Findings() as findings:
        for axis, kind, reduction in itertools.product(
            (0, 1, 2, -1, -2, -3, 3, -4), kinds, ("sum_over_batch_size", "none")
        ):
            if public == "CategoricalCrossentropy" and axis < -1 and kind["from_logits"]:
                continue  # Keras refuses all of them.
            place = axis if axis in range(-3, 3) else -1
            y_true, y_pred = (np.moveaxis(x, -1, place) for x in find(public).data((4, 3, 5)))
            arguments = {"axis": axis, "reduction": reduction, **kind}
            theirs = getattr(keras.losses, public)(dtype="float64", **arguments)
            expected = outcome(value_and_gradient, theirs, float64(y_true), float64(y_pred))
            with findings.of(arguments):
                ours = getattr(fl, public)(**arguments)
                compare(outcome(value_and_gradient, ours, y_true, y_pred), expected)


WITH_AXIS = [case for case in CASES if "Hinge" not in case.public]


@pytest.mark.parametrize("case", WITH_AXIS, ids=lambda case: case.id)
def test_axis_of_classes_may_be_any(case, backend):
    """Against the same loss with the classes last."""
    y_true, y_pred = case.data((4, 3, 5))
    weight = weights((4, 3))
    expected = value_and_gradient(case.ours(), y_true, y_pred, weight)
    for axis in (0, 1, -2, -3):
        moved = y_true if case.is_sparse else np.moveaxis(y_true, -1, axis)
        prediction = np.moveaxis(y_pred, -1, axis)
        value, gradient = value_and_gradient(case.ours(axis=axis), moved, prediction, weight)
        assert_close(value, expected[0], 1e-6)
        assert_close(gradient, np.moveaxis(expected[1], -1, axis), 1e-6)
        if case.is_sparse:
            wide = np.expand_dims(moved, axis)
            assert_close(case.ours(axis=axis)(wide, prediction, weight), value, 1e-7)


@pytest.mark.parametrize("public", ["CategoricalCrossentropy", "CategoricalFocalCrossentropy"])
def test_one_class_warns_as_keras_does(public):
    ones = np.ones((3, 1), np.float32)
    for losses in (fl, keras.losses):
        with pytest.warns(SyntaxWarning, match="binary_crossentropy"):
            getattr(losses, public)(from_logits=True)(ones, ones)


# Functions


FUNCTION_INPUTS = [((5,), "float32"), ((4, 3), "bfloat16"), ((2, 3, 4), "float64")]


@every_case
def test_function_equals_keras(case, backend):
    ours = getattr(fl, case.function)
    arguments = case.arguments
    if case.public == "CategoricalGeneralizedCrossEntropy":
        arguments = {"q": 0.5, **arguments}
    for shape, dtype in FUNCTION_INPUTS:
        y_true, y_pred = case.data(shape, dtype)
        actual = value_and_gradient(lambda t, p: ours(t, p, **arguments), y_true, y_pred)
        assert actual[0].dtype == (tf.float64 if dtype == "float64" else tf.float32)
        theirs = case.stand_in or getattr(keras.losses, case.function)
        given = {} if case.stand_in else arguments
        expected = value_and_gradient(
            lambda t, p, theirs=theirs, given=given: theirs(t, p, **given),
            tf.constant(float64(y_true)),
            float64(y_pred),
        )
        assert_same(actual, expected, dtype, f"{shape} {dtype}")
