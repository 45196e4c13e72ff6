"""Findings about how losses of rows become one number, and how weights act on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastloss.sums.weighted_sum import WeightedSum
from fastloss.tools.diagnose.batch import Batch, is_finite
from fastloss.tools.diagnose.evaluation import Evaluation
from fastloss.tools.diagnose.finding import Finding, Severity

_DOMINATES = 1e3


def find(loss: Any, batch: Batch, result: Evaluation) -> Iterator[Finding]:
    """What surprises in a reduction."""
    if result.value is None:
        return
    yield from _no_scalar(loss, result)
    yield from _sum(loss, result)
    if batch.weight is not None and is_finite(batch.weight).all():
        yield from _weights(loss, batch.weight, result)


def dominating(norms: dict[str, float]) -> Iterator[Finding]:
    """A term whose gradient leaves the others without a say, by the norms of all of them."""
    known = {name: norm for name, norm in norms.items() if norm > 0}
    if len(known) < 2:
        return
    most, least = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    ratio = known[most] / known[least]
    if ratio > _DOMINATES:
        yield Finding(
            "dominating_term",
            Severity.WARNING,
            f"The gradient of {most} is {ratio:.3g} times as large as that of {least}, factors "
            "included.",
            f"The terms are of different scale, or reduced in different ways: {least} hardly "
            "changes what is learned.",
            "Change the factors of the sum, give the terms the same reduction, or normalise the "
            "labels.",
        )


def _no_scalar(loss: Any, result: Evaluation) -> Iterator[Finding]:
    assert result.value is not None
    if result.value.ndim:
        yield Finding(
            "no_reduction",
            Severity.WARNING,
            f"The reduction is {loss.reduction!r}: the loss has shape {result.value.shape}.",
            "Training takes the gradient of the sum: the steps grow with the size of the batch.",
            "Set reduction='sum_over_batch_size', unless a training loop of your own reduces it.",
        )


def _sum(loss: Any, result: Evaluation) -> Iterator[Finding]:
    reductions = {}
    if isinstance(loss, WeightedSum):
        reductions = dict(zip(loss.term_names, (x.reduction for x in loss.losses), strict=True))
    if len(set(reductions.values())) > 1:
        each = ", ".join(f"{name} {reduction!r}" for name, reduction in reductions.items())
        yield Finding(
            "mixed_reductions",
            Severity.WARNING,
            f"The terms have different reductions: {each}.",
            "A sum grows with the batch and a mean does not: the size of the batch shifts the "
            "balance of the terms.",
            "Give all terms the same reduction.",
        )
    elif loss.reduction == "sum" and result.rows is not None and result.rows.size > 1:
        yield Finding(
            "sum_reduction",
            Severity.NOTE,
            f"The reduction is 'sum': this batch counts {result.rows.size} times as much as with a "
            "mean.",
            "Value and gradient grow with the size of the batch and with the number of positions.",
            "Adapt the learning rate to the batch, or use 'sum_over_batch_size'.",
        )


def _weights(loss: Any, weight: np.ndarray, result: Evaluation) -> Iterator[Finding]:
    rows = result.rows
    if rows is not None and not rows.ndim and weight.size > 1 and np.ptp(weight):
        yield Finding(
            "weights_without_rows",
            Severity.WARNING,
            f"There are {weight.size} sample weights, but {loss.name} gives one number for the "
            "whole batch.",
            "The weights multiply that number: they cannot make one sample count more than "
            "another.",
            "Return one loss per sample, or use weights inside of the loss.",
        )
    if rows is not None and rows.ndim == 2 and rows.shape == weight.shape * 2 and weight.size > 1:
        yield Finding(
            "weights_along_last_axis",
            Severity.WARNING,
            f"The losses have shape {rows.shape} and sample_weight {weight.shape}: the weights run "
            "along the last axis, not along the samples.",
            "Weights are aligned from the right, and as both axes are of one size, nothing fails.",
            "Give the weights an axis more: sample_weight[:, np.newaxis].",
        )
    mean = float(weight.astype(np.float64).mean()) if weight.size else 0.0
    is_mean = loss.reduction in ("sum_over_batch_size", "mean")
    if is_mean and mean and not 0.5 <= abs(mean) <= 2:
        yield Finding(
            "weights_scale_the_loss",
            Severity.NOTE,
            f"The mean of sample_weight is {mean:.4g}: the loss is that many times what it would "
            "be with weights of mean 1.",
            f"{loss.reduction!r} divides by the number of samples, not by the sum of the weights.",
            "Set reduction='mean_with_sample_weight', or divide the weights by their mean; else "
            "adapt the learning rate.",
        )
