"""Starts the `fastloss` command without importing the package first.

Importing anything of the package imports TensorFlow, whose log level has to be set before, and
`--help` is to answer at once.
"""

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path


def main() -> None:
    """Run the command line of `fastloss/cli.py`."""
    package = find_spec("fastloss")
    if package is None or package.origin is None:
        sys.exit("The package fastloss is not installed beside its command; reinstall fastloss.")
    spec = spec_from_file_location("fastloss_cli", Path(package.origin).parent / "cli.py")
    if spec is None or spec.loader is None:
        sys.exit("The package fastloss lacks its command line; reinstall fastloss.")
    cli = module_from_spec(spec)
    spec.loader.exec_module(cli)
    cli.main()
