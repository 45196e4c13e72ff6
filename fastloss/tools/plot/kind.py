"""What a loss wants to be given, told by the registry and its arguments."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import keras

from fastloss import registry
from fastloss.losses import WeightedSum
from fastloss.registry import Labels, Pattern, Predictions
from fastloss.tools.known_loss import arguments_of, class_axis, registered

# What y_true and y_pred hold, from what any loss takes to what only some understand: a sum of
# losses asks what the last of its terms here asks.
KINDS = ("number", "binary", "one-hot", "sparse", "vector", "distribution", "box", "mask")

_KINDS = {
    Labels.NUMBER: "number",
    Labels.NOT_NEGATIVE: "number",
    Labels.SIGN: "binary",
    Labels.PROBABILITY: "binary",
    Labels.ONE_HOT: "one-hot",
    Labels.CLASS: "sparse",
    Labels.VECTOR: "vector",
    Labels.LOGITS: "distribution",
    Labels.BOX: "box",
    Labels.REGION: "mask",
}
# Labels at which these show more than at 0.
_TARGETS = {
    "poisson": 2.0,
    "mean_squared_logarithmic_error": 1.0,
    "mean_absolute_percentage_error": 1.0,
}


class Kind(NamedTuple):
    """What a loss wants to be given.

    Attributes:
        labels: One of `KINDS`.
        logits: Whether y_pred holds logits, where it holds scores of classes or pixels.
        classes: How many of them, 1 for a mask of a single channel.
        axis: Where the classes are in y_pred.
        sparse: Whether a mask holds class numbers.
        centred: Whether a box is a centre and a size.
        target: The label that shows most, of a number.
        positive: Whether predictions of 0 and less make no sense.
    """

    labels: str = "number"
    logits: bool = False
    classes: int = 2
    axis: int = -1
    sparse: bool = False
    centred: bool = False
    target: float = 0.0
    positive: bool = False


def kind_of(loss: Any) -> Kind:
    """What a Keras loss, or a function, wants to be given; numbers, if it is unknown.

    Raises:
        ValueError: If it compares outputs of several kinds.
    """
    terms = getattr(loss, "losses", None)
    if hasattr(loss, "keys") and terms:
        raise ValueError(
            f"{name_of(loss)} compares the outputs of {len(terms)} tasks; expected a loss of one "
            "output: draw its losses one by one"
        )
    if terms:
        return _kind_of_sum([kind_of(term) for term in terms])
    inner = getattr(loss, "loss", None)
    if isinstance(inner, keras.losses.Loss):
        return kind_of(inner)
    known, arguments = registered(loss), arguments_of(loss)
    if known is None:
        return Kind(logits=bool(arguments.get("from_logits")), axis=class_axis(known, arguments))
    labels = _labels_of(known)
    weights = [_length(arguments.get(name)) for name in ("class_weights", "alpha")]
    has_classes = labels != "mask" or _scores_by_class(known, arguments)
    return Kind(
        labels,
        logits=known.predictions is Predictions.SCORES or bool(arguments.get("from_logits")),
        classes=max(2, *weights) if has_classes else 1,
        axis=class_axis(known, arguments),
        sparse=bool(arguments.get("sparse")),
        centred=arguments.get("box_format") == "cxcywh",
        target=_TARGETS.get(known.name, 0.0),
        positive=known.predictions is Predictions.POSITIVE,
    )


def name_of(loss: Any) -> str:
    """The name of a loss in a legend."""
    if isinstance(loss, partial):
        given = ", ".join(f"{key}={value}" for key, value in loss.keywords.items())
        return f"{name_of(loss.func)}, {given}" if given else name_of(loss.func)
    if isinstance(loss, WeightedSum) and loss.name == "weighted_sum":
        pairs = zip(loss.factors, loss.losses, strict=True)
        terms = [("" if f == 1 else f"{f:g} * ") + name_of(term) for f, term in pairs]
        return " + ".join(terms).replace("+ -", "- ")
    return getattr(loss, "name", None) or getattr(loss, "__name__", None) or type(loss).__name__


def _kind_of_sum(kinds: list[Kind]) -> Kind:
    most = max(kinds, key=lambda kind: KINDS.index(kind.labels))
    return most._replace(
        classes=max(kind.classes for kind in kinds if kind.labels == most.labels),
        target=max(kind.target for kind in kinds),
        positive=any(kind.positive for kind in kinds),
    )


def _labels_of(loss: registry.Loss) -> str:
    if loss.pattern is Pattern.SORTED:
        return "mask"
    return "distribution" if loss.name == "kl_divergence" else _KINDS[loss.labels]


def _scores_by_class(loss: registry.Loss, arguments: dict[str, Any]) -> bool:
    """Whether a loss of regions needs several classes."""
    return (
        loss.labels is Labels.CLASS
        or any(kernel.couples_classes for kernel in loss.kernels)
        or bool(arguments.get("sparse"))
        or arguments.get("activation") == "softmax"
        or arguments.get("class_weights") is not None
        or not arguments.get("include_background", True)
    )


def _length(values: Any) -> int:
    try:
        return len(values)
    except TypeError:
        return 0
