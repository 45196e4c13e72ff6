"""The lattice of the overlap losses: every backend on empty, full, soft and tiny masks."""

from __future__ import annotations

import pytest
from oracle.known_faults import OVERLAP
from oracle.lattice import BACKENDS, Findings, answers, dtypes
from oracle.overlap import LOSSES
from oracle.overlap_cases import CASES

from fastloss.registry import Pattern, kernels

# Of the computing type, at the sum of the absolute terms. The reference adds up in the computing
# type; what a power of a small loss magnifies is in the terms.
UNITS = 64


def test_every_loss_has_an_oracle() -> None:
    names = {kernel.name for kernel in kernels(Pattern.OVERLAP)}
    # The correlation of masks that are nearly constant depends on the last bit of their sums; its
    # test is that of its definition, in tests/overlap/test_accuracy.py.
    assert LOSSES.keys() == names - {"matthews"} == {case.kernel for case in CASES}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_lattice(loss: str, backend: str) -> None:
    cases = [case for case in CASES if case.kernel == loss]
    findings = Findings(loss, backend, OVERLAP)
    for dtype in dtypes(backend):
        inputs = [case.inputs(dtype) for case in cases]
        losses = [case.ours(dtype) for case in cases]
        found = answers(backend, losses, inputs)
        for case, pair, answer in zip(cases, inputs, found, strict=True):
            findings.compare(case, dtype, pair, answer, UNITS)
    findings.report()
