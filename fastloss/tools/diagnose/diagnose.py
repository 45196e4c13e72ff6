"""All that the rules find about a loss on a batch; what monitor and check both say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from fastloss.tools.diagnose import (
    rules_inputs,
    rules_labels,
    rules_predictions,
    rules_shapes,
    rules_values,
)
from fastloss.tools.diagnose.batch import Batch
from fastloss.tools.diagnose.case import Case
from fastloss.tools.diagnose.evaluation import evaluate
from fastloss.tools.diagnose.finding import Finding, Severity, merged
from fastloss.tools.diagnose.parts import Part, parts_of, penalty_of

_RULES = (rules_inputs, rules_labels, rules_predictions, rules_shapes, rules_values)

# What the loss was never meant to take says why it fails or gives NaN.
_EXPLAIN = {"labels_out_of_range", "signs_for_bits", "logits_as_probabilities"}
_EXPLAINED = {
    "loss_fails",
    "undefined_loss",
    "undefined_gradient",
    "zero_labels",
    "log_of_negative",
}


def diagnose(loss: keras.losses.Loss, batch: Batch) -> tuple[Finding, ...]:
    """What is wrong with a loss and what it is called with, the worst first.

    Args:
        loss: A Keras loss; of one that is composed, each term is looked at.
        batch: What it is called with.
    """
    parts = list(parts_of(loss, batch))
    findings = merged([found for part in parts for found in _of_part(part)])
    # What holds for every term is said of the loss.
    whole = [replace(x, terms=()) if len(x.terms) == len(parts) else x for x in findings]
    return merged([*whole, *_of_penalty(loss)])


def _of_part(part: Part) -> Iterator[Finding]:
    case = Case(part.loss, part.batch, evaluate(part.loss, part.batch))
    findings = [found for rules in _RULES for found in rules.find(case)]
    is_explained = any(found.name in _EXPLAIN for found in findings)
    for found in findings:
        if not (is_explained and found.name in _EXPLAINED):
            yield found.of(part.name) if part.name else found


def _of_penalty(loss: Any) -> Iterator[Finding]:
    penalty = penalty_of(loss)
    if penalty is not None and not np.isfinite(penalty):
        yield Finding(
            "weights_not_finite",
            Severity.ERROR,
            f"The penalty on the weights is {penalty:g}.",
            "Weights of the model are NaN or have grown without a bound; an earlier step did it.",
            "Train from the last good weights, with a smaller learning rate or clipnorm.",
        )
