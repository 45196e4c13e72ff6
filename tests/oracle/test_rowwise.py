"""The lattice of the rowwise losses: every backend on rows of special values."""

from __future__ import annotations

import pytest
from oracle.known_faults import ROWWISE
from oracle.lattice import BACKENDS, Findings, answers, dtypes
from oracle.rowwise import LOSSES
from oracle.rowwise_cases import CASES

from fastloss.registry import Pattern, kernels

# Of the computing type, at the sum of the absolute terms; the largest bounds of docs/numerics.md
# are 24, and the reference rounds more often than the kernels.
UNITS = 32


def test_every_loss_has_an_oracle() -> None:
    names = {kernel.name for kernel in kernels(Pattern.ROWWISE)}
    assert LOSSES.keys() == names == {case.kernel for case in CASES}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_lattice(loss: str, backend: str) -> None:
    cases = [case for case in CASES if case.kernel == loss]
    findings = Findings(loss, backend, ROWWISE)
    for dtype in dtypes(backend):
        inputs = [case.inputs(dtype) for case in cases]
        losses = [case.ours(dtype) for case in cases]
        found = answers(backend, losses, inputs)
        for case, pair, answer in zip(cases, inputs, found, strict=True):
            findings.compare(case, dtype, pair, answer, UNITS)
    findings.report()
