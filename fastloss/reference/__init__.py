"""The losses in pure TensorFlow: their definition, the fallback, and the oracle of every check."""

from fastloss.reference.boxes import LOSSES as BOX_LOSSES
from fastloss.reference.boxes import boxes
from fastloss.reference.elementwise import LOSSES, elementwise
from fastloss.reference.rowwise import LOSSES as ROWWISE_LOSSES
from fastloss.reference.rowwise import Options, rowwise, rowwise_metrics

__all__ = [
    "BOX_LOSSES",
    "LOSSES",
    "ROWWISE_LOSSES",
    "Options",
    "boxes",
    "elementwise",
    "rowwise",
    "rowwise_metrics",
]
