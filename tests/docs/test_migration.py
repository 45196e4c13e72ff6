"""Every row of docs/migration.md: both sides give the same number, recorded or run here."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from migration_data import DATA, Pair

import fastloss as fl

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migration.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="there are no sources of the docs here")

# What PyTorch 2.13.0, MONAI 1.6.1, and on TensorFlow 2.15.1 TensorFlow Addons 0.23.0 and
# segmentation_models 1.0.1 gave for the rows of the page.
VALUES = Path(__file__).parents[1] / "support" / "migration_values.csv"


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


def _recorded() -> dict[tuple[str, str], float]:
    with VALUES.open(newline="", encoding="utf-8") as file:
        return {(row["loss"], row["data"]): float(row["value"]) for row in csv.DictReader(file)}


ROWS = _rows()
RECORDED = _recorded()


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


def _name(row: Row) -> str:
    return f"{row.theirs}, {row.data}"


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_ours_gives_what_theirs_gave(row: Row) -> None:
    y_true, y_pred, _ = DATA[row.data]
    ours = float(eval(row.ours, {"fl": fl})(y_true, y_pred))
    assert ours == pytest.approx(RECORDED[row.theirs, row.data], rel=2e-6, abs=1e-7)


@pytest.mark.parametrize("row", [x for x in ROWS if x.package in ("PyTorch", "MONAI")], ids=_name)
def test_theirs_still_gives_it(row: Row) -> None:
    theirs = _by_torch(row, DATA[row.data])
    assert theirs == pytest.approx(RECORDED[row.theirs, row.data], rel=2e-6, abs=1e-7)


def test_the_tables_are_read() -> None:
    assert {row.package for row in ROWS} == {
        *("PyTorch", "MONAI", "TensorFlow Addons", "segmentation_models"),
    }
    assert {(row.theirs, row.data) for row in ROWS} == set(RECORDED)


def test_a_cosine_embedding_is_one_more() -> None:
    torch = pytest.importorskip("torch")
    y_true, y_pred = DATA["numbers"][:2]
    alike = torch.ones(len(y_pred))
    theirs = torch.nn.CosineEmbeddingLoss()(torch.tensor(y_pred), torch.tensor(y_true), alike)
    assert 1 + float(fl.CosineSimilarity()(y_true, y_pred)) == pytest.approx(
        float(theirs), rel=1e-5
    )
