"""Drop-in Keras losses for TensorFlow, forward and backward in one walk over memory."""

from importlib.metadata import version

from fastloss import layers, losses, testing
from fastloss.losses import *  # noqa: F403
from fastloss.ops import LoadError, backend, set_backend, use_backend

__version__ = version("fastloss")

__all__ = [
    "LoadError",
    "__version__",
    "backend",
    "layers",
    "losses",
    "set_backend",
    "testing",
    "use_backend",
    *losses.__all__,
]
