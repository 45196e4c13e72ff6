"""Every loss is there three times: kernel, reference, public class; and is tested."""

from __future__ import annotations

import inspect

import keras
import pytest
from cases import CASES

import fastloss as fl
from fastloss import core, reference
from fastloss.losses.base import ElementwiseLoss

FOUND_BY_THE_DRIVER = {"binary"}


@pytest.mark.parametrize("loss", core.elementwise_losses())
def test_loss_has_kernel_reference_and_class(loss):
    function = reference.LOSSES[loss]
    parameters = list(inspect.signature(function).parameters)
    assert parameters[:2] == ["y_true", "y_pred"]
    kernel = [p for p in core.elementwise_losses()[loss] if p not in FOUND_BY_THE_DRIVER]
    assert [p for p in parameters[2:] if p != "pos_weight"] == kernel
    assert any(case.loss == loss for case in CASES), "no test case in cases.py"
    for case in CASES:
        if case.loss == loss:
            assert issubclass(getattr(fl, case.public), ElementwiseLoss)
            assert callable(getattr(fl, case.function))


def test_reference_has_no_loss_without_a_kernel():
    assert set(reference.LOSSES) == set(core.elementwise_losses())


def in_keras(names):
    return sorted(name for name in set(names) if hasattr(keras.losses, name))


@pytest.mark.parametrize("public", in_keras(case.public for case in CASES))
def test_class_takes_the_arguments_of_keras_in_its_order(public):
    theirs = getattr(keras.losses, public)
    ours = inspect.signature(getattr(fl, public)).parameters
    expected = inspect.signature(theirs).parameters
    assert list(ours)[: len(expected)] == list(expected)
    for name, parameter in expected.items():
        assert ours[name].default == parameter.default, name


@pytest.mark.parametrize("function", in_keras(case.function for case in CASES))
def test_function_takes_the_arguments_of_keras_in_its_order(function):
    theirs = getattr(keras.losses, function)
    ours = inspect.signature(getattr(fl, function)).parameters
    expected = inspect.signature(theirs).parameters
    assert list(ours)[: len(expected)] == list(expected)
    for name, parameter in expected.items():
        assert ours[name].default == parameter.default, name


def test_every_public_loss_is_tested():
    classes = {
        name
        for name in fl.losses.__all__
        if inspect.isclass(getattr(fl, name))
        and issubclass(getattr(fl, name), keras.losses.Loss)
        and getattr(fl, name).__name__ == name
    }
    assert classes == {case.public for case in CASES}
