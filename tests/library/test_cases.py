"""Every loss is there three times: kernel, reference, public class; and is tested."""

from __future__ import annotations

import inspect

import boxes_cases
import keras
import overlap_cases
import pytest
import rowwise_cases
from cases import CASES

import fastloss as fl
from fastloss import c_api, reference
from fastloss.losses.base import FusedLoss

EVERY_CASE = (*CASES, *rowwise_cases.CASES, *overlap_cases.CASES, *boxes_cases.CASES)
# Losses of losses, which have tests of their own.
COMPOSED = {"MultiTask", "Regularized", "WeightedSum"}
# Keras has it since August 2026, in this place.
NEWER = {
    "SparseCategoricalCrossentropy": "label_smoothing",
    "sparse_categorical_crossentropy": "label_smoothing",
}


@pytest.mark.parametrize("loss", c_api.elementwise_losses())
def test_loss_has_kernel_reference_and_class(loss):
    function = reference.LOSSES[loss]
    parameters = list(inspect.signature(function).parameters)
    assert parameters[:2] == ["y_true", "y_pred"]
    kernel = c_api.elementwise_losses()[loss].parameters
    assert tuple(p for p in parameters[2:] if p != "pos_weight") == kernel
    assert any(case.loss == loss for case in CASES), "no test case in cases.py"
    for case in CASES:
        if case.loss == loss:
            assert issubclass(getattr(fl, case.public), FusedLoss)
            assert callable(getattr(fl, case.function))


def test_reference_has_no_loss_without_a_kernel():
    assert set(reference.LOSSES) == set(c_api.elementwise_losses())


def test_rowwise_loss_has_reference_and_class():
    assert {case.loss for case in rowwise_cases.CASES} == set(reference.ROWWISE_LOSSES)
    for case in rowwise_cases.CASES:
        parameters = list(inspect.signature(reference.ROWWISE_LOSSES[case.loss]).parameters)
        assert parameters[:2] == ["y_true", "y_pred"]
        assert issubclass(getattr(fl, case.public), FusedLoss)
        assert callable(getattr(fl, case.function))


def test_overlap_loss_has_reference_and_class():
    assert {case.loss for case in overlap_cases.SUMMED} == set(reference.OVERLAP_LOSSES)
    for case in overlap_cases.CASES:
        assert issubclass(getattr(fl, case.public), FusedLoss)
        assert callable(getattr(fl, case.function))
    for loss in reference.OVERLAP_LOSSES.values():
        names = list(inspect.signature(loss).parameters)
        assert [name for name in names if name != "class_weight"][-2:] == [
            "smooth_numerator",
            "smooth_denominator",
        ]


def test_loss_between_boxes_has_kernel_reference_and_class():
    kernels = c_api.box_losses()
    assert {case.loss for case in boxes_cases.CASES} == set(reference.BOX_LOSSES) == set(kernels)
    for case in boxes_cases.CASES:
        parameters = list(inspect.signature(reference.BOX_LOSSES[case.loss]).parameters)
        assert parameters == ["x", "y", *kernels[case.loss].parameters]
        assert issubclass(getattr(fl, case.public), FusedLoss)
        assert callable(getattr(fl, case.function))


def in_keras(names):
    return sorted(name for name in set(names) if hasattr(keras.losses, name))


def check_arguments(name):
    """Those of Keras come first, in its order and with its defaults."""
    ours = dict(inspect.signature(getattr(fl, name)).parameters)
    expected = inspect.signature(getattr(keras.losses, name)).parameters
    if NEWER.get(name) not in expected:
        ours.pop(NEWER.get(name), None)
    assert list(ours)[: len(expected)] == list(expected)
    for argument, parameter in expected.items():
        assert ours[argument].default == parameter.default, argument


@pytest.mark.parametrize("public", in_keras(case.public for case in EVERY_CASE))
def test_class_takes_the_arguments_of_keras_in_its_order(public):
    check_arguments(public)


@pytest.mark.parametrize("function", in_keras(case.function for case in EVERY_CASE))
def test_function_takes_the_arguments_of_keras_in_its_order(function):
    check_arguments(function)


@pytest.mark.parametrize(
    "public", in_keras(case.public for case in (*rowwise_cases.CASES, *overlap_cases.CASES))
)
def test_more_arguments_are_given_by_name_only(public):
    expected = inspect.signature(getattr(keras.losses, public)).parameters
    for name, parameter in inspect.signature(getattr(fl, public)).parameters.items():
        if name not in expected and name != NEWER.get(public):
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, name


def test_every_public_loss_is_tested():
    classes = {
        name
        for name in fl.losses.__all__
        if inspect.isclass(getattr(fl, name))
        and issubclass(getattr(fl, name), keras.losses.Loss)
        and getattr(fl, name).__name__ == name
    }
    assert classes == {case.public for case in EVERY_CASE} | COMPOSED
