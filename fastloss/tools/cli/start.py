"""What the commands share: a console, and TensorFlow started with its threads."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from fastloss.tools.cli import CommandError

ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        help="Threads for TensorFlow and the roof.",
        show_default="all CPUs",
    ),
]


def make_console() -> Console:
    """Where the commands print."""
    console = Console()
    # A pipe has no width; the tables are made for 100 columns.
    return console if console.is_terminal else Console(width=100)


def start_tensorflow(threads: int) -> None:
    """Give TensorFlow its threads, which must precede its first op.

    Raises:
        CommandError: If Keras runs on another backend.
    """
    import keras
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if keras.backend.backend() != "tensorflow":
        raise CommandError(
            f"Keras runs on {keras.backend.backend()} here, but fastloss serves TensorFlow. "
            "Set KERAS_BACKEND=tensorflow and try again."
        )
