"""The losses between boxes: arguments, pairs of boxes, and the truth about them.

The truth is the formula in a wider format, and its derivative by a step into the complex plane,
which loses nothing to cancellation: f'(x) = Im f(x + ih) / h for any tiny h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import kernels
import numpy as np
import tensorflow as tf
from cases import FromFunction, numpy_dtype

import fastloss as fl

Array = np.ndarray

LOSSES = ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou")
PUBLIC = ("BoxIoU", "GeneralizedBoxIoU", "DistanceBoxIoU", "CompleteBoxIoU")
FORMATS = ("xyxy", "yxyx", "cxcywh")
EPSILON = 1e-7

WIDER = {np.float32: np.complex128, np.float64: np.clongdouble}


# Pairs of boxes


def data(
    count: int,
    dtype: str = "float32",
    label_dtype: str | None = None,
    centred: bool = False,
    seed: int = 0,
    side: float = 40.0,
) -> tuple[Array, Array]:
    """Labels and predictions: boxes close to their label, somewhere else, inside it, around it."""
    random = np.random.default_rng(seed)
    centre = random.uniform(-side, side, (count, 2))
    size = np.exp(random.uniform(-2, 0, (count, 2))) * side
    kind = random.integers(0, 4, (count, 1))
    far = np.where(kind == 0, 0.05, np.where(kind == 1, 2, 0.1))
    moved = centre + far * size * random.normal(0, 1, (count, 2))
    scale = np.where(kind == 2, 0.5, np.where(kind == 3, 2, 1))
    other = scale * size * np.exp(0.1 * random.normal(0, 1, (count, 2)))
    boxes = []
    for middle, extent in ((centre, size), (moved, other)):
        both = (middle, extent) if centred else (middle - extent / 2, middle + extent / 2)
        boxes.append(np.concatenate(both, -1))
    if label_dtype is not None and np.issubdtype(numpy_dtype(label_dtype), np.integer):
        boxes[0] = np.maximum(np.round(boxes[0]), 0)
    y_true, y_pred = boxes
    return (
        y_true.astype(numpy_dtype(label_dtype or dtype)),
        y_pred.astype(numpy_dtype(dtype)),
    )


def degenerate() -> tuple[Array, Array]:
    """Every pair of: boxes of every order of their ends, with and without area, alike and apart."""
    some = [0, 1, 2, 5]
    boxes = [[a, b, c, d] for a in some for b in (0, 2) for c in some for d in (0, 2)]
    boxes += [[1e-4, 1e-4, 2e-4, 2e-4], [1e-4, 0, 1e-4, 3], [-1e3, -1e3, 1e3, 1e3]]
    boxes += [[3, 3, -1e3, -1e3], [1e4, 1e4, 1e4 + 1, 1e4 + 1]]
    array = np.array(boxes, np.float64)
    return np.repeat(array, len(array), 0), np.tile(array, (len(array), 1))


# Truth


class Truth(NamedTuple):
    """A loss per box and its derivatives, and the sum of the absolute terms of these."""

    value: Array
    slope: Array
    slope_terms: Array


def _where(holds: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
    """The smaller or larger real part; equals are halved between both."""
    even = 0.5 * (x + y)
    return np.where(x.real == y.real, even, np.where(holds(x.real, y.real), x, y))


def smaller(x: Array, y: Array) -> Array:
    return _where(np.less, x, y)


def larger(x: Array, y: Array) -> Array:
    return _where(np.greater, x, y)


def _positive(x: Array) -> Array:
    return np.where(x.real > 0, x, 0)


def _at_least(x: Array, bound: float) -> Array:
    return np.where(x.real < bound, bound, x)


class Lengths(NamedTuple):
    """What a pair of boxes measures along one axis; `ends` is how far its ends are apart."""

    width: Array
    label_width: Array
    overlap: Array
    hull: Array
    shift: Array
    ends: Array


def _lengths(low: Array, high: Array, label_low: Array, label_high: Array) -> Lengths:
    inverted, label_inverted = high.real < low.real, label_high.real < label_low.real
    first, last = np.where(inverted, high, low), np.where(inverted, low, high)
    label_first = np.where(label_inverted, label_high, label_low)
    label_last = np.where(label_inverted, label_low, label_high)
    return Lengths(
        _positive(high - low),
        _positive(label_high - label_low),
        _positive(smaller(high, label_high) - larger(low, label_low)),
        larger(last, label_last) - smaller(first, label_first),
        (low + high - label_low - label_high) / 2,
        abs(low - label_low) + abs(high - label_high),
    )


def axes(y_true: Array, y_pred: Array, centred: bool) -> tuple[Lengths, Lengths]:
    if centred:
        y_true, y_pred = (
            np.concatenate([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], -1)
            for b in (y_true, y_pred)
        )
    x, y = (
        _lengths(y_pred[:, i], y_pred[:, i + 2], y_true[:, i], y_true[:, i + 2]) for i in (0, 1)
    )
    return x, y


class Parts(NamedTuple):
    value: Array
    iou: Array
    union: Array
    hull: Array
    diagonal: Array
    distance: Array
    angle: Array
    alpha: Array


def formula(loss: str, x: Lengths, y: Lengths, epsilon: Any) -> Parts:
    both = x.overlap * y.overlap
    area = x.width * y.width + x.label_width * y.label_width - both
    union, hull = _at_least(area, epsilon), _at_least(x.hull * y.hull, epsilon)
    iou = both / union
    diagonal = _at_least(x.hull**2 + y.hull**2, epsilon)
    distance = (x.shift**2 + y.shift**2) / diagonal
    squares = (x.width**2 + y.width**2, x.label_width**2 + y.label_width**2)
    flat = np.minimum(squares[0].real, squares[1].real) < epsilon
    # Of the side ratio that is below 1, so that no height of 0 divides.
    angles = []
    for width, height in ((x.label_width, y.label_width), (x.width, y.width)):
        steep = width.real > height.real
        ratio = np.where(steep, height, width) / np.where(
            flat, 1, np.where(steep, width, np.where(height == 0, 1, height))
        )
        angles.append(
            np.where(steep, np.arctan(np.ones_like(ratio)) * 2 - np.arctan(ratio), np.arctan(ratio))
        )
    angle = np.where(flat, 0, angles[0] - angles[1])
    v = angle**2 / (4 * np.arctan(np.ones_like(angle.real)) / 2) ** 2
    alpha = (v / _at_least(1 - iou + v, epsilon)).real
    value = 1 - iou
    if loss == "generalized_box_iou":
        value = value + (x.hull * y.hull - area) / hull
    if loss in ("distance_box_iou", "complete_box_iou"):
        value = value + distance
    if loss == "complete_box_iou":
        value = value + alpha * v
    return Parts(value, iou, union, hull, diagonal, distance, angle, alpha)


def _end_terms(loss: str, parts: Parts, axis: Lengths, other: Lengths, own: Lengths) -> Array:
    """What a derivative by an end of an axis is the sum of, each term without its sign."""
    iou, real = parts.iou.real, lambda x: abs(x.real)
    terms = (real(other.width) + (1 + iou) * real(own.overlap)) / real(parts.union)
    if loss == "generalized_box_iou":
        terms += (real(other.hull) + real(other.width) + real(own.overlap)) / real(parts.hull)
    if loss in ("distance_box_iou", "complete_box_iou"):
        share = 2 * real(parts.distance) * real(axis.hull)
        terms += (axis.ends.real + share) / real(parts.diagonal)
    if loss == "complete_box_iou":
        square = np.maximum(axis.width.real**2 + other.width.real**2, EPSILON)
        v = parts.angle.real**2 * (2 / np.pi) ** 2
        near = np.maximum(1 - iou + v, EPSILON)
        turn = parts.alpha * (1 + real(parts.angle) / near)
        terms += 8 / np.pi**2 * turn * real(other.width) / square
    return terms


def truth(
    loss: str, y_true: Array, y_pred: Array, centred: bool = False, epsilon: float = EPSILON
) -> Truth:
    """The loss of every box by itself, in the format wider than that which it is computed in."""
    compute = np.float64 if y_pred.dtype == np.float64 else np.float32
    wide = WIDER[compute]
    bound = float(compute(epsilon))
    t, p = (boxes.astype(compute).astype(wide) for boxes in (y_true, y_pred))
    step = np.finfo(wide).eps ** 8
    with np.errstate(all="ignore"):
        x, y = axes(t, p, centred)
        parts = formula(loss, x, y, bound)
        slopes = []
        for i in range(4):
            moved = p.copy()
            moved[:, i] += 1j * step
            slopes.append(formula(loss, *axes(t, moved, centred), bound).value.imag / step)
        terms = []
        for axis, other in ((x, y), (y, x)):
            own = other
            if centred:
                # Ends are made of centre and size, and overlaps rounded as these are.
                sides = other.width + other.label_width
                own = other._replace(overlap=np.where(other.overlap == 0, 0, sides))
            terms.append(_end_terms(loss, parts, axis, other, own))
        terms = [2 * term for term in terms] + terms if centred else terms * 2
    return Truth(parts.value.real, np.stack(slopes, -1), np.stack(terms, -1))


# Public losses


@dataclass(frozen=True)
class Case:
    """A loss with arguments."""

    loss: str
    public: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return "-".join([self.public, *map(str, self.arguments.values())])

    @property
    def function(self) -> str:
        return self.loss

    @property
    def box_format(self) -> str:
        return self.arguments.get("box_format", "xyxy")

    @property
    def centred(self) -> bool:
        return self.box_format == "cxcywh"

    def ours(self, **arguments: Any) -> Any:
        return getattr(fl, self.public)(**self.arguments, **arguments)

    def keras(self, **arguments: Any) -> Any:
        """The same loss of boxes with an area, as Keras would reduce it."""

        def function(y_true: Any, y_pred: Any) -> Any:
            y_true.shape.assert_is_compatible_with(y_pred.shape)
            return stand_in(self.loss, y_true, y_pred, self.centred)

        return FromFunction(function, **arguments)

    def data(self, shape: tuple[int, ...], dtype: str = "float32", **options: Any) -> Any:
        """Boxes of shape `(*shape, 4)`."""
        pair = data(int(np.prod(shape)), dtype, centred=self.centred, **options)
        return tuple(boxes.reshape(*shape, 4) for boxes in pair)


def stand_in(loss: str, y_true: Any, y_pred: Any, centred: bool) -> Any:
    """A loss of boxes with an area, as papers write it."""
    if centred:
        y_true, y_pred = (
            tf.concat([b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2], -1)
            for b in (y_true, y_pred)
        )
    low, high = tf.maximum(y_true, y_pred), tf.minimum(y_true, y_pred)
    both = tf.reduce_prod(tf.maximum(high[..., 2:] - low[..., :2], 0), -1)
    size, label_size = (b[..., 2:] - b[..., :2] for b in (y_pred, y_true))
    union = tf.reduce_prod(size, -1) + tf.reduce_prod(label_size, -1) - both
    hull = low[..., 2:] - high[..., :2]
    value = 1 - both / union
    if loss == "box_iou":
        return value
    if loss == "generalized_box_iou":
        return value + 1 - union / tf.reduce_prod(hull, -1)
    shift = (y_pred[..., :2] + y_pred[..., 2:] - y_true[..., :2] - y_true[..., 2:]) / 2
    distance = tf.reduce_sum(shift**2, -1) / tf.reduce_sum(hull**2, -1)
    if loss == "distance_box_iou":
        return value + distance
    angle = tf.atan2(label_size[..., 0], label_size[..., 1]) - tf.atan2(size[..., 0], size[..., 1])
    v = 4 / np.pi**2 * angle**2
    return value + distance + tf.stop_gradient(v / (value + v)) * v


CASES = (
    *(Case(loss, public) for loss, public in zip(LOSSES, PUBLIC, strict=True)),
    Case("generalized_box_iou", "GeneralizedBoxIoU", {"box_format": "yxyx"}),
    Case("complete_box_iou", "CompleteBoxIoU", {"box_format": "cxcywh", "epsilon": 1e-9}),
)
IDS = [case.id for case in CASES]


def units(actual: Array, expected: Array, terms: Array, compute: type, stored: str) -> Array:
    """Errors in units of the computing type; a stored half type is rounded once more."""
    eps = {"bfloat16": 2.0**-7, "float16": 2.0**-10}.get(stored, 0.0)
    smallest = {"bfloat16": 2.0**-133, "float16": 2.0**-24}.get(stored, 0.0)
    rounding = 0.501 * np.maximum(eps * abs(expected), smallest)
    error = np.maximum(abs(actual - expected) - rounding, 0)
    result = error / (np.finfo(compute).eps * terms + np.finfo(compute).tiny)
    return np.where(np.isnan(result), np.inf, result).astype(np.float64)


def worst_units(
    loss: str, y_true: Array, y_pred: Array, centred: bool = False
) -> tuple[float, float]:
    """The largest error of the kernel's loss and gradient, in units."""
    stored = tf.as_dtype(y_pred.dtype).name
    compute = np.float64 if stored == "float64" else np.float32
    value, gradient = kernels.boxes(loss, y_true, y_pred, kernels.NONE, centred=centred)
    expected = truth(loss, y_true, y_pred, centred)
    ones = np.ones(len(y_pred))
    wide = expected.slope.dtype
    found = units(value.astype(wide), expected.value, ones, compute, compute.__name__)
    slopes = units(gradient.astype(wide), expected.slope, expected.slope_terms, compute, stored)
    return found.max(initial=0), slopes.max(initial=0)
