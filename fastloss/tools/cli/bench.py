"""`fastloss bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastloss.tools.cli import CommandError
from fastloss.tools.cli.start import ThreadsOption, make_console, start_tensorflow
from fastloss.tools.install import require, require_tensorflow
from fastloss.tools.machine import available_cpus


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="A few losses, smaller shapes: under a minute.")
    ] = False,
    loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only this loss, as in binary_crossentropy, or family: regression, "
            "distribution, classification, rowwise, overlap, sums, boxes; may be repeated.",
            show_default="all",
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHAPE",
            help="Shape of y_pred, as in 16384x1024; may be repeated.",
            show_default="those of the family",
        ),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="float16, bfloat16, float32 or float64; may be repeated.",
            show_default="float32, and bfloat16 for one large shape",
        ),
    ] = None,
    forward_only: Annotated[
        bool, typer.Option("--forward-only", help="Leave the gradient out.")
    ] = False,
    threads: ThreadsOption = None,
    output: Annotated[
        Path,
        typer.Option(metavar="PATH", help="Where to write; .csv and .png are added to it."),
    ] = Path("fastloss-bench"),
) -> None:
    """Times every loss against Keras in each execution mode and against a plain copy.

    The contenders take turns in one process, and medians are shown. Prints one table and
    writes a CSV of record and a picture. Without --quick or a choice of losses it takes
    several minutes.
    """
    require("fastloss bench", "matplotlib")
    require_tensorflow()
    console = make_console()
    with console.status("Starting TensorFlow"):
        from fastloss.tools.bench.cases import QUICK_LOSSES
        from fastloss.tools.bench.selection import select_losses, select_pairs
    try:
        specs = QUICK_LOSSES if quick and not loss else select_losses(loss or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--loss") from error
    try:
        pairs = select_pairs(specs, shape or [], dtype or [], quick=quick)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shape / --dtype") from error
    threads = threads or available_cpus()
    start_tensorflow(threads)
    from fastloss.tools.bench.engine import Plan
    from fastloss.tools.bench.environment import describe
    from fastloss.tools.bench.show import NothingMeasuredError, measure_and_show

    plan = Plan(pairs=pairs, forward_only=forward_only, threads=threads)
    try:
        measure_and_show(console, plan.quick() if quick else plan, describe(threads), output)
    except NothingMeasuredError as error:
        raise CommandError(str(error)) from error
