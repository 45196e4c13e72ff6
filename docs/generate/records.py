"""The benchmark's CSV files: one row for each loss, size and way to compute it."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import geometric_mean
from typing import NamedTuple

Row = dict[str, str]
# The rows of one case by contender: "keras_graph", "fastloss_graph", "roof", ...
Rows = dict[str, Row]


class Case(NamedTuple):
    """What was measured."""

    loss: str
    arguments: str
    shape: str
    dtype: str
    mode: str


def read(file: Path) -> dict[Case, Rows]:
    """The cases of a file, in its order."""
    found: dict[Case, Rows] = defaultdict(dict)
    with file.open(newline="", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            found[Case(*(row[x] for x in Case._fields))][row["contender"]] = row
    return dict(found)


def milliseconds(rows: Rows, contender: str) -> float | None:
    """The median time, if it was measured."""
    text = rows.get(contender, {}).get("ms_median")
    return float(text) if text else None


def megabytes(rows: Rows, contender: str) -> str:
    """The extra memory at the peak, rounded; a dash if it was not measured."""
    text = rows.get(contender, {}).get("peak_extra_bytes")
    if not text:
        return "-"
    value = float(text) / 1e6
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def speedup(rows: Rows, theirs: str, ours: str) -> float | None:
    """How many times as fast ours is as theirs, if both were measured."""
    slow, fast = milliseconds(rows, theirs), milliseconds(rows, ours)
    return slow / fast if slow and fast else None


def mean_speedup(cases: Iterable[Rows], theirs: str, ours: str) -> float | None:
    """The geometric mean over the cases in which both were measured."""
    known = [x for rows in cases if (x := speedup(rows, theirs, ours)) is not None]
    return geometric_mean(known) if known else None


def number(value: float) -> str:
    """Three digits, or what is before the point if that is longer."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def shape(text: str) -> str:
    """A shape as it is read: "16384 x 1024"."""
    return text.replace("x", " x ")


def name(case: Case) -> str:
    """A loss and its arguments as Markdown that may break between the terms of a sum."""
    terms = case.loss.replace(",", ", ").split("+")
    return " + ".join(f"`{term}`" for term in terms) + (f" {case.arguments}" * bool(case.arguments))
