"""Runs the contenders of `bench/record.py` under pytest-benchmark: `pytest bench --loss overlap`.

pytest-benchmark runs one contender after the other; for figures of record use `bench/record.py`,
which lets them take turns.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="Smaller shapes.")
    parser.addoption("--loss", action="append", default=[], help="A loss, or family.")


def pytest_configure(config: pytest.Config) -> None:
    # So that `pytest bench` finds the file, and `pytest` alone does not time anything.
    config.addinivalue_line("python_files", "bench_*.py")
    config.addinivalue_line("python_functions", "bench_*")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "contender" not in metafunc.fixturenames:
        return
    from record import LOSSES, contenders_of

    from fastloss.tools.bench.engine import ROOF
    from fastloss.tools.bench.selection import select_losses, select_pairs

    specs = select_losses(metafunc.config.getoption("--loss"), LOSSES)
    pairs = select_pairs(specs, quick=metafunc.config.getoption("--quick"))
    # The contender varies fastest, so that those of a group are timed next to each other.
    metafunc.parametrize(
        ("case", "spec", "contender"),
        [
            pytest.param(
                *(case, spec, contender),
                id=f"{case.shape_text}-{case.dtype}-{spec.label}-{contender.name}",
            )
            for spec, case in pairs
            for contender in [*contenders_of(spec), ROOF]
        ],
    )
