"""`fastloss doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fastloss.tools.cli.start import make_console
from fastloss.tools.doctor import examine
from fastloss.tools.doctor.show import print_report


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, for scripts, and nothing else.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            min=1, metavar="SECONDS", help="How long importing and testing may take in all."
        ),
    ] = 180.0,
) -> None:
    """Says what is installed, which code serves and why, and what to do about it.

    Looks at TensorFlow, Keras, the library, threads, instruction sets, CUDA and XLA, and tests
    every loss on every device. Ends with 0 if there is no error, else with 1; warnings and
    notes are no errors.
    """
    if as_json:
        report = examine(timeout)
        print(json.dumps(report.as_dict(), indent=2))
    else:
        console = make_console()
        with console.status("Looking at everything"):
            report = examine(timeout)
        print_report(console, report)
    raise typer.Exit(report.exit_code)
