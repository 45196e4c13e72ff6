"""Settings that all tests share, and a header that says what is tested."""

from __future__ import annotations

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import pytest
import tensorflow as tf

import fastloss as fl
from fastloss import c_api
from fastloss.ops import library

# Any test runs through the GPU's kernels, on the host, given the library of test_gpu_ops.py.
if "FASTLOSS_GPU_ON_HOST" in os.environ:
    library.LIBRARY = pathlib.Path(os.environ["FASTLOSS_GPU_ON_HOST"])


# The rooms that `pytest -m quick` looks into.
_QUICK = ("boxes", "elementwise", "library", "overlap", "rowwise", "sums")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as quick the first case of every test of the losses that is not slow."""
    seen = set()
    for item in items:
        test = (item.path, getattr(item, "originalname", item.name))
        if item.path.parent.name in _QUICK and test not in seen and not slow(item):
            item.add_marker(pytest.mark.quick)
        seen.add(test)


def slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


def pytest_report_header() -> list[str]:
    return [
        f"fastloss {fl.__version__} in {pathlib.Path(fl.__file__).parent}, backend "
        f"{fl.backend()}, {c_api.isa()} of {', '.join(c_api.isas())}",
        f"tensorflow {tf.__version__}, keras {keras.__version__}",
    ]


@pytest.fixture(autouse=True)
def _same_start() -> None:
    keras.utils.set_random_seed(7)


@pytest.fixture(params=["fused", "reference"])
def backend(request: pytest.FixtureRequest):
    """Runs a test with the kernels and with the reference."""
    with fl.use_backend(request.param):
        yield request.param
