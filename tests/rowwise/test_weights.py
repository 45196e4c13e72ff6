"""Weights, masks and ignored rows of the rowwise losses, against Keras in float64."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import REDUCTIONS, Findings, assert_close, float64, value_and_gradient
from rowwise_cases import (
    CORE,
    CORE_IDS,
    DISTINCT,
    assert_same_outcome,
    compare,
    find,
    outcome,
    weights,
)

import fastloss as fl

core_cases = pytest.mark.parametrize("case", CORE, ids=CORE_IDS)
sparse_cases = pytest.mark.parametrize("case", CORE[:2], ids=CORE_IDS[:2])
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)


ROWS_AND_WEIGHTS = {
    (5,): [(), (1,), (3,)],
    (4, 5): [(), (1,), (4,), (4, 1), (1, 1), (1, 4), (3, 4), (2, 1, 4), (5,), (4, 5), (0,)],
    (4, 3, 5): [
        *[(), (1,), (3,), (4,), (1, 1), (4, 1), (1, 3), (4, 3), (4, 3, 1), (1, 3, 1)],
        *[(2, 4, 3), (4, 3, 5), (2, 1, 1, 1), (3, 4)],
    ],
    (4, 1, 5): [(4,), (4, 1), (1,), (4, 1, 1), ()],
    (2, 3, 4, 5): [(2, 1, 4), (1, 3, 1), (2, 3, 1), (3, 1), (4,), (2, 3, 4, 1), (2, 3), (2, 3, 4)],
    (0, 5): [(), (0,), (1,), (0, 1)],
}


@sparse_cases
@pytest.mark.parametrize("shape", ROWS_AND_WEIGHTS, ids=str)
def test_sample_weight_of_every_shape(case, shape, backend):
    y_true, y_pred = case.data(shape)
    with Findings() as findings:
        for weight, reduction in itertools.product(ROWS_AND_WEIGHTS[shape], DISTINCT):
            with findings.of(f"sample_weight {weight}, {reduction}"):
                assert_same_outcome(case, y_true, y_pred, weights(weight), reduction=reduction)


def masked_result(loss, y_true, y_pred, mask, *weight):
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.identity(y_pred)
    y_pred._keras_mask = mask
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred, *weight)
    return value, tape.gradient(value, y_pred)


MASKS = {
    (5,): [((), None)],
    (4, 5): [((4,), None), ((4,), (4,)), ((4,), (4, 1)), ((4,), ()), ((1,), (4,))],
    (4, 3, 5): [
        *[((4, 3), None), ((4, 3), (4, 3)), ((4, 3), (4, 1)), ((4, 3), (4, 3, 1))],
        *[((4, 1), (1, 3)), ((1, 3), None), ((4, 3), (3,)), ((4, 3), ())],
    ],
}


@core_cases
@pytest.mark.parametrize("reduction", DISTINCT)
def test_keras_masks_with_weights_and_ignored_rows(case, reduction, backend):
    random = np.random.default_rng(2)
    with Findings() as findings:
        for shape, pairs in MASKS.items():
            for (mask_shape, weight_shape), kind in itertools.product(pairs, ("some", "none")):
                y_true, y_pred = case.data(shape)
                mask = (random.random(mask_shape) < 0.6) & (kind == "some")
                weight = [] if weight_shape is None else [weights(weight_shape)]
                theirs = outcome(
                    masked_result,
                    case.keras(dtype="float64", reduction=reduction),
                    *(float64(y_true), float64(y_pred), mask, *map(float64, weight)),
                )
                ours = outcome(
                    masked_result, case.ours(reduction=reduction), y_true, y_pred, mask, *weight
                )
                with findings.of(f"{shape}, {kind} of {mask_shape}, {weight_shape}"):
                    compare(ours, theirs)


@every_reduction
def test_every_row_ignored_or_none(reduction, backend):
    case = find("SparseCategoricalCrossentropy", from_logits=True, ignore_class=1)
    _, y_pred = case.data((6, 3))
    for label in (np.ones(6, int), np.zeros(6, int)):
        for weight in ([], [weights(6)], [weights(())], [weights((2, 6))]):
            assert_same_outcome(case, label, y_pred, *weight, reduction=reduction)


@pytest.mark.parametrize("void", [-1, 255, 2**40])
def test_ignored_class_need_not_be_a_class(void, backend):
    y_true = np.array([0, void, 2, void])
    y_pred = find("SparseCategoricalHinge").data((4, 3))[1]
    for public, arguments in (
        ("SparseCategoricalCrossentropy", {"from_logits": True}),
        ("SparseCategoricalFocalCrossentropy", {"from_logits": True}),
        ("SparseCategoricalHinge", {}),
        ("CategoricalGeneralizedCrossEntropy", {"from_logits": True}),
    ):
        whole = getattr(fl, public)(ignore_class=void, **arguments)
        part = getattr(fl, public)(**arguments)
        value, gradient = value_and_gradient(whole, y_true, y_pred)
        expected = value_and_gradient(part, y_true[::2], y_pred[::2])
        assert_close(value, expected[0], 1e-6, public)
        assert_close(gradient.numpy()[::2], expected[1], 1e-6, public)
        np.testing.assert_array_equal(gradient.numpy()[1::2], 0)


def test_function_tells_keras_which_rows_count(backend):
    y_true, y_pred = find("SparseCategoricalHinge").data((6, 3))
    results = []
    for losses in (fl, keras.losses):
        loss = keras.losses.MeanSquaredError()
        loss.fn = losses.sparse_categorical_crossentropy
        loss._fn_kwargs = {"from_logits": True, "ignore_class": 1}
        results.append(loss(y_true, y_pred))
    assert_close(*results, 1e-6)


def test_subclass_with_its_own_call_ignores_rows(backend):
    class Same(fl.SparseCategoricalCrossentropy):
        def call(self, y_true, y_pred):
            return super().call(y_true, y_pred)

    y_true, y_pred = find("SparseCategoricalHinge").data((6, 3))
    options = {"from_logits": True, "ignore_class": 1}
    expected = value_and_gradient(fl.SparseCategoricalCrossentropy(**options), y_true, y_pred)
    actual = value_and_gradient(Same(**options), y_true, y_pred)
    for x, y in zip(actual, expected, strict=True):
        assert_close(x, y, 1e-6)
