"""Every row of docs/migration.md: both sides give the same number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from migration_data import DATA, Pair

import fastloss as fl

PAGE = Path(__file__).resolve().parents[1] / "docs" / "migration.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="there are no sources of the docs here")

# What TensorFlow Addons 0.23.0 and segmentation_models 1.0.1 gave on TensorFlow 2.15.1.
RECORDED: dict[str, float] = {
    "tfa.losses.PinballLoss(tau=0.9)": 1.00124645,
    'tfa.losses.SigmoidFocalCrossEntropy(from_logits=True, reduction="sum")': 2.49744511,
    "tfa.losses.GIoULoss()": 0.916666687,
    'tfa.losses.GIoULoss(mode="iou")': 0.666666687,
    "sm.losses.DiceLoss()": 0.546803236,
    "sm.losses.DiceLoss(per_image=True)": 0.551790595,
    "sm.losses.DiceLoss(beta=2)": 0.512883067,
    "sm.losses.JaccardLoss()": 0.706184149,
    "sm.losses.BinaryCELoss()": 0.827101052,
    "sm.losses.BinaryFocalLoss()": 0.229772627,
    "sm.losses.CategoricalCELoss()": 0.605675876,
    "sm.losses.CategoricalFocalLoss()": 0.121041179,
    "sm.losses.DiceLoss() + sm.losses.BinaryFocalLoss()": 0.776575863,
}


class Row(NamedTuple):
    """A line of a table."""

    package: str
    theirs: str
    ours: str
    data: str


def _rows() -> list[Row]:
    found, package = [], ""
    for line in PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []:
        if line.startswith("## "):
            package = line[3:]
        cells = re.fullmatch(r"\| `(.*)` \| `(.*)` \| (.*) \|(.*)\|", line)
        if cells:
            found.append(Row(package, cells[1], cells[2], cells[3]))
    return found


ROWS = _rows()


def _by_torch(row: Row, pair: Pair) -> float:
    torch = pytest.importorskip("torch")
    names: dict[str, Any] = {"torch": torch, "nn": torch.nn}
    y_true, y_pred = pair.y_true, pair.y_pred if pair.input is None else pair.input
    if row.package == "MONAI":
        names |= vars(pytest.importorskip("monai.losses"))
        y_pred = np.moveaxis(y_pred, -1, 1)
        is_sparse = y_true.ndim < y_pred.ndim
        y_true = y_true[:, np.newaxis] if is_sparse else np.moveaxis(y_true, -1, 1)
    loss = eval(row.theirs, names)
    given = torch.tensor(np.ascontiguousarray(y_pred)), torch.tensor(np.ascontiguousarray(y_true))
    return float(loss(*given))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.theirs}, {row.data}")
def test_both_sides_give_the_same_number(row: Row) -> None:
    pair = DATA[row.data]
    expected = RECORDED[row.theirs] if row.theirs in RECORDED else _by_torch(row, pair)
    ours = float(eval(row.ours, {"fl": fl})(pair.y_true, pair.y_pred))
    assert ours == pytest.approx(expected, rel=2e-6, abs=1e-7)


def test_the_tables_are_read() -> None:
    assert {row.package for row in ROWS} == {
        *("PyTorch", "MONAI", "TensorFlow Addons", "segmentation_models"),
    }
    assert len(ROWS) > 35


def test_a_cosine_embedding_is_one_more() -> None:
    torch = pytest.importorskip("torch")
    y_true, y_pred = DATA["numbers"][:2]
    alike = torch.ones(len(y_pred))
    theirs = torch.nn.CosineEmbeddingLoss()(torch.tensor(y_pred), torch.tensor(y_true), alike)
    assert 1 + float(fl.CosineSimilarity()(y_true, y_pred)) == pytest.approx(
        float(theirs), rel=1e-5
    )
