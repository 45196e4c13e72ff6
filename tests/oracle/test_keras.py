"""The oracle is Keras where Keras is right: it differs in rows of docs/differences.md alone."""

from __future__ import annotations

import pathlib

import keras
import pytest
from oracle import elementwise_cases, overlap_cases, rowwise_cases
from oracle.differences import DOCUMENTED, NOT_YET
from oracle.lattice import Findings, answers

# Of float64, in which Keras computes here.
UNITS = 64
DOCS = pathlib.Path(__file__).parents[2] / "docs" / "differences.md"


def in_keras(case):
    """Keras's loss of a case, one value per row, or None where it has none."""
    arguments = dict(case.arguments)
    if isinstance(case, overlap_cases.Case):
        if case.activation != "none" or case.squared:
            return None
        arguments["axis"] = (1, 2)
    known = {"pos_weight", "temperature", "logit_softcap", "z_loss", "class_weights", "smooth"}
    known |= {"smooth_numerator", "reverse"}
    is_new = known & arguments.keys() or (
        case.public in ("KLDivergence", "CategoricalGeneralizedCrossEntropy")
        and "from_logits" in arguments
    )
    is_new = is_new or (case.public.startswith("Sparse") and "label_smoothing" in arguments)
    if is_new or not hasattr(keras.losses, case.public):
        return None
    return getattr(keras.losses, case.public)(**arguments, reduction="none", dtype="float64")


CASES = [
    (case, loss)
    for module in (elementwise_cases, rowwise_cases, overlap_cases)
    for case in module.CASES
    if (loss := in_keras(case)) is not None
]
LOSSES = sorted({case.kernel for case, _ in CASES})


@pytest.mark.parametrize("loss", LOSSES)
def test_differences(loss: str) -> None:
    cases, losses = zip(*(pair for pair in CASES if pair[0].kernel == loss), strict=True)
    inputs = [case.inputs("float64") for case in cases]
    findings = Findings(loss, "keras", (*DOCUMENTED, *NOT_YET))
    for case, pair, answer in zip(cases, inputs, answers("keras", losses, inputs), strict=True):
        findings.compare(case, "float64", pair, answer, UNITS)
    findings.report()


def test_differences_are_documented() -> None:
    text = DOCS.read_text()
    assert not [row.reason for row in DOCUMENTED if row.reason not in text]
    assert not [row.reason for row in NOT_YET if row.reason in text], "move these to DOCUMENTED"
