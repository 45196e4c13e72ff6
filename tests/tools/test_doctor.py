"""`fastloss doctor`: it sees what is wrong, says what to do, and ends with the right status."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import fastloss as fl
from fastloss import c_api, ops, reference
from fastloss.ops import library
from fastloss.tools.doctor import Finding, Report, examine, self_test
from fastloss.tools.doctor.installation import NEWEST, OLDEST, tensorflows
from fastloss.tools.doctor.judge import judge

PACKAGE = Path(fl.__file__).resolve().parent

for package in ("typer", "rich"):
    pytest.importorskip(package)


def start(*arguments: str, folder: Path, path: Path = PACKAGE.parent, **environment: str) -> Any:
    """Runs `python -m fastloss` in a folder, with these folders to import from."""
    return subprocess.run(
        [sys.executable, "-m", "fastloss", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(path), "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def tensorflow_that(does: str, folder: Path) -> Path:
    """A folder with a TensorFlow that runs this code when it is imported."""
    (folder / "tensorflow").mkdir()
    (folder / "tensorflow" / "__init__.py").write_text(does)
    return folder


ABSENT = "raise ModuleNotFoundError(\"No module named 'tensorflow'\", name='tensorflow')"


def found(report: Report | list[Finding], subject: str) -> Finding:
    """The finding about a subject, the worst if there are several."""
    findings = report.findings if isinstance(report, Report) else report
    about = [finding for finding in findings if finding.subject == subject]
    assert about, [finding.subject for finding in findings]
    return max(
        about, key=lambda finding: ("ok", "note", "warning", "error").index(finding.severity)
    )


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command prints where all is well."""
    done = start("doctor", "--json", folder=tmp_path_factory.mktemp("healthy"))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_all_is_well_here(healthy: dict[str, Any]) -> None:
    assert healthy["healthy"] is True
    findings = [Finding(**finding) for finding in healthy["findings"]]
    assert {finding.severity for finding in findings} <= {"ok", "note", "warning"}
    assert found(findings, "TensorFlow").seen == tf.__version__
    assert found(findings, "fastloss").seen.endswith(str(PACKAGE))
    assert found(findings, "threads").seen.endswith("TensorFlow's threads")
    assert found(findings, "instruction set").seen.startswith(c_api.isa())
    assert found(findings, "XLA").severity == "ok"
    assert found(findings, "GPU kernels").severity == "ok"
    tested = found(findings, "self-test CPU:0")
    count = len(
        [
            *c_api.elementwise_losses(),
            *c_api.rowwise_losses(),
            *c_api.overlap_losses(),
            *c_api.box_losses(),
        ]
    )
    assert tested.seen.startswith(f"{count} of {count} losses")
    assert "fused" in tested.seen
    assert healthy["facts"]["self_test"]["seconds"] < 10


def judged(facts: dict[str, Any], **changes: dict[str, Any]) -> list[Finding]:
    """The findings of healthy facts with some of them changed."""
    changed = {**copy.deepcopy(facts), "environment": {}}
    for stage, values in changes.items():
        changed[stage] = {**(changed.get(stage) or {}), **values}
    return list(judge(changed))


def test_healthy_facts_need_no_cure(healthy: dict[str, Any]) -> None:
    findings = judged({**healthy["facts"], "packages": {}, "cpus": 2})
    assert [finding for finding in findings if finding.cure and finding.severity != "note"] == []


GPU = {"type": "GPU", "name": "NVIDIA H100", "compute_capability": "9.0"}
CPU = {"type": "CPU", "name": "/physical_device:CPU:0", "compute_capability": ""}
CUDA = {"is_cuda_build": "True", "cuda_version": "12.5.1", "cudnn_version": "9"}
SMI = {"driver": "550.54.15", "gpus": [{"name": "NVIDIA H100", "compute_capability": "9.0"}]}


@pytest.mark.parametrize(
    ("changes", "subject", "severity", "words"),
    [
        ({"tensorflow": {"version": "2.15.1"}}, "TensorFlow", "warning", ("2.15.1", "2.16")),
        ({"tensorflow": {"version": "2.22.0-rc1"}}, "TensorFlow", "warning", ("2.22", "newer")),
        (
            {"packages": {"tensorflow": "2.21.0", "tensorflow-cpu": "2.21.0"}},
            "TensorFlow packages",
            "warning",
            ("tensorflow and tensorflow-cpu", "pip uninstall"),
        ),
        ({"environment": {"KERAS_BACKEND": "jax"}}, "Keras backend", "error", ("'jax'", "KERAS")),
        ({"keras": {"backend": "torch"}}, "Keras backend", "error", ("'torch'", "keras.json")),
        (
            {"fastloss": {"backend": "reference", "requested": "reference"}},
            "backend",
            "warning",
            ("FASTLOSS_BACKEND", "unset"),
        ),
        (
            {"fastloss": {"warnings": ["FASTLOSS_BACKEND is 'fast'; expected one of ..."]}},
            "FASTLOSS_BACKEND",
            "warning",
            ("'fast'", "auto"),
        ),
        ({"fastloss": {"threads": "fastloss"}}, "threads", "warning", ("of their own", "2.16")),
        ({"tensorflow": {"intra_op_threads": 1}}, "thread count", "warning", ("one thread",)),
        ({"core": {"isa": "baseline", "isas": ["baseline"]}}, "instruction set", "note", ("AVX2",)),
        ({"core": {"error": "OSError: no"}}, "core library", "warning", ("OSError", "C++17")),
        (
            {
                "fastloss": {"backend": "reference"},
                "tensorflow": {"build": CUDA, "devices": [CPU, GPU]},
                "nvidia": SMI,
            },
            "backend",
            "note",
            ("GPU is in use", "no faster than Keras"),
        ),
        (
            {
                "fastloss": {"why_not_on_gpu": "fastloss was built without CUDA"},
                "tensorflow": {"build": CUDA, "devices": [CPU, GPU]},
            },
            "GPU kernels",
            "note",
            ("built without CUDA", "FASTLOSS_CUDA=ON", "nvcc"),
        ),
        (
            {
                "fastloss": {"why_not_on_gpu": ""},
                "tensorflow": {"build": CUDA, "devices": [CPU, GPU]},
            },
            "GPU kernels",
            "ok",
            ("libfastloss_cuda.so is loaded", "run on the GPU"),
        ),
        (
            {"fastloss": {"why_not_on_gpu": ""}},
            "GPU kernels",
            "ok",
            ("libfastloss_cuda.so is loaded", "no GPU"),
        ),
        (
            {"tensorflow": {"build": CUDA, "devices": [CPU, GPU]}, "nvidia": SMI},
            "CUDA",
            "ok",
            ("12.5.1", "525.60", "550.54.15", "NVIDIA H100", "9.0"),
        ),
        (
            {
                "tensorflow": {"build": CUDA, "devices": [CPU]},
                "nvidia": {**SMI, "driver": "470.82.01"},
            },
            "CUDA",
            "warning",
            ("470.82.01", "525.60", "upgrade the driver"),
        ),
        (
            {"tensorflow": {"build": CUDA, "devices": [CPU]}, "nvidia": SMI},
            "CUDA",
            "warning",
            ("uses none", "pip install 'tensorflow[and-cuda]"),
        ),
        (
            {
                "tensorflow": {"build": CUDA, "devices": [CPU]},
                "nvidia": SMI,
                "environment": {"CUDA_VISIBLE_DEVICES": ""},
            },
            "CUDA",
            "warning",
            ("CUDA_VISIBLE_DEVICES is ''", "unset"),
        ),
        (
            {
                "tensorflow": {"build": CUDA, "devices": [CPU]},
                "nvidia": {"error": "couldn't communicate with the NVIDIA driver", "gpus": []},
            },
            "CUDA",
            "warning",
            ("communicate", "driver"),
        ),
        (
            {"nvidia": SMI},
            "CUDA",
            "note",
            ("built for CPUs", "H100", "tensorflow[and-cuda]"),
        ),
        (
            {"environment": {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2"}},
            "XLA clustering",
            "note",
            ("switched on",),
        ),
        (
            {"self_test": {"error": "ValueError: no", "at": "self_test.py:3"}},
            "self-test",
            "error",
            ("ValueError: no", "report"),
        ),
    ],
)
def test_each_finding_says_what_is_seen_and_what_to_do(
    healthy: dict[str, Any],
    changes: dict[str, Any],
    subject: str,
    severity: str,
    words: tuple[str, ...],
) -> None:
    findings = judged(healthy["facts"], **changes)
    finding = found(findings, subject)
    assert finding.severity == severity
    text = f"{finding.seen} {finding.cure}"
    for word in words:
        assert word in text
    assert Report(tuple(findings), {}).exit_code == int(severity == "error")


def test_one_cpu_is_noted(healthy: dict[str, Any]) -> None:
    findings = list(judge({**healthy["facts"], "cpus": 1}))
    assert found(findings, "thread count").severity == "note"


def test_failures_of_the_self_test_are_errors(healthy: dict[str, Any]) -> None:
    device = {
        "backend": "fused",
        "tested": 40,
        "left_out": 0,
        "failures": ["elementwise huber: its value is 1, expected 2", "elementwise huber: nan"],
        "xla": "no such op",
    }
    findings = judged(healthy["facts"], self_test={"devices": {"CPU:0": device}})
    errors = [finding for finding in findings if finding.severity == "error"]
    assert "huber: its value is 1" in errors[0].seen
    assert "FASTLOSS_BACKEND=reference" in errors[0].cure
    assert errors[-1].seen.startswith("39 of 40")
    assert "no such op" in found(findings, "XLA").seen
    short = {**device, "failures": [], "left_out": 3}
    findings = judged(healthy["facts"], self_test={"devices": {"CPU:0": short}})
    assert found(findings, "self-test CPU:0").severity == "warning"


def test_the_doctor_knows_the_tested_releases() -> None:
    assert library.TESTED_RELEASES == (OLDEST, NEWEST)


def test_packages_that_bring_tensorflow() -> None:
    names = ["tensorflow", "tensorflow-cpu", "tensorflow-io", "tf-nightly-cpu", "tensorflow-metal"]
    assert tensorflows(dict.fromkeys(names, "1")) == [
        "tensorflow",
        "tensorflow-cpu",
        "tf-nightly-cpu",
    ]


def test_both_tensorflow_packages_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorflow", "tensorflow_cpu"):
        info = tmp_path / f"{name}-2.99.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.99\n")
    monkeypatch.syspath_prepend(tensorflow_that(ABSENT, tmp_path))
    finding = found(examine(), "TensorFlow packages")
    assert "tensorflow and tensorflow-cpu" in finding.seen


# The self-test itself.


def test_self_test_covers_every_kernel() -> None:
    tested = {(case.pattern, case.name) for case in self_test.cases()}
    assert tested == {
        *(("elementwise", name) for name in c_api.elementwise_losses()),
        *(("rowwise", name) for name in c_api.rowwise_losses()),
        *(("overlap", name) for name in c_api.overlap_losses()),
        *(("boxes", name) for name in c_api.box_losses()),
    }


@pytest.mark.parametrize("wrong", ["value", "gradient", "exception", "nan"])
def test_self_test_sees_a_wrong_kernel(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = reference.boxes

    def spoiled(loss: str, parameters: Any, inputs: Any, box_format: str) -> tf.Tensor:
        value = right(loss, parameters, inputs, box_format)
        y_pred = inputs.y_pred
        if loss != "box_iou" or y_pred.dtype == tf.float64:
            return value
        if wrong == "exception":
            raise ValueError("the kernel broke")
        if wrong == "nan":
            return value * np.nan
        return value * 1.001 if wrong == "value" else value + 1e-3 * _gradient_only(y_pred)

    def _gradient_only(x: tf.Tensor) -> tf.Tensor:
        total = tf.reduce_sum(x)
        return total - tf.stop_gradient(total)

    monkeypatch.setattr(reference, "boxes", spoiled)
    monkeypatch.setattr(self_test, "_fused_if_it_runs", lambda on_gpu: "reference")
    kept = [case for case in self_test.cases() if case.pattern == "boxes"]
    monkeypatch.setattr(self_test, "cases", lambda: kept)
    device = self_test.run()["devices"]["CPU:0"]
    assert device["tested"] == len(kept)
    assert device["failures"]
    assert all("box_iou:" in text for text in device["failures"])
    words = {"exception": "the kernel broke", "nan": "nan"}
    assert words.get(wrong, wrong) in device["failures"][0]


def test_self_test_ends_with_its_budget() -> None:
    with ops.use_backend("reference"):
        device = self_test.run(budget=0.0)["devices"]["CPU:0"]
    assert device["tested"] == 0
    assert device["left_out"] > 0
    assert fl.backend() == "fused"


# Where something is broken.


def test_absent_tensorflow_is_explained(tmp_path: Path) -> None:
    path = Path(f"{tensorflow_that(ABSENT, tmp_path)}{os.pathsep}{PACKAGE.parent}")
    done = start("doctor", folder=tmp_path, path=path)
    assert done.returncode == 1
    assert "it is not installed" in done.stdout
    assert "pip install 'tensorflow-cpu>=2.16,<2.22'" in done.stdout
    assert "1 error" in done.stdout
    # The library itself is looked at nevertheless.
    assert c_api.isa() in done.stdout
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize(
    ("does", "subject", "words"),
    [
        (
            "raise ImportError('libtensorflow_cc.so.2: undefined symbol')",
            "TensorFlow",
            ("undefined symbol", "--force-reinstall"),
        ),
        (
            "import os, signal, sys\nprint('illegal', file=sys.stderr, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGILL)",
            "stage tensorflow",
            ("SIGILL", "illegal", "CPU lacks instructions"),
        ),
        ("import sys\nsys.exit(3)", "TensorFlow", ("SystemExit: 3",)),
        ("import os\nos._exit(3)", "stage tensorflow", ("exit status 3",)),
    ],
)
def test_broken_tensorflow_is_explained(
    does: str,
    subject: str,
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(tensorflow_that(does, tmp_path))
    report = examine()
    finding = found(report, subject)
    assert finding.severity == "error"
    assert report.exit_code == 1
    for word in words:
        assert word in f"{finding.seen} {finding.cure}"
    assert report.as_dict()["healthy"] is False


def test_what_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tensorflow_that("import time\ntime.sleep(60)", tmp_path))
    finding = found(examine(timeout=3), "stage tensorflow")
    assert "did not end within 3 seconds" in finding.seen


def test_broken_library_is_explained(tmp_path: Path) -> None:
    copied = tmp_path / "fastloss"
    shutil.copytree(PACKAGE, copied, ignore=shutil.ignore_patterns("__pycache__", "lib"))
    (copied / "lib").mkdir()
    (copied / "lib" / library.LIBRARY.name).write_text("no library")
    done = start("doctor", "--json", folder=tmp_path, path=tmp_path)
    assert done.returncode == 1, done.stderr
    findings = [Finding(**finding) for finding in json.loads(done.stdout)["findings"]]
    assert found(findings, "fastloss").seen.endswith(str(copied))
    finding = found(findings, "library")
    assert finding.severity == "error"
    assert "could not load" in finding.seen
    assert "reference serves" in finding.seen
    assert "reinstall" in finding.cure
    assert found(findings, "backend").severity == "warning"
    assert found(findings, "core library").severity == "warning"
    # The reference is tested in its place.
    tested = found(findings, "self-test CPU:0")
    assert tested.severity == "ok"
    assert "(reference)" in tested.seen


def test_help_names_the_options_and_the_status(tmp_path: Path) -> None:
    path = Path(f"{tensorflow_that(ABSENT, tmp_path)}{os.pathsep}{PACKAGE.parent}")
    done = start("doctor", "--help", folder=tmp_path, path=path)
    assert done.returncode == 0, done.stderr
    for word in ("--json", "--timeout", "else with 1"):
        assert word in done.stdout


def test_the_installed_command_is_the_same(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("fastloss")
    if not command.exists():
        pytest.skip("the command is not installed")
    path = f"{tensorflow_that(ABSENT, tmp_path)}{os.pathsep}{PACKAGE.parent}"
    done = subprocess.run(
        [sys.executable, str(command), "doctor", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["healthy"] is False
    assert report["facts"]["tensorflow"]["missing"] == "tensorflow"
