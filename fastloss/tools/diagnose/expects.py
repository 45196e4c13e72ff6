"""What a loss expects of labels and predictions."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

import keras
import numpy as np


class Labels(Enum):
    """What one label says to a loss."""

    BITS = "0 and 1, or probabilities"
    SIGNS = "-1 and 1, or 0 and 1"
    ONE_HOT = "one-hot rows, or rows of probabilities"
    CLASSES = "class numbers"
    NOT_NEGATIVE = "numbers from 0"
    NUMBERS = "numbers"
    UNKNOWN = "what its author says"


class Expected(NamedTuple):
    """What a loss expects.

    Attributes:
        labels: What its labels are.
        from_logits: Whether it takes logits; None if it takes neither logits nor probabilities.
        class_axis: The axis of y_pred that the classes, which exclude each other, lie along.
        ignored: The label that does not count.
    """

    labels: Labels
    from_logits: bool | None = None
    class_axis: int | None = None
    ignored: int | None = None


# By the names of the classes and functions, without underscores.
_BITS = {"binarycrossentropy", "bce", "binaryfocalcrossentropy", "lovaszhinge"}
_OVERLAP = {"dice", "tversky", "jaccard", "focaltversky", "logcoshdice", "generalizeddice"}
_ROWS = {
    "categoricalcrossentropy",
    "categoricalfocalcrossentropy",
    "categoricalgeneralizedcrossentropy",
    "kldivergence",
    "kld",
    "kullbackleiblerdivergence",
}
_CLASSES = {
    "sparsecategoricalcrossentropy",
    "sparsecategoricalfocalcrossentropy",
    "lovaszsoftmax",
}
_OTHERS = {
    "hinge": Expected(Labels.SIGNS),
    "squaredhinge": Expected(Labels.SIGNS),
    "categoricalhinge": Expected(Labels.ONE_HOT),
    "sparsecategoricalhinge": Expected(Labels.CLASSES, class_axis=-1),
    "jensenshannondivergence": Expected(Labels.NUMBERS),
    "poisson": Expected(Labels.NOT_NEGATIVE),
    "meansquaredlogarithmicerror": Expected(Labels.NOT_NEGATIVE),
    "msle": Expected(Labels.NOT_NEGATIVE),
}
_NUMBERS = {
    "meansquarederror",
    "mse",
    "meanabsoluteerror",
    "mae",
    "meanabsolutepercentageerror",
    "mape",
    "huber",
    "huberloss",
    "logcosh",
    "pinball",
    "quantile",
}


def expected_of(loss: Any) -> Expected:
    """What the loss expects; of a loss of unknown origin nothing is known."""
    name = _known_name(loss)
    arguments = _arguments(loss)
    ignored = arguments.get("ignore_class")
    logits = bool(arguments.get("from_logits", False))
    if name in _NUMBERS:
        return Expected(Labels.NUMBERS)
    if name in _OTHERS:
        return _OTHERS[name]._replace(ignored=ignored)
    if name in _BITS:
        return Expected(Labels.BITS, True if name == "lovaszhinge" else logits, None, ignored)
    if name in _OVERLAP:
        return _of_overlap(arguments, logits, ignored)
    if name == "lovaszsoftmax" and arguments.get("sparse") is False:
        return Expected(Labels.ONE_HOT, logits, _class_axis(arguments), ignored)
    if name in _CLASSES:
        return Expected(Labels.CLASSES, logits, _class_axis(arguments), ignored)
    if name in _ROWS:
        return Expected(Labels.ONE_HOT, logits, _class_axis(arguments), ignored)
    return Expected(Labels.UNKNOWN, None, None, ignored)


def _of_overlap(arguments: dict[str, Any], logits: bool, ignored: int | None) -> Expected:
    if arguments.get("sparse"):
        return Expected(Labels.CLASSES, logits, _class_axis(arguments), ignored)
    axis = _class_axis(arguments) if arguments.get("activation") == "softmax" else None
    return Expected(Labels.BITS, logits, axis, ignored)


def _class_axis(arguments: dict[str, Any]) -> int:
    axis = arguments.get("class_axis", arguments.get("axis", -1))
    return axis if isinstance(axis, int) else -1


def _known_name(loss: Any) -> str:
    function = getattr(loss, "fn", None)
    candidates = [c for c in type(loss).__mro__ if c is not keras.losses.Loss]
    if function is not None:
        candidates.append(function)
    known = {*_BITS, *_OVERLAP, *_ROWS, *_CLASSES, *_OTHERS, *_NUMBERS}
    for one in candidates:
        # A function of the user's may bear the name of another.
        if (getattr(one, "__module__", "") or "").partition(".")[0] in ("keras", "fastloss"):
            name = getattr(one, "__name__", "").replace("_", "").lower()
            if name in known:
                return name
    return ""


def _arguments(loss: Any) -> dict[str, Any]:
    """The arguments that the loss was made with, as far as it tells."""
    try:
        config = dict(loss.get_config())
    except Exception:  # get_config is the user's, and may raise anything
        config = {}
    return {**config, **getattr(loss, "_fn_kwargs", {})}


def classes_in(expected: Expected, shape: tuple[int, ...]) -> int | None:
    """How many classes predictions of that shape have, if they have an axis of them."""
    axis = expected.class_axis
    if axis is None or not -len(shape) <= axis < len(shape):
        return None
    return shape[axis]


def counts(expected: Expected, labels: np.ndarray) -> np.ndarray:
    """Where labels are not the one that is ignored."""
    if expected.ignored is None:
        return np.ones(labels.shape, bool)
    return labels != expected.ignored
