"""Findings about what comes in: numbers that are none, and weights that leave nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastloss.tools.diagnose.batch import counted, is_finite, span
from fastloss.tools.diagnose.case import Case
from fastloss.tools.diagnose.finding import Finding, Severity

_HALF = {"float16": 65504.0, "bfloat16": 3.39e38}


def find(case: Case) -> Iterator[Finding]:
    """NaN and infinities in y_true, sample_weight and y_pred; weights and masks of zeros."""
    yield from _labels(case)
    yield from _weights(case)
    yield from _predictions(case)
    yield from _nothing_counts(case)


def _labels(case: Case) -> Iterator[Finding]:
    true = case.batch.true
    bad = ~is_finite(true)
    if bad.any():
        yield Finding(
            "nan_in_labels",
            Severity.ERROR,
            f"{counted(bad, 'values of y_true')}, are NaN or infinite; y_true is {span(true)}.",
            "The labels come so from the data: a missing value, or a division by zero in "
            "preparing them.",
            "Leave these samples out, or fill them in and give them a sample_weight of 0: NaN "
            "times a weight of 0 is NaN still.",
        )


def _weights(case: Case) -> Iterator[Finding]:
    weight = case.batch.weight
    if weight is None:
        return
    bad = ~is_finite(weight)
    if bad.any():
        yield Finding(
            "nan_in_weights",
            Severity.ERROR,
            f"{counted(bad, 'values of sample_weight')}, are NaN or infinite.",
            "The weights come so, as from a division by a class count of zero.",
            "Make them finite; 0 leaves a sample out.",
        )
    negative = weight < 0
    if negative.any():
        yield Finding(
            "negative_weights",
            Severity.WARNING,
            f"{counted(negative, 'values of sample_weight')}, are negative.",
            "The loss of these samples is maximised, without a bound.",
            "Make weights 0 or positive.",
        )


def _predictions(case: Case) -> Iterator[Finding]:
    batch = case.batch
    bad = ~is_finite(batch.pred)
    if not bad.any():
        return
    infinite = np.isinf(batch.pred)
    largest = _HALF.get(batch.pred_dtype)
    seen = f"{counted(bad, 'values of y_pred')}, are NaN or infinite; y_pred is {span(batch.pred)}."
    if largest is not None and batch.pred_dtype == "float16" and infinite.any():
        yield Finding(
            "half_precision_overflow",
            Severity.ERROR,
            f"{seen} Its dtype is float16.",
            "The network's last layers exceed 65504, the largest number of float16.",
            "End the model with layers of dtype='float32', or use the policy 'mixed_bfloat16', "
            "whose range is that of float32; scale down or normalise what comes before.",
        )
        return
    yield Finding(
        "nan_in_predictions",
        Severity.ERROR,
        seen,
        "The network makes them, not the loss: NaN among its inputs, weights that have grown "
        "without a bound, or an operation inside that is not defined everywhere.",
        "Look for NaN in the model's inputs first (np.isfinite(x).all()), then at the weights; a "
        "smaller learning rate or clipnorm in the optimizer keeps weights in bounds.",
    )


def _nothing_counts(case: Case) -> Iterator[Finding]:
    batch, weight = case.batch, case.batch.weight
    if weight is not None and weight.size and is_finite(weight).all() and not weight.sum():
        all_zero = not weight.any()
        yield Finding(
            "weights_sum_to_zero",
            Severity.ERROR,
            f"All {weight.size} values of sample_weight are 0."
            if all_zero
            else f"The {weight.size} values of sample_weight sum to 0.",
            "No sample of this batch counts: nothing can be learned from it, and a mean over the "
            "weights is 0 / 0."
            if all_zero
            else "Positive and negative weights cancel; a mean over the weights divides by 0.",
            "Leave such batches out, or mix the samples so that each batch has some that count.",
        )
    if batch.mask is not None and not np.any(np.asarray(batch.mask)):
        yield Finding(
            "all_masked",
            Severity.ERROR,
            f"The mask of y_pred is False at all {np.asarray(batch.mask).size} positions.",
            "Every position is taken for padding: nothing can be learned from this batch.",
            "Look at what makes the mask, such as Embedding(mask_zero=True) on ids that are all 0.",
        )
    if case.ignored is not None and batch.true.size and np.all(batch.true == case.ignored):
        yield Finding(
            "all_ignored",
            Severity.ERROR,
            f"All {batch.true.size} labels are {case.ignored}, the class that is ignored.",
            "No label of this batch counts: nothing can be learned from it, and a mean over the "
            "labels that count is 0 / 0.",
            "Leave such batches out; or change ignore_class, if this one is a class.",
        )
