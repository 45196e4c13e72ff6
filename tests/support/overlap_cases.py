"""The overlap losses with arguments, data and what they must give, from the papers, in numpy."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cases import numpy_dtype

import fastloss as fl

Array = np.ndarray

EPSILON = 1e-7


@dataclass(frozen=True)
class Case:
    """A loss with arguments; the classes are in the last dimension."""

    loss: str
    public: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        extra = [f"{name}={value}" for name, value in self.arguments.items()]
        return "-".join([self.public, *extra]).replace(" ", "")

    @property
    def function(self) -> str:
        """Name of the public function."""
        return self.loss

    @property
    def is_sparse(self) -> bool:
        return self.arguments.get("sparse", False)

    def ours(self, **arguments: Any) -> Any:
        return getattr(fl, self.public)(**{**self.arguments, **arguments})

    def truth(self, y_true: Array, y_pred: Array, **arguments: Any) -> Array:
        return truth(self.public, y_true, y_pred, **{**self.arguments, **arguments})

    def data(
        self,
        shape: tuple[int, ...],
        dtype: str = "float32",
        label_dtype: str | None = None,
        seed: int = 0,
    ) -> tuple[Array, Array]:
        """Labels and predictions; labels are masks, or class numbers of y_pred's last axis."""
        random = np.random.default_rng(seed)
        logits = self.arguments.get("from_logits") or self.public == "LovaszHinge"
        y_pred = random.normal(0, 2, shape) if logits else random.uniform(0.02, 0.98, shape)
        if self.is_sparse:
            y_true = random.integers(0, max(shape[-1], 1), shape[:-1])
        else:
            y_true = random.uniform(0, 1, shape) < 0.4
        if label_dtype is None:
            label_dtype = "int32" if self.is_sparse else dtype
        return y_true.astype(numpy_dtype(label_dtype)), y_pred.astype(numpy_dtype(dtype))


_SPARSE = {"from_logits": True, "sparse": True}
_TVERSKY = {"alpha": 0.3, "beta": 0.8}
_FOCAL = {"alpha": 0.6, "beta": 0.3, "gamma": 1.5}

CASES = (
    Case("dice", "Dice"),
    Case("dice", "Dice", {"squared": True, "from_logits": True, "smooth_numerator": 1.0}),
    Case("dice", "Dice", {"per_image": True, "per_class": True, "include_background": False}),
    Case("dice", "Dice", _SPARSE),
    Case("dice", "Dice", {**_SPARSE, "ignore_class": 1, "class_weights": [0.5, 2.0, 1.0]}),
    Case("tversky", "Tversky", _TVERSKY),
    Case("tversky", "Tversky", {**_TVERSKY, **_SPARSE, "per_image": True}),
    Case("focal_tversky", "FocalTversky"),
    Case("focal_tversky", "FocalTversky", {**_FOCAL, **_SPARSE, "include_background": False}),
    Case("jaccard", "Jaccard"),
    Case("jaccard", "Jaccard", {**_SPARSE, "smooth": 0.5, "squared": True}),
    Case("log_cosh_dice", "LogCoshDice"),
    Case("log_cosh_dice", "LogCoshDice", {**_SPARSE, "per_class": False}),
    Case("generalized_dice", "GeneralizedDice", {"per_image": True}),
    Case("generalized_dice", "GeneralizedDice", {**_SPARSE, "weight": "simple"}),
    Case("generalized_dice", "GeneralizedDice", {**_SPARSE, "class_weights": [0.5, 2.0, 1.0]}),
    Case("matthews", "Matthews"),
    Case("matthews", "Matthews", {**_SPARSE, "ignore_class": 1, "smooth_numerator": 0.5}),
    Case("lovasz_softmax", "LovaszSoftmax"),
    Case("lovasz_softmax", "LovaszSoftmax", {**_SPARSE, "ignore_class": 1}),
    Case("lovasz_hinge", "LovaszHinge", {"per_image": True}),
)
IDS = [case.id for case in CASES]
# Those that a kernel may compute.
SUMMED = tuple(case for case in CASES if "Lovasz" not in case.public)
SUMMED_IDS = [case.id for case in SUMMED]


def score(
    public: str,
    t: Array,
    p: Array,
    squared: bool = False,
    smooth_numerator: float = 0.0,
    smooth_denominator: float | None = None,
    smooth: float | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    gamma: float = 0.75,
) -> float:
    """The loss of one region and its prediction, vectors, as the papers write it.

    A Tversky index weighs what is missed by alpha and what is wrong by beta, as in Keras.
    """
    t, p = t.astype(np.float64), p.astype(np.float64)
    above = smooth_numerator
    below = EPSILON if smooth_denominator is None else smooth_denominator
    both = (t * t + p * p).sum() if squared else (t + p).sum()
    hit = (t * p).sum()
    if public in ("Dice", "LogCoshDice"):
        dice = 1 - (2 * hit + above) / (both + below)
        return dice if public == "Dice" else np.log(np.cosh(dice))
    if public == "Jaccard":
        same = EPSILON if smooth is None else smooth
        return 1 - (hit + same) / (both - hit + same)
    if public == "Matthews":
        missed, wrong = (t * (1 - p)).sum(), ((1 - t) * p).sum()
        rest = ((1 - t) * (1 - p)).sum()
        product = (hit + wrong) * (hit + missed) * (rest + wrong) * (rest + missed)
        return 1 - (hit * rest - wrong * missed + above) / (np.sqrt(product) + below)
    assert public in ("Tversky", "FocalTversky"), public
    standard = (0.5, 0.5) if public == "Tversky" else (0.7, 0.3)
    alpha, beta = (x if y is None else y for x, y in zip(standard, (alpha, beta), strict=True))
    missed = ((t * t if squared else t) - t * p).sum()
    wrong = ((p * p if squared else p) - t * p).sum()
    loss = 1 - (hit + above) / (hit + alpha * missed + beta * wrong + below)
    return loss if public == "Tversky" else max(loss, 0.0) ** gamma


def generalized(
    t: Array,
    p: Array,
    weight: str = "square",
    squared: bool = False,
    smooth_numerator: float = 0.0,
    smooth_denominator: float | None = None,
    class_weights: Any = None,
) -> float:
    """The generalised Dice loss of regions (positions, classes)."""
    power = {"square": 2, "simple": 1, "uniform": 0}[weight]
    sizes = [float((t[:, c] ** 2 if squared else t[:, c]).sum()) for c in range(t.shape[1])]
    known = [size**-power for size in sizes if size]
    above, both = smooth_numerator, EPSILON if smooth_denominator is None else smooth_denominator
    for c, size in enumerate(sizes):
        w = size**-power if size else max(known, default=1)
        w *= 1 if class_weights is None else class_weights[c]
        above += 2 * w * (t[:, c] * p[:, c]).sum()
        both += w * ((p[:, c] ** 2 if squared else p[:, c]).sum() + size)
    return 1 - above / both


def extension(errors: Array, labels: Array) -> float:
    """The Lovász extension, by the Jaccard loss of growing sets of mistakes."""
    loss, before = 0.0, 0.0
    wrong = np.zeros(len(errors), bool)
    for i in np.argsort(-errors, kind="stable"):
        wrong[i] = True
        predicted = np.where(wrong, ~labels, labels)
        union = (predicted | labels).sum()
        jaccard = 1 - (predicted & labels).sum() / union if union else 0.0
        loss += max(errors[i], 0.0) * (jaccard - before)
        before = jaccard
    return loss


def probabilities(y_pred: Array, from_logits: bool, activation: str | None, sparse: bool) -> Array:
    """Of predictions with the classes last."""
    if not from_logits:
        return y_pred
    if (activation or ("softmax" if sparse else "sigmoid")) == "sigmoid":
        return 1 / (1 + np.exp(-y_pred))
    power = np.exp(y_pred - y_pred.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


def positions(
    y_true: Array, classes: int, sparse: bool, ignore_class: int | None
) -> tuple[Array, Array]:
    """Labels as rows of classes, and which positions count."""
    if not sparse:
        others = [c for c in range(classes) if c != ignore_class]
        counted = (y_true[..., others] != 0).any(-1)
        return y_true, counted if ignore_class is not None else np.ones_like(counted)
    rows = np.zeros((*y_true.shape, classes))
    for index in np.ndindex(y_true.shape):
        if y_true[index] != ignore_class:
            rows[(*index, int(y_true[index]))] = 1
    return rows, np.ones(y_true.shape, bool) if ignore_class is None else y_true != ignore_class


def truth(
    public: str,
    y_true: Array,
    y_pred: Array,
    from_logits: bool = False,
    activation: str | None = None,
    sparse: bool = False,
    per_class: bool | None = None,
    per_image: bool = False,
    include_background: bool = True,
    class_weights: Any = None,
    ignore_class: int | None = None,
    classes: str = "present",
    **parameters: Any,
) -> Array:
    """The loss of each group, in float64, one position list at a time; classes last."""
    y_pred = y_pred.astype(np.float64)
    if public == "LovaszHinge":
        return _hinge(y_true.astype(np.float64), y_pred, per_image, ignore_class)
    if public == "LovaszSoftmax" and from_logits:
        activation = "softmax"
    p = probabilities(y_pred, from_logits, activation, sparse)
    t, counted = positions(y_true.astype(np.float64), p.shape[-1], sparse, ignore_class)
    if per_class is None:
        exclusive = sparse or (from_logits and activation == "softmax")
        per_class = exclusive or class_weights is not None
    weights = [1.0] * p.shape[-1] if class_weights is None else list(class_weights)
    start = 0 if include_background else 1
    groups = []
    for image in range(len(p)) if per_image else [slice(None)]:
        here = counted[image]
        t_here, p_here = (x[image][here][..., start:] for x in (t, p))
        if public == "LovaszSoftmax":
            groups.append(_lovasz(t_here, p_here, classes))
        elif public == "GeneralizedDice":
            groups.append(generalized(t_here, p_here, class_weights=weights[start:], **parameters))
        elif per_class:
            groups.append(
                [
                    weights[start + c] * score(public, t_here[:, c], p_here[:, c], **parameters)
                    for c in range(p_here.shape[-1])
                ]
            )
        else:
            groups.append(score(public, t_here.ravel(), p_here.ravel(), **parameters))
    return np.asarray(groups if per_image else groups[0])


def _lovasz(t: Array, p: Array, classes: str) -> float:
    values = [
        extension(np.abs(t[:, c] - p[:, c]), t[:, c] > 0.5)
        for c in range(p.shape[-1])
        if classes == "all" or t[:, c].any()
    ]
    return sum(values) / max(len(values), 1)


def _hinge(y_true: Array, y_pred: Array, per_image: bool, ignore_class: int | None) -> Array:
    groups = []
    for t, p in zip(y_true, y_pred, strict=True) if per_image else [(y_true, y_pred)]:
        counted = np.ones(t.shape, bool) if ignore_class is None else t != ignore_class
        groups.append(extension(1 - (2 * t[counted] - 1) * p[counted], t[counted] > 0.5))
    return np.asarray(groups if per_image else groups[0])


def choices(**arguments: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Every combination."""
    return [
        dict(zip(arguments, values, strict=True))
        for values in itertools.product(*arguments.values())
    ]


def find(public: str, **arguments: Any) -> Case:
    """The first case of a class, with these arguments if any are given."""
    return next(
        case
        for case in CASES
        if case.public == public and (not arguments or case.arguments == arguments)
    )
