"""Which loss suits which task and which trait of the data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Alternative(NamedTuple):
    """Another loss, a name in `fastloss`, and when to prefer it."""

    name: str
    when: str


class Task(NamedTuple):
    """A task, the labels it is known by, and its losses, the first choice first."""

    name: str
    labels: str
    losses: tuple[str, ...]
    alternatives: tuple[Alternative, ...]


class Trait(NamedTuple):
    """A trait of data or aim, the losses for it, and why these."""

    name: str
    losses: tuple[str, ...]
    why: str


TASKS: tuple[Task, ...] = (
    Task(
        "regression",
        "numbers",
        ("MeanSquaredError", "Huber"),
        (
            Alternative("MeanAbsoluteError", "the median is wanted, not the mean"),
            Alternative("SmoothL1", "far errors are to have the same gradient for any threshold"),
            Alternative("LogCosh", "errors are about 1 in size, and a smooth loss is wanted"),
            Alternative("Pinball", "a quantile is wanted, or one side of the error costs more"),
            Alternative("MeanAbsolutePercentageError", "errors count in percent; no label is 0"),
            Alternative("BinaryCrossentropy", "the numbers are probabilities, from 0 to 1"),
            Alternative("MultiTask", "the columns have different units"),
        ),
    ),
    Task(
        "counts",
        "whole numbers from 0",
        ("Poisson", "MeanSquaredLogarithmicError"),
        (
            Alternative("MeanSquaredError", "the counts are large and spread evenly"),
            Alternative("SparseCategoricalCrossentropy", "the numbers name classes after all"),
        ),
    ),
    Task(
        "binary",
        "0 and 1",
        ("BinaryCrossentropy", "BinaryFocalCrossentropy"),
        (
            Alternative("Hinge", "only the decision matters, not its probability"),
            Alternative("SquaredHinge", "far misses shall cost much more than in Hinge"),
        ),
    ),
    Task(
        "multi-class",
        "class numbers",
        ("SparseCategoricalCrossentropy", "SparseCategoricalFocalCrossentropy"),
        (
            Alternative("CategoricalGeneralizedCrossEntropy", "some labels are wrong"),
            Alternative("SparseCategoricalHinge", "only the decision matters"),
            Alternative("MeanSquaredError", "the numbers are quantities: pass task='regression'"),
            Alternative("Poisson", "the numbers count something: pass task='counts'"),
        ),
    ),
    Task(
        "multi-class",
        "one-hot rows",
        ("CategoricalCrossentropy", "CategoricalFocalCrossentropy"),
        (
            Alternative("SparseCategoricalCrossentropy", "class numbers take less memory"),
            Alternative("CategoricalHinge", "only the decision matters"),
            Alternative("BinaryCrossentropy", "a row may hold several classes: multi-label"),
        ),
    ),
    Task(
        "imbalanced",
        "0 and 1, few of one kind",
        ("BinaryFocalCrossentropy", "BinaryCrossentropy"),
        (
            Alternative("BinaryCrossentropy", "probabilities must be calibrated: no weights"),
            Alternative("Tversky", "the labels are regions of an image: segmentation"),
        ),
    ),
    Task(
        "imbalanced",
        "class numbers, some rare",
        ("SparseCategoricalFocalCrossentropy", "SparseCategoricalCrossentropy"),
        (
            Alternative(
                "SparseCategoricalCrossentropy", "probabilities must be calibrated: no weights"
            ),
        ),
    ),
    Task(
        "imbalanced",
        "one-hot rows, some classes rare",
        ("CategoricalFocalCrossentropy", "CategoricalCrossentropy"),
        (Alternative("CategoricalCrossentropy", "probabilities must be calibrated: no weights"),),
    ),
    Task(
        "multi-label",
        "rows of 0 and 1",
        ("BinaryCrossentropy", "BinaryFocalCrossentropy"),
        (
            Alternative("CategoricalCrossentropy", "the labels of a row exclude each other"),
            Alternative("Dice", "the rows are those of one image's mask: segmentation"),
        ),
    ),
    Task(
        "segmentation",
        "a mask of 0 and 1",
        ("Dice", "BinaryCrossentropy", "Jaccard"),
        (
            Alternative("Tversky", "misses and false alarms cost differently"),
            Alternative("FocalTversky", "regions are small and hard to find"),
            Alternative("LogCoshDice", "Dice trains unsteadily"),
            Alternative("Matthews", "the pixels outside the mask count as much as those inside"),
            Alternative("LovaszHinge", "the Jaccard index is the metric, from logits"),
            Alternative("BinaryFocalCrossentropy", "each pixel counts, not the region"),
        ),
    ),
    Task(
        "segmentation",
        "a class for each pixel",
        ("Dice", "GeneralizedDice", "SparseCategoricalCrossentropy", "CategoricalCrossentropy"),
        (
            Alternative("LovaszSoftmax", "the mean Jaccard index is the metric"),
            Alternative("Jaccard", "regions are to be scored by their Jaccard index"),
            Alternative("Tversky", "misses and false alarms cost differently"),
        ),
    ),
    Task(
        "similarity",
        "vectors of length 1",
        ("CosineSimilarity", "MeanSquaredError"),
        (Alternative("Huber", "the length counts too, and some vectors are far off"),),
    ),
    Task(
        "distribution",
        "rows that sum to 1",
        ("KLDivergence", "CategoricalCrossentropy"),
        (
            Alternative("JensenShannonDivergence", "y_true are logits too; bounded, symmetric"),
            Alternative("MeanSquaredError", "the numbers are reconstructed, not a distribution"),
            Alternative("BinaryCrossentropy", "each number is a probability of its own"),
        ),
    ),
    Task(
        "svm",
        "-1 and 1",
        ("Hinge", "SquaredHinge"),
        (Alternative("BinaryCrossentropy", "probabilities are wanted: make the labels 0 and 1"),),
    ),
    Task(
        "svm",
        "class numbers or one-hot rows",
        ("SparseCategoricalHinge", "CategoricalHinge"),
        (Alternative("SparseCategoricalCrossentropy", "probabilities are wanted"),),
    ),
    Task(
        "sequence",
        "a class for each step",
        ("SparseCategoricalCrossentropy", "CategoricalCrossentropy"),
        (
            Alternative("layers.LinearCrossentropy", "the vocabulary is large"),
            Alternative("SparseCategoricalFocalCrossentropy", "a few steps are hard, most easy"),
            Alternative("MeanSquaredError", "the steps hold numbers: pass task='regression'"),
        ),
    ),
    Task(
        "detection",
        "boxes of four numbers",
        ("CompleteBoxIoU", "GeneralizedBoxIoU"),
        (
            Alternative("DistanceBoxIoU", "the aspect ratio does not matter"),
            Alternative("BoxIoU", "the boxes overlap already"),
            Alternative("Huber", "coordinates count, not overlap"),
        ),
    ),
)

TRAITS: tuple[Trait, ...] = (
    Trait(
        "outliers",
        ("Huber", "MeanAbsoluteError", "LogCosh"),
        "a far error costs in proportion to its size, not to its square",
    ),
    Trait(
        "precision",
        ("MeanSquaredError",),
        "the squared error uses data without outliers best, and large errors cost most",
    ),
    Trait(
        "orders of magnitude",
        ("MeanSquaredLogarithmicError", "MeanAbsolutePercentageError"),
        "ratios count instead of differences",
    ),
    Trait(
        "probability output",
        ("BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy"),
        "a cross-entropy is least at the true probability; logits are exact where "
        "probabilities round to 0 or 1",
    ),
    Trait(
        "imbalance",
        (
            "BinaryFocalCrossentropy",
            "SparseCategoricalFocalCrossentropy",
            "CategoricalFocalCrossentropy",
        ),
        "easy examples lose their weight and rare classes gain it",
    ),
    Trait(
        "small regions",
        ("Tversky", "FocalTversky"),
        "misses cost more than false alarms, and the background does not count",
    ),
    Trait(
        "wrong labels",
        ("CategoricalGeneralizedCrossEntropy",),
        "between cross-entropy and absolute error: a label far off costs at most 1 / q",
    ),
    Trait(
        "unequal costs",
        ("Pinball", "Tversky"),
        "each side of the error has its own weight",
    ),
)


def task_row(name: str, labels: str) -> Task:
    """The row of a task with these labels."""
    (row,) = (task for task in TASKS if (task.name, task.labels) == (name, labels))
    return row


def trait_row(name: str) -> Trait:
    """The row of a trait."""
    (row,) = (trait for trait in TRAITS if trait.name == name)
    return row


def task_names() -> tuple[str, ...]:
    """Every task once, in the order of the table."""
    return tuple(dict.fromkeys(task.name for task in TASKS))


def tasks_markdown() -> str:
    """The table of tasks."""
    return _markdown(
        ("task", "labels", "losses", "or"),
        (
            (
                task.name,
                task.labels,
                _names(task.losses),
                "; ".join(f"`{name}`: {when}" for name, when in task.alternatives),
            )
            for task in TASKS
        ),
    )


def traits_markdown() -> str:
    """The table of traits."""
    return _markdown(
        ("trait", "losses", "why"),
        ((trait.name, _names(trait.losses), trait.why) for trait in TRAITS),
    )


def _names(losses: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in losses)


def _markdown(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
