"""The CSV of record of a benchmark."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from fastloss.tools.bench.engine import Measurement
from fastloss.tools.bench.environment import Environment

COLUMNS: tuple[str, ...] = (
    *(field.name for field in fields(Environment)),
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
        "contender": measurement.contender.name,
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
    """Writes the CSV of record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(as_row(found, environment) for found in measurements)
