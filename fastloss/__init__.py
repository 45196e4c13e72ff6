"""Drop-in Keras losses for TensorFlow, forward and backward in one pass over memory.

Importing the package imports neither TensorFlow nor Keras; its names are loaded when they are first
used, and all losses as soon as Keras is imported, so that Keras knows them in saved models.
"""

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

_MODULES = ("callbacks", "layers", "losses", "plot", "testing")
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


def _register() -> None:
    import_module("fastloss.losses")
    import_module("fastloss.layers")
    import_module("fastloss.custom.fuse")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"fastloss.{name}")
    if name in _ORIGINS:
        value = getattr(import_module(_ORIGINS[name]), name)
    elif name == "__version__":
        value = import_module("importlib.metadata").version("fastloss")
    elif name == "__all__":
        value = [*_MODULES, *_ORIGINS, "__version__", *PUBLIC_NAMES]
    elif name in PUBLIC_NAMES:
        value = getattr(import_module("fastloss.losses"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})


when_imported("keras", _register)
