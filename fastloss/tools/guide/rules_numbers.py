"""Losses for labels that are numbers: quantities, counts, vectors, distributions, boxes."""

from __future__ import annotations

from fastloss.tools.guide.facts import Facts
from fastloss.tools.guide.labels import Kind
from fastloss.tools.guide.recipe import recipe
from fastloss.tools.guide.recommendation import Recommendation
from fastloss.tools.guide.tables import task_row, trait_row
from fastloss.tools.guide.text import number, percent

_UNEVEN = 4  # times the smallest scale of a column; then one column makes most of a loss


def regression(facts: Facts) -> list[Recommendation]:
    """The squared error, or what far errors do not rule."""
    row, found = task_row("regression", "numbers"), facts.spread
    assert found is not None
    values = "errors" if found.of_errors else "labels about their median"
    outliers = (
        f"{percent(found.outliers)} of the {values} are over 3.5 standard deviations (by the MAD) "
        f"and make up {percent(found.outlier_squares)} of the squares"
    )
    columns = (
        f"The scales of the columns differ {number(found.column_ratio)} times: divide each by its "
        "own, or the largest rules."
        if found.column_ratio > _UNEVEN
        else ""
    )
    squared = recipe("MeanSquaredError").because(
        row, f"No outliers: {outliers}; {trait_row('precision').why}.", columns
    )
    if found.scale == 0:
        return [
            recipe("MeanSquaredError").because(row, f"The {values} do not vary: any loss will do.")
        ]
    caution = "" if found.of_errors else "Errors shrink as the model learns: ask again with y_pred."
    huber = recipe("Huber", delta=found.huber_delta).because(
        row,
        f"Linear beyond delta, 1.345 times {number(found.scale)}, the standard deviation of the "
        f"{values} by the MAD.",
        f"Outliers: {outliers}; {trait_row('outliers').why}." if found.has_outliers else "",
        columns,
        caution,
    )
    if facts.spans_orders:
        logarithmic = recipe("MeanSquaredLogarithmicError").because(
            row,
            f"The labels are not negative and span orders of magnitude: "
            f"{trait_row('orders of magnitude').why}.",
        )
        return [logarithmic, huber]
    if found.has_outliers:
        absolute = recipe("MeanAbsoluteError").because(
            row, "Linear everywhere: the median, which needs no delta, but trains less smoothly."
        )
        return [huber, absolute]
    return [squared, huber]


def counts(facts: Facts) -> list[Recommendation]:
    """The likelihood of counts, where the predictions may be rates."""
    row = task_row("counts", "whole numbers from 0")
    logarithmic = recipe("MeanSquaredLogarithmicError").because(
        row, "Ratios count instead of differences, for counts that vary more than a Poisson's."
    )
    if facts.output is not None and facts.output.low < 0:
        return [
            recipe("MeanSquaredError").because(
                row,
                f"y_pred falls to {number(facts.output.low)}, and no rate is negative: for Poisson "
                "end the model in a softplus or an exponential.",
            ),
            logarithmic,
        ]
    assumed = "Assumes that the model ends in a softplus or an exponential: rates are positive."
    poisson = recipe("Poisson").because(
        row,
        "The likelihood of counts, whose variance grows with the mean.",
        assumed if facts.output is None else "",
    )
    return [poisson, logarithmic]


def similarity(facts: Facts) -> list[Recommendation]:
    """The angle between vectors.

    Raises:
        ValueError: If there are none.
    """
    _check_width(facts, "similarity", "vectors, an axis of two numbers or more at the end")
    row = task_row("similarity", "vectors of length 1")
    length = (
        "The vectors have length 1" if facts.kind is Kind.DIRECTIONS else "The length is not scored"
    )
    cosine = recipe("CosineSimilarity").because(
        row, f"{length}: the angle to them is what counts. -1 is the best value."
    )
    squared = recipe("MeanSquaredError").because(row, "Where the length of a vector counts too.")
    return [cosine, squared]


def distribution(facts: Facts) -> list[Recommendation]:
    """The divergence of distributions, or of the logits behind both.

    Raises:
        ValueError: If the labels are no rows, or labels are logits and predictions are not.
    """
    _check_width(facts, "distribution", "rows of probabilities, or of logits")
    row, output = task_row("distribution", "rows that sum to 1"), facts.output
    if facts.kind not in (Kind.DISTRIBUTION, Kind.ONE_HOT):
        if output is not None and output.sum_to_one and output.are_probabilities:
            raise ValueError(
                "y_true's rows do not sum to 1, but those of y_pred do; expected probabilities in "
                "both, or logits in both"
            )
        why = "The rows of y_true do not sum to 1: logits, of which both losses take a softmax."
        if output is None:
            why += " Assumes that y_pred are logits too."
        return [
            recipe("KLDivergence", from_logits=True).because(row, why),
            recipe("JensenShannonDivergence").because(row, why, "Symmetric and bounded."),
        ]
    same = "It has the gradient of the divergence, which differs by the entropy of y_true only."
    if output is not None and not output.are_probabilities:
        return [
            recipe("CategoricalCrossentropy", from_logits=True).because(
                row, "y_pred leaves [0, 1]: logits, while y_true are probabilities.", same
            )
        ]
    assumed = "Assumes that the model ends in a softmax." if output is None else ""
    if output is not None and not output.sum_to_one:
        assumed = "The rows of y_pred do not sum to 1: end the model in a softmax."
    divergence = recipe("KLDivergence").because(
        row, "The rows of y_true sum to 1: 0 is reached where y_pred equals them.", assumed
    )
    logits = "Assumes that the model ends without an activation." if output is None else ""
    entropy = recipe("CategoricalCrossentropy", from_logits=output is None).because(
        row, same, logits
    )
    return [divergence, entropy]


def detection(facts: Facts) -> list[Recommendation]:
    """The overlap of boxes.

    Raises:
        ValueError: If they are no boxes.
    """
    if facts.shape[-1] != 4:
        raise ValueError(
            f"task is 'detection', but y_true has shape {facts.shape}; expected boxes, an axis of "
            "four numbers at the end"
        )
    row = task_row("detection", "boxes of four numbers")
    layout = "Assumes corners, x1, y1, x2, y2; of centre and size set box_format='cxcywh'."
    return [
        recipe("CompleteBoxIoU").because(
            row, "Overlap, distance and shape; boxes that are apart learn too.", layout
        ),
        recipe("GeneralizedBoxIoU").because(row, "The overlap alone, for boxes apart too.", layout),
    ]


def _check_width(facts: Facts, task: str, expected: str) -> None:
    if len(facts.shape) < 2 or facts.shape[-1] < 2:
        raise ValueError(
            f"task is {task!r}, but y_true has shape {facts.shape}; expected {expected}"
        )
