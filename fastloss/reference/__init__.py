"""The losses in pure TensorFlow: their definition, the fallback, and the oracle of every check."""

from fastloss.reference.boxes import LOSSES as BOX_LOSSES
from fastloss.reference.boxes import boxes
from fastloss.reference.columns import Task, columns
from fastloss.reference.elementwise import (
    LOSSES,
    Term,
    elementwise,
    elementwise_sum,
    parameter_count,
)
from fastloss.reference.overlap import LOSSES as OVERLAP_LOSSES
from fastloss.reference.overlap import OverlapOptions, overlap
from fastloss.reference.overlap_sum import overlap_sum
from fastloss.reference.rowwise import LOSSES as ROWWISE_LOSSES
from fastloss.reference.rowwise import Options, rowwise, rowwise_metrics

__all__ = [
    "BOX_LOSSES",
    "LOSSES",
    "OVERLAP_LOSSES",
    "ROWWISE_LOSSES",
    "Options",
    "OverlapOptions",
    "Task",
    "Term",
    "boxes",
    "columns",
    "elementwise",
    "elementwise_sum",
    "overlap",
    "overlap_sum",
    "parameter_count",
    "rowwise",
    "rowwise_metrics",
]
