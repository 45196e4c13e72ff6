"""Elementwise losses of ranges of columns in one pass, through the kernel or the reference."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import tensorflow as tf

from fastloss import reference
from fastloss.calls import Inputs, Task
from fastloss.ops.context import is_recorded
from fastloss.ops.elementwise import MAX_TERMS
from fastloss.ops.library import float64_bits, kernels, runs_reference, why_not_on_gpu


def columns(
    tasks: tuple[Task, ...], factor: tf.Tensor, inputs: Inputs
) -> tuple[tf.Tensor, tf.Tensor]:
    """A weighted sum of losses, each of some columns, which are read in place.

    Args:
        tasks: The losses, but for those that look at all labels first (hinge, squared_hinge). Their
            columns may overlap, and some may belong to none.
        factor: What each is multiplied by, `(tasks,)`, of the accumulation dtype.
        inputs: Labels and predictions `(..., columns)`, equal but for the last dimension, a weight
            of each row `(...)`, and the reduction of each task's rows, to a scalar.

    Returns:
        The sum, a scalar; and the loss of each task without its factor, `(tasks,)`. Both in the
        accumulation dtype.
    """
    if runs_reference():
        return reference.columns(tasks, factor, inputs)
    if len(tasks) > MAX_TERMS and not why_not_on_gpu():
        parts = (slice(MAX_TERMS), slice(MAX_TERMS, None))
        sums, values = zip(
            *(columns(tasks[part], factor[part], inputs) for part in parts), strict=True
        )
        return sum(sums), tf.concat(values, 0)
    y_true, y_pred, weight, (reduction, replicas) = inputs
    tensors = (y_true, y_pred, [] if weight is None else [weight], [factor])
    attributes = {**_attributes(tasks), "reduction": reduction, "replicas": replicas}
    eager = tf.executing_eagerly()
    # An eager tape fills in zeros for outputs without a gradient, so that the gradient goes through
    # an op that has no such output, nor the values which the gradient of the factors is made of.
    with_gradient = (
        y_pred.dtype != tf.float16 and is_recorded(y_pred) and not (eager and is_recorded(factor))
    )
    value, values, gradients = kernels().fastloss_columns(
        *tensors, A=inputs.accumulation, G=int(with_gradient), **attributes
    )
    if not eager:
        value.set_shape([])
        values.set_shape([len(tasks)])
    elif with_gradient:
        value = kernels().fastloss_columns_record(*tensors, value, *gradients, **attributes)
    return value, values


@lru_cache(maxsize=256)
def _attributes(tasks: tuple[Task, ...]) -> dict[str, Any]:
    ranges = ((task.first_true, task.first_pred, task.columns) for task in tasks)
    return {
        "loss": "+".join(task.loss for task in tasks),
        "parameters": float64_bits(tuple(x for task in tasks for x in task.parameters)),
        "counts": tuple(len(task.parameters) for task in tasks),
        "ranges": tuple(x for one in ranges for x in one),
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
