"""The overlap losses: one value per image of `t` and `p`, `(images, positions, classes)`.

A group is an image, or for the loss that couples them all classes of an image. A position that is
no number makes its group so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from oracle.point import Array, Point, Wide, times

# A probability below the smallest normal number may be 0.
SMALLEST = Wide(np.finfo(np.float32).tiny / np.finfo(np.float32).eps)


class Sums(NamedTuple):
    """Of each group: sum(t p), sum(p) and sum(t)."""

    both: Array
    predicted: Array
    labelled: Array


class Score(NamedTuple):
    """A loss of sums, its slopes by the first two, and how far 1 ulp of the sums reaches."""

    value: Array
    by_both: Array
    by_predicted: Array
    terms: Array
    slope_terms: Array


def _one_minus(top: Array, bottom: Array, both: tuple[float, float], predicted: float) -> Score:
    """1 - top / bottom; `both` are the slopes of top and bottom by sum(t p)."""
    ratio = top / bottom
    return Score(
        1 - ratio,
        (ratio * both[1] - both[0]) / bottom,
        ratio * predicted / bottom,
        1 + abs(ratio),
        (abs(ratio * both[1]) + abs(both[0]) + abs(ratio * predicted)) / abs(bottom),
    )


def _chained(inner: Score, value: Array, slope: Array, bend: Array) -> Score:
    """A function of a score, with its first and second derivative."""
    return Score(
        value,
        times(slope, inner.by_both),
        times(slope, inner.by_predicted),
        abs(value) + abs(slope) * inner.terms,
        (abs(slope) + abs(bend)) * inner.slope_terms,
    )


def dice(sums: Sums, smooth_numerator: float, smooth_denominator: float) -> Score:
    bottom = sums.predicted + sums.labelled + smooth_denominator
    return _one_minus(2 * sums.both + smooth_numerator, bottom, (2, 0), 1)


def tversky(
    sums: Sums, alpha: float, beta: float, smooth_numerator: float, smooth_denominator: float
) -> Score:
    missed, wrong = sums.labelled - sums.both, sums.predicted - sums.both
    bottom = sums.both + alpha * missed + beta * wrong + smooth_denominator
    return _one_minus(sums.both + smooth_numerator, bottom, (1, 1 - alpha - beta), beta)


def jaccard(sums: Sums, smooth_numerator: float, smooth_denominator: float) -> Score:
    union = sums.predicted + sums.labelled - sums.both
    return _one_minus(sums.both + smooth_numerator, union + smooth_denominator, (1, -1), 1)


def focal_tversky(
    sums: Sums,
    alpha: float,
    beta: float,
    gamma: float,
    smooth_numerator: float,
    smooth_denominator: float,
) -> Score:
    inner = tversky(sums, alpha, beta, smooth_numerator, smooth_denominator)
    # Of a loss of 0 nothing is left to learn, though its slope may be infinite.
    done = inner.value <= 0
    loss = np.where(done, 1, inner.value)
    near = np.maximum(loss, np.finfo(np.float32).eps)
    slope = np.where(done, 0, gamma * loss ** (gamma - 1))
    bend = gamma * abs(gamma - 1) * near ** (gamma - 2)
    # Whether a loss as small as its rounding is 0 is chance.
    bend = bend + np.where(inner.value < 1e-6, slope, 0) / np.finfo(np.float32).eps
    return _chained(inner, np.where(done, 0.0**gamma, loss**gamma), slope, bend)


def log_cosh_dice(sums: Sums, smooth_numerator: float, smooth_denominator: float) -> Score:
    inner = dice(sums, smooth_numerator, smooth_denominator)
    value = np.log1p(2 * np.sinh(inner.value / 2) ** 2)
    return _chained(inner, value, np.tanh(inner.value), np.ones_like(value))


def generalized_dice(
    sums: Sums, power: float, smooth_numerator: float, smooth_denominator: float
) -> Score:
    absent = sums.labelled == 0
    weight = np.where(absent, 0, np.where(absent, 1, sums.labelled) ** -Wide(power))
    largest = weight.max(-1, keepdims=True)
    # An absent class would have an infinite weight.
    weight = np.where(absent, np.where(largest == 0, 1, largest), weight)
    top = 2 * (weight * sums.both).sum(-1, keepdims=True) + smooth_numerator
    bottom = (weight * (sums.predicted + sums.labelled)).sum(-1, keepdims=True)
    score = _one_minus(top, bottom + smooth_denominator, (2, 0), 1)
    return score._replace(
        by_both=weight * score.by_both,
        by_predicted=weight * score.by_predicted,
        slope_terms=weight * score.slope_terms,
    )


LOSSES: dict[str, Callable[..., Score]] = {
    loss.__name__: loss
    for loss in (dice, tversky, jaccard, focal_tversky, log_cosh_dice, generalized_dice)
}
COUPLED = ("generalized_dice",)


def right(
    loss: str, t: Array, x: Array, activation: str, squared: bool, **parameters: float
) -> Point:
    """A loss of probabilities, or of logits behind an activation."""
    p, blur = x, np.ones_like(x)
    if activation == "sigmoid":
        small = np.exp(-abs(x))
        p = np.where(x < 0, small, 1) / (1 + small)
    elif activation == "softmax":
        shifted = x - x.max(-1, keepdims=True)
        p = np.exp(shifted) / np.exp(shifted).sum(-1, keepdims=True)
        blur = 1 + abs(np.where(np.isinf(shifted), 0, shifted))
    axes = (1,) if loss in COUPLED else (1, 2)
    power = 2 if squared else 1
    sums = Sums(*(v.sum(axes) for v in (times(t, p), p**power, t**power)))
    score = LOSSES[loss](sums, **parameters)
    by_both, by_predicted, terms = (
        v.reshape(len(t), 1, -1) for v in (score.by_both, score.by_predicted, score.slope_terms)
    )
    inner = 2 * p if squared else np.ones_like(p)
    slope = times(t, by_both) + inner * by_predicted
    terms = terms * (abs(t) + abs(inner)) * blur
    if activation == "sigmoid":
        slope, terms = slope * p * (1 - p), terms * (p + SMALLEST)
    elif activation == "softmax":
        slope = p * (slope - (p * slope).sum(-1, keepdims=True))
        terms = p * (terms + (p * terms).sum(-1, keepdims=True))
    # A sum that is no number makes every position of its group so.
    nan = np.isnan(score.value).reshape(len(t), 1, 1)
    reach = blur.max((1, 2), initial=1)
    return Point(
        score.value.reshape(len(t)),
        np.where(nan, np.nan, slope),
        None,
        score.terms.reshape(len(t)) * reach,
        terms + 0 * slope,
    )
