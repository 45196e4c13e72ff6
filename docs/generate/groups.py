"""Which pages belong together."""

from __future__ import annotations

from typing import NamedTuple

from generate.source import public_items, snake


class Group(NamedTuple):
    """Pages that belong together, in a folder of their own."""

    folder: str
    title: str
    names: tuple[str, ...]


GROUPS = (
    Group(
        "regression",
        "Regression",
        (
            *("MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh", "Pinball"),
            *("MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "Poisson"),
        ),
    ),
    Group(
        "binary",
        "Two classes, or many labels",
        ("BinaryCrossentropy", "BinaryFocalCrossentropy", "Hinge", "SquaredHinge"),
    ),
    Group(
        "classes",
        "Many classes",
        (
            *("SparseCategoricalCrossentropy", "CategoricalCrossentropy"),
            *("SparseCategoricalFocalCrossentropy", "CategoricalFocalCrossentropy"),
            *("CategoricalGeneralizedCrossEntropy", "SparseCategoricalHinge", "CategoricalHinge"),
            "RowMetrics",
        ),
    ),
    Group(
        "language",
        "Language models",
        ("layers.LinearCrossentropy", "linear_sparse_categorical_crossentropy"),
    ),
    Group("distributions", "Distributions", ("KLDivergence", "JensenShannonDivergence")),
    Group("similarity", "Similarity", ("CosineSimilarity",)),
    Group(
        "segmentation",
        "Masks, segmentation",
        (
            *("Dice", "GeneralizedDice", "LogCoshDice", "Tversky", "FocalTversky", "Jaccard"),
            *("LovaszSoftmax", "LovaszHinge"),
        ),
    ),
    Group(
        "detection",
        "Boxes, detection",
        ("BoxIoU", "GeneralizedBoxIoU", "DistanceBoxIoU", "CompleteBoxIoU"),
    ),
    Group(
        "sums",
        "Sums, tasks, penalties",
        ("WeightedSum", "MultiTask", "layers.TaskUncertainty", "Regularized"),
    ),
    Group("custom", "Losses of your own", ("fuse", "FusedFunction")),
)
TOOLS = ("tools", "Tools")


def groups() -> list[Group]:
    """The groups, and one of what is in none: classes, and functions without a class."""
    items = public_items()
    listed = {name for group in GROUPS for name in group.names}
    functions = {snake(name) for name, item in items.items() if item.is_class}
    rest = (name for name in items if name not in listed and name not in functions)
    return [*GROUPS, Group(*TOOLS, tuple(sorted(rest, key=str.lower)))]
