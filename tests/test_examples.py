"""The examples, as a user starts them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fastloss as fl

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "language_model.py"
PNG = b"\x89PNG\r\n\x1a\n"

for package in ("typer", "rich", "matplotlib"):
    pytest.importorskip(package)
pytestmark = pytest.mark.skipif(not EXAMPLE.is_file(), reason="the examples are not here")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("language_model", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_language_model_trains_the_same_with_every_contender(tmp_path: Path) -> None:
    options = {
        "steps": "6",
        "batch-size": "2",
        "context": "16",
        "features": "32",
        "vocabulary": "1000",
        "output": "out/curves.png",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments],
        cwd=tmp_path,
        # The fastloss under test, wherever it was imported from.
        env={**os.environ, "PYTHONPATH": str(Path(fl.__file__).parents[1]), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = {
        label: re.findall(rf"^{label} +(\S.*)$", done.stdout, re.MULTILINE)
        for label in (
            "loss after the last step",
            "curve differs from Keras's by at most",
            "tokens per second",
            "peak memory of a step",
        )
    }
    cells = {label: re.split(r" {2,}", found.strip()) for label, (found,) in rows.items()}
    losses = [float(cell) for cell in cells["loss after the last step"]]
    assert len(losses) == 3
    # Little is learnt in so few steps: about the logarithm of 1000.
    assert 5 < losses[0] < 8
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-4)
    apart = [float(cell) for cell in cells["curve differs from Keras's by at most"]]
    assert len(apart) == 2
    assert max(apart) <= 1e-4
    assert all(float(cell) > 0 for cell in cells["tokens per second"])
    assert len(cells["peak memory of a step"]) == 3
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(PNG)


def spelled(pieces: list[bytes], tokens: list[int]) -> str:
    return b"".join(pieces[token] for token in tokens).decode()


def test_vocabulary_has_the_asked_size_and_spells_the_text(example: ModuleType) -> None:
    text = "the cat sat on the mat, the café did not\n"
    # All bytes alone, some words, all words and some pairs.
    for size in (256, 260, 275):
        pieces, tokens = example.encode(text, size)
        assert len(pieces) == len(set(pieces)) == size
        assert spelled(pieces, tokens) == text
    with pytest.raises(ValueError, match="1000"):
        example.encode(text, 1000)
