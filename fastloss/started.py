"""Runs `python -m fastloss doctor` before TensorFlow is imported, which the doctor looks at.

Python imports a package before it runs it as a command. This module is the first that the package
imports, so that the doctor answers where TensorFlow cannot be imported.
"""

import sys


def asks_for_the_doctor() -> bool:
    """Whether this process was started as `python -m fastloss doctor`.

    While Python looks for what `-m` names, that is all that `sys.argv[0]` says.
    """
    if sys.argv[:2] != ["-m", "doctor"]:
        return False
    return sys.orig_argv[-len(sys.argv)] in ("fastloss", "-mfastloss")


if asks_for_the_doctor():
    from fastloss.cli import main

    sys.argv[0] = "fastloss"
    main()
    sys.exit()
