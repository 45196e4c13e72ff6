"""Elementwise losses of ranges of columns."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from fastloss.calls import Inputs, Task, Tensor
from fastloss.reference.elementwise import elementwise


def columns(tasks: Sequence[Task], factor: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """The same as `fastloss.ops.columns`, argument for argument."""

    def of_task(task: Task) -> Tensor:
        of_columns = inputs._replace(
            y_true=inputs.y_true[..., task.first_true : task.first_true + task.columns],
            y_pred=inputs.y_pred[..., task.first_pred : task.first_pred + task.columns],
        )
        return elementwise(task.loss, task.parameters, of_columns)

    values = tf.stack([of_task(task) for task in tasks])
    return tf.reduce_sum(factor * values), values
