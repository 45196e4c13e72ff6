"""The losses in pure TensorFlow: their definition, the fallback, and the oracle of every check."""

from fastloss.reference.elementwise import LOSSES, elementwise
from fastloss.reference.overlap import LOSSES as OVERLAP_LOSSES
from fastloss.reference.overlap import OverlapOptions, overlap
from fastloss.reference.rowwise import LOSSES as ROWWISE_LOSSES
from fastloss.reference.rowwise import Options, rowwise, rowwise_metrics

__all__ = [
    "LOSSES",
    "OVERLAP_LOSSES",
    "ROWWISE_LOSSES",
    "Options",
    "OverlapOptions",
    "elementwise",
    "overlap",
    "rowwise",
    "rowwise_metrics",
]
