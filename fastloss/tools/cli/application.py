"""The commands under one name."""

from __future__ import annotations

import typer

from fastloss.tools.cli.bench import bench
from fastloss.tools.cli.demo import demo
from fastloss.tools.cli.doctor import doctor
from fastloss.tools.cli.guide import guide

application = typer.Typer(
    name="fastloss",
    help="Drop-in Keras losses for TensorFlow, forward and backward in one pass over memory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (demo, bench, guide, doctor):
    application.command()(_command)
