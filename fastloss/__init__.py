"""Drop-in Keras losses for TensorFlow, forward and backward in one walk over memory."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import fastloss.started as _started  # noqa: F401
from fastloss import layers, losses, testing
from fastloss.fuse import FusedFunction, fuse
from fastloss.losses import *  # noqa: F403
from fastloss.ops import LoadError, backend, set_backend, use_backend
from fastloss.patch import Patch, patch_keras, unpatch_keras

if TYPE_CHECKING:
    from fastloss import callbacks as callbacks
    from fastloss import plot as plot
    from fastloss.diagnosis import check
    from fastloss.guide.recommend import recommend

__version__ = version("fastloss")

__all__ = [
    "FusedFunction",
    "LoadError",
    "Patch",
    "__version__",
    "backend",
    "callbacks",
    "check",
    "fuse",
    "layers",
    "losses",
    "patch_keras",
    "recommend",
    "set_backend",
    "testing",
    "unpatch_keras",
    "use_backend",
    *losses.__all__,
]

if not TYPE_CHECKING:
    # Who trains does not wait for what helps to choose and to look.
    _MODULES = ("callbacks", "plot")
    _FUNCTIONS = {"check": "fastloss.diagnosis", "recommend": "fastloss.guide"}

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f"fastloss.{name}")
        if name in _FUNCTIONS:
            return getattr(import_module(_FUNCTIONS[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
