"""Runs the contenders of `fastloss bench` under pytest-benchmark: `pytest bench`.

pytest-benchmark runs one contender after the other; for figures of record use `fastloss bench`,
which lets them take turns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

from fastloss.benchmark.cases import DEFAULT_CASES, LOSSES, QUICK_CASES, Case, LossSpec

_ROOF = "roof"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="Smaller shapes.")


def pytest_configure(config: pytest.Config) -> None:
    # So that `pytest bench` finds the files, and `pytest` alone does not time anything.
    config.addinivalue_line("python_files", "bench_*.py")
    config.addinivalue_line("python_functions", "bench_*")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not {"spec", "case", "contender"} <= set(metafunc.fixturenames):
        return
    from fastloss.benchmark.contenders import CONTENDERS

    family = metafunc.module.FAMILY
    specs = [spec for spec in LOSSES if spec.family == family]
    cases = QUICK_CASES if metafunc.config.getoption("--quick") else DEFAULT_CASES
    names = [contender.name for contender in CONTENDERS] + [_ROOF]
    # The contender varies fastest, so that those of a group are timed next to each other.
    metafunc.parametrize("contender", names)
    metafunc.parametrize("spec", specs, ids=lambda spec: spec.label)
    metafunc.parametrize("case", cases, ids=lambda case: f"{case.shape_text}-{case.dtype}")


@pytest.fixture
def compare(benchmark: Any) -> Iterator[Callable[[LossSpec, Case, str], None]]:
    """Times one contender on one loss and case, in the group of that loss and case."""
    from fastloss.benchmark import memory
    from fastloss.benchmark.contenders import CONTENDERS, make_call, make_tensors
    from fastloss.benchmark.roof import default_threads, make_roof

    def run(spec: LossSpec, case: Case, contender: str) -> None:
        bytes_moved = case.bytes_moved(forward_only=False)
        benchmark.group = f"{spec.label} {case.shape_text} {case.dtype}"
        benchmark.extra_info["bytes"] = bytes_moved
        if contender == _ROOF:
            call: Callable[[], object] = make_roof(bytes_moved, default_threads()).move
        else:
            chosen = next(found for found in CONTENDERS if found.name == contender)
            call = make_call(chosen, spec, *make_tensors(spec, case), forward_only=False)
            benchmark.extra_info["peak_extra_bytes"] = memory.peak_extra_bytes(call, 1)
        benchmark(call)
        if benchmark.stats and case.is_bandwidth_bound(forward_only=False):
            median = benchmark.stats.stats.median
            benchmark.extra_info["gb_per_s"] = bytes_moved / median / 1e9

    yield run
    memory.trim()
