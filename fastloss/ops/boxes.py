"""One call for every loss between boxes, through the kernels or the reference."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from fastloss import reference
from fastloss.calls import Inputs
from fastloss.ops.context import is_recorded
from fastloss.ops.library import float64_bits, kernels, runs_reference


def boxes(loss: str, parameters: Sequence[float], inputs: Inputs, box_format: str) -> tf.Tensor:
    """A loss over pairs of boxes, reduced.

    Args:
        loss: A kernel of the registry, as "box_iou".
        parameters: Its parameters in the order of the registry, a tuple.
        inputs: Labels and predictions `(..., 4)`, a weight of each box `(...)`, and the reduction.
        box_format: "corners" or "centre" (and size); both axes count alike, so their order does
            not matter.

    Returns:
        The loss in the accumulation dtype: `(...)` for the reduction "none", else a scalar.
    """
    if runs_reference():
        return reference.boxes(loss, parameters, inputs, box_format)
    y_true, y_pred, weight, (reduction, replicas) = inputs
    tensors = (y_true, y_pred, [] if weight is None else [weight])
    attributes = {
        "loss": loss,
        "parameters": float64_bits(parameters),
        "box_format": box_format,
        "reduction": reduction,
        "replicas": replicas,
    }
    wide = inputs.accumulation
    if reduction == "none":
        return kernels().fastloss_boxes_rows(*tensors, A=wide, **attributes)
    # As for the elementwise losses: a float16 gradient is made after the loss scale.
    if y_pred.dtype == tf.float16 or not is_recorded(y_pred):
        return kernels().fastloss_boxes(*tensors, A=wide, **attributes)
    value, gradient = kernels().fastloss_boxes_with_gradient(*tensors, A=wide, **attributes)
    if not tf.executing_eagerly():
        return value
    return kernels().fastloss_boxes_record(*tensors, value, gradient, **attributes)
