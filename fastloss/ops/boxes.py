"""One call for every loss between boxes, through the kernels or the reference."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from fastloss import reference
from fastloss.ops.context import is_recorded
from fastloss.ops.library import float64_bits, ops, runs_reference


def boxes(
    loss: str,
    parameters: Sequence[float],
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    weight: tf.Tensor | None,
    box_format: str,
    reduction: str,
    replicas: int,
) -> tf.Tensor:
    """A loss over pairs of boxes, reduced.

    Args:
        loss: A name of `csrc/losses/boxes.h`, as "box_iou".
        parameters: Its parameters in the order of that file, a tuple.
        y_true: Labels, `(..., 4)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.
        weight: One weight per box, broadcastable to `(...)`, of the accumulation dtype: float64 for
            float64 predictions, else float32. Or None.
        box_format: "corners" or "centre" (and size); both axes count alike, so their order does
            not matter.
        reduction: "none" (one loss per box), "sum", "mean" or "mean_with_sample_weight".
        replicas: Divides the two means.

    Returns:
        The loss in the accumulation dtype: `(...)` for "none", else a scalar.
    """
    if runs_reference():
        return reference.boxes(
            loss, parameters, y_true, y_pred, weight, box_format, reduction, replicas
        )
    kernels = ops()
    dtype = y_pred.dtype
    inputs = (y_true, y_pred, [] if weight is None else [weight])
    attributes = {
        "loss": loss,
        "parameters": float64_bits(parameters),
        "box_format": box_format,
        "reduction": reduction,
        "replicas": replicas,
    }
    accumulation = tf.float64 if dtype == tf.float64 else tf.float32
    if reduction == "none":
        return kernels.fastloss_boxes_rows(*inputs, A=accumulation, **attributes)
    # As for the elementwise losses: a float16 gradient is made after the loss scale.
    if dtype == tf.float16 or not is_recorded(y_pred):
        return kernels.fastloss_boxes(*inputs, A=accumulation, **attributes)
    value, gradient = kernels.fastloss_boxes_with_gradient(*inputs, A=accumulation, **attributes)
    if not tf.executing_eagerly():
        return value
    return kernels.fastloss_boxes_record(*inputs, value, gradient, **attributes)
