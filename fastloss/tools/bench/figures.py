"""Measurements as figures to be read: grouped, averaged and rounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import geometric_mean
from typing import TypeAlias

from fastloss.tools.bench.cases import LossSpec
from fastloss.tools.bench.engine import Measurement, by_pair
from fastloss.tools.bench.memory import RESOLUTION_BYTES
from fastloss.tools.bench.selection import section

OURS = "fastloss_graph"
"""Whose figures are shown where only one contender's are."""

Row: TypeAlias = Mapping[str, Measurement]
"""The measurements on one loss and case, by the name of the contender."""


def by_section(measurements: Iterable[Measurement]) -> dict[str, list[tuple[LossSpec, Row]]]:
    """The losses of each section, with their measurements."""
    sections: dict[str, list[tuple[LossSpec, Row]]] = {}
    for (spec, case), row in by_pair(measurements).items():
        sections.setdefault(section(spec, case), []).append((spec, row))
    return sections


def speed_up(row: Row, ours: str, theirs: str) -> float | None:
    """How many times faster one contender is than another; None where one is missing."""
    if ours not in row or theirs not in row:
        return None
    return row[theirs].timing.median / row[ours].timing.median


def mean(values: Iterable[float | None]) -> float | None:
    """The geometric mean of the values that are there."""
    present = [value for value in values if value is not None and value > 0]
    return geometric_mean(present) if present else None


def mean_speed_up(rows: Iterable[Row], ours: str, theirs: str) -> float | None:
    """The mean over losses."""
    return mean(speed_up(row, ours, theirs) for row in rows)


def mean_bandwidth(rows: Sequence[Row]) -> tuple[float | None, float | None]:
    """Our mean bytes per second, and their share of the roof, where these say anything."""
    ours = [row[OURS] for row in rows if OURS in row and row[OURS].is_bandwidth_bound]
    return mean(found.bytes_per_second for found in ours), mean(found.roof_share for found in ours)


def digits(value: float) -> str:
    """Five characters, which hold every time from a microsecond to ten seconds in milliseconds."""
    if value >= 99.95:
        return f"{value:.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.9995 else f"{value:.3f}"


def milliseconds(row: Row, contender: str) -> str:
    """The median time."""
    return digits(row[contender].timing.median * 1e3) if contender in row else "-"


def times(ratio: float | None) -> str:
    """How many times faster."""
    if ratio is None:
        return "-"
    return f"{ratio:.0f}x" if ratio >= 99.5 else f"{ratio:.1f}x"


def megabytes(row: Row, contender: str) -> str:
    """The peak of the extra memory."""
    peak = row[contender].peak_extra_bytes if contender in row else None
    if peak is None:
        return "-"
    return "<0.5" if peak < RESOLUTION_BYTES else digits(peak / 1e6)


def bandwidth(bytes_per_second: float | None, roof_share: float | None) -> tuple[str, str]:
    """Gigabytes per second, and their share of the roof."""
    return (
        "" if bytes_per_second is None else digits(bytes_per_second / 1e9)[:4].rstrip("."),
        "" if roof_share is None else f"{roof_share:.0%}",
    )


def bandwidth_of(found: Measurement | None) -> tuple[str, str]:
    """The same of one measurement; empty for a case so small that they would only mislead."""
    if found is None or not found.is_bandwidth_bound:
        return "", ""
    return bandwidth(found.bytes_per_second, found.roof_share)
