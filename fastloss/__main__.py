"""`python -m fastloss`: the command, or a script of yours with Keras patched."""

import sys

if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].endswith(".py"):
        from fastloss.tools.patch import run_script

        run_script(sys.argv[1], sys.argv[2:])
    else:
        from fastloss.tools.cli import main

        main()
