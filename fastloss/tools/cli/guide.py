"""`fastloss guide`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastloss.tools.cli import CommandError
from fastloss.tools.cli.start import make_console
from fastloss.tools.guide.show import print_tables
from fastloss.tools.install import require_tensorflow


def guide(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            readable=True,
            help="Labels to look at: .npy, .npz or .csv.",
            show_default="none: print the tables",
        ),
    ] = None,
    true: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The array of an .npz, or column of a .csv, that holds the labels.",
            show_default="y_true, y, labels or the only one; the last column",
        ),
    ] = None,
    pred: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The array or column that holds predictions.",
            show_default="y_pred, if there is one",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A column of a .csv, by name or number from 0, that holds labels; may be "
            "repeated.",
            show_default="the last",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What the labels are for, as in regression or segmentation.",
            show_default="what they look like",
        ),
    ] = None,
) -> None:
    """Names the losses for a task, or for the labels in a file.

    Without a file it prints two tables: which loss suits which task, and which suits which
    trait of the data. With a file it looks at the labels and prints losses with their
    parameters set, and the reasons.
    """
    if data is not None:
        _recommend(data, true, pred, column or [], task)
    elif true or pred or column or task:
        raise CommandError(
            "--true, --pred, --column and --task say how to look at a file, but none is named. "
            "Name one, as in fastloss guide data.npz."
        )
    else:
        print_tables(make_console())


def _recommend(
    data: Path, true: str | None, pred: str | None, columns: list[str], task: str | None
) -> None:
    require_tensorflow()
    console = make_console()
    with console.status("Starting TensorFlow"):
        from fastloss.tools.guide.files import read
        from fastloss.tools.guide.recommend import recommend
    try:
        contents = read(data, true, pred, columns)
        recommendations = recommend(contents.y_true, contents.y_pred, task)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if contents.names:
        numbers = ", ".join(f"{i} = {name}" for i, name in enumerate(contents.names[:20]))
        more = ", ..." if len(contents.names) > 20 else ""
        console.print(f"Class numbers: {numbers}{more}.", highlight=False)
    console.print(recommendations, highlight=False)
