"""The losses as TensorFlow ops: loading, choice of backend, gradients."""

from fastloss.ops import gradients
from fastloss.ops.elementwise import LABEL_DTYPES, elementwise
from fastloss.ops.library import LoadError, backend, set_backend, use_backend
from fastloss.ops.rowwise import Options, rowwise, rowwise_metrics

__all__ = [
    "LABEL_DTYPES",
    "LoadError",
    "Options",
    "backend",
    "elementwise",
    "rowwise",
    "rowwise_metrics",
    "set_backend",
    "use_backend",
]

gradients.register()
