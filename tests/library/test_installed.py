"""Which fastloss is tested: the installed one, where it is to be."""

from __future__ import annotations

import os
import pathlib
from importlib import metadata

import fastloss as fl
from fastloss import c_api
from fastloss.ops import library

PACKAGE = pathlib.Path(fl.__file__).resolve().parent
SOURCE = pathlib.Path(__file__).resolve().parents[2] / "fastloss"
INSTALLED = "site-packages" in PACKAGE.parts or os.environ.get("FASTLOSS_TEST_INSTALLED") == "1"


def test_the_installed_package_is_tested_and_not_the_source_beside_the_tests():
    if INSTALLED:
        assert PACKAGE != SOURCE
        assert "site-packages" in PACKAGE.parts
    else:
        assert PACKAGE == SOURCE


def test_the_package_holds_its_libraries():
    for path in (c_api.LIBRARY, library.LIBRARY):
        assert pathlib.Path(path).resolve().is_relative_to(PACKAGE)
        assert pathlib.Path(path).is_file()
    assert fl.backend() == "fused"


def test_the_ops_say_why_they_have_no_kernels_for_gpus():
    built = (PACKAGE / "lib" / "libfastloss_cuda.so").is_file()
    assert built or "without CUDA" in library.why_not_on_gpu()


def test_versions_agree():
    assert fl.__version__ == metadata.version("fastloss")
    assert c_api.version() == fl.__version__


def test_header_says_what_is_tested(request):
    lines = request.config.hook.pytest_report_header(config=request.config, start_path=PACKAGE)
    text = str(lines)
    assert str(pathlib.Path(fl.__file__).parent) in text
    assert "tensorflow" in text
