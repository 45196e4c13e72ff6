"""The losses in pure TensorFlow: their definition, the fallback, and the oracle of every check."""

from fastloss.reference.boxes import LOSSES as BOX_LOSSES
from fastloss.reference.boxes import boxes
from fastloss.reference.columns import columns
from fastloss.reference.elementwise import LOSSES, elementwise, elementwise_sum
from fastloss.reference.overlap import LOSSES as OVERLAP_LOSSES
from fastloss.reference.overlap import overlap, overlap_sum
from fastloss.reference.rowwise import LOSSES as ROWWISE_LOSSES
from fastloss.reference.rowwise import rowwise, rowwise_metrics

__all__ = [
    "BOX_LOSSES",
    "LOSSES",
    "OVERLAP_LOSSES",
    "ROWWISE_LOSSES",
    "boxes",
    "columns",
    "elementwise",
    "elementwise_sum",
    "overlap",
    "overlap_sum",
    "rowwise",
    "rowwise_metrics",
]
