"""The axis of the classes in y_pred, and a weight for each of them."""

from __future__ import annotations

import tensorflow as tf

from fastloss.calls import Tensor, accumulation
from fastloss.terms.inputs import TensorLike, in_dtype


def class_axis(axis: int, rank: int, argument: str = "axis") -> int:
    """The axis of the classes, from 0 to rank - 1.

    Raises:
        ValueError: If y_pred does not have it.
    """
    if not -rank <= axis < rank:
        raise ValueError(
            f"{argument} is {axis}, but y_pred has {rank} dimensions; expected {-rank} to "
            f"{rank - 1}"
        )
    return axis % rank


def class_weight(class_weights: TensorLike, y_pred: Tensor, axis: int) -> Tensor | None:
    """The weights of the classes in the accumulation dtype.

    Raises:
        ValueError: If there is not one for each class.
    """
    if class_weights is None:
        return None
    weight = in_dtype("class_weights", class_weights, accumulation(y_pred))
    classes = y_pred.shape[axis]
    if not weight.shape.is_compatible_with([classes]):
        raise ValueError(
            f"class_weights has shape {tuple(weight.shape)}; expected one weight for each of "
            f"the {'' if classes is None else f'{classes} '}classes of y_pred"
        )
    return weight


def without_classes(shape: tf.TensorShape, axis: int) -> tf.TensorShape:
    """The shape without the axis of the classes."""
    return shape[:axis].concatenate(shape[axis + 1 :])
