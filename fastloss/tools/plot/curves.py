"""Loss curves: training and validation over the epochs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from fastloss.registry import PUBLIC_NAMES
from fastloss.tools.plot import canvas
from fastloss.tools.plot.logs import Series, read

# A linear axis shows the smallest of such values as next to nothing.
_SPAN_OF_A_LOG_SCALE = 20.0
_LARGER_IS_BETTER = re.compile(
    r"acc|auc|precision|recall|sensitivity|specificity|f1|f_score|score|iou|r2|hit|similarity"
)


def history(
    history: Any,
    *names: str,
    log: bool | None = None,
    best: str | None = "auto",
    validation_freq: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what a training has recorded over its epochs.

    Training is a solid line and validation a dashed one of the same colour. The best epoch of the
    first quantity, of its validation where there is one, is marked. Values that are not finite are
    left out, and a line marks the first epoch that has one.

    Args:
        history: What `model.fit` returns, its dictionary, or the path of a file that
            `keras.callbacks.CSVLogger` wrote.
        *names: Which quantities to draw, without "val_"; by default the loss and its terms, which
            are recorded with `metrics=loss.metrics()`.
        log: Whether the axis is logarithmic; None means if all values are above 0 and the largest
            is more than 20 times the smallest.
        best: "min" or "max", whichever is better; "auto" tells it by the name, so that an accuracy
            is best at its largest; None marks nothing.
        validation_freq: As given to `model.fit`, where the number of epochs leaves that open.
        ax: Where to draw.

    Returns:
        The Axes.

    Raises:
        ValueError: If a name was not recorded, if nothing was, or if `log` is True and a value is
            not above 0.
        TypeError: If `history` is none of the above.
    """
    recorded = read(history, validation_freq)
    if best not in ("auto", "min", "max", None):
        raise ValueError(f"best is {best!r}; expected 'auto', 'min', 'max' or None")
    chosen = _checked(names, recorded) if names else _loss_and_terms(history, recorded)
    drawn = {
        key: recorded[key]
        for name in chosen
        for key in (name, f"val_{name}")
        if key in recorded and len(recorded[key].values)
    }
    axes = canvas.opened(canvas.one(ax, (7.0, 4.2)))
    for index, name in enumerate(chosen):
        for key, style, meaning in ((name, "-", "training"), (f"val_{name}", "--", "validation")):
            if key in drawn:
                _draw(
                    axes,
                    drawn[key],
                    color=canvas.colour(index),
                    linestyle=style,
                    linewidth=2.0 if index == 0 else 1.3,
                    label=f"{name}, {meaning}",
                )
    _set_scale(axes, drawn, log)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(x=0.02)
    axes.set_ylabel(chosen[0] if names == () or len(chosen) == 1 else "value")
    if best is not None:
        name = chosen[0]
        key = f"val_{name}" if f"val_{name}" in drawn else name
        _mark_best(axes, key, drawn[key], _better(name) if best == "auto" else best)
    _mark_failure(axes, drawn)
    _explain(axes)
    return axes


def _explain(axes: Axes) -> None:
    """A legend with one entry for each quantity, and one for all dashed lines."""
    entries: dict[str, Any] = {}
    line: Any
    for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
        if label.endswith(", validation"):
            name, shown = label.removesuffix(", validation"), "validation"
            entries.setdefault(name, Line2D([], [], color=line.get_color()))
            line = Line2D([], [], color=canvas.MUTED, linestyle="--")
        else:
            shown = label.removesuffix(", training")
        entries[shown] = line
    # Marks stand last.
    marks = ("validation", *(label for label in entries if re.search(r"^best |not finite", label)))
    order = sorted(entries, key=lambda label: marks.index(label) + 1 if label in marks else 0)
    axes.legend(
        [entries[label] for label in order],
        order,
        fontsize=9,
        handlelength=2.8,
        framealpha=0.85,
        edgecolor="none",
    )


def _loss_and_terms(history: Any, recorded: dict[str, Series]) -> list[str]:
    if "loss" not in recorded:
        return [next(name for name in recorded if not name.startswith("val_"))]
    known = getattr(getattr(getattr(history, "model", None), "loss", None), "term_names", None)
    terms = known or [name for name in recorded if _is_loss(name)]
    return ["loss", *(name for name in terms if name in recorded and name != "loss")]


def _is_loss(name: str) -> bool:
    """Whether a quantity is a loss by its name, numbered or not."""
    stem = re.sub(r"_\d+$", "", name)
    return not name.startswith("val_") and (stem.endswith("_loss") or stem in PUBLIC_NAMES)


def _checked(names: Iterable[str], recorded: dict[str, Series]) -> list[str]:
    for name in names:
        if name not in recorded:
            have = ", ".join(repr(key) for key in recorded if not key.startswith("val_"))
            raise ValueError(f"{name!r} was not recorded; expected one of {have}")
    return list(dict.fromkeys(names))


def _draw(axes: Axes, series: Series, **style: Any) -> None:
    finite = np.isfinite(series.values)
    # A line needs two points.
    lonely = finite & ~(np.append(finite[1:], False) | np.insert(finite[:-1], 0, False))
    axes.plot(series.epochs, np.where(finite, series.values, np.nan), **style)
    axes.scatter(series.epochs[lonely], series.values[lonely], s=25, color=style["color"])


def _set_scale(axes: Axes, drawn: dict[str, Series], log: bool | None) -> None:
    finite = [series.values[np.isfinite(series.values)] for series in drawn.values()]
    values = np.concatenate(finite)
    positive = bool(values.size) and values.min() > 0
    if log and values.size and not positive:
        key, series = next(item for item in drawn.items() if (item[1].values <= 0).any())
        at = int(np.argmax(series.values <= 0))
        raise ValueError(
            f"log is True, but {key} is {series.values[at]:g} in epoch {series.epochs[at]}; "
            "expected values above 0, or leave log out"
        )
    if log is None:
        log = positive and values.max() > _SPAN_OF_A_LOG_SCALE * values.min()
    if log:
        axes.set_yscale("log")
        if values.size and values.max() > 10 * values.min():
            axes.yaxis.set_minor_formatter(NullFormatter())


def _better(name: str) -> str:
    return "max" if _LARGER_IS_BETTER.search(name) and not _is_loss(name) else "min"


def _mark_best(axes: Axes, key: str, series: Series, better: str) -> None:
    finite = np.isfinite(series.values)
    if not finite.any():
        return
    away = np.where(finite, series.values if better == "min" else -series.values, np.inf)
    index = int(np.argmin(away))
    epoch, value = series.epochs[index], series.values[index]
    axes.plot(
        [epoch],
        [value],
        linestyle="none",
        marker="*",
        markersize=13,
        color=canvas.colour(0),
        markeredgecolor="white",
        zorder=5,
        label=f"best {key}: {value:.4g} in epoch {epoch}",
    )


def _mark_failure(axes: Axes, drawn: dict[str, Series]) -> None:
    failures = [
        (int(series.epochs[np.argmin(finite)]), key)
        for key, series in drawn.items()
        if not (finite := np.isfinite(series.values)).all()
    ]
    if failures:
        epoch, key = min(failures)
        axes.axvline(
            epoch,
            color="#b00020",
            linewidth=1,
            linestyle=":",
            label=f"{key} is not finite from epoch {epoch} on"
            if not np.isfinite(drawn[key].values[drawn[key].epochs >= epoch]).any()
            else f"{key} is not finite in epoch {epoch}",
        )
