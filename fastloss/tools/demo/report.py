"""What a demo shows: progress, a table, loss curves and times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

import fastloss as fl
from fastloss.tools.bench import memory
from fastloss.tools.demo.training import KERAS, OURS, Settings, Training, curve_difference
from fastloss.tools.machine import cpu_model
from fastloss.tools.plot import canvas

COLOURS = {KERAS: "#7a7a7a", OURS: "#d1495b"}


@contextmanager
def progress(console: Console, settings: Settings) -> Iterator[Callable[[], None]]:
    """Shows a bar of the steps of both trainings; gives a function to call after each."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        console=console,
        transient=True,
        # A faster display would take time from what is measured.
        refresh_per_second=2,
    )
    with bar:
        steps = 2 * settings.steps_per_epoch * settings.epochs
        task = bar.add_task(f"{KERAS} and {OURS} in turn", total=steps)
        yield lambda: bar.advance(task)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms" if seconds < 1e-2 else f"{seconds * 1e3:.1f} ms"


def _megabytes(count: int | None) -> str:
    if count is None:
        return "cannot be measured here"
    if count < memory.RESOLUTION_BYTES:
        return "under 0.5 MB"
    return f"{count / 1e6:.1f} MB"


def _error(relative: float) -> str:
    # The exact loss is rounded to float32 too.
    return "under 1e-7" if relative < 1e-7 else f"{relative:.0e}"


def _ratio(theirs: float, ours: float) -> str:
    return f"{theirs / ours:.2f}x" if theirs / ours < 9.995 else f"{theirs / ours:.1f}x"


def make_table(
    settings: Settings,
    trainings: dict[str, Training],
    scores: Sequence[tuple[str, str, str]] = (),
) -> Table:
    """The demo's table; `scores` are further rows: what it is, Keras's and ours."""
    theirs, ours = trainings[KERAS], trainings[OURS]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    for header in (KERAS, OURS, "ratio"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_row("loss after the last step", f"{theirs.losses[-1]:.6f}", f"{ours.losses[-1]:.6f}")
    for row in scores:
        table.add_row(*row)
    # Training amplifies rounding, so the first epoch tells more of the losses than the last.
    for label, steps in (("first epoch", settings.steps_per_epoch), ("all epochs", None)):
        absolute, relative = curve_difference(trainings, steps)
        table.add_row(f"curves differ by, {label}", "", f"{absolute:.0e}", f"{relative:.0e} rel.")
    table.add_row("rounding error of the loss", _error(theirs.error), _error(ours.error))
    table.add_row(
        "loss alone, forward + backward",
        _milliseconds(theirs.loss_timing.median),
        _milliseconds(ours.loss_timing.median),
        _ratio(theirs.loss_timing.median, ours.loss_timing.median),
    )
    table.add_row(
        "whole step",
        _milliseconds(theirs.step_median),
        _milliseconds(ours.step_median),
        _ratio(theirs.step_median, ours.step_median),
    )
    table.add_row(
        "the loss's share of the step", f"{theirs.loss_share:.1%}", f"{ours.loss_share:.1%}"
    )
    table.add_row(
        "peak memory of the loss alone",
        _megabytes(theirs.loss_peak_bytes),
        _megabytes(ours.loss_peak_bytes),
    )
    table.add_row(
        "peak memory of the process",
        _megabytes(theirs.process_peak_bytes),
        _megabytes(ours.process_peak_bytes),
    )
    return table


def share_sentence(trainings: dict[str, Training]) -> str:
    """Says what the loss is of a step, and so the most that a faster one can bring."""
    share = trainings[KERAS].loss_share
    limit = 1 / max(1 - share, 1e-9)
    return (
        f"The loss is {share:.0%} of the step with Keras and {trainings[OURS].loss_share:.0%} with "
        f"fastloss; the rest is the model and its optimizer. Even a loss that took no time could "
        f"make this step at most {limit:.2f}x as fast. The larger the output for each parameter "
        "of a model (segmentation, detection, large vocabularies), the larger that share."
    )


def print_report(
    console: Console,
    settings: Settings,
    trainings: dict[str, Training],
    scores: Sequence[tuple[str, str, str]] = (),
) -> None:
    """Prints the table and what to make of it."""
    console.print()
    console.print(make_table(settings, trainings, scores), highlight=False)
    console.print()
    console.print(share_sentence(trainings), highlight=False)
    if fl.backend() != "fused":
        console.print(
            "[yellow]The compiled library is not in use: what is called fastloss here is the "
            "reference in pure TensorFlow.[/]"
        )


def draw_curves(curves: Axes, below: Axes, trainings: dict[str, Training]) -> None:
    """Draws the loss curves, and their difference below."""
    steps = np.arange(1, len(trainings[KERAS].losses) + 1)
    # A wide line below a narrow one: both stay visible where they coincide.
    curves.plot(steps, trainings[KERAS].losses, color="#bdbdbd", linewidth=5, label=KERAS)
    curves.plot(steps, trainings[OURS].losses, color=COLOURS[OURS], linewidth=1.3, label=OURS)
    curves.set_ylabel("loss of the step")
    curves.set_title("Loss curves", loc="left", fontsize=11, fontweight="bold")
    curves.tick_params(axis="x", labelbottom=False)
    curves.legend(frameon=False)

    theirs, ours = (np.asarray(trainings[name].losses) for name in (KERAS, OURS))
    difference = np.abs(ours - theirs) / np.abs(theirs)
    below.plot(steps, difference, color="#2a6f97", linewidth=1)
    if difference.any():
        below.set_yscale("log")
    below.set_ylabel("relative\ndifference")
    below.set_xlabel("step")
    for axes in (curves, below):
        canvas.opened(axes)


def draw_times(bars: Axes, trainings: dict[str, Training]) -> None:
    """Draws the times of the loss and of a step."""
    rows = [
        ("loss alone,\nforward + backward", lambda found: found.loss_timing.median),
        ("whole step", lambda found: found.step_median),
    ]
    longest = max(value(found) for _, value in rows for found in trainings.values()) * 1e3
    for y, (_, value) in enumerate(rows):
        for offset, name in ((-0.18, KERAS), (0.18, OURS)):
            length = value(trainings[name]) * 1e3
            bars.barh(y + offset, length, height=0.32, color=COLOURS[name])
            bars.text(
                length + 0.015 * longest,
                y + offset,
                f"{name} {_milliseconds(length / 1e3)}",
                va="center",
                fontsize=9,
            )
    bars.set_yticks(range(len(rows)), [label for label, _ in rows])
    bars.set_ylim(len(rows) - 0.5, -0.5)
    bars.set_xlim(0, longest * 1.5)
    bars.set_xlabel("milliseconds, medians")
    bars.set_title("Time of a step", loc="left", fontsize=11, fontweight="bold")
    bars.tick_params(axis="y", length=0)
    canvas.opened(bars)


def write_picture(figure: Figure, subject: str, path: Path) -> None:
    """Writes a picture, with a line at its head."""
    figure.suptitle(
        f"{subject}; {cpu_model()}, TensorFlow {tf.__version__}, Keras {keras.__version__}, "
        f"fastloss {fl.__version__}",
        fontsize=9,
        color="#555555",
    )
    canvas.write(figure, path)
