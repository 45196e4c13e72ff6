"""Draws the README's picture of measurements, and prints its table: `python docs/make_headline.py`.

Both are made of the CSV files in `bench/results`. Needs matplotlib, and neither the package's
library nor TensorFlow.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from generate import records  # noqa: E402
from generate.headline import HEADLINES, PICTURE, Headline, headline_table, rows_of, times  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

BARS = (
    ("keras_graph", "Keras graph", "#b8bec7"),
    ("keras_xla", "Keras XLA", "#7d8896"),
    ("fastloss_graph", "fastloss", "#e4572e"),
)
INK = "#2b2f36"


def label(headline: Headline) -> str:
    """The loss and its size, on two lines."""
    return f"{headline.title.strip('`')}\n{headline.size}"


def draw() -> Path:
    """Draw the times of the losses that take less than a second.

    Returns:
        The picture.
    """
    shown = [x for x in HEADLINES if (records.milliseconds(rows_of(x), BARS[0][0]) or 0) < 1000]
    figure = Figure(figsize=(9, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    height = 0.27
    for at, (contender, title, colour) in enumerate(BARS):
        for row, headline in enumerate(shown):
            rows = rows_of(headline)
            time = records.milliseconds(rows, contender)
            if time is None:
                continue
            y = row + (at - 1) * height
            axes.barh(y, time, height * 0.92, color=colour, label=title if row == 0 else None)
            text = records.number(time)
            is_ours = contender == BARS[-1][0]
            if is_ours:
                text += f"   {times(rows, BARS[0][0])}"
            weight = "bold" if is_ours else "normal"
            axes.text(time + 3, y, text, va="center", fontsize=8, color=INK, weight=weight)
    axes.set_yticks(range(len(shown)), [label(x) for x in shown], fontsize=8.5, color=INK)
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    first = next(iter(rows_of(shown[0]).values()))
    machine = f"{first['machine'].replace('(R)', '')}, {first['threads']} threads"
    versions = f"TensorFlow {first['tensorflow']}, Keras {first['keras']}"
    axes.set_title(
        "Value and gradient of a loss, milliseconds (less is better)",
        loc="left",
        fontsize=11,
        color=INK,
    )
    axes.set_xlabel(f"{machine}, {first['isa']}; {versions}; float32", fontsize=8, color=INK)
    axes.legend(loc="upper right", frameon=False, fontsize=9)
    figure.savefig(PICTURE, metadata={"Software": None})
    return PICTURE


if __name__ == "__main__":
    print(draw())
    print(headline_table())
