"""The example that reads DICOM and HDF5 files, with tensorflow-io where that loads."""

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
import tensorflow as tf

import fastloss as fl

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "dicom_hdf5_segmentation.py"
RELEASE = tuple(map(int, tf.__version__.split(".")[:2]))
# The releases of TensorFlow that the last one of tensorflow-io loads with.
LOADS = RELEASE in ((2, 16), (2, 17))
READS = LOADS and importlib.util.find_spec("tensorflow_io") is not None

for package in ("typer", "rich", "matplotlib", "nilearn", "nibabel", "pydicom", "h5py"):
    pytest.importorskip(package)
pytestmark = pytest.mark.skipif(not EXAMPLE.is_file(), reason="the examples are not here")


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(folder: Path, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(EXAMPLE), "--output", "out/dicom.png", *options],
        cwd=folder,
        # The fastloss under test, wherever it was imported from.
        env={**os.environ, "PYTHONPATH": str(Path(fl.__file__).parents[1]), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_tensorflow_io_is_there_where_ci_installs_it() -> None:
    if os.environ.get("FASTLOSS_TEST_INSTALLED") != "1" or not LOADS:
        pytest.skip("CI installs it beside TensorFlow 2.16 only")
    assert READS


@pytest.mark.parametrize("reader", ["tensorflow-io", "h5py"])
def test_what_is_written_is_read(reader: str, example: ModuleType, tmp_path: Path) -> None:
    if reader == "tensorflow-io" and not READS:
        pytest.skip("tensorflow-io does not load here")
    random = np.random.default_rng(1)
    # Of unequal sides, and with both ends of the range.
    images = random.random((5, 12, 8, 1)).astype(np.float32)
    images[0, 0, :2, 0] = 0, 1
    labels = random.integers(0, 3, (5, 12, 8)).astype(np.uint8)
    files = example.write_files(tmp_path / "slices", images, labels)
    dataset = example.dataset_of(files, example.Reader(reader))
    image, label = dataset.element_spec
    assert image.shape == (12, 8, 1)
    assert image.dtype == tf.float32
    assert label.shape == (12, 8)
    assert label.dtype == tf.uint8
    assert int(dataset.cardinality()) == 5
    # Twice, as for two epochs.
    for _ in range(2):
        read = list(dataset.as_numpy_iterator())
        assert len(read) == 5
        np.testing.assert_array_equal([label for _, label in read], labels)
        rounded = np.round(images * 4095) / np.float32(4095)
        np.testing.assert_allclose([image for image, _ in read], rounded, atol=1e-7)


def test_files_are_those_that_others_read(example: ModuleType, tmp_path: Path) -> None:
    import h5py
    from pydicom import dcmread

    images = np.full((2, 6, 4, 1), 0.5, np.float32)
    files = example.write_files(tmp_path, images, np.ones((2, 6, 4), np.uint8))
    slice_ = dcmread(files.slices[1])
    assert slice_.Modality == "MR"
    assert (slice_.Rows, slice_.Columns, slice_.BitsStored, slice_.InstanceNumber) == (6, 4, 12, 1)
    assert slice_.pixel_array.tolist() == [[2048] * 4] * 6
    with h5py.File(files.volume) as file:
        assert file["labels"].shape == (2, 6, 4)


def test_tissues_are_learnt_from_the_files(tmp_path: Path) -> None:
    done = start(tmp_path, "--samples", "6", "--epochs", "2", "--batch-size", "3")
    assert done.returncode == 0, done.stderr
    printed = " ".join(done.stdout.split())
    assert "Wrote 6 + 24 DICOM slices and 2 HDF5 volumes." in printed
    if READS:
        assert "tensorflow-io reads them." in printed
    else:
        assert "pydicom and h5py read them, since tensorflow-io" in printed
    if not LOADS:
        assert f"2.16 and 2.17, and this is {tf.__version__}" in printed
    losses = re.findall(r"(\d\.\d+) after the", printed)
    assert len(losses) == 2
    assert all(0 < float(loss) < 3 for loss in losses)
    scores = re.findall(r"Dice score, (?:grey|white) matter: (\d\.\d+)", printed)
    assert len(scores) == 2
    assert all(0 <= float(score) <= 1 for score in scores)
    assert (tmp_path / "out" / "dicom.png").read_bytes().startswith(b"\x89PNG")
    assert "ran out of data" not in done.stderr


def test_a_reader_that_does_not_work_is_refused_by_name(tmp_path: Path) -> None:
    if READS:
        pytest.skip("tensorflow-io loads here")
    done = start(tmp_path, "--samples", "1", "--epochs", "1", "--reader", "tensorflow-io")
    assert done.returncode == 1
    assert "tensorflow-io cannot read them" in done.stderr
    assert "Traceback" not in done.stderr
