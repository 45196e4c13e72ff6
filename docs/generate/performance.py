"""The page of the benchmark's records, from the CSV files as they are."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from statistics import geometric_mean

from generate.tables import table

CONTENDERS = {
    "keras_eager": "Keras eager",
    "keras_graph": "Keras graph",
    "keras_xla": "Keras XLA",
    "torch_eager": "PyTorch eager",
    "torch_compile": "PyTorch compiled",
    "reference_graph": "reference graph",
    "fastloss_eager": "fastloss eager",
    "fastloss_graph": "fastloss graph",
    "fastloss_xla": "fastloss XLA",
}
OURS, THEIRS, ROOF = "fastloss_graph", "keras_graph", "roof"

_HEAD = """# Performance

Medians of interleaved rounds, in milliseconds, forward and gradient together unless a heading says
otherwise; the record of each table is the CSV file named above it, written by `fastloss bench`.
"Roof" is the time that a copy of the same bytes takes, "times" how many times as fast as Keras in
graph mode fastloss is in graph mode, and "MB" the extra memory at the peak in Keras graph and in
fastloss graph. Whether it matters for a model: [when it will not
help you](index.md#when-it-will-not-help-you).
"""

Row = dict[str, str]


def write_performance(path: Path, results: Path) -> None:
    """Write the page of all CSV files in the folder of results."""
    parts = [_HEAD]
    for file in sorted(results.glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as text:
            rows = list(csv.DictReader(text))
        if rows:
            parts.append(_record(file, rows))
    path.write_text("\n".join(parts), encoding="utf-8")


def _record(file: Path, rows: list[Row]) -> str:
    parts = [f"## {file.stem}\n", _origin(file, rows)]
    picture = file.with_suffix(".png")
    if picture.exists():
        parts.append(f"![{file.stem}](../bench/results/{picture.name})\n")
    by_section: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_section[row["dtype"], row["mode"]].append(row)
    for (dtype, mode), members in by_section.items():
        title = dtype if mode == "forward+gradient" else f"{dtype}, {mode}"
        parts += [f"### {title}\n", _section(members)]
    return "\n".join(parts)


def _origin(file: Path, rows: list[Row]) -> str:
    first = rows[0]
    versions = [
        f"{title} {first[column]}"
        for column, title in (
            *(("tensorflow", "TensorFlow"), ("keras", "Keras"), ("torch", "PyTorch")),
            *(("numpy", "NumPy"), ("python", "Python")),
        )
        if first.get(column)
    ]
    commits = ", ".join(f"`{commit}`" for commit in dict.fromkeys(row["commit"] for row in rows))
    days = sorted({row["date"][:10] for row in rows})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return (
        f"{first['machine']}, {first['threads']} threads, {first['isa']}, {first['os']}; "
        f"{', '.join(versions)}; commit {commits}, {when}. "
        f"The record: [{file.name}](../bench/results/{file.name}).\n"
    )


def _section(rows: list[Row]) -> str:
    cases: dict[tuple[str, str, str], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        cases[row["loss"], row["arguments"], row["shape"]][row["contender"]] = row
    present = [x for x in dict.fromkeys(row["contender"] for row in rows) if x != ROOF]
    shown = sorted(present, key=lambda x: list(CONTENDERS).index(x) if x in CONTENDERS else 99)
    lines = []
    for (loss, arguments, shape), found in cases.items():
        times = _times(found)
        lines.append(
            [
                f"`{loss}`" + (f" {arguments}" if arguments else ""),
                shape,
                *(_milliseconds(found.get(contender)) for contender in shown),
                _milliseconds(found.get(ROOF)),
                "" if times is None else f"{times:.1f}",
                _memory(found),
            ]
        )
    titles = [CONTENDERS.get(contender, contender.replace("_", " ")) for contender in shown]
    text = table(("loss", "shape", *titles, "roof", "times", "MB"), lines)
    known = [x for x in map(_times, cases.values()) if x is not None]
    if known:
        text += f"\nGeometric mean of the times: {geometric_mean(known):.1f}.\n"
    return text


def _milliseconds(row: Row | None) -> str:
    if not row:
        return ""
    if not row["ms_median"]:
        # Why there is no time.
        return row.get("error", "")
    return _number(float(row["ms_median"]))


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _times(found: dict[str, Row]) -> float | None:
    pair = [found[x]["ms_median"] for x in (THEIRS, OURS) if x in found]
    return float(pair[0]) / float(pair[1]) if len(pair) == 2 and all(pair) else None


def _memory(found: dict[str, Row]) -> str:
    peaks = [found.get(x, {}).get("peak_extra_bytes", "") for x in (THEIRS, OURS)]
    return " / ".join(_number(float(x) / 1e6) if x else "-" for x in peaks) if any(peaks) else ""
