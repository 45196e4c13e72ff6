"""The examples, as a user starts them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import fastloss as fl

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PNG = b"\x89PNG\r\n\x1a\n"

for package in ("typer", "rich", "matplotlib"):
    pytest.importorskip(package)
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not here")


def imported(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def start(name: str, options: dict[str, str], folder: Path) -> str:
    """Runs an example and gives what it printed."""
    arguments = [word for option, value in options.items() for word in (f"--{option}", value)]
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments],
        cwd=folder,
        # The fastloss under test, wherever it was imported from.
        env={**os.environ, "PYTHONPATH": str(Path(fl.__file__).parents[1]), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def cells(printed: str, label: str) -> list[str]:
    """A row of the table that was printed."""
    (found,) = re.findall(rf"^{label} +(\S.*)$", printed, re.MULTILINE)
    return re.split(r" {2,}", found.strip())


def test_language_model_trains_the_same_with_every_contender(tmp_path: Path) -> None:
    options = {
        "steps": "6",
        "batch-size": "2",
        "context": "16",
        "features": "32",
        "vocabulary": "1000",
        "output": "out/curves.png",
    }
    printed = start("language_model", options, tmp_path)
    losses = [float(cell) for cell in cells(printed, "loss after the last step")]
    assert len(losses) == 3
    # Little is learnt in so few steps: about the logarithm of 1000.
    assert 5 < losses[0] < 8
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-4)
    apart = [float(cell) for cell in cells(printed, "curve differs from Keras's by at most")]
    assert len(apart) == 2
    assert max(apart) <= 1e-4
    assert all(float(cell) > 0 for cell in cells(printed, "tokens per second"))
    assert len(cells(printed, "peak memory of a step")) == 3
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(PNG)


def spelled(pieces: list[bytes], tokens: list[int]) -> str:
    return b"".join(pieces[token] for token in tokens).decode()


def test_vocabulary_has_the_asked_size_and_spells_the_text() -> None:
    example = imported("language_model")
    text = "the cat sat on the mat, the café did not\n"
    # All bytes alone, some words, all words and some pairs.
    for size in (256, 260, 275):
        pieces, tokens = example.encode(text, size)
        assert len(pieces) == len(set(pieces)) == size
        assert spelled(pieces, tokens) == text
    with pytest.raises(ValueError, match="1000"):
        example.encode(text, 1000)


def test_nuclei_are_learnt(tmp_path: Path) -> None:
    for package in ("stardist", "tifffile"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    options = {"epochs": "2", "filters": "6", "output": "out/nuclei.png"}
    printed = start("nuclei", options, tmp_path)
    first, last = map(float, cells(printed, "loss"))
    assert last < first < 1.5
    (nucleus,) = cells(printed, "Dice score, nucleus")
    # All pixels called nucleus would have 0.31.
    assert 0.4 < float(nucleus) <= 1
    (border,) = cells(printed, "Dice score, border")
    assert 0 <= float(border) <= 1
    assert (tmp_path / "out" / "nuclei.png").read_bytes().startswith(PNG)


def test_borders_lie_between_nuclei_and_around_them() -> None:
    nuclei = np.zeros((6, 7), int)
    nuclei[1:5, 1:4], nuclei[1:5, 4:6] = 3, 8
    borders = imported("nuclei").find_borders(nuclei)
    expected = [".#####.", "#######", "##.####", "##.####", "#######", ".#####."]
    assert ["".join(".#"[pixel] for pixel in row) for row in borders.astype(int)] == expected


def test_tiles_of_nuclei_are_cut_once_and_turned_eight_ways() -> None:
    example = imported("nuclei")
    image = np.arange(512 * 512).reshape(512, 512)
    kept, held_out = example.cut(image)
    assert kept.shape == (12, 128, 128)
    assert held_out.shape == (4, 128, 128)
    assert set(np.concatenate([kept, held_out]).ravel()) == set(image.ravel())
    ways = example.turned(kept[:1])
    assert len(np.unique(ways.reshape(8, -1), axis=0)) == 8
