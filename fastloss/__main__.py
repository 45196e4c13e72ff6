"""`python -m fastloss`: the command, or a script of yours with Keras patched."""

import sys

from fastloss.cli import main
from fastloss.patch import run_script

if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].endswith(".py"):
        run_script(sys.argv[1], sys.argv[2:])
    else:
        main()
