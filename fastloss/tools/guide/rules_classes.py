"""Losses for labels that name classes."""

from __future__ import annotations

import numpy as np

from fastloss.tools.guide.facts import Facts
from fastloss.tools.guide.labels import Kind
from fastloss.tools.guide.outputs import logits
from fastloss.tools.guide.recipe import recipe
from fastloss.tools.guide.recommendation import Recommendation
from fastloss.tools.guide.tables import task_row, trait_row
from fastloss.tools.guide.text import number, percent
from fastloss.tools.guide.weights import class_weights, focal_alpha, positive_weight

_MOST_WEIGHTS = 1000  # classes; of more, the rare are too rare to tell their weights
_EFFECTIVE = "from the effective number of samples"


def binary(facts: Facts) -> list[Recommendation]:
    """Of 0 and 1, any number of labels a row."""
    if facts.kind is Kind.MULTI_HOT:
        return many_labels(facts)
    from_logits, why = logits(facts, "sigmoid")
    row = task_row("binary", "0 and 1")
    return [
        recipe("BinaryCrossentropy", from_logits=from_logits).because(
            row, f"{percent(facts.foreground)} of the labels are 1.", _probability(), why
        ),
        recipe("BinaryFocalCrossentropy", from_logits=from_logits).because(
            row, "Where most samples are easy and few are hard.", why
        ),
    ]


def many_classes(facts: Facts) -> list[Recommendation]:
    """Of one class among many, by its number or one-hot."""
    if _is_one_score(facts):
        return binary(facts)
    from_logits, why = logits(facts, "softmax")
    prefix, row = _prefix(facts), task_row("multi-class", _labels(facts))
    ignored = facts.ignored
    crossentropy = recipe(
        f"{prefix}Crossentropy", from_logits=from_logits, ignore_class=ignored
    ).because(row, f"{facts.classes} classes.", _absent(facts), _probability(), why, _void(facts))
    focal = recipe(
        f"{prefix}FocalCrossentropy", from_logits=from_logits, ignore_class=ignored
    ).because(row, "Where most samples are easy and few are hard.", why)
    return [crossentropy, focal]


def imbalanced(facts: Facts) -> list[Recommendation]:
    """Of classes some of which are rare."""
    if facts.kind is Kind.MULTI_HOT:
        return many_labels(facts)
    if facts.kind is Kind.BINARY:
        return _imbalanced_binary(facts)
    if facts.classes > _MOST_WEIGHTS:
        return many_classes(facts)
    from_logits, why = logits(facts, "softmax")
    prefix, weights, ignored = _prefix(facts), class_weights(facts.counts), facts.ignored
    row = task_row("imbalanced", f"{_labels(facts)}, some {_rare(facts)}")
    reason = (
        f"The commonest class has {number(facts.imbalance)} times the samples of the rarest: "
        f"{trait_row('imbalance').why}."
    )
    focal = recipe(
        f"{prefix}FocalCrossentropy",
        alpha=weights,
        from_logits=from_logits,
        ignore_class=ignored,
    ).because(row, reason, f"alpha is {_EFFECTIVE} of each class.", _absent(facts), why)
    weighed = recipe(
        f"{prefix}Crossentropy",
        class_weights=weights,
        from_logits=from_logits,
        ignore_class=ignored,
    ).because(row, f"The same weights, {_EFFECTIVE}, with no focus on the hard.", why)
    return [focal, weighed]


def many_labels(facts: Facts) -> list[Recommendation]:
    """Of any number of labels a row."""
    from_logits, why = logits(facts, "sigmoid")
    row = task_row("multi-label", "rows of 0 and 1")
    positives = facts.counts.astype(float)
    negatives = facts.rows - positives
    share = f"{percent(float(positives.sum()) / (facts.rows * facts.classes))} of them are ones."
    weight = None
    reason = "The labels do not exclude each other: each is a question of its own."
    if facts.is_imbalanced and facts.classes <= _MOST_WEIGHTS:
        pairs = zip(negatives, positives, strict=True)
        weight = np.array([positive_weight(zero, one) for zero, one in pairs])
        reason += f" pos_weight is {_EFFECTIVE} of each label."
    alpha = focal_alpha(float(negatives.sum()), float(positives.sum()))
    focal = recipe(
        "BinaryFocalCrossentropy",
        apply_class_balancing=facts.is_imbalanced,
        alpha=alpha if facts.is_imbalanced else None,
        from_logits=from_logits,
    ).because(row, "Easy negatives lose their weight.", share, why)
    crossentropy = recipe("BinaryCrossentropy", from_logits=from_logits, pos_weight=weight)
    return [crossentropy.because(row, reason, share, why), focal]


def margin(facts: Facts) -> list[Recommendation]:
    """Of a decision by a margin."""
    scores = "Scores, not probabilities: the model ends without an activation."
    if facts.kind in (Kind.CLASSES, Kind.ONE_HOT):
        row = task_row("svm", "class numbers or one-hot rows")
        why = "The label's score shall lead the best of the others by 1."
        name = "SparseCategoricalHinge" if facts.kind is Kind.CLASSES else "CategoricalHinge"
        return [recipe(name, ignore_class=facts.ignored).because(row, why, scores)]
    row = task_row("svm", "-1 and 1")
    signs = "" if facts.kind is Kind.SIGNS else "Labels of 0 and 1 are taken for -1 and 1."
    if facts.output is not None and facts.output.are_probabilities:
        scores = "y_pred lies in [0, 1], so it never reaches -1: end the model in a tanh, or bare."
    return [
        recipe("Hinge").because(row, "The score shall pass the margin of 1.", signs, scores),
        recipe("SquaredHinge").because(row, "Smooth; far misses cost much more.", signs, scores),
    ]


def sequence(facts: Facts) -> list[Recommendation]:
    """Of a class for each step."""
    if _is_one_score(facts):
        return binary(facts)
    from_logits, why = logits(facts, "softmax")
    row = task_row("sequence", "a class for each step")
    padding = "0 stands at the ends of rows only: padding." if facts.ignored == 0 else _void(facts)
    crossentropy = recipe(
        f"{_prefix(facts)}Crossentropy", from_logits=from_logits, ignore_class=facts.ignored
    )
    return [
        crossentropy.because(
            row, f"A class, of {facts.classes}, for each step.", _probability(), padding, why
        )
    ]


def _imbalanced_binary(facts: Facts) -> list[Recommendation]:
    from_logits, why = logits(facts, "sigmoid")
    row = task_row("imbalanced", "0 and 1, few of one kind")
    zeros, ones = (float(count) for count in facts.counts)
    share = f"{percent(facts.foreground)} of the labels are 1"
    focal = recipe(
        "BinaryFocalCrossentropy",
        apply_class_balancing=True,
        alpha=focal_alpha(zeros, ones),
        from_logits=from_logits,
    )
    weighed = recipe(
        "BinaryCrossentropy", from_logits=from_logits, pos_weight=positive_weight(zeros, ones)
    )
    return [
        focal.because(
            row,
            f"{share}: {trait_row('imbalance').why}.",
            f"alpha, the weight of 1 beside 1 - alpha, is {_EFFECTIVE}.",
            why,
        ),
        weighed.because(row, f"{share}; pos_weight is {_EFFECTIVE}, with no focus.", why),
    ]


def _is_one_score(facts: Facts) -> bool:
    """Whether labels of 0 and 1 have a prediction each, not one for each class."""
    return facts.kind in (Kind.BINARY, Kind.MULTI_HOT) and facts.output is not None


def _prefix(facts: Facts) -> str:
    return "Categorical" if facts.kind is Kind.ONE_HOT else "SparseCategorical"


def _labels(facts: Facts) -> str:
    return "one-hot rows" if facts.kind is Kind.ONE_HOT else "class numbers"


def _rare(facts: Facts) -> str:
    return "classes rare" if facts.kind is Kind.ONE_HOT else "rare"


def _probability() -> str:
    return f"It asks for probabilities: {trait_row('probability output').why}."


def _void(facts: Facts) -> str:
    return "" if facts.ignored is None else f"{facts.ignored} is taken for 'no class'."


def _absent(facts: Facts) -> str:
    """Which classes never occur, if they are few."""
    absent = [number(i) for i in np.flatnonzero(facts.counts == 0).tolist()]
    if not absent or len(absent) > 5:
        return ""
    return f"Class {', '.join(absent)} does not occur."
