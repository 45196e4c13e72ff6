"""Elementwise losses of ranges of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from fastloss.reference.elementwise import elementwise

Tensor: TypeAlias = tf.Tensor


class Task(NamedTuple):
    """A loss of `columns` columns.

    Attributes:
        loss: The name of the loss.
        parameters: Its parameters, in the order of `csrc/losses/elementwise.h`.
        first_true: The first column of y_true.
        first_pred: The first column of y_pred.
        columns: How many there are.
    """

    loss: str
    parameters: tuple[float, ...]
    first_true: int
    first_pred: int
    columns: int


def columns(
    tasks: Sequence[Task],
    factor: Tensor,
    y_true: Tensor,
    y_pred: Tensor,
    weight: Tensor | None,
    reduction: str,
    replicas: int,
) -> tuple[Tensor, Tensor]:
    """The same as `fastloss.ops.columns`, argument for argument."""
    values = tf.stack(
        [
            elementwise(
                task.loss,
                task.parameters,
                y_true[..., task.first_true : task.first_true + task.columns],
                y_pred[..., task.first_pred : task.first_pred + task.columns],
                weight,
                None,
                reduction,
                replicas,
            )
            for task in tasks
        ]
    )
    return tf.reduce_sum(factor * values), values
