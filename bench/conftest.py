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

from fastloss.tools.bench.cases import BANDWIDTH_BOUND_BYTES, Case, LossSpec
from fastloss.tools.bench.selection import select_losses, select_pairs

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
    from fastloss.tools.bench.contenders import contenders_of

    specs = select_losses([metafunc.module.FAMILY])
    pairs = select_pairs(specs, quick=metafunc.config.getoption("--quick"))
    # The contender varies fastest, so that those of a group are timed next to each other.
    metafunc.parametrize(
        ("case", "spec", "contender"),
        [
            pytest.param(case, spec, name, id=f"{case.shape_text}-{case.dtype}-{spec.label}-{name}")
            for spec, case in pairs
            for name in [*(found.name for found in contenders_of(spec)), _ROOF]
        ],
    )


@pytest.fixture
def compare(benchmark: Any) -> Iterator[Callable[[LossSpec, Case, str], None]]:
    """Times one contender on one loss and case, in the group of that loss and case."""
    from fastloss.tools.bench import memory
    from fastloss.tools.bench.contenders import contenders_of, make_call, make_tensors
    from fastloss.tools.bench.roof import default_threads, make_roof

    def run(spec: LossSpec, case: Case, contender: str) -> None:
        bytes_moved = spec.bytes_moved(case, forward_only=False)
        benchmark.group = f"{spec.label} {case.shape_text} {case.dtype}"
        benchmark.extra_info["bytes"] = bytes_moved
        if contender == _ROOF:
            call: Callable[[], object] = make_roof(bytes_moved, default_threads()).move
        else:
            chosen = next(found for found in contenders_of(spec) if found.name == contender)
            try:
                call = make_call(chosen, spec, *make_tensors(spec, case), forward_only=False)
            except RuntimeError as error:
                if chosen.library != "torch":
                    raise
                pytest.skip(str(error))
            benchmark.extra_info["peak_extra_bytes"] = memory.peak_extra_bytes(call, 1)
        benchmark(call)
        if benchmark.stats and bytes_moved >= BANDWIDTH_BOUND_BYTES:
            median = benchmark.stats.stats.median
            benchmark.extra_info["gb_per_s"] = bytes_moved / median / 1e9

    yield run
    memory.trim()
