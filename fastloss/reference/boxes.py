"""The losses between boxes, of what a pair of boxes measures along each axis.

The names and the order of the parameters are those of `csrc/losses/boxes.h`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from fastloss.calls import Inputs, Tensor
from fastloss.reference.reduction import reduced
from fastloss.registry import Pattern, kernels


class Axis(NamedTuple):
    """Lengths along one axis.

    Attributes:
        width: Of the prediction; 0 where its ends are in the wrong order.
        label_width: Of the label, likewise.
        overlap: Of both.
        hull: From the first end of either to the last, in whatever order they are.
        shift: From the label's centre to the prediction's.
    """

    width: Tensor
    label_width: Tensor
    overlap: Tensor
    hull: Tensor
    shift: Tensor


def _even(choose: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The smaller or the larger; equals share the gradient."""
    return 0.5 * (choose(x, y) + choose(y, x))


def _sorted(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    inverted = high < low
    return tf.where(inverted, high, low), tf.where(inverted, low, high)


def _of_corners(low: Tensor, high: Tensor, label_low: Tensor, label_high: Tensor) -> Axis:
    overlap = _even(tf.minimum, high, label_high) - _even(tf.maximum, low, label_low)
    first, last = _sorted(low, high)
    label_first, label_last = _sorted(label_low, label_high)
    return Axis(
        tf.nn.relu(high - low),
        tf.nn.relu(label_high - label_low),
        tf.nn.relu(overlap),
        _even(tf.maximum, last, label_last) - _even(tf.minimum, first, label_first),
        0.5 * ((low - label_low) + (high - label_high)),
    )


def _of_centres(centre: Tensor, size: Tensor, label_centre: Tensor, label_size: Tensor) -> Axis:
    half, label_half, shift = 0.5 * size, 0.5 * label_size, centre - label_centre
    ends = _of_corners(-half, half, -shift - label_half, label_half - shift)
    return ends._replace(label_width=tf.nn.relu(label_size), shift=shift)


def _axes(y_true: Tensor, y_pred: Tensor, box_format: str) -> tuple[Axis, Axis]:
    axis = _of_corners if box_format == "corners" else _of_centres
    box, label = tf.unstack(y_pred, 4, axis=-1), tf.unstack(y_true, 4, axis=-1)
    return axis(box[0], box[2], label[0], label[2]), axis(box[1], box[3], label[1], label[3])


def _union(x: Axis, y: Axis) -> Tensor:
    return x.width * y.width + x.label_width * y.label_width - x.overlap * y.overlap


def box_iou(x: Axis, y: Axis, epsilon: float) -> Tensor:
    return 1 - x.overlap * y.overlap / tf.maximum(_union(x, y), epsilon)


def generalized_box_iou(x: Axis, y: Axis, epsilon: float) -> Tensor:
    hull = x.hull * y.hull
    return box_iou(x, y, epsilon) + (hull - _union(x, y)) / tf.maximum(hull, epsilon)


def distance_box_iou(x: Axis, y: Axis, epsilon: float) -> Tensor:
    diagonal = tf.square(x.hull) + tf.square(y.hull)
    distance = tf.square(x.shift) + tf.square(y.shift)
    return box_iou(x, y, epsilon) + distance / tf.maximum(diagonal, epsilon)


def complete_box_iou(x: Axis, y: Axis, epsilon: float) -> Tensor:
    square = tf.square(x.width) + tf.square(y.width)
    label_square = tf.square(x.label_width) + tf.square(y.label_width)
    flat = tf.minimum(square, label_square) < epsilon
    # Selected before the angles are taken: they have no gradient at the origin.
    sides = (x.label_width, y.label_width, x.width, y.width)
    width, height, *others = (tf.where(flat, tf.ones_like(side), side) for side in sides)
    v = 4 / 3.141592653589793**2 * tf.square(tf.atan2(width, height) - tf.atan2(*others))
    alpha = tf.stop_gradient(v / tf.maximum(box_iou(x, y, epsilon) + v, epsilon))
    return distance_box_iou(x, y, epsilon) + alpha * v


LOSSES: dict[str, Callable[..., Tensor]] = {
    kernel.name: globals()[kernel.name] for kernel in kernels(Pattern.BOXES)
}


def boxes(loss: str, parameters: Sequence[float], inputs: Inputs, box_format: str) -> Tensor:
    """The same as `fastloss.ops.boxes`, argument for argument."""
    dtype = inputs.accumulation
    axes = _axes(tf.cast(inputs.y_true, dtype), tf.cast(inputs.y_pred, dtype), box_format)
    values = LOSSES[loss](*axes, *parameters)
    return reduced(values, inputs.weight, inputs.reduction)
