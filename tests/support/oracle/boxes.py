"""The losses between boxes: one value per pair `t` and `p`, `(boxes, 4)`, and its gradient.

Numbers carry their derivatives by the four coordinates of the prediction. Equal numbers share the
derivative of their maximum; that of max(x, 0) is 0 at 0; a denominator below epsilon is a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from oracle.point import Array, Point, Wide, times


class Number(NamedTuple):
    """A number with its derivatives, `(boxes, 4)`.

    Attributes:
        value: The number.
        slope: Its derivatives.
        terms: The sums of their absolute terms, by which their rounding is measured.
        size: The sum of the absolute terms of the number itself.
    """

    value: Array
    slope: Array
    terms: Array
    size: Array

    def __add__(self, other: Number) -> Number:
        return Number(*(x + y for x, y in zip(self, other, strict=True)))

    def __sub__(self, other: Number) -> Number:
        return self + other.scaled(-1)

    def __mul__(self, other: Number) -> Number:
        x, y = _column(self), _column(other)
        return Number(
            self.value * other.value,
            times(y.value, self.slope) + times(x.value, other.slope),
            times(y.size, self.terms) + times(x.size, other.terms),
            times(self.size, other.size),
        )

    def __truediv__(self, other: Number) -> Number:
        x, y = _column(self), _column(other)
        below = y.size / y.value**2
        return Number(
            self.value / other.value,
            self.slope / y.value - x.value / y.value * (other.slope / y.value),
            # A share is rounded as 1 is: it may be made of the share of the rest.
            below * (self.terms + (1 + x.size / abs(y.value)) * other.terms),
            (1 + self.size / abs(other.value)) * other.size / abs(other.value),
        )

    def scaled(self, factor: float) -> Number:
        """A multiple."""
        return Number(
            factor * self.value,
            factor * self.slope,
            abs(factor) * self.terms,
            abs(factor) * self.size,
        )

    def exact(self) -> Number:
        """The same, as exact as its own rounding."""
        return self._replace(size=abs(self.value))

    def at_least(self, bound: float) -> Number:
        """The maximum with a bound, which is a constant where it is larger."""
        is_larger = (self.value > bound) if bound == 0 else (self.value >= bound)
        return chosen(
            is_larger | np.isnan(self.value), self, constant(bound * np.ones_like(self.value))
        )


def _column(x: Number) -> Number:
    return x._replace(value=x.value[:, None], size=x.size[:, None])


def constant(value: Array) -> Number:
    """A number without a derivative."""
    nothing = np.zeros((len(value), 4), Wide)
    return Number(value, nothing, nothing, abs(value))


def chosen(mask: Array, x: Number, y: Number) -> Number:
    """X where the mask is set, else y."""
    masks = (mask, mask[:, None], mask[:, None], mask)
    return Number(*(np.where(m, one, other) for m, one, other in zip(masks, x, y, strict=True)))


def larger(x: Number, y: Number) -> Number:
    """The maximum; equals share its derivative."""
    share = np.where(x.value == y.value, 0.5, (x.value > y.value) * 1.0)[:, None]
    return Number(
        np.maximum(x.value, y.value),
        share * x.slope + (1 - share) * y.slope,
        share * x.terms + (1 - share) * y.terms,
        np.maximum(x.size, y.size),
    )


def smaller(x: Number, y: Number) -> Number:
    """The minimum; equals share its derivative."""
    return larger(x.scaled(-1), y.scaled(-1)).scaled(-1)


class Axis(NamedTuple):
    """Lengths along one axis."""

    width: Number
    label_width: Number
    overlap: Number
    hull: Number
    shift: Number


def _axis(low: Number, high: Number, label_low: Number, label_high: Number) -> Axis:
    # A difference of coordinates is as exact as they are, wherever the box lies.
    # The hull holds a box whose ends are in the wrong order all the same.
    inverted = high.value < low.value
    first, last = chosen(inverted, high, low), chosen(inverted, low, high)
    label_first, label_last = (
        constant(choose(label_low.value, label_high.value)) for choose in (np.minimum, np.maximum)
    )
    return Axis(
        (high - low).exact().at_least(0),
        (label_high - label_low).exact().at_least(0),
        (smaller(high, label_high) - larger(low, label_low)).exact().at_least(0),
        (larger(last, label_last) - smaller(first, label_first)).exact(),
        (low - label_low).exact().scaled(0.5) + (high - label_high).exact().scaled(0.5),
    )


def _iou(x: Axis, y: Axis, epsilon: float) -> tuple[Number, Number]:
    """The intersection over the union, and the union."""
    both = x.overlap * y.overlap
    union = x.width * y.width + x.label_width * y.label_width - both
    return both / union.at_least(epsilon), union


def _one(x: Axis) -> Number:
    return constant(np.ones_like(x.width.value))


def box_iou(x: Axis, y: Axis, epsilon: float) -> Number:
    return _one(x) - _iou(x, y, epsilon)[0]


def generalized_box_iou(x: Axis, y: Axis, epsilon: float) -> Number:
    iou, union = _iou(x, y, epsilon)
    hull = x.hull * y.hull
    return _one(x) - iou + (hull - union) / hull.at_least(epsilon)


def distance_box_iou(x: Axis, y: Axis, epsilon: float) -> Number:
    diagonal = (x.hull * x.hull + y.hull * y.hull).at_least(epsilon)
    distance = x.shift * x.shift + y.shift * y.shift
    return _one(x) - _iou(x, y, epsilon)[0] + distance / diagonal


def _angle(width: Number, height: Number, square: Array) -> Number:
    """The angle of a box's diagonal; 0 where `square`, its length squared, is 0."""
    square = np.where(square == 0, 1, square)[:, None]
    x, y = width.value[:, None], height.value[:, None]
    return Number(
        np.arctan2(width.value, height.value),
        (y * width.slope - x * height.slope) / square,
        (abs(y) * width.terms + abs(x) * height.terms) / square,
        np.arctan2(width.value, height.value),
    )


def complete_box_iou(x: Axis, y: Axis, epsilon: float) -> Number:
    squares = [
        width.value**2 + height.value**2
        for width, height in ((x.width, y.width), (x.label_width, y.label_width))
    ]
    # The shape of a box that small means nothing.
    flat = np.minimum(*squares) < epsilon
    difference = _angle(x.width, y.width, squares[0]) - _angle(
        x.label_width, y.label_width, squares[1]
    )
    difference = chosen(flat, constant(np.zeros_like(squares[0])), difference)
    v = (difference * difference).scaled(4 / Wide(np.pi) ** 2)
    miss = 1 - _iou(x, y, epsilon)[0].value
    # Its share is a constant to the gradient.
    alpha = constant(v.value / np.maximum(miss + v.value, epsilon))
    return distance_box_iou(x, y, epsilon) + alpha * v


LOSSES: dict[str, Callable[..., Number]] = {
    loss.__name__: loss
    for loss in (box_iou, generalized_box_iou, distance_box_iou, complete_box_iou)
}


def right(loss: str, t: Array, p: Array, box_format: str, epsilon: float) -> Point:
    """A loss of boxes as corners, x first or y first, or as centre and size."""
    eye = np.eye(4, dtype=Wide)
    ones = [np.broadcast_to(eye[i], p.shape) for i in range(4)]
    box = [Number(p[:, i], ones[i], ones[i], abs(p[:, i])) for i in range(4)]
    label = [constant(t[:, i]) for i in range(4)]
    if box_format == "cxcywh":
        box, label = (
            [
                v[0] - v[2].scaled(0.5),
                v[1] - v[3].scaled(0.5),
                v[0] + v[2].scaled(0.5),
                v[1] + v[3].scaled(0.5),
            ]
            for v in (box, label)
        )
    axes = [_axis(box[i], box[i + 2], label[i], label[i + 2]) for i in (0, 1)]
    if box_format == "cxcywh":
        # Ends are made of centre and size, so that lengths are rounded as the sides are.
        axes = [_blurred(axis) for axis in axes]
    found = LOSSES[loss](*(axes[::-1] if box_format == "yxyx" else axes), epsilon)
    nan = np.isnan(found.value)[:, None]
    slope = np.where(nan, np.nan, found.slope)
    return Point(found.value, slope, None, 3 + found.size, found.terms)


def _blurred(axis: Axis) -> Axis:
    sides = axis.width.size + axis.label_width.size
    overlap = np.where(axis.overlap.value == 0, 0, sides)
    return axis._replace(
        overlap=axis.overlap._replace(size=overlap),
        hull=axis.hull._replace(size=axis.hull.size + sides),
    )
