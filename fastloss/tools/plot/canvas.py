"""Where pictures are drawn, and in which colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Distinct for colour-blind eyes too (Okabe and Ito), without the yellow, which is too
# faint on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#333333")
MUTED = "#666666"


def colour(index: int) -> str:
    """The colour of the n-th line; they repeat after seven."""
    return COLOURS[index % len(COLOURS)]


def one(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The Axes that were given, or those of a new figure of this size in inches.

    Raises:
        TypeError: If `ax` is something else.
    """
    if ax is None:
        return Figure(figsize=size, layout="constrained").subplots()
    if not isinstance(ax, Axes):
        raise TypeError(f"ax is {ax!r}; expected the Axes of matplotlib, or None")
    return ax


def pair(ax: Any, size: tuple[float, float]) -> Any:
    """The two Axes that were given, or two beside each other in a new figure, as an array.

    Raises:
        TypeError: If `ax` is something else.
    """
    if ax is None:
        return Figure(figsize=size, layout="constrained").subplots(1, 2)
    both = np.empty(2, object)
    several = [] if isinstance(ax, Axes) else list(np.ravel(ax))
    if len(several) != 2 or not all(isinstance(each, Axes) for each in several):
        raise TypeError(
            f"ax is {ax!r}; expected two Axes, one for the value and one for the gradient, as "
            "figure.subplots(1, 2) gives, or None"
        )
    both[:] = several
    return both


def opened(axes: Axes, *more: str) -> Axes:
    """The Axes without the top and the right side of their frame, and others that say nothing."""
    for side in ("top", "right", *more):
        axes.spines[side].set_visible(False)
    return axes


def write(figure: Figure, path: Path) -> None:
    """Write a PNG file, and the folder that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
