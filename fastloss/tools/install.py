"""Which packages are missing, and the commands that install them.

No command names fastloss itself on a package index, as it is published on none.
"""

from __future__ import annotations

from importlib.util import find_spec

TENSORFLOW = "pip install 'tensorflow-cpu>=2.16,<2.22'"
TENSORFLOW_CUDA = "pip install 'tensorflow[and-cuda]>=2.16,<2.22'"
REBUILD = "pip install --force-reinstall --no-deps . in a checkout of fastloss"


class MissingPackageError(ImportError):
    """A package is not installed; the message says how to install it."""


def require(subject: str, *packages: str) -> None:
    """Check that packages are installed, without importing them.

    Args:
        subject: What needs them, as the beginning of a sentence.
        packages: Their names.

    Raises:
        MissingPackageError: If some are not installed.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingPackageError(
            f"{subject} needs {' and '.join(missing)}, which {verb} not installed. "
            f"Install what is missing with: pip install {' '.join(missing)}"
        )


def require_tensorflow() -> None:
    """Check that TensorFlow is installed, without importing it.

    Raises:
        MissingPackageError: If it is not installed.
    """
    if find_spec("tensorflow") is None:
        raise MissingPackageError(
            "TensorFlow is not installed. Install it with one of:\n\n"
            f"    {TENSORFLOW}\n    {TENSORFLOW_CUDA}\n"
        )
