"""The loss of each class, and how many labels there are of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from fastloss.tools.plot import canvas
from fastloss.tools.plot.kind import name_of
from fastloss.tools.plot.scores import scores_of


def per_class(
    loss: Any,
    y_true: Any,
    y_pred: Any,
    *,
    names: Sequence[str] | None = None,
    most: int = 30,
    ax: Axes | None = None,
) -> Axes:
    """Draw the loss of each class, and beside it the number of its labels.

    The bar of a class is the mean loss of the samples, or pixels, that are labelled with it. Of
    Dice, Jaccard and Tversky and their relatives it is the loss of its region; where a label may be
    of several classes it is the mean loss of the class's column. Of a sum of losses it is the sum.
    A class that no label is of has no bar. Sample weights play no role.

    Args:
        loss: A Keras loss, or a function that gives one loss per row.
        y_true: Labels: class numbers, one-hot rows, or columns of 0 and 1.
        y_pred: Predictions, as the loss takes them.
        names: The names of the classes, from 0; their numbers by default.
        most: Of more classes, so many with the largest losses are shown.
        ax: Where to draw.

    Returns:
        The Axes.

    Raises:
        ValueError: If the labels are no classes, if the loss scores all classes together or gives
            no loss per row, or if there are not as many names as classes.
    """
    scores = scores_of(loss, y_true, y_pred)
    width = len(scores.losses)
    if names is None:
        names = [str(number) for number in range(width)]
    if len(names) != width:
        raise ValueError(f"names has {len(names)} names; expected one for each of {width} classes")
    if most < 1:
        raise ValueError(f"most is {most}; expected 1 or more")
    order = np.argsort(-np.nan_to_num(scores.losses, nan=-np.inf), kind="stable")
    shown = np.sort(order[:most])
    axes = canvas.opened(canvas.one(ax, (6.4, 1.1 + 0.3 * len(shown))))
    ys = np.arange(len(shown))
    losses = scores.losses[shown]
    axes.barh(ys, np.nan_to_num(losses), height=0.7, color=canvas.colour(0))
    for y, value in zip(ys, losses, strict=True):
        axes.annotate(
            f"{value:.3g}" if np.isfinite(value) else "none",
            (value if np.isfinite(value) and value > 0 else 0, y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=canvas.MUTED,
        )
    axes.axvline(0, color=canvas.MUTED, linewidth=0.8)
    axes.set_yticks(ys, [names[number] for number in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("loss")
    title = f"{name_of(loss)}, per class"
    if len(shown) < width:
        title += f": the {len(shown)} largest of {width}"
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    _write_counts(axes, ys, scores.counts[shown], scores.total)
    return axes


def _write_counts(axes: Axes, ys: np.ndarray, counts: np.ndarray, total: int) -> None:
    texts = [(f"{count:,}", _percent(count / total)) for count in counts]
    style: dict[str, Any] = {
        "textcoords": "offset points",
        "ha": "right",
        "fontsize": 8,
        "color": canvas.MUTED,
    }
    # In points, about what a digit takes at this size.
    first = 12 + 5.5 * max(6, *(len(text) for text, _ in texts))
    for y, pair in zip(ys, texts, strict=True):
        for text, right in zip(pair, (first, first + 34), strict=True):
            where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "xytext": (right, 0)}
            axes.annotate(text, (1, y), va="center", **where, **style)
    for text, right in zip(("labels", "share"), (first, first + 34), strict=True):
        axes.annotate(text, (1, 0), xycoords="axes fraction", xytext=(right, -6), va="top", **style)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 or share == 0 else f"{share:.1%}"
