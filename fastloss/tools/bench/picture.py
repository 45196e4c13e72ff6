"""The picture of a benchmark: every loss and contender, a panel for each section."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fastloss.tools.bench.cases import LossSpec
from fastloss.tools.bench.engine import ROOF, Measurement
from fastloss.tools.bench.environment import Environment
from fastloss.tools.bench.figures import Row, by_section
from fastloss.tools.bench.record import mode_text
from fastloss.tools.plot import canvas

_STYLES: Mapping[str, tuple[str, str]] = {
    "keras_eager": ("#b0b0b0", "o"),
    "keras_graph": ("#7a7a7a", "s"),
    "keras_xla": ("#303030", "^"),
    "fastloss_eager": ("#f2a65a", "o"),
    "fastloss_graph": ("#d1495b", "s"),
    "fastloss_xla": ("#6c3082", "^"),
    "torch_eager": ("#8fb996", "o"),
    "torch_compile": ("#3a7d44", "^"),
}


def write_picture(
    path: Path, measurements: Sequence[Measurement], environment: Environment
) -> None:
    """Draws every loss and contender, a panel for each case."""
    sections = by_section(measurements)
    heights = [0.3 * len(pairs) + 1.1 for pairs in sections.values()]
    figure = Figure(figsize=(9.0, sum(heights) + 1.2), layout="constrained")
    panels = figure.subplots(len(sections), 1, squeeze=False, height_ratios=heights)[:, 0]
    handles: dict[str, Any] = {}
    for axes, (heading, pairs) in zip(panels, sections.items(), strict=True):
        _draw_panel(axes, heading, pairs)
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()), list(handles), loc="outside upper center", ncols=4, frameon=False
    )
    figure.supxlabel(
        f"{mode_text(measurements[0].forward_only)}, medians; {environment.machine}, "
        f"{environment.threads} threads, TensorFlow {environment.tensorflow}, "
        f"Keras {environment.keras}, fastloss {environment.fastloss}",
        fontsize=8,
        color="#555555",
    )
    canvas.write(figure, path)


def _draw_panel(axes: Any, heading: str, pairs: Sequence[tuple[LossSpec, Row]]) -> None:
    bound = any(found.is_bandwidth_bound for _, row in pairs for found in row.values())
    value: Callable[[Measurement], float] = (
        (lambda found: found.bytes_per_second / 1e9)
        if bound
        else (lambda found: found.timing.median * 1e6)
    )
    for name, (colour, marker) in _STYLES.items():
        points = [(value(row[name]), y) for y, (_, row) in enumerate(pairs) if name in row]
        if points:
            axes.scatter(
                *zip(*points, strict=True),
                color=colour,
                marker=marker,
                s=42,
                zorder=3,
                linewidths=0.7,
                edgecolors="white",
                label=next(row[name].contender.label for _, row in pairs if name in row),
            )
    if bound:
        roofs = [(value(row[ROOF.name]), y) for y, (_, row) in enumerate(pairs) if ROOF.name in row]
        axes.vlines(
            [rate for rate, _ in roofs],
            [y - 0.4 for _, y in roofs],
            [y + 0.4 for _, y in roofs],
            color="#2a6f97",
            linewidth=2.2,
            zorder=2,
            label="roof",
        )
    names = [spec.label.replace("(from_logits=True)", ", logits") for spec, _ in pairs]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    _set_scale(axes)
    axes.set_xlabel(
        "GB/s of the bytes that must move (right is faster)"
        if bound
        else "microseconds per call (left is faster)"
    )
    axes.set_title(heading, loc="left", fontsize=11, fontweight="bold")


def _set_scale(axes: Any) -> None:
    axes.set_xscale("log")
    axes.grid(True, axis="x", which="both", color="#e6e6e6", linewidth=0.6)
    axes.grid(True, axis="y", color="#f0f0f0", linewidth=0.6)
    axes.set_axisbelow(True)
    canvas.opened(axes, "left")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(lambda number, _: f"{number:g}")
    axes.xaxis.set_minor_formatter(
        lambda number, _: f"{number:g}" if f"{number:e}"[0] in "25" else ""
    )
    axes.tick_params(axis="x", which="minor", labelsize=8, labelcolor="#555555")
