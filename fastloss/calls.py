"""What the ops and the reference are called with, named alike in both."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import tensorflow as tf

Tensor: TypeAlias = tf.Tensor

_FLOAT32, _FLOAT64 = tf.float32, tf.float64


class Reduction(NamedTuple):
    """From one loss per row to the loss.

    Attributes:
        kind: "none" (one loss per row), "sum", "mean" or "mean_with_sample_weight".
        replicas: Divides the two means: how many replicas `tf.distribute` adds up.
    """

    kind: str = "none"
    replicas: int = 1


PER_ROW = Reduction()
SUM = Reduction("sum")


class Inputs(NamedTuple):
    """What a loss is computed of, and how it is reduced.

    Attributes:
        y_true: Labels; boolean, integer or float.
        y_pred: Predictions; float16, bfloat16, float32 or float64.
        weight: One weight per row (position, group, box), broadcastable to the losses, of the
            accumulation dtype; or None.
        reduction: How the losses become one.
    """

    y_true: Tensor
    y_pred: Tensor
    weight: Tensor | None = None
    reduction: Reduction = PER_ROW

    @property
    def accumulation(self) -> tf.DType:
        """The dtype that the losses are summed in and returned in."""
        return accumulation(self.y_pred)


class KernelTerm(NamedTuple):
    """One of the losses that are added up: `factor` times the loss.

    Attributes:
        loss: The name of a kernel.
        parameters: Its parameters, in the order of the registry.
        factor: What the loss is multiplied by.
    """

    loss: str
    parameters: tuple[float, ...] = ()
    factor: float = 1.0


class Task(NamedTuple):
    """An elementwise loss of `columns` columns.

    Attributes:
        loss: The name of a kernel.
        parameters: Its parameters, in the order of the registry.
        first_true: The first column of y_true.
        first_pred: The first column of y_pred.
        columns: How many there are.
    """

    loss: str
    parameters: tuple[float, ...]
    first_true: int
    first_pred: int
    columns: int


class RowwiseOptions(NamedTuple):
    """What a user may add to any cross-entropy.

    Attributes:
        label_smoothing: Moves the labels that far towards 1 / classes.
        temperature: Logits are divided by it, after the softcap.
        logit_softcap: Logits become cap * tanh(logits / cap); 0 is none.
        z_loss: Adds z_loss * log_sum_exp**2.
        ignore_class: The class whose rows are left out.
    """

    label_smoothing: float = 0.0
    temperature: float = 1.0
    logit_softcap: float = 0.0
    z_loss: float = 0.0
    ignore_class: int | None = None


NO_OPTIONS = RowwiseOptions()


class OverlapOptions(NamedTuple):
    """What is summed.

    Attributes:
        activation: "none", "sigmoid" or "softmax", of y_pred.
        sparse: Whether y_true holds class numbers, in y_pred's shape without the class axis.
        squared: Whether the two regions, not their intersection, are sums of squares.
        include_background: Whether class 0 takes part; the softmax sees it in any case.
        ignore_class: Positions with this label count nothing; of dense labels, those whose labels
            outside this class are all 0.
    """

    activation: str = "none"
    sparse: bool = False
    squared: bool = False
    include_background: bool = True
    ignore_class: int | None = None


class Layout(NamedTuple):
    """Which axes of y_pred tell the groups apart.

    Attributes:
        group_axes: The axes that are not summed over, in order. With classes these are the first
            one, the classes, both, or none.
        class_axis: The axis of the classes, from 0 to rank - 1; -1 if they play no role.
    """

    group_axes: tuple[int, ...]
    class_axis: int


def accumulation(y_pred: Tensor) -> tf.DType:
    """The dtype that losses of these predictions are summed in."""
    # There is one object for each dtype, and comparing them is slow.
    return _FLOAT64 if y_pred.dtype is _FLOAT64 else _FLOAT32
