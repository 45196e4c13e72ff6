"""Runs a benchmark on a terminal, and writes its record and its picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from fastloss.tools.bench.cases import Case, LossSpec
from fastloss.tools.bench.engine import Plan, run
from fastloss.tools.bench.environment import Environment
from fastloss.tools.bench.picture import write_picture
from fastloss.tools.bench.record import write_csv
from fastloss.tools.bench.report import print_report


class NothingMeasuredError(Exception):
    """No contender could run."""


def measure_and_show(console: Console, plan: Plan, environment: Environment, output: Path) -> None:
    """Measures, prints the report and writes a CSV file and a picture.

    Raises:
        NothingMeasuredError: If no contender could run.
    """
    with _progress(console, len(plan.pairs)) as on_pair:
        result = run(plan, on_pair)
    if not result.measurements:
        reasons = "\n".join(sorted({failure.reason for failure in result.failures}))
        raise NothingMeasuredError(f"No contender could run:\n{reasons}")
    print_report(console, result.measurements, result.failures, environment)
    if result.left_out:
        names = ", ".join(f"{spec.label} {case.shape_text}" for spec, case in result.left_out)
        console.print(f"[yellow]Left out, to stay under a minute:[/] {names}.", highlight=False)
    stem = output.with_suffix("") if output.suffix in {".csv", ".png"} else output
    table, picture = stem.with_name(stem.name + ".csv"), stem.with_name(stem.name + ".png")
    write_csv(table, result.measurements, environment)
    write_picture(picture, result.measurements, environment)
    console.print()
    console.print(f"Wrote {table} and {picture}.", highlight=False, soft_wrap=True)


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[LossSpec, Case], None]]:
    """Shows a bar; gives a function to call before each loss and case."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        # A faster display would take time from what is measured.
        refresh_per_second=1,
    )
    with bar:
        task = bar.add_task("", total=total)
        begun = 0

        def on_pair(spec: LossSpec, case: Case) -> None:
            nonlocal begun
            text = f"{spec.label} {case.shape_text} {case.dtype}"
            bar.update(task, description=text, completed=begun)
            begun += 1

        yield on_pair
