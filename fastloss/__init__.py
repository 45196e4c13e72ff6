"""Drop-in Keras losses for TensorFlow, forward and backward in one walk over memory."""

from importlib.metadata import version

from fastloss import layers, losses, testing
from fastloss.fuse import FusedFunction, fuse
from fastloss.losses import *  # noqa: F403
from fastloss.ops import LoadError, backend, set_backend, use_backend
from fastloss.patch import Patch, patch_keras, unpatch_keras

__version__ = version("fastloss")

__all__ = [
    "FusedFunction",
    "LoadError",
    "Patch",
    "__version__",
    "backend",
    "fuse",
    "layers",
    "losses",
    "patch_keras",
    "set_backend",
    "testing",
    "unpatch_keras",
    "use_backend",
    *losses.__all__,
]
