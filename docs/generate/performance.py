"""The page of the benchmark's records, from the CSV files as they are."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from generate import records
from generate.records import Case, Row, Rows, number
from generate.tables import table

CONTENDERS = {
    "keras_eager": "Keras eager",
    "keras_graph": "Keras graph",
    "keras_xla": "Keras XLA",
    "torch_eager": "PyTorch eager",
    "torch_compile": "PyTorch compiled",
    "fastloss_eager": "fastloss eager",
    "fastloss_graph": "fastloss graph",
    "fastloss_xla": "fastloss XLA",
}
OURS, THEIRS, ROOF = "fastloss_graph", "keras_graph", "roof"
_SMALL = 1e6  # bytes


class About(NamedTuple):
    """What a file of records is of, and what to know when reading it."""

    title: str
    text: str = ""


ABOUT = {
    "cpu": About(
        "Elementwise losses",
        "Losses with exponentials and logarithms are bound by arithmetic here, not by memory.",
    ),
    "cpu_rowwise": About("Losses over rows of classes, and similarity"),
    "cpu_overlap": About(
        "Segmentation, detection and sums of losses",
        "Keras's sums are written with its losses and `keras.ops`. PyTorch's sum of Dice and "
        "cross-entropy is MONAI's `DiceCELoss`.",
    ),
    "cpu_linear": About(
        "The last layer of a language model with its loss",
        "The shape is tokens x features x words, and the gradients are those of the hidden states "
        "and of the kernel. Keras's side is a matrix product and Keras's loss. Both sides use "
        "TensorFlow's own matrix products, which take most of the time. The memory includes the "
        "gradients themselves: 105, 111, 136 and 237 MB. `bench/linear.py` wrote the file.",
    ),
    "cpu_custom": About(
        "Losses of your own, compiled by `fl.fuse`",
        '"Keras" is the plain function, and "fastloss" the same function under `fl.fuse`.',
    ),
}

_HEAD = """# Performance

Each table shows medians of interleaved rounds, in milliseconds, for value and gradient together
unless a heading says otherwise. `fastloss bench` wrote the CSV file named above a table, and can
measure the same on your machine.

- **Times**: how many times as fast as Keras fastloss is, both in graph mode.
- **Roof**: the time of a copy that moves the same number of bytes.
- **MB**: the extra memory at the peak, of Keras and of fastloss, both in graph mode. The blocks of
  TensorFlow's memory pool are counted, which may be larger than what was asked for.
- **XLA**: compiled with `jit_compile=True`. fastloss then uses its reference implementation in
  TensorFlow ops, so that both columns are about the same. The CSV files have the times of that
  implementation in graph mode too.

Part of what Keras spends is fresh memory for each intermediate result; fastloss allocates one
gradient, and reuses it. Machines differ: on two threads of an AMD EPYC (Zen 3, AVX2), an earlier
version was 20 times as fast as Keras in graph mode and 7.4 times as fast as Keras under XLA, over
the elementwise losses. The front page says [when it will not help
you](index.md#when-it-will-not-help-you).
"""


def write_performance(path: Path, results: Path) -> None:
    """Write the page of all CSV files in the folder of results."""
    files = sorted(results.glob("*.csv"), key=lambda x: (_order(x.stem), x.stem))
    found = ((file, records.read(file)) for file in files)
    parts = [_HEAD, *(_record(file, cases) for file, cases in found if cases)]
    path.write_text("\n".join(parts), encoding="utf-8")


def _order(stem: str) -> int:
    return list(ABOUT).index(stem) if stem in ABOUT else len(ABOUT)


def _record(file: Path, cases: dict[Case, Rows]) -> str:
    about = ABOUT.get(file.stem, About(file.stem.replace("_", " ")))
    parts = [f"## {about.title}\n"]
    if about.text:
        parts.append(f"{about.text}\n")
    parts.append(_origin(file, [row for rows in cases.values() for row in rows.values()]))
    picture = file.with_suffix(".png")
    if picture.exists():
        parts.append(f"![{about.title}](../bench/results/{picture.name})\n")
    by_section: dict[tuple[str, str, bool], dict[Case, Rows]] = defaultdict(dict)
    for case, rows in cases.items():
        by_section[case.dtype, case.mode, _is_small(rows)][case] = rows
    for (dtype, mode, is_small), members in by_section.items():
        details = [dtype, *([mode] if mode != "forward+gradient" else [])]
        shapes = {case.shape for case in members}
        details += [records.shape(*shapes)] if len(shapes) == 1 else ["small"] if is_small else []
        parts += [f"### {', '.join(details)}\n", _section(members)]
    return "\n".join(parts)


def _is_small(rows: Rows) -> bool:
    sizes = [float(row["bytes"]) for row in rows.values() if row.get("bytes")]
    return bool(sizes) and max(sizes) < _SMALL


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


def _section(cases: dict[Case, Rows]) -> str:
    shown = [x for x in CONTENDERS if any(x in rows for rows in cases.values())]
    shapes = {case.shape for case in cases}
    lines = [
        [
            records.name(case),
            *([records.shape(case.shape)] if len(shapes) > 1 else []),
            *(_time(rows, contender) for contender in (*shown, ROOF)),
            _rounded(records.speedup(rows, THEIRS, OURS)),
            f"{records.megabytes(rows, THEIRS)} / {records.megabytes(rows, OURS)}",
        ]
        for case, rows in cases.items()
    ]
    header = ["loss", *(["shape"] if len(shapes) > 1 else []), *map(CONTENDERS.__getitem__, shown)]
    text = table([*header, "roof", "times", "MB"], lines, numbers=len(shown) + 3)
    means = _means(list(cases.values()))
    return f"{text}\n{means}\n" if means else text


def _means(cases: list[Rows]) -> str:
    """How fast fastloss is over all of the cases."""
    sentences = (
        ("{:.1f} times as fast as Keras in graph mode", THEIRS, OURS),
        ("{:.1f} times in eager mode", "keras_eager", "fastloss_eager"),
        ("{:.1f} times as fast as Keras under XLA", "keras_xla", OURS),
        ("{:.0%} of the speed of the copy", ROOF, OURS),
    )
    means = ((text, records.mean_speedup(cases, *pair)) for text, *pair in sentences)
    found = [text.format(mean) for text, mean in means if mean is not None]
    return f"Geometric means: {', '.join(found)}." if found else ""


def _time(rows: Rows, contender: str) -> str:
    """The time, or why there is none."""
    time = records.milliseconds(rows, contender)
    return rows.get(contender, {}).get("error", "") if time is None else number(time)


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
