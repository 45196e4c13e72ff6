"""Drop-in Keras losses for TensorFlow, forward and backward in one walk over memory."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastloss import layers, losses, testing
from fastloss.fuse import FusedFunction, fuse
from fastloss.losses import *  # noqa: F403
from fastloss.ops import LoadError, backend, set_backend, use_backend
from fastloss.patch import Patch, patch_keras, unpatch_keras

if TYPE_CHECKING:
    import fastloss.callbacks as callbacks
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

    def __getattr__(name: str) -> Any:
        # Who trains does not wait for what helps to choose and to look.
        if name == "recommend":
            from fastloss.guide import recommend

            return recommend
        if name == "check":
            from fastloss.diagnosis import check

            return check
        if name == "callbacks":
            return import_module("fastloss.callbacks")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
