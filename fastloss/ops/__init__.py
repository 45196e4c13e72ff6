"""The losses as TensorFlow ops: loading, choice of backend, gradients."""

from fastloss.ops.elementwise import LABEL_DTYPES, elementwise
from fastloss.ops.library import LoadError, backend, set_backend, use_backend

__all__ = ["LABEL_DTYPES", "LoadError", "backend", "elementwise", "set_backend", "use_backend"]
