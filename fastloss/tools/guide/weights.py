"""Parameters of losses from how often the classes occur."""

from __future__ import annotations

import numpy as np

from fastloss.tools.guide.arrays import Array


def effective_numbers(counts: Array) -> Array:
    """How many samples of each class count, overlap left out.

    Formula: `(1 - beta^n) / (1 - beta)` for n samples, `beta = (N - 1) / N` with N samples in all.

    Reference: Cui et al., Class-balanced loss based on effective number of samples, 2019
    (arXiv:1901.05555).
    """
    total = float(np.sum(counts))
    if total <= 1:
        return np.asarray(counts, float)
    # Of 1 - beta^n with beta near 1 nothing is left in floating point.
    return -np.expm1(np.asarray(counts, float) * np.log1p(-1 / total)) * total


def class_weights(counts: Array) -> Array:
    """Weights of the classes, inverse to their effective numbers.

    They sum to the number of the classes that occur, as in the paper; a class that does not occur
    weighs 1.
    """
    weights = np.ones(len(counts))
    present = np.asarray(counts) > 0
    inverse = 1 / effective_numbers(counts)[present]
    weights[present] = inverse * (present.sum() / inverse.sum())
    return weights


def focal_alpha(negative: float, positive: float) -> float:
    """The weight of class 1, where class 0 has the rest to 1."""
    rare, common = class_weights(np.array([positive, negative]))
    return float(rare / (rare + common))


def positive_weight(negative: float, positive: float) -> float:
    """The weight of class 1, where class 0 has 1."""
    rare, common = class_weights(np.array([positive, negative]))
    return float(rare / common)


def tversky_weights(foreground: float) -> tuple[float, float]:
    """Alpha, of the misses, and beta, of the false alarms, from the share of the foreground.

    Formula: `alpha = 0.7 - 0.4 foreground`, `beta = 1 - alpha`: Dice for a foreground of a half,
    and the paper's 0.7 and 0.3 for lesions that hardly fill any of it.

    Reference: Salehi et al., Tversky loss function for image segmentation using 3D fully
    convolutional deep networks, 2017 (arXiv:1706.05721).
    """
    alpha = 0.7 - 0.4 * foreground
    return alpha, 1 - alpha
