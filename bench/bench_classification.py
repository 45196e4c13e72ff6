"""The classification losses: Keras and fastloss in every mode, the reference, and the roof."""

from __future__ import annotations

from collections.abc import Callable

from fastloss.tools.bench.cases import Case, LossSpec

FAMILY = "classification"


def bench_classification(
    compare: Callable[[LossSpec, Case, str], None], spec: LossSpec, case: Case, contender: str
) -> None:
    compare(spec, case, contender)
