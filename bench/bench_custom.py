"""Custom losses: plain and fused in every mode, and the roof."""

from __future__ import annotations

from collections.abc import Callable

from fastloss.tools.bench.cases import Case, LossSpec

FAMILY = "custom"


def bench_custom(
    compare: Callable[[LossSpec, Case, str], None], spec: LossSpec, case: Case, contender: str
) -> None:
    compare(spec, case, contender)
