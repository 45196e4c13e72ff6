"""Which rules apply to the data: the task, given or seen from the labels."""

from __future__ import annotations

from collections.abc import Callable

from fastloss.tools.guide import rules_classes, rules_masks, rules_numbers
from fastloss.tools.guide.facts import Facts
from fastloss.tools.guide.labels import Kind
from fastloss.tools.guide.recommendation import Recommendation
from fastloss.tools.guide.tables import task_names

_OTHER_NAMES = {
    "multiclass": "multi-class",
    "multilabel": "multi-label",
    "generative": "distribution",
    "svm-like": "svm",
    "boxes": "detection",
}
_BITS = (Kind.BINARY, Kind.MULTI_HOT, Kind.ONE_HOT)
_CLASSES = (Kind.BINARY, Kind.ONE_HOT, Kind.CLASSES)

# The labels that each task can use.
_ACCEPTED: dict[str, tuple[Kind, ...]] = {
    "regression": (Kind.NUMBERS, Kind.COUNTS),
    "counts": (Kind.COUNTS,),
    "binary": (Kind.BINARY, Kind.MULTI_HOT),
    "multi-class": _CLASSES,
    "imbalanced": (*_CLASSES, Kind.MULTI_HOT),
    "multi-label": (Kind.MULTI_HOT, Kind.ONE_HOT),
    "segmentation": (*_BITS, Kind.CLASSES),
    "similarity": tuple(Kind),
    "distribution": (Kind.DISTRIBUTION, Kind.ONE_HOT, Kind.NUMBERS, Kind.DIRECTIONS),
    "svm": (Kind.SIGNS, *_CLASSES, Kind.MULTI_HOT),
    "sequence": (*_CLASSES, Kind.MULTI_HOT),
    "detection": (Kind.NUMBERS, Kind.COUNTS),
}

_BY_CLASS = tuple(task for task, kinds in _ACCEPTED.items() if Kind.CLASSES in kinds)

_RULES: dict[str, Callable[[Facts], list[Recommendation]]] = {
    "regression": rules_numbers.regression,
    "counts": rules_numbers.counts,
    "binary": rules_classes.binary,
    "multi-class": rules_classes.many_classes,
    "imbalanced": rules_classes.imbalanced,
    "multi-label": rules_classes.many_labels,
    "segmentation": rules_masks.segmentation,
    "similarity": rules_numbers.similarity,
    "distribution": rules_numbers.distribution,
    "svm": rules_classes.margin,
    "sequence": rules_classes.sequence,
    "detection": rules_numbers.detection,
}

_SEEN = {
    Kind.SIGNS: "svm",
    Kind.DISTRIBUTION: "distribution",
    Kind.DIRECTIONS: "similarity",
    Kind.COUNTS: "counts",
    Kind.NUMBERS: "regression",
}


def known_task(task: str | None) -> str | None:
    """The task by the name of the table.

    Raises:
        ValueError: If there is no such task.
    """
    if task is None:
        return None
    name = str(task).strip().lower().replace("_", "-").replace(" ", "-")
    name = _OTHER_NAMES.get(name, name)
    if name not in task_names():
        raise ValueError(f"task is {task!r}; expected None or one of {', '.join(task_names())}")
    return name


def seen_task(facts: Facts) -> str:
    """The task that the labels suggest."""
    if facts.kind in _SEEN:
        return _SEEN[facts.kind]
    if facts.is_image:
        return "segmentation"
    if facts.kind is Kind.MULTI_HOT:
        return "multi-label"
    if facts.axes == 2 and facts.kind is not Kind.BINARY:
        return "sequence"
    if facts.is_imbalanced:
        return "imbalanced"
    return "binary" if facts.kind is Kind.BINARY else "multi-class"


def choose(facts: Facts, task: str) -> list[Recommendation]:
    """The recommendations for a task, the best first.

    Raises:
        ValueError: If the labels are none for it.
    """
    accepted = _ACCEPTED[task]
    if facts.kind not in accepted:
        expected = " or ".join(dict.fromkeys(kind.value for kind in accepted))
        raise ValueError(
            f"task is {task!r}, but y_true of shape {facts.shape} holds {facts.kind.value}; "
            f"expected {expected}: {_cure(facts, task)}"
        )
    return _RULES[task](facts)


def _cure(facts: Facts, task: str) -> str:
    kind, output = facts.kind, facts.output
    if output is not None and kind in (Kind.COUNTS, Kind.NUMBERS) and task in _BY_CLASS:
        return "for class numbers y_pred needs one axis more, of the classes"
    if kind is Kind.SIGNS and task in ("binary", "imbalanced"):
        return "(y_true + 1) / 2 makes 0 and 1 of -1 and 1"
    return "leave task out to see what the labels suggest"
