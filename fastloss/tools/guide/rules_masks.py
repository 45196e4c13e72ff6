"""Losses for the regions of images."""

from __future__ import annotations

from typing import Any

from fastloss.tools.guide.facts import Facts
from fastloss.tools.guide.labels import Kind
from fastloss.tools.guide.outputs import logits
from fastloss.tools.guide.recipe import recipe
from fastloss.tools.guide.recommendation import Recommendation
from fastloss.tools.guide.tables import Task, task_row, trait_row
from fastloss.tools.guide.text import number, percent
from fastloss.tools.guide.weights import tversky_weights


def segmentation(facts: Facts) -> list[Recommendation]:
    """Of a mask, or of a class for each pixel."""
    if facts.kind in (Kind.CLASSES, Kind.ONE_HOT):
        return _of_classes(facts)
    return _of_mask(facts)


def _of_mask(facts: Facts) -> list[Recommendation]:
    from_logits, why = logits(facts, "sigmoid")
    row, given = task_row("segmentation", "a mask of 0 and 1"), {"from_logits": from_logits}
    dice = recipe("Dice", **given)
    both = (recipe("BinaryCrossentropy", **given) + dice).because(
        row, "Pixels and regions: the cross-entropy steadies the start of Dice.", why
    )
    if facts.has_small_regions:
        return [*_of_small_regions(facts, row, given, why), both]
    share = f"The foreground is {percent(facts.foreground)}: its overlap is scored."
    jaccard = recipe("Jaccard", **given).because(row, "As Dice, of the Jaccard index.", why)
    return [dice.because(row, share, why), both, jaccard]


def _of_classes(facts: Facts) -> list[Recommendation]:
    from_logits, why = logits(facts, "softmax")
    row = task_row("segmentation", "a class for each pixel")
    is_sparse = facts.kind is Kind.CLASSES
    has_background = bool(facts.shares[0] > 0.5)
    regions: dict[str, Any] = {"from_logits": from_logits}
    if is_sparse:
        regions |= {"sparse": True, "ignore_class": facts.ignored}
    elif from_logits:
        regions["activation"] = "softmax"
    if has_background:
        regions["include_background"] = False
        why += f" Class 0 fills {percent(float(facts.shares[0]))}: background, and not scored."
    if facts.ignored is not None:
        why += f" {facts.ignored} is taken for 'no class'."
    per_class = None if is_sparse or from_logits else True
    dice = recipe("Dice", **regions, per_class=per_class)
    entropy = recipe(
        f"{'SparseCategorical' if is_sparse else 'Categorical'}Crossentropy",
        from_logits=from_logits,
        ignore_class=facts.ignored,
    )
    both = (entropy + dice).because(
        row, "Pixels and regions: the cross-entropy steadies the start of Dice.", why
    )
    if facts.has_small_regions:
        return [*_of_small_regions(facts, row, regions | {"per_class": per_class}, why), both]
    plain = dice.because(row, f"{facts.classes} classes, the overlap of each scored alone.", why)
    generalized = recipe("GeneralizedDice", **regions).because(
        row,
        f"The commonest class has {number(facts.imbalance)} times the pixels of the rarest: "
        "each class weighs by the inverse square of its size.",
        why,
    )
    return [plain, generalized, both] if facts.is_imbalanced else [plain, both]


def _of_small_regions(
    facts: Facts, row: Task, given: dict[str, Any], why: str
) -> list[Recommendation]:
    alpha, beta = tversky_weights(facts.foreground)
    share = f"The foreground is {percent(facts.foreground)}: {trait_row('small regions').why}."
    weights = "alpha, of the misses, is 0.7 - 0.4 times that share; beta is the rest to 1."
    return [
        recipe("Tversky", alpha=alpha, beta=beta, **given).because(row, share, weights, why),
        recipe("FocalTversky", alpha=alpha, beta=beta, **given).because(
            row, "The same to the power of 3/4, which learns on from small losses.", why
        ),
    ]
