"""The report of a benchmark on a terminal: a table, and what is needed to read it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Console

from fastloss.tools.bench.engine import ROOF, Failure, Measurement, by_pair
from fastloss.tools.bench.environment import Environment
from fastloss.tools.bench.figures import (
    OURS,
    Row,
    bandwidth,
    by_section,
    mean_bandwidth,
    mean_speed_up,
    times,
)
from fastloss.tools.bench.record import mode_text
from fastloss.tools.bench.table import contender_table, loss_table


def print_report(
    console: Console,
    measurements: Sequence[Measurement],
    failures: Sequence[Failure],
    environment: Environment,
) -> None:
    """Prints the table and what is needed to read it."""
    one_loss = len({spec.name for spec, _ in by_pair(measurements)}) == 1
    console.print(_title(measurements, one_loss, environment), highlight=False)
    console.print()
    table = contender_table(measurements) if one_loss else loss_table(measurements)
    console.print(table, highlight=False)
    console.print()
    for note in _notes(measurements, one_loss, environment.threads):
        console.print(note, highlight=False, style="dim")
    summaries = [
        _summary(heading, [row for _, row in pairs])
        for heading, pairs in by_section(measurements).items()
        if len(pairs) > 1
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
            f"[yellow]{failure.contender.label} could not run {failure.spec.label} on "
            f"{failure.case.shape_text} {failure.case.dtype}:[/] {failure.reason}",
            highlight=False,
        )


def _title(measurements: Sequence[Measurement], one_loss: bool, environment: Environment) -> str:
    subject = f"{measurements[0].spec.name}, " if one_loss else ""
    isa = f" ({environment.isa})" if environment.isa else ""
    torch = f"; torch: {environment.torch}" if environment.torch else ""
    return (
        f"[bold]{subject}{mode_text(measurements[0].forward_only)}[/] on {environment.machine}, "
        f"{_threads_text(environment.threads)}; TensorFlow {environment.tensorflow}, "
        f"Keras {environment.keras}, fastloss {environment.fastloss}{isa}{torch}"
    )


def _notes(measurements: Sequence[Measurement], one_loss: bool, threads: int) -> Iterator[str]:
    if any(found.is_bandwidth_bound for found in measurements):
        written = ")" if measurements[0].forward_only else ", gradient written once)"
        yield (
            f"GB/s: the bytes that must move (labels and predictions read once{written} over the "
            f"median time{'.' if one_loss else ' of ours, graph.'}"
        )
    yield _roof_sentence(measurements, threads)
    if not one_loss:
        yield "vs graph, vs XLA: how many times faster ours, graph, is than Keras there."
    yield (
        "Peak: most memory during one call beyond what is resident before it"
        f"{'.' if one_loss else ', in graph mode.'}"
    )


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
    what = {
        "copy": "a copy between warm buffers with stores that bypass the cache",
        "memcpy": "memcpy between warm buffers",
    }[measurements[0].roof_kind]
    return f"Roof: the same bytes moved by {what}, {_threads_text(threads)}: {rates} GB/s."


def _summary(heading: str, rows: Sequence[Row]) -> str:
    parts = []
    for mode in ("eager", "graph"):
        mean = mean_speed_up(rows, f"fastloss_{mode}", f"keras_{mode}")
        if mean is not None:
            parts.append(f"{mode} {times(mean)}")
    contenders = dict.fromkeys(found.contender for row in rows for found in row.values())
    for peer in contenders:
        mean = mean_speed_up(rows, OURS, peer.name)
        is_peer = peer.library not in ("fastloss", "reference", "roof")
        if is_peer and peer.name not in ("keras_eager", "keras_graph") and mean is not None:
            parts.append(f"graph against {peer.label.replace(',', '')} {times(mean)}")
    _, share = bandwidth(*mean_bandwidth(rows))
    if share:
        parts.append(f"{share} of the roof")
    return f"{heading}: " + ", ".join(parts)


def _threads_text(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"
