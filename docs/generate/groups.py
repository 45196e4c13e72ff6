"""Which pages belong together, and in which order."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from fastloss.registry import LOSSES
from generate.source import public_items, snake


class Group(NamedTuple):
    """Pages that belong together, in a folder of their own."""

    folder: str
    title: str
    names: tuple[str, ...]


# The families of the registry, whose losses need not be listed here.
FAMILIES = {
    "regression": "Regression",
    "classification": "Binary and multi-label classification",
    "categorical": "Multi-class classification",
    "distribution": "Distributions and counts",
    "segmentation": "Segmentation",
    "detection": "Object detection",
    "similarity": "Similarity",
}
# What is public without being a loss of the registry.
LANGUAGE = ("layers.LinearCrossentropy", "linear_sparse_categorical_crossentropy")
SUMS = ("WeightedSum", "MultiTask", "layers.TaskUncertainty", "Regularized")
CUSTOM = ("fuse", "FusedFunction")
RESULTS = {"categorical": ("RowMetrics",)}


@cache
def groups() -> tuple[Group, ...]:
    """The losses by family, what else computes a loss, and the rest as tools."""
    by_family: dict[str, list[str]] = {family: [] for family in FAMILIES}
    for loss in LOSSES:
        by_family.setdefault(loss.family, []).append(loss.class_name)
    found = []
    for family, names in by_family.items():
        title = FAMILIES.get(family, family.capitalize())
        found.append(Group(family, title, (*names, *RESULTS.get(family, ()))))
    found += [
        Group("language", "Language models", LANGUAGE),
        Group("sums", "Sums, tasks and penalties", SUMS),
        Group("custom", "Losses of your own", CUSTOM),
    ]
    return (*found, Group("tools", "Tools", _tools(found)))


def _tools(found: list[Group]) -> tuple[str, ...]:
    """What is in no group: classes, and functions without a class."""
    items = public_items()
    listed = {name for group in found for name in group.names}
    functions = {snake(name) for name, item in items.items() if item.is_class}
    rest = (name for name in items if name not in listed and name not in functions)
    return tuple(sorted(rest, key=str.lower))
