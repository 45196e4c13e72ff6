"""The tables of a benchmark: a line for each loss, or for each contender of one loss."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from fastloss.tools.bench.cases import LossSpec
from fastloss.tools.bench.engine import ROOF, Measurement, by_pair
from fastloss.tools.bench.figures import (
    OURS,
    bandwidth,
    bandwidth_of,
    by_section,
    digits,
    mean_bandwidth,
    mean_speed_up,
    megabytes,
    milliseconds,
    speed_up,
    times,
)
from fastloss.tools.bench.selection import section

_NAME_WIDTH = 25
# Their times are the first columns.
_TIMED = (
    "keras_eager",
    "keras_graph",
    "keras_xla",
    "fastloss_eager",
    "fastloss_graph",
    "fastloss_xla",
)
_PEERS = ("keras_graph", "keras_xla")


def loss_table(measurements: Sequence[Measurement]) -> Table:
    """A line for each loss, and the means of each section."""
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
        decides = header.startswith("ours\ngraph") or "vs" in header
        table.add_column(header, justify="right", no_wrap=True, style="bold" if decides else None)
    for heading, pairs in by_section(measurements).items():
        table.add_section()
        table.add_row(f"[bold cyan]{heading}[/]")
        previous: LossSpec | None = None
        for spec, row in pairs:
            table.add_row(
                _name_cell(spec, previous),
                *(milliseconds(row, name) for name in _TIMED),
                *bandwidth_of(row.get(OURS)),
                *(times(speed_up(row, OURS, peer)) for peer in _PEERS),
                megabytes(row, "keras_graph"),
                megabytes(row, OURS),
            )
            previous = spec
        if len(pairs) > 1:
            rows = [row for _, row in pairs]
            table.add_row(
                "[italic]geometric mean[/]",
                *[""] * len(_TIMED),
                *bandwidth(*mean_bandwidth(rows)),
                *(times(mean_speed_up(rows, OURS, peer)) for peer in _PEERS),
            )
    return table


def contender_table(measurements: Sequence[Measurement]) -> Table:
    """A line for each contender of one loss, case by case."""
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
    for (spec, case), row in by_pair(measurements).items():
        table.add_section()
        table.add_row(f"[bold cyan]{section(spec, case)}[/]")
        if spec.arguments:
            table.add_row(f"[cyan]{spec.argument_text}[/]")
        for name, found in row.items():
            is_roof = found.contender == ROOF
            if is_roof and not found.is_bandwidth_bound:
                continue
            spread = (found.timing.quantile(share) * 1e3 for share in (0.2, 0.8))
            table.add_row(
                f"roof ({found.roof_kind})" if is_roof else found.contender.label,
                milliseconds(row, name),
                " - ".join(map(digits, spread)),
                *bandwidth_of(found),
                *("" if is_roof else times(speed_up(row, name, peer)) for peer in _PEERS),
                "" if is_roof else megabytes(row, name),
                style="bold" if found.contender.library == "fastloss" else None,
            )
    return table


def _name_cell(spec: LossSpec, previous: LossSpec | None) -> str:
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
