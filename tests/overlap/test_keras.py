"""Dice and Tversky against Keras, which computes in float64 on the same numbers."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import (
    LABEL_DTYPES,
    PREDICTION_DTYPES,
    REDUCTIONS,
    Findings,
    assert_close,
    assert_same,
    float64,
    value_and_gradient,
)
from overlap_cases import CASES, IDS, Case
from rowwise_cases import DISTINCT, compare, outcome

import fastloss as fl

LOSSES = (
    Case("dice", "Dice"),
    Case("tversky", "Tversky", {"alpha": 0.3, "beta": 1.2}),
)
every_loss = pytest.mark.parametrize("case", LOSSES, ids=lambda case: case.id)

SHAPE = (3, 4, 5, 2)
AXES = [
    *(None, 0, 1, -1, (), (0,), (1, 2), (1, 2, 3), [0, 2], (-2, 1), (0, 3), (3, 1)),
    *((0, 1, 2, 3), 4, -5, (1, 1), (1, -3), (2, 9)),
]


def compared(case, y_true, y_pred, *weight, dtype="float32", what="", **arguments):
    """Ours equals Keras's in float64, or both refuse the input."""
    keras_loss = getattr(keras.losses, case.public)
    theirs = keras_loss(**case.arguments, **arguments, dtype="float64")
    wide = [float64(x) for x in (y_true, y_pred, *weight)]
    expected = outcome(value_and_gradient, theirs, *wide)
    ours = outcome(value_and_gradient, case.ours(**arguments), y_true, y_pred, *weight)
    compare(ours, expected, dtype, what)


def weights(shape, seed=1):
    return np.random.default_rng(seed).uniform(0, 2, shape).astype(np.float32)


# Axes, reductions, weights, masks


@every_loss
def test_every_axis_and_reduction(case, backend):
    y_true, y_pred = case.data(SHAPE)
    with Findings() as findings:
        for axis, reduction in itertools.product(AXES, REDUCTIONS):
            with findings.of((axis, reduction)):
                compared(case, y_true, y_pred, axis=axis, reduction=reduction)


WEIGHTS = {
    None: [(), (1,), (3,), (3, 1), (3, 4), (2, 2, 2)],
    (1, 2): [(), (3,), (3, 1), (3, 2), (2,), (1, 2), (1, 1), (3, 2, 1), (4, 2), (5, 3, 2)],
    (1, 2, 3): [(), (1,), (3,), (3, 1), (4,), (1, 3), (2, 3)],
    (-1,): [(3, 4, 5), (5,), (4, 5), (4, 1), (3,), (3, 4, 5, 1), (3, 4, 5, 2)],
    (0, 1, 3): [(5,), (5, 1), (1,)],
}


@every_loss
def test_weights_of_every_shape(case, backend):
    y_true, y_pred = case.data(SHAPE)
    with Findings() as findings:
        for axis, shapes in WEIGHTS.items():
            for shape, reduction in itertools.product(shapes, DISTINCT):
                with findings.of((axis, shape, reduction)):
                    given = {"axis": axis, "reduction": reduction}
                    compared(case, y_true, y_pred, weights(shape), **given)


class Masked:
    """A loss of predictions that carry a mask."""

    def __init__(self, loss, mask):
        self.loss, self.mask = loss, mask

    def __call__(self, y_true, y_pred, *weight):
        y_pred._keras_mask = tf.constant(self.mask)
        return self.loss(y_true, y_pred, *weight)


@every_loss
def test_masks(case, backend):
    y_true, y_pred = case.data(SHAPE)
    random = np.random.default_rng(2)
    with Findings() as findings:
        for axis, shape in [((1, 2), (3, 2)), ((1, 2, 3), (3,)), (3, (3, 4, 5)), (None, (3,))]:
            for kind, reduction in itertools.product(("some", "none", "weighed"), DISTINCT):
                mask = random.uniform(size=shape) < (0.6 if kind != "none" else 0)
                weight = [weights(shape)] if kind == "weighed" else []
                given = {"axis": axis, "reduction": reduction}
                ours = Masked(case.ours(**given), mask)
                theirs = getattr(keras.losses, case.public)(
                    **case.arguments, **given, dtype="float64"
                )
                wide = [float64(x) for x in (y_true, y_pred, *weight)]
                with findings.of((axis, kind, reduction)):
                    compare(
                        value_and_gradient(ours, y_true, y_pred, *weight),
                        value_and_gradient(Masked(theirs, mask), *wide),
                    )


# Dtypes and shapes


@every_loss
@pytest.mark.parametrize("axis", [None, (1, 2), (0, 1)])
def test_every_dtype(case, axis, backend):
    with Findings() as findings:
        for dtype, label_dtype in [
            *((dtype, dtype) for dtype in PREDICTION_DTYPES),
            *(("float32", label_dtype) for label_dtype in LABEL_DTYPES),
        ]:
            y_true, y_pred = case.data((3, 6, 4), dtype, label_dtype)
            with findings.of((dtype, label_dtype)):
                value, gradient = value_and_gradient(case.ours(axis=axis), y_true, y_pred)
                assert gradient.dtype.name == dtype
                assert value.dtype == tf.float32
                theirs = getattr(keras.losses, case.public)(
                    **case.arguments, axis=axis, dtype="float64"
                )
                expected = value_and_gradient(theirs, float64(y_true), float64(y_pred))
                assert_same((value, gradient), expected, "float32" if dtype == "float64" else dtype)


@every_loss
def test_float64_loss_is_computed_in_float64(case, backend):
    y_true, y_pred = case.data(SHAPE, "float64")
    ours = value_and_gradient(case.ours(dtype="float64"), y_true, y_pred)
    assert ours[0].dtype == tf.float64
    theirs = getattr(keras.losses, case.public)(**case.arguments, dtype="float64")
    assert_same(ours, value_and_gradient(theirs, y_true, y_pred), "float64")


@every_loss
def test_every_rank_and_no_positions(case, backend):
    shapes = [(), (1,), (5,), (2, 3), (2, 1, 3), (2, 3, 1, 2), (1, 2, 1, 2, 3), (2, 1, 2, 1, 3, 2)]
    with Findings() as findings:
        for shape in [*shapes, (0,), (0, 3), (3, 0), (2, 0, 3)]:
            y_true, y_pred = case.data(shape)
            for axis in (None, 0, -1, tuple(range(1, len(shape)))):
                for reduction in ("sum_over_batch_size", "none"):
                    with findings.of((shape, axis, reduction)):
                        compared(case, y_true, y_pred, axis=axis, reduction=reduction)


RANKS = [
    *[((5, 1), (5,)), ((5,), (5, 1)), ((2, 3), (2, 3, 1)), ((2, 3, 1), (2, 3))],
    *[((2, 3, 4, 1), (2, 3, 4)), ((2, 3, 4), (2, 3, 4, 1))],
]


@every_loss
def test_rank_adjustment(case, backend):
    with Findings() as findings:
        for true_shape, pred_shape in RANKS:
            y_true, y_pred = case.data(true_shape)[0], case.data(pred_shape)[1]
            for axis in (None, (1,), -1):
                with findings.of((true_shape, pred_shape, axis)):
                    compared(case, y_true, y_pred, axis=axis, reduction="none")


def test_tversky_broadcasts_as_keras_does(backend):
    case = LOSSES[1]
    for true_shape, pred_shape in [((1, 3), (5, 3)), ((5, 3), (1, 3)), ((2, 1, 4), (2, 3, 4))]:
        y_true, y_pred = case.data(true_shape)[0], case.data(pred_shape)[1]
        for axis in (None, -1, 0):
            compared(case, y_true, y_pred, axis=axis, reduction="none")


# Functions


@every_loss
def test_function_equals_keras(case, backend):
    inputs = [((5,), "float32", {}), ((4, 3, 2), "float64", {**case.arguments, "axis": (1, 2)})]
    for shape, dtype, given in inputs:
        y_true, y_pred = case.data(shape, dtype)
        ours, theirs = (getattr(x, case.function) for x in (fl, keras.losses))
        actual = value_and_gradient(lambda t, p, f=ours, g=given: f(t, p, **g), y_true, y_pred)
        expected = value_and_gradient(
            lambda t, p, f=theirs, g=given: f(t, p, **g),
            tf.constant(float64(y_true)),
            float64(y_pred),
        )
        assert_same(actual, expected, dtype)


# Serialisation


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_serialisation_round_trip(case, backend):
    loss = case.ours(reduction="sum", name="mine")
    y_true, y_pred = case.data((4, 5, 3))
    expected = loss(y_true, y_pred)
    twin = type(loss).from_config(loss.get_config())
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    generic = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    for copy in (twin, again, generic):
        assert type(copy) is type(loss)
        assert copy.get_config() == loss.get_config()
        assert copy.name == "mine"
        np.testing.assert_array_equal(copy(y_true, y_pred), expected)
    for name, value in case.arguments.items():
        assert loss.get_config()[name] == getattr(loss, name) or name == "class_weights"
        assert np.array_equal(loss.get_config()[name], value), name
    function = getattr(fl, case.function)
    config = keras.saving.serialize_keras_object(function)
    assert keras.saving.deserialize_keras_object(config) is function


@pytest.mark.parametrize("public", ["Dice", "Tversky"])
def test_config_of_keras_is_read(public):
    config = getattr(keras.losses, public)(axis=(1, 2), reduction="sum", name="a").get_config()
    ours = getattr(fl, public).from_config(config)
    assert {name: ours.get_config()[name] for name in config} == config


def test_loss_by_its_registered_name(backend):
    loss = keras.losses.deserialize({"class_name": "fastloss>Dice", "config": {"axis": [1, 2]}})
    assert loss.axis == (1, 2)
    y_true, y_pred = CASES[0].data(SHAPE)
    assert_close(loss(y_true, y_pred), fl.Dice(axis=(1, 2))(y_true, y_pred), 1e-7)
