"""The benchmark of record: what `bench/` adds to `fastloss bench`."""

from __future__ import annotations

import csv
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import fastloss as fl
from fastloss.tools.bench.cases import LOSSES, Case, LossSpec
from fastloss.tools.bench.contenders import CONTENDERS, make_tensors

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "bench" / "record.py").exists():
    pytest.skip("bench/ is not beside the tests", allow_module_level=True)
sys.path.insert(0, str(ROOT / "bench"))

custom_losses, pytorch, record = map(
    importlib.import_module, ("custom_losses", "pytorch", "record")
)

KERAS_EAGER, TORCH_EAGER, TORCH_COMPILE = CONTENDERS[0], *pytorch.CONTENDERS
MONAI = "dice+sparse_categorical_crossentropy"


def find(label: str) -> LossSpec:
    return next(loss for loss in LOSSES if loss.label == label)


DENSE = find("categorical_crossentropy(from_logits=True)")
SPARSE = find("sparse_categorical_crossentropy(from_logits=True)")


@pytest.mark.parametrize("spec", custom_losses.LOSSES, ids=lambda spec: spec.label)
def test_fused_functions_compute_the_same(spec: LossSpec) -> None:
    y_true, y_pred = make_tensors(spec, Case((3, 4)))
    expected = KERAS_EAGER.make_step(spec, forward_only=False)(y_true, y_pred)
    for contender in record.contenders_of(spec):
        if contender.mode != "xla":
            found = contender.make_step(spec, forward_only=False)(y_true, y_pred)
            for x, right in zip(found, expected, strict=True):
                np.testing.assert_allclose(x, right, rtol=1e-4, atol=1e-6)


def test_the_record_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("rich")
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "bench" / "record.py"), "--quick", "--shape", "8x4"),
            *("--loss", "cosine_similarity", "--loss", "wing", "--output", "record"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(fl.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "torch: " in done.stdout
    with (tmp_path / "record.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    has_torch = {row["torch"] for row in rows} != {"not installed"}
    measured = {(row["loss"], row["contender"]) for row in rows}
    assert (("cosine_similarity", "torch_eager") in measured) == has_torch
    assert ("wing", "fastloss_graph") in measured
    assert ("wing", "reference_graph") not in measured


@pytest.fixture
def torch() -> Any:
    """PyTorch, where it can be imported."""
    if pytorch.version() is None:
        pytest.skip("PyTorch is not installed")
    return importlib.import_module("torch")


@pytest.mark.parametrize("label", sorted(set(pytorch.LOSSES) - {MONAI}))
@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 3)])
def test_pytorch_computes_the_same(label: str, shape: tuple[int, ...], torch: Any) -> None:
    spec = find(label)
    y_true, y_pred = make_tensors(spec, Case(shape, "float32"))
    value, gradient = KERAS_EAGER.make_step(spec, forward_only=False)(y_true, y_pred)
    labels, predictions = pytorch.make_tensors(spec, y_true, y_pred)
    if spec is SPARSE:
        assert labels.dtype == torch.int64
    step = TORCH_EAGER.make_step(spec, forward_only=False)
    found, found_gradient = step(labels, predictions.requires_grad_())
    assert float(found) == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(
        found_gradient.numpy().reshape(shape), gradient, rtol=1e-4, atol=1e-6
    )
    for forward_only in (False, True):
        call = TORCH_EAGER.make_call(spec, y_true, y_pred, forward_only=forward_only)
        assert call() == pytest.approx(float(value), rel=1e-5)


def test_monai_computes_the_same(torch: Any) -> None:
    pytest.importorskip("monai")
    spec = find(MONAI)
    y_true, y_pred = make_tensors(spec, Case((2, 6, 5, 3), "float32"))
    value, gradient = KERAS_EAGER.make_step(spec, forward_only=False)(y_true, y_pred)
    labels, predictions = pytorch.make_tensors(spec, y_true, y_pred)
    step = TORCH_EAGER.make_step(spec, forward_only=False)
    found, found_gradient = step(labels, predictions.requires_grad_())
    assert float(found) == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(
        found_gradient.movedim(1, -1).numpy(), gradient, rtol=1e-4, atol=1e-7
    )


def test_pytorch_copies_bits_of_bfloat16(torch: Any) -> None:
    y_true, y_pred = make_tensors(DENSE, Case((4, 3), "bfloat16"))
    for ours, theirs in zip(
        (y_true, y_pred), pytorch.make_tensors(DENSE, y_true, y_pred), strict=True
    ):
        assert theirs.dtype == torch.bfloat16
        np.testing.assert_array_equal(theirs.float().numpy(), tf.cast(ours, tf.float32))


@pytest.mark.slow
@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("label", sorted(set(pytorch.LOSSES) - {MONAI}))
def test_compiled_pytorch_computes_the_same(label: str) -> None:
    spec = find(label)
    y_true, y_pred = make_tensors(spec, Case((3, 4)))
    expected = KERAS_EAGER.make_call(spec, y_true, y_pred, forward_only=False)()
    try:
        call = TORCH_COMPILE.make_call(spec, y_true, y_pred, forward_only=False)
    except RuntimeError as error:
        pytest.skip(str(error))
    assert call() == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("torch")
def test_pytorch_is_a_contender_where_it_has_the_loss() -> None:
    assert record.contenders_of(SPARSE) == CONTENDERS + pytorch.CONTENDERS
    assert record.contenders_of(find("huber")) == CONTENDERS


def test_pytorch_is_left_out_where_it_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "version", lambda: None)
    assert record.contenders_of(SPARSE) == CONTENDERS
    assert record.torch_version([SPARSE]) == "not installed"
    assert record.torch_version([find("huber")]) == ""


def test_pytorch_is_not_looked_for_where_it_has_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("PyTorch was asked for")

    monkeypatch.setattr(pytorch, "version", fail)
    assert {spec.label for spec in LOSSES} >= set(pytorch.LOSSES)
    for spec in record.LOSSES:
        if spec.label not in pytorch.LOSSES:
            assert set(record.contenders_of(spec)) <= set(CONTENDERS)
