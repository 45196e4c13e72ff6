"""What a loss asks, told by its name and its arguments."""

from __future__ import annotations

import inspect
import re
from functools import partial
from typing import Any, NamedTuple

import keras

from fastloss.losses import WeightedSum

# What y_true and y_pred hold, from what any loss takes to what only some understand: a sum of
# losses asks what the last of its terms here asks.
KINDS = ("number", "binary", "one-hot", "sparse", "vector", "distribution", "box", "mask")

_KINDS = {
    "binary_crossentropy": "binary",
    "binary_focal_crossentropy": "binary",
    "hinge": "binary",
    "squared_hinge": "binary",
    "categorical_crossentropy": "one-hot",
    "categorical_focal_crossentropy": "one-hot",
    "categorical_hinge": "one-hot",
    "sparse_categorical_crossentropy": "sparse",
    "sparse_categorical_focal_crossentropy": "sparse",
    "sparse_categorical_hinge": "sparse",
    "categorical_generalized_cross_entropy": "sparse",
    "linear_sparse_categorical_crossentropy": "sparse",
    "cosine_similarity": "vector",
    "kl_divergence": "distribution",
    "jensen_shannon_divergence": "distribution",
    "box_iou": "box",
    "generalized_box_iou": "box",
    "distance_box_iou": "box",
    "complete_box_iou": "box",
    "dice": "mask",
    "log_cosh_dice": "mask",
    "generalized_dice": "mask",
    "jaccard": "mask",
    "tversky": "mask",
    "focal_tversky": "mask",
    "lovasz_softmax": "mask",
    "lovasz_hinge": "mask",
}
# They have no argument for it.
_OF_LOGITS = {
    "hinge",
    "squared_hinge",
    "categorical_hinge",
    "sparse_categorical_hinge",
    "jensen_shannon_divergence",
    "lovasz_hinge",
}
_BY_CLASS = {"lovasz_softmax", "generalized_dice"}
# They are made for labels above 0; the first two are not defined for smaller predictions.
_TARGETS = {
    "poisson": 2.0,
    "mean_squared_logarithmic_error": 1.0,
    "mean_absolute_percentage_error": 1.0,
}
_POSITIVE = {"poisson", "mean_squared_logarithmic_error"}


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
        kinds = [kind_of(term) for term in terms]
        most = max(kinds, key=lambda kind: KINDS.index(kind.labels))
        return most._replace(
            classes=max(kind.classes for kind in kinds if kind.labels == most.labels),
            target=max(kind.target for kind in kinds),
            positive=any(kind.positive for kind in kinds),
        )
    inner = getattr(loss, "loss", None)
    if isinstance(inner, keras.losses.Loss):
        return kind_of(inner)
    name = next((name for name in _names(loss) if name in _KINDS or name in _TARGETS), "")
    labels = _KINDS.get(name, "number")
    sparse = bool(_argument(loss, "sparse", False))
    axis = _argument(loss, "class_axis" if labels == "mask" else "axis", -1)
    by_class = (
        sparse
        or name in _BY_CLASS
        or _argument(loss, "activation", None) == "softmax"
        or _argument(loss, "class_weights", None) is not None
        or not _argument(loss, "include_background", True)
    )
    weights = [_length(_argument(loss, key, None)) for key in ("class_weights", "alpha")]
    return Kind(
        labels,
        logits=name in _OF_LOGITS or bool(_argument(loss, "from_logits", False)),
        classes=max(2, *weights) if labels != "mask" or by_class else 1,
        axis=axis if isinstance(axis, int) else -1,
        sparse=sparse,
        centred=_box_format(loss) == "cxcywh",
        target=_TARGETS.get(name, 0.0),
        positive=name in _POSITIVE,
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


def _names(loss: Any) -> list[str]:
    """What a loss may be known by, the most special name first."""
    function: Any = getattr(loss, "fn", loss)
    if isinstance(function, partial):
        function = function.func
    own = [function.__name__] if inspect.isfunction(function) else []
    wrapped = inspect.unwrap(function) if callable(function) else function
    own += [wrapped.__name__] if inspect.isfunction(wrapped) else []
    return own + [_snake(base.__name__) for base in type(loss).__mro__]


def _snake(name: str) -> str:
    bounds = r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
    return re.sub(bounds, "_", name.replace("IoU", "Iou")).lower()


def _argument(loss: Any, name: str, default: Any) -> Any:
    """An argument of a loss, whether it is an attribute, bound by a partial, or a default."""
    if hasattr(loss, name):
        return getattr(loss, name)
    function: Any = getattr(loss, "fn", loss)
    bound = {**getattr(loss, "_fn_kwargs", {}), **getattr(function, "keywords", {})}
    if name in bound:
        return bound[name]
    if isinstance(function, partial):
        function = function.func
    if inspect.isfunction(function):
        parameter = inspect.signature(function).parameters.get(name)
        if parameter is not None and parameter.default is not parameter.empty:
            return parameter.default
    return default


def _box_format(loss: Any) -> Any:
    config = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    return config.get("box_format", _argument(loss, "box_format", "xyxy"))


def _length(values: Any) -> int:
    try:
        return len(values)
    except TypeError:
        return 0
