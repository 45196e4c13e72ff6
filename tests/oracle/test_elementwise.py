"""The lattice of the elementwise losses: every backend at special values, against the oracle."""

from __future__ import annotations

import pytest
from oracle.elementwise import LOSSES
from oracle.elementwise_cases import CASES
from oracle.known_faults import ELEMENTWISE
from oracle.lattice import BACKENDS, Findings, answers, dtypes

from fastloss.registry import Pattern, kernels

# Of the computing type, at the sum of the absolute terms; twice the largest bound of
# test_accuracy.py, since the reference rounds more often than the kernels.
UNITS = 16


def test_every_loss_has_an_oracle() -> None:
    names = {kernel.name for kernel in kernels(Pattern.ELEMENTWISE)}
    assert LOSSES.keys() == names == {case.kernel for case in CASES}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_lattice(loss: str, backend: str) -> None:
    cases = [case for case in CASES if case.kernel == loss]
    findings = Findings(loss, backend, ELEMENTWISE)
    for dtype in dtypes(backend):
        inputs = [case.inputs(dtype) for case in cases]
        order = 2 if dtype in ("float32", "float64") else 1
        losses = [case.ours(dtype) for case in cases]
        found = answers(backend, losses, inputs, order)
        for case, pair, answer in zip(cases, inputs, found, strict=True):
            findings.compare(case, dtype, pair, answer, UNITS)
    findings.report()
