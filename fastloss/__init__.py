"""Drop-in Keras losses for TensorFlow, forward and backward in one pass over memory.

Importing the package imports neither TensorFlow nor Keras; its names are loaded when they are first
used, and all losses as soon as Keras is imported, so that Keras knows them in saved models.
"""

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastloss.on_import import when_imported
from fastloss.registry import PUBLIC_NAMES

if TYPE_CHECKING:
    from fastloss import callbacks as callbacks
    from fastloss import layers as layers
    from fastloss import losses as losses
    from fastloss import plot as plot
    from fastloss import testing as testing
    from fastloss.custom.fuse import FusedFunction as FusedFunction
    from fastloss.custom.fuse import fuse as fuse
    from fastloss.losses import *  # noqa: F403
    from fastloss.ops import LoadError as LoadError
    from fastloss.ops import backend as backend
    from fastloss.ops import set_backend as set_backend
    from fastloss.ops import use_backend as use_backend
    from fastloss.tools.diagnose import check as check
    from fastloss.tools.guide.recommend import recommend as recommend
    from fastloss.tools.patch import Patch as Patch
    from fastloss.tools.patch import patch_keras as patch_keras
    from fastloss.tools.patch import unpatch_keras as unpatch_keras

    __version__: str

_MODULES = ("callbacks", "layers", "losses", "testing")
# Where each name that is no loss is defined.
_ORIGINS = {
    "FusedFunction": "fastloss.custom.fuse",
    "LoadError": "fastloss.ops",
    "Patch": "fastloss.tools.patch",
    "backend": "fastloss.ops",
    "check": "fastloss.tools.diagnose",
    "fuse": "fastloss.custom.fuse",
    "patch_keras": "fastloss.tools.patch",
    "recommend": "fastloss.tools.guide.recommend",
    "set_backend": "fastloss.ops",
    "unpatch_keras": "fastloss.tools.patch",
    "use_backend": "fastloss.ops",
}

if not TYPE_CHECKING:
    # Without `plot`, which needs matplotlib.
    __all__ = sorted({*_MODULES, *_ORIGINS, *PUBLIC_NAMES, "__version__"})

    def __getattr__(name: str) -> Any:
        if name in _MODULES or name == "plot":
            return import_module(f"fastloss.{name}")
        if name in _ORIGINS:
            value = getattr(import_module(_ORIGINS[name]), name)
        elif name in PUBLIC_NAMES:
            value = getattr(import_module("fastloss.losses"), name)
        elif name == "__version__":
            value = import_module("importlib.metadata").version("fastloss")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, "plot"})


def _register() -> None:
    # Keras works without TensorFlow, on another backend; these losses do not.
    with suppress(ImportError):
        for module in ("fastloss.losses", "fastloss.layers", "fastloss.custom.fuse"):
            import_module(module)


when_imported("keras", _register)
