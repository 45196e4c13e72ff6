"""The eight measurements that the README shows, as a table and in a picture."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from generate import records
from generate.records import Case, Rows
from generate.source import ROOT
from generate.tables import table

RESULTS = ROOT / "bench" / "results"
PICTURE = ROOT / "docs" / "pictures" / "speed.png"
_GRAPH, _XLA, _OURS = "keras_graph", "keras_xla", "fastloss_graph"


class Headline(NamedTuple):
    """A measurement, and what it is called here."""

    title: str
    record: str
    loss: str
    shape: str
    note: str = ""

    @property
    def size(self) -> str:
        """The shape of the predictions, and what they are if that is not plain."""
        return f"{records.shape(self.shape)} {self.note}".strip()


HEADLINES = (
    Headline("`MeanSquaredError`", "cpu", "mean_squared_error", "16384x1024"),
    Headline("`BinaryCrossentropy`", "cpu", "binary_crossentropy", "16384x1024", "logits"),
    Headline(
        "`SparseCategoricalCrossentropy`",
        *("cpu_rowwise", "sparse_categorical_crossentropy", "2048x32000", "logits"),
    ),
    Headline(
        "`CategoricalFocalCrossentropy`",
        *("cpu_rowwise", "categorical_focal_crossentropy", "65536x256", "logits"),
    ),
    Headline(
        "`Dice + SparseCategoricalCrossentropy`",
        *("cpu_overlap", "dice+sparse_categorical_crossentropy", "4x512x512x19", "logits"),
    ),
    Headline(
        "`MeanSquaredError + MeanAbsoluteError + Huber`",
        *("cpu_overlap", "mean_squared_error+mean_absolute_error+huber", "16384x1024"),
    ),
    Headline("`CompleteBoxIoU`", "cpu_overlap", "complete_box_iou", "2097152x4"),
    Headline(
        "`layers.LinearCrossentropy`, with its matrix products",
        *("cpu_linear", "linear_sparse_categorical_crossentropy", "16384x512x50257"),
    ),
)


@cache
def _cases(record: str) -> dict[Case, Rows]:
    return records.read(RESULTS / f"{record}.csv")


def rows_of(headline: Headline) -> Rows:
    """The rows of its measurement.

    Raises:
        KeyError: If it is not in the record.
    """
    for case, rows in _cases(headline.record).items():
        is_float32 = case.dtype == "float32" and case.mode == "forward+gradient"
        # Sums are measured from logits, and their arguments are not named.
        fits = not headline.note or "+" in case.loss or "from_logits=True" in case.arguments
        if (case.loss, case.shape) == (headline.loss, headline.shape) and is_float32 and fits:
            return rows
    raise KeyError(f"{headline.record}.csv has no {headline.loss} of {headline.shape}")


def headline_table() -> str:
    """How much faster and lighter, as Markdown."""
    lines = []
    for headline in HEADLINES:
        rows = rows_of(headline)
        memory = " / ".join(records.megabytes(rows, x) for x in (_GRAPH, _OURS))
        of = f"[{headline.size}](bench/results/{headline.record}.csv)"
        lines.append((headline.title, times(rows, _GRAPH), times(rows, _XLA), memory, of))
    header = ("loss", "Keras graph", "Keras XLA", "MB, Keras / fastloss", "measured on")
    return table(header, lines)


def times(rows: Rows, theirs: str) -> str:
    """How many times as fast fastloss is: "5.1x", a dash where that was not measured."""
    found = records.speedup(rows, theirs, _OURS)
    return "-" if found is None else f"{found:.1f}x"
