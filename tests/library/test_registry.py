"""The registry says what the C library, the reference and the public classes are."""

from __future__ import annotations

import inspect

import keras
import pytest

import fastloss as fl
from fastloss import c_api, reference, registry
from fastloss.parameters import range_of
from fastloss.registry import LOSSES, Pattern

TABLES = {
    Pattern.ELEMENTWISE: (c_api.elementwise_losses, reference.LOSSES),
    Pattern.ROWWISE: (c_api.rowwise_losses, reference.ROWWISE_LOSSES),
    Pattern.OVERLAP: (c_api.overlap_losses, reference.OVERLAP_LOSSES),
    Pattern.BOXES: (c_api.box_losses, reference.BOX_LOSSES),
}
KERNELS = [kernel for pattern in TABLES for kernel in registry.kernels(pattern)]
INPUTS = {"y_true", "y_pred", "pos_weight", "sums", "class_weight", "x", "y"}


@pytest.mark.parametrize("pattern", TABLES, ids=lambda pattern: pattern.value)
def test_library_and_reference_have_the_kernels_of_the_registry_and_no_others(pattern):
    names = {kernel.name for kernel in registry.kernels(pattern)}
    in_library, in_reference = TABLES[pattern]
    assert names == set(in_library())
    assert names == set(in_reference)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_parameters_and_flags_agree(kernel):
    in_library, in_reference = TABLES[kernel.pattern]
    facts = in_library()[kernel.name]
    assert facts._asdict() == {name: getattr(kernel, name) for name in facts._fields}
    parameters = inspect.signature(in_reference[kernel.name]).parameters
    assert kernel.parameters == tuple(name for name in parameters if name not in INPUTS)


def test_every_kernel_has_a_pattern_of_the_library():
    named = {kernel.name for loss in LOSSES for kernel in loss.kernels}
    assert named == {kernel.name for kernel in KERNELS}


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.class_name)
def test_class_and_function_are_where_the_registry_says(loss):
    cls, function = getattr(fl, loss.class_name), getattr(fl, loss.name)
    assert issubclass(cls, keras.losses.Loss)
    assert cls.__name__ == loss.class_name and function.__name__ == loss.name
    family = f"fastloss.losses.{loss.family}"
    assert cls.__module__ == function.__module__
    assert cls.__module__ == family or cls.__module__.startswith(f"{family}.")
    for alias in loss.aliases:
        assert getattr(fl, alias) in (cls, function)
    for name in loss.public_names:
        assert registry.find(name) is loss


def test_samples_of_parameters_lie_in_their_ranges():
    for loss in LOSSES:
        for kernel in loss.kernels:
            assert registry.loss_of_kernel(kernel.name) is loss
            for name in kernel.parameters:
                allowed = range_of(loss.name, name)
                assert allowed.holds(allowed.sample), (loss.name, name)
