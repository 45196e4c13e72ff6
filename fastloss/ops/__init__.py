"""The losses as TensorFlow ops: loading, choice of backend, gradients."""

from fastloss.ops import gradients
from fastloss.ops.boxes import boxes
from fastloss.ops.columns import columns
from fastloss.ops.elementwise import LABEL_DTYPES, elementwise, elementwise_sum
from fastloss.ops.library import LoadError, backend, runs_reference, set_backend, use_backend
from fastloss.ops.linear import Head, linear_rows, linear_sum
from fastloss.ops.overlap import overlap, overlap_sum
from fastloss.ops.rowwise import rowwise, rowwise_metrics

__all__ = [
    "LABEL_DTYPES",
    "Head",
    "LoadError",
    "backend",
    "boxes",
    "columns",
    "elementwise",
    "elementwise_sum",
    "linear_rows",
    "linear_sum",
    "overlap",
    "overlap_sum",
    "rowwise",
    "rowwise_metrics",
    "runs_reference",
    "set_backend",
    "use_backend",
]

gradients.register()
