"""Findings about predictions: logits for probabilities, and what cannot be learned from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastloss.registry import Labels
from fastloss.tools.diagnose.batch import counted, span
from fastloss.tools.diagnose.case import Case
from fastloss.tools.diagnose.finding import Finding, Severity

_ENOUGH = 8  # values in [0, 1] that are no logits by chance
_FAR = 1e3


def find(case: Case) -> Iterator[Finding]:
    """Predictions that are not what the loss takes them for."""
    if not case.scores.size:
        return
    yield from _one_class(case)
    if case.from_logits is True:
        yield from _as_logits(case)
    elif case.from_logits is False:
        yield from _as_probabilities(case)
    if case.labels in (Labels.NUMBER, Labels.LOGITS):
        yield from _far_off(case)


def _one_class(case: Case) -> Iterator[Finding]:
    if case.classes == 1:
        yield Finding(
            "one_class",
            Severity.ERROR,
            f"y_pred has shape {case.batch.pred.shape}: one class along the axis of the classes.",
            "A softmax over one class is always 1: the loss does not depend on the prediction and "
            "nothing is learned.",
            "For a yes-or-no label use BinaryCrossentropy; else give the model an output for each "
            "class.",
        )


def _as_logits(case: Case) -> Iterator[Finding]:
    scores = case.scores
    if scores.min() < 0 or scores.max() > 1:
        return
    of_classes = case.classes is not None and case.classes > 1
    if of_classes and not np.allclose(case.sums_of_classes(case.batch.pred), 1, atol=2e-2):
        return
    if not of_classes and scores.size < _ENOUGH:
        return
    activation = "softmax" if of_classes else "sigmoid"
    also = " and each row sums to 1" if of_classes else ""
    yield Finding(
        "probabilities_as_logits",
        Severity.ERROR if of_classes else Severity.WARNING,
        f"from_logits is True, but all {scores.size} predictions lie in [0, 1] "
        f"({span(case.batch.pred)}){also}.",
        f"The model ends with a {activation}, and the loss applies another: it can never come near "
        "0, and its gradients are small.",
        f"Set from_logits=False, or, better, take the {activation} off the model.",
    )


def _as_probabilities(case: Case) -> Iterator[Finding]:
    scores, pred = case.scores, case.batch.pred
    outside = np.isfinite(pred) & ((pred < 0) | (pred > 1 + 1e-3))
    if outside.any():
        yield Finding(
            "logits_as_probabilities",
            Severity.ERROR,
            f"from_logits is False, but {counted(outside, 'predictions')}, lie outside of [0, 1]: "
            f"they are {span(pred)}.",
            "The model ends without an activation: the loss clips what it takes for probabilities, "
            "where the gradient is 0, or takes the logarithm of a negative number.",
            "Set from_logits=True.",
        )
        return
    if case.classes is not None and case.classes > 1:
        sums = case.sums_of_classes(case.batch.pred)
        off = ~(np.abs(sums - 1) <= 2e-2)
        if off.any() and np.isfinite(sums).all():
            yield Finding(
                "probabilities_do_not_sum_to_one",
                Severity.WARNING,
                f"{counted(off, 'rows of y_pred')}, do not sum to 1: the sums are {span(sums)}.",
                "The model ends with a sigmoid for each class, where the loss is for classes that "
                "exclude each other; Keras divides the rows by their sums.",
                "End the model with a softmax, or without an activation and from_logits=True; for "
                "labels that do not exclude each other use BinaryCrossentropy.",
            )
    exact = (scores == 0) | (scores == 1)
    if exact.any() and case.labels is not Labels.ONE_HOT:
        yield Finding(
            "saturated_probabilities",
            Severity.WARNING,
            f"{np.count_nonzero(exact)} of {scores.size} probabilities are exactly 0 or 1.",
            "The activation has run into its limits. There the loss is clipped, and where such a "
            "prediction is wrong its gradient is 0: it is not corrected.",
            "Take the activation off the model and set from_logits=True.",
        )


def _far_off(case: Case) -> Iterator[Finding]:
    if not case.known.size:
        return
    scale = max(float(np.abs(case.known.astype(np.float64)).max()), 1.0)
    largest = float(np.abs(case.scores.astype(np.float64)).max())
    if largest > _FAR * scale:
        where = np.abs(case.batch.pred) > _FAR * scale
        yield Finding(
            "exploding_predictions",
            Severity.WARNING,
            f"{counted(where, 'predictions')}, are over {_FAR:g} times the largest label in size: "
            f"y_pred is {span(case.batch.pred)}, y_true {span(case.batch.true)}.",
            "Training diverges: the learning rate is too large for the scale of inputs or labels.",
            "Lower the learning rate, set clipnorm in the optimizer, normalise inputs and labels.",
        )
