"""The `fastloss` command.

TensorFlow is imported only by the commands that need it, after its log level is set, so that
`--help` answers at once.
"""

from __future__ import annotations

import os
import sys

from fastloss.tools.install import MissingPackageError, require


class CommandError(Exception):
    """A sentence for the user: what is wrong, and what to do about it."""


def main() -> None:
    """Run the command line; what the user can cure ends with a sentence, not with a traceback."""
    # At level 3 a machine without a GPU is not told so on every start; errors still raise.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        require("The fastloss command", "typer", "rich")
        from fastloss.tools.cli.application import application

        application()
    except (CommandError, MissingPackageError) as error:
        sys.exit(f"\n{error}")
    except OSError as error:
        if not error.filename:
            raise
        sys.exit(
            f"\nCould not write {error.filename}: {error.strerror}. "
            "Name another place with --output."
        )
