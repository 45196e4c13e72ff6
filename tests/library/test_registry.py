"""The registry and the library say the same of every loss."""

from __future__ import annotations

import pytest

from fastloss import c_api, registry
from fastloss.registry import Pattern

OF_LIBRARY = {
    Pattern.ELEMENTWISE: c_api.elementwise_losses,
    Pattern.ROWWISE: c_api.rowwise_losses,
    Pattern.OVERLAP: c_api.overlap_losses,
    Pattern.BOXES: c_api.box_losses,
}


@pytest.mark.parametrize("pattern", OF_LIBRARY)
def test_the_library_has_the_losses_of_the_registry_and_no_others(pattern):
    library = OF_LIBRARY[pattern]()
    assert set(library) == {kernel.name for kernel in registry.kernels(pattern)}


@pytest.mark.parametrize(
    "kernel",
    [kernel for pattern in OF_LIBRARY for kernel in registry.kernels(pattern)],
    ids=lambda kernel: kernel.name,
)
def test_parameters_and_flags_agree(kernel):
    facts = OF_LIBRARY[kernel.pattern]()[kernel.name]
    assert facts._asdict() == {name: getattr(kernel, name) for name in facts._fields}


def test_every_kernel_of_the_registry_has_a_pattern_of_the_library():
    named = {kernel.name for loss in registry.LOSSES for kernel in loss.kernels}
    assert named == {kernel.name for p in OF_LIBRARY for kernel in registry.kernels(p)}
