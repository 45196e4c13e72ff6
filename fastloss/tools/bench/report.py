"""The table, the CSV of record and the picture of a benchmark."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any

from fastloss.tools.bench.cases import LossSpec
from fastloss.tools.bench.contenders import CONTENDERS, TORCH_CONTENDERS
from fastloss.tools.bench.engine import ROOF, Failure, Measurement, by_pair
from fastloss.tools.bench.environment import Environment
from fastloss.tools.bench.memory import RESOLUTION_BYTES
from fastloss.tools.bench.selection import section

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COLUMNS: tuple[str, ...] = (
    "date",
    "commit",
    "machine",
    "cores",
    "threads",
    "os",
    "python",
    "tensorflow",
    "keras",
    "torch",
    "numpy",
    "fastloss",
    "backend",
    "isa",
    "loss",
    "arguments",
    "shape",
    "dtype",
    "mode",
    "contender",
    "rounds",
    "calls_per_round",
    "ms_median",
    "ms_q20",
    "ms_q80",
    "bytes",
    "gb_per_s",
    "roof",
    "roof_share",
    "peak_extra_bytes",
)

_LABELS: Mapping[str, str] = {
    **{contender.name: contender.label for contender in CONTENDERS + TORCH_CONTENDERS},
    ROOF: "roof",
}
_OURS = "fastloss_graph"
_NAME_WIDTH = 25
_Row = Mapping[str, Measurement]


def mode_text(forward_only: bool) -> str:
    """The value of the CSV's `mode`."""
    return "forward" if forward_only else "forward+gradient"


def as_row(measurement: Measurement, environment: Environment) -> dict[str, Any]:
    """One row of the CSV of record.

    Args:
        measurement: The measurement.
        environment: Where it was made.

    Returns:
        A value for each of `COLUMNS`. Bandwidth and share are empty for cases so small that a
        call's overhead is all that is measured.
    """
    timing = measurement.timing
    bound = measurement.is_bandwidth_bound
    peak = measurement.peak_extra_bytes
    return {
        **asdict(environment),
        "loss": measurement.spec.name,
        "arguments": measurement.spec.argument_text,
        "shape": measurement.case.shape_text,
        "dtype": measurement.case.dtype,
        "mode": mode_text(measurement.forward_only),
        "contender": measurement.contender,
        "rounds": len(timing.seconds),
        "calls_per_round": timing.calls,
        "ms_median": f"{timing.median * 1e3:.6g}",
        "ms_q20": f"{timing.quantile(0.2) * 1e3:.6g}",
        "ms_q80": f"{timing.quantile(0.8) * 1e3:.6g}",
        "bytes": measurement.bytes_moved,
        "gb_per_s": f"{measurement.bytes_per_second / 1e9:.4g}" if bound else "",
        "roof": measurement.roof_kind,
        "roof_share": f"{measurement.roof_share:.4g}" if bound else "",
        "peak_extra_bytes": "" if peak is None else peak,
    }


def write_csv(path: Path, measurements: Sequence[Measurement], environment: Environment) -> None:
    """Writes the CSV of record.

    Args:
        path: The file; it is replaced.
        measurements: What was measured.
        environment: Where.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(as_row(found, environment) for found in measurements)


def _digits(value: float) -> str:
    # Five characters hold every figure from a microsecond to ten seconds, in milliseconds.
    if value >= 99.95:
        return f"{value:.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.9995 else f"{value:.3f}"


def _milliseconds(row: _Row, contender: str) -> str:
    return _digits(row[contender].timing.median * 1e3) if contender in row else "-"


def speed_up(row: _Row, ours: str, theirs: str) -> float | None:
    """How many times faster one contender is than another; None where one is missing."""
    if ours not in row or theirs not in row:
        return None
    return row[theirs].timing.median / row[ours].timing.median


def _times(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}x" if value >= 99.5 else f"{value:.1f}x"


def _megabytes(row: _Row, contender: str) -> str:
    peak = row[contender].peak_extra_bytes if contender in row else None
    if peak is None:
        return "-"
    return "<0.5" if peak < RESOLUTION_BYTES else _digits(peak / 1e6)


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None and value > 0]
    return geometric_mean(present) if present else None


def _bandwidth(found: Measurement | None) -> tuple[str, str]:
    if found is None or not found.is_bandwidth_bound:
        return "", ""
    return _digits(found.bytes_per_second / 1e9)[:4].rstrip("."), f"{found.roof_share:.0%}"


def _spec_cell(spec: LossSpec, previous: LossSpec | None) -> str:
    if spec.argument_text != "from_logits=True":
        # The other arguments have one variant each, so the name tells.
        return _wrapped(spec.name)
    variant = f"  {spec.argument_text}"
    if previous is not None and previous.name == spec.name:
        return variant
    return f"{_wrapped(spec.name)}\n{variant}"


def _wrapped(name: str) -> str:
    if len(name) <= _NAME_WIDTH:
        return name
    head, _, _ = name[:_NAME_WIDTH].rpartition("_")
    return f"{head}_\n  {name[len(head) + 1 :]}"


def _mean_cells(rows: Sequence[_Row]) -> tuple[str, ...]:
    ours = [row.get(_OURS) for row in rows]
    bound = [found for found in ours if found is not None and found.is_bandwidth_bound]
    rate = _mean([found.bytes_per_second for found in bound])
    share = _mean([found.roof_share for found in bound])
    return (
        "" if rate is None else _digits(rate / 1e9)[:4].rstrip("."),
        "" if share is None else f"{share:.0%}",
        _times(_mean([speed_up(row, _OURS, "keras_graph") for row in rows])),
        _times(_mean([speed_up(row, _OURS, "keras_xla") for row in rows])),
    )


def _by_section(
    measurements: Sequence[Measurement],
) -> dict[str, list[tuple[LossSpec, _Row]]]:
    sections: dict[str, list[tuple[LossSpec, _Row]]] = {}
    for (spec, case), row in by_pair(measurements).items():
        sections.setdefault(section(spec, case), []).append((spec, row))
    return sections


def _family_table(measurements: Sequence[Measurement]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("loss", no_wrap=True)
    for header in (
        "Keras\neager\nms",
        "Keras\ngraph\nms",
        "Keras\nXLA\nms",
        "  ours\neager\nms",
        "ours\ngraph\nms",
        "ours\nXLA\nms",
        "  ours\n\nGB/s",
        "ours\n% of\nroof",
        "ours\nvs\ngraph",
        "ours\nvs\nXLA",
        "  Keras\npeak\nMB",
        "ours\npeak\nMB",
    ):
        ours = header.startswith("ours\ngraph") or "vs" in header  # What a user decides by.
        table.add_column(header, justify="right", no_wrap=True, style="bold" if ours else None)
    columns = len(table.columns)
    for heading, pairs in _by_section(measurements).items():
        table.add_section()
        table.add_row(f"[bold cyan]{heading}[/]", *[""] * (columns - 1))
        previous: LossSpec | None = None
        for spec, row in pairs:
            table.add_row(
                _spec_cell(spec, previous),
                *(
                    _milliseconds(row, name)
                    for name in (
                        "keras_eager",
                        "keras_graph",
                        "keras_xla",
                        "fastloss_eager",
                        "fastloss_graph",
                        "fastloss_xla",
                    )
                ),
                *_bandwidth(row.get(_OURS)),
                _times(speed_up(row, _OURS, "keras_graph")),
                _times(speed_up(row, _OURS, "keras_xla")),
                _megabytes(row, "keras_graph"),
                _megabytes(row, _OURS),
            )
            previous = spec
        if len(pairs) > 1:
            means = _mean_cells([row for _, row in pairs])
            table.add_row("[italic]geometric mean[/]", *[""] * 6, *means, "", "")
    return table


def _contender_table(measurements: Sequence[Measurement]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("contender", no_wrap=True)
    for header in (
        "ms\nmedian",
        "ms\n20 to 80 %",
        "\nGB/s",
        "share\nof roof",
        "against\nKeras graph",
        "against\nKeras XLA",
        "peak extra\nMB",
    ):
        table.add_column(header, justify="right", no_wrap=True)
    columns = len(table.columns)
    for (spec, case), row in by_pair(measurements).items():
        table.add_section()
        table.add_row(f"[bold cyan]{section(spec, case)}[/]", *[""] * (columns - 1))
        if spec.arguments:
            table.add_row(f"[cyan]{spec.argument_text}[/]", *[""] * (columns - 1))
        for name, found in row.items():
            if name == ROOF and not found.is_bandwidth_bound:
                continue
            timing = found.timing
            spread = (timing.quantile(0.2) * 1e3, timing.quantile(0.8) * 1e3)
            table.add_row(
                f"{_LABELS[name]} ({found.roof_kind})" if name == ROOF else _LABELS[name],
                _digits(timing.median * 1e3),
                " - ".join(_digits(value) for value in spread),
                *_bandwidth(found),
                "" if name == ROOF else _times(speed_up(row, name, "keras_graph")),
                "" if name == ROOF else _times(speed_up(row, name, "keras_xla")),
                "" if name == ROOF else _megabytes(row, name),
                style="bold" if name.startswith("fastloss") else None,
            )
    return table


def _summary(heading: str, rows: Sequence[_Row]) -> str:
    parts = []
    for mode in ("eager", "graph"):
        mean = _mean([speed_up(row, f"fastloss_{mode}", f"keras_{mode}") for row in rows])
        if mean is not None:
            parts.append(f"{mode} {_times(mean)}")
    for peer in ("keras_xla", *(contender.name for contender in TORCH_CONTENDERS)):
        mean = _mean([speed_up(row, _OURS, peer) for row in rows])
        if mean is not None:
            parts.append(f"graph against {_LABELS[peer].replace(',', '')} {_times(mean)}")
    ours = [row[_OURS] for row in rows if _OURS in row]
    bound = [found for found in ours if found.is_bandwidth_bound]
    share = _mean([found.roof_share for found in bound])
    if share is not None:
        parts.append(f"{share:.0%} of the roof")
    return f"{heading}: " + ", ".join(parts)


def _threads_text(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def _roof_sentence(measurements: Sequence[Measurement], threads: int) -> str:
    roofs = [
        found.bytes_per_second / 1e9
        for found in measurements
        if found.contender == ROOF and found.is_bandwidth_bound
    ]
    if not roofs:
        return (
            "These cases are too small for bandwidth to matter, so no GB/s and no roof are shown."
        )
    low, high = min(roofs), max(roofs)
    rates = f"{low:.1f}" if math.isclose(low, high, rel_tol=0.02) else f"{low:.1f} to {high:.1f}"
    kind = measurements[0].roof_kind
    what = {
        "copy": "a copy between warm buffers with stores that bypass the cache",
        "memcpy": "memcpy between warm buffers",
    }[kind]
    return f"Roof: the same bytes moved by {what}, {_threads_text(threads)}: {rates} GB/s."


def print_report(
    console: Console,
    measurements: Sequence[Measurement],
    failures: Sequence[Failure],
    environment: Environment,
) -> None:
    """Prints the table and what is needed to read it.

    Args:
        console: Where to.
        measurements: What was measured.
        failures: What could not be.
        environment: Where it was measured.
    """
    forward_only = any(found.forward_only for found in measurements)
    pairs = by_pair(measurements)
    one_loss = len({spec.name for spec, _ in pairs}) == 1
    table = _contender_table(measurements) if one_loss else _family_table(measurements)
    subject = f"{measurements[0].spec.name}, " if one_loss else ""
    versions = (
        f"TensorFlow {environment.tensorflow}, Keras {environment.keras}, "
        f"fastloss {environment.fastloss}"
    )
    isa = f" ({environment.isa})" if environment.isa else ""
    torch = f"; torch: {environment.torch}" if environment.torch else ""
    console.print(
        f"[bold]{subject}{mode_text(forward_only)}[/] on {environment.machine}, "
        f"{_threads_text(environment.threads)}; {versions}{isa}{torch}",
        highlight=False,
    )
    console.print()
    console.print(table, highlight=False)
    console.print()
    notes = []
    if any(found.is_bandwidth_bound for found in measurements):
        notes.append(
            "GB/s: the bytes that must move (labels and predictions read once"
            + (")" if forward_only else ", gradient written once)")
            + " over the median time"
            + ("." if one_loss else " of ours, graph.")
        )
    notes.append(_roof_sentence(measurements, environment.threads))
    if not one_loss:
        notes.append("vs graph, vs XLA: how many times faster ours, graph, is than Keras there.")
    notes.append(
        "Peak: most memory during one call beyond what is resident before it"
        + ("." if one_loss else ", in graph mode.")
    )
    for note in notes:
        console.print(note, highlight=False, style="dim")
    summaries = [
        _summary(heading, [row for _, row in found])
        for heading, found in _by_section(measurements).items()
        if len(found) > 1
    ]
    if summaries:
        console.print()
        console.print("[bold]Geometric means: time of Keras over ours, in the same mode[/]")
        for summary in summaries:
            console.print(f"  {summary}", highlight=False)
    if environment.backend != "fused":
        console.print()
        console.print(
            "[yellow]The compiled library is not in use: what is called ours here is the reference "
            "in pure TensorFlow.[/]"
        )
    for failure in failures:
        console.print(
            f"[yellow]{_LABELS[failure.contender]} could not run {failure.spec.label} on "
            f"{failure.case.shape_text} {failure.case.dtype}:[/] {failure.reason}",
            highlight=False,
        )


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


def _panel(axes: Any, heading: str, pairs: Sequence[tuple[LossSpec, _Row]]) -> None:
    bound = any(found.is_bandwidth_bound for _, row in pairs for found in row.values())
    value: Callable[[Measurement], float] = (
        (lambda found: found.bytes_per_second / 1e9)
        if bound
        else (lambda found: found.timing.median * 1e6)
    )
    names = [spec.label.replace("(from_logits=True)", ", logits") for spec, _ in pairs]
    for contender, (colour, marker) in _STYLES.items():
        points = [
            (value(row[contender]), place)
            for place, (_, row) in enumerate(pairs)
            if contender in row
        ]
        if points:
            xs, ys = zip(*points, strict=True)
            axes.scatter(
                xs,
                ys,
                color=colour,
                marker=marker,
                s=42,
                zorder=3,
                linewidths=0.7,
                edgecolors="white",
                label=_LABELS[contender],
            )
    roofs = [(value(row[ROOF]), place) for place, (_, row) in enumerate(pairs) if ROOF in row]
    if bound and roofs:
        for index, (rate, place) in enumerate(roofs):
            axes.plot(
                [rate, rate],
                [place - 0.4, place + 0.4],
                color="#2a6f97",
                linewidth=2.2,
                zorder=2,
                label="roof" if index == 0 else None,
            )
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(True, axis="x", which="both", color="#e6e6e6", linewidth=0.6)
    axes.grid(True, axis="y", color="#f0f0f0", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(lambda number, _: f"{number:g}")
    axes.xaxis.set_minor_formatter(
        lambda number, _: f"{number:g}" if f"{number:e}"[0] in "25" else ""
    )
    axes.tick_params(axis="x", which="minor", labelsize=8, labelcolor="#555555")
    axes.set_xlabel(
        "GB/s of the bytes that must move (right is faster)"
        if bound
        else "microseconds per call (left is faster)"
    )
    axes.set_title(heading, loc="left", fontsize=11, fontweight="bold")


def write_picture(
    path: Path, measurements: Sequence[Measurement], environment: Environment
) -> None:
    """Draws every loss and contender, a panel for each case.

    Args:
        path: The PNG file; it is replaced.
        measurements: What was measured.
        environment: Where.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sections = _by_section(measurements)
    if not sections:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    heights = [0.3 * len(pairs) + 1.1 for pairs in sections.values()]
    figure = Figure(figsize=(9.0, sum(heights) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(sections), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (heading, pairs) in zip(panels, sections.items(), strict=True):
        _panel(axes, heading, pairs)
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper center",
        ncols=4,
        frameon=False,
    )
    forward_only = any(found.forward_only for found in measurements)
    figure.supxlabel(
        f"{mode_text(forward_only)}, medians; {environment.machine}, {environment.threads} "
        f"threads, TensorFlow {environment.tensorflow}, Keras {environment.keras}, "
        f"fastloss {environment.fastloss}",
        fontsize=8,
        color="#555555",
    )
    figure.savefig(path, dpi=150)
