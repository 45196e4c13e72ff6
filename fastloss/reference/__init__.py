"""The losses in pure TensorFlow: their definition, the fallback, and the oracle of every check."""

from fastloss.reference.elementwise import (
    LOSSES,
    Term,
    elementwise,
    elementwise_sum,
    parameter_count,
)
from fastloss.reference.rowwise import LOSSES as ROWWISE_LOSSES
from fastloss.reference.rowwise import Options, rowwise, rowwise_metrics

__all__ = [
    "LOSSES",
    "ROWWISE_LOSSES",
    "Options",
    "Term",
    "elementwise",
    "elementwise_sum",
    "parameter_count",
    "rowwise",
    "rowwise_metrics",
]
