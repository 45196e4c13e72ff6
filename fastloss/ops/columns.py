"""Elementwise losses of ranges of columns in one walk, through the kernel or the reference."""

from __future__ import annotations

from functools import cache
from typing import Any

import tensorflow as tf

from fastloss import reference
from fastloss.ops.context import is_recorded
from fastloss.ops.elementwise import MAX_TERMS
from fastloss.ops.library import float64_bits, ops, runs_reference, why_not_on_gpu
from fastloss.reference.columns import Task


def columns(
    tasks: tuple[Task, ...],
    factor: tf.Tensor,
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    weight: tf.Tensor | None,
    reduction: str,
    replicas: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """A weighted sum of losses, each of some columns, which are read where they lie.

    Args:
        tasks: The losses, but for those that look at all labels first (hinge, squared_hinge). Their
            columns may overlap, and some may belong to none.
        factor: What each is multiplied by, `(tasks,)`, of the accumulation dtype.
        y_true: Labels, `(..., columns)`; boolean, integer or float.
        y_pred: Predictions, `(..., columns)`, equal but for the last dimension; float16, bfloat16,
            float32 or float64.
        weight: One weight per row, as in `elementwise`.
        reduction: "sum", "mean" or "mean_with_sample_weight", of each task's rows.
        replicas: Divides the two means.

    Returns:
        The sum, a scalar; and the loss of each task without its factor, `(tasks,)`. Both in the
        accumulation dtype.
    """
    if runs_reference():
        return reference.columns(tasks, factor, y_true, y_pred, weight, reduction, replicas)
    if len(tasks) > MAX_TERMS and not why_not_on_gpu():
        parts = (slice(MAX_TERMS), slice(MAX_TERMS, None))
        sums, values = zip(
            *(
                columns(tasks[part], factor[part], y_true, y_pred, weight, reduction, replicas)
                for part in parts
            ),
            strict=True,
        )
        return sum(sums), tf.concat(values, 0)
    kernels = ops()
    weights: list[tf.Tensor] = [] if weight is None else [weight]
    inputs = (y_true, y_pred, weights, [factor])
    attributes = {**_attributes(tasks), "reduction": reduction, "replicas": replicas}
    accumulation = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
    eager = tf.executing_eagerly()
    # An eager tape fills in zeros for outputs without a gradient, so that the gradient goes through
    # an op that has no such output, nor the values which the gradient of the factors is made of.
    with_gradient = (
        y_pred.dtype != tf.float16 and is_recorded(y_pred) and not (eager and is_recorded(factor))
    )
    value, values, gradients = kernels.fastloss_columns(
        *inputs, A=accumulation, G=int(with_gradient), **attributes
    )
    if not eager:
        value.set_shape([])
        values.set_shape([len(tasks)])
    elif with_gradient:
        value = kernels.fastloss_columns_record(*inputs, value, *gradients, **attributes)
    return value, values


@cache
def _attributes(tasks: tuple[Task, ...]) -> dict[str, Any]:
    return {
        "loss": "+".join(task.loss for task in tasks),
        "parameters": float64_bits(tuple(x for task in tasks for x in task.parameters)),
        "counts": [len(task.parameters) for task in tasks],
        "ranges": [x for task in tasks for x in (task.first_true, task.first_pred, task.columns)],
    }


def tasks_of(
    loss: str, parameters: tuple[float, ...], counts: list[int], ranges: list[int]
) -> tuple[Task, ...]:
    """The tasks behind the attributes of an op."""
    tasks = []
    for index, name in enumerate(loss.split("+")):
        own, parameters = parameters[: counts[index]], parameters[counts[index] :]
        tasks.append(Task(name, own, *ranges[3 * index : 3 * index + 3]))
    return tuple(tasks)
