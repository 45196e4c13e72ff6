"""Dice loss, plain and under a logarithm of the hyperbolic cosine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from fastloss.calls import Tensor
from fastloss.losses.described import described_by
from fastloss.losses.segmentation.base import OverlapLoss, values
from fastloss.terms.inputs import TensorLike
from fastloss.terms.overlap_arguments import OverlapArguments, Smoothing

serializable = keras.saving.register_keras_serializable("fastloss")


@serializable
class Dice(OverlapLoss):
    """Dice loss: one less twice the overlap of two regions over their sizes.

    Formula: `1 - (2 I + smooth_numerator) / (P + T + smooth_denominator)`

    Each group has its own `I = sum(t p)`, `P = sum(p)` and `T = sum(t)`, with `t` the labels, or
    the one-hot rows of class numbers, and `p` the predictions, or the sigmoid or softmax of logits.
    A group is what is summed over: by default everything, for a scalar loss, as in Keras.
    A label that is no class is an error or, where the reference serves, makes its group NaN.

    Gradient of one group: `-(2 t - (1 - loss)) / (P + T + smooth_denominator)` without
    `squared`

    Example:
        >>> loss = fl.Dice()
        >>> round(float(loss([[1, 1, 0, 0]], [[0.9, 0.6, 0.2, 0.0]])), 4)
        0.1892
        >>> loss = fl.Dice(from_logits=True, sparse=True, include_background=False)
        >>> round(float(loss([[0, 1, 1]], [[[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]]])), 4)
        0.2966

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None; over the groups.
        name: Name of the instance.
        axis: The axis or axes that are summed over, as in Keras. None is all, but for those
            whose entries `per_class` and `per_image` score alone.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.
        from_logits: Whether y_pred holds logits. Those behind a sigmoid, or behind a softmax over
            `class_axis`, are found inside a `tf.function` and used by themselves.
        activation: "sigmoid" or "softmax", of logits. None is the sigmoid, or the softmax if
            `sparse`.
        sparse: Whether y_true holds class numbers, of y_pred's shape without `class_axis` or with a
            1 there; else it has y_pred's shape.
        class_axis: The axis of the classes in y_pred.
        per_class: Whether each class is scored alone. None is yes where the classes exclude each
            other, that is if `sparse` or after a softmax, and where `class_weights` need it.
        per_image: Whether each image, an entry of the first axis, is scored alone.
        include_background: Whether class 0 takes part. The softmax sees it in any case.
        squared: Whether `P = sum(p**2)` and `T = sum(t**2)`, as in V-Net.
        smooth_numerator: Is added to the numerator. Equal to `smooth_denominator` it makes an empty
            prediction of an empty mask a perfect one.
        smooth_denominator: Is added to the denominator. None is `keras.config.epsilon()`.
        class_weights: One weight per class of y_pred, for the class's loss; it does not enter the
            divisor of a mean. None is 1.
        ignore_class: Positions with this label count nothing, and have gradient 0; it need not be a
            class. Of dense labels these are the positions whose labels outside this class are all
            0. None ignores no position.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other. When called: if
            the shapes do not go together, or an axis is none of y_pred's.

    Reference: Milletari et al., V-Net, 2016 (arXiv:1606.04797), with `squared=True`.
    """

    _loss = "dice"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "dice",
        axis: int | Sequence[int] | None = None,
        dtype: Any = None,
        *,
        from_logits: bool = False,
        activation: str | None = None,
        sparse: bool = False,
        class_axis: int = -1,
        per_class: bool | None = None,
        per_image: bool = False,
        include_background: bool = True,
        squared: bool = False,
        smooth_numerator: float = 0.0,
        smooth_denominator: float | None = None,
        class_weights: Any = None,
        ignore_class: int | None = None,
    ) -> None:
        arguments = OverlapArguments.of(locals())
        smoothing = Smoothing.checked(smooth_numerator, smooth_denominator)
        super().__init__(arguments, smoothing, name, reduction, dtype)


@serializable
@described_by(Dice)
def dice(
    y_true: TensorLike,
    y_pred: TensorLike,
    axis: int | Sequence[int] | None = None,
    *,
    from_logits: bool = False,
    activation: str | None = None,
    sparse: bool = False,
    class_axis: int = -1,
    per_class: bool | None = None,
    per_image: bool = False,
    include_background: bool = True,
    squared: bool = False,
    smooth_numerator: float = 0.0,
    smooth_denominator: float | None = None,
    class_weights: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Dice loss, one value per group.

    Formula: `1 - (2 I + smooth_numerator) / (P + T + smooth_denominator)`; see `Dice`.

    Example:
        >>> values = fl.dice([[1, 1, 0], [0, 1, 0]], [[0.9, 0.6, 0.2], [0.1, 0.8, 0.0]], axis=1)
        >>> [round(float(x), 4) for x in values]
        [0.1892, 0.1579]

    Args:
        y_true: Labels; boolean, integer or float.
        y_pred: Predictions; float16, bfloat16, float32 or float64.
        others: As in `Dice`.

    Returns:
        The axes of y_pred that are not summed over, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other.
    """
    arguments = OverlapArguments.of(locals())
    smooth = Smoothing.checked(smooth_numerator, smooth_denominator)
    return values("dice", smooth.parameters, y_true, y_pred, arguments)


@serializable
@described_by(Dice)
def log_cosh_dice(
    y_true: TensorLike,
    y_pred: TensorLike,
    axis: int | Sequence[int] | None = None,
    *,
    from_logits: bool = False,
    activation: str | None = None,
    sparse: bool = False,
    class_axis: int = -1,
    per_class: bool | None = None,
    per_image: bool = False,
    include_background: bool = True,
    squared: bool = False,
    smooth_numerator: float = 0.0,
    smooth_denominator: float | None = None,
    class_weights: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Logarithm of the hyperbolic cosine of the Dice loss, one value per group.

    Formula: `log(cosh(D))`, `D` the loss of `Dice`; see `LogCoshDice`.

    Args:
        y_true: Labels; boolean, integer or float.
        y_pred: Predictions; float16, bfloat16, float32 or float64.
        others: As in `Dice`.

    Returns:
        The axes of y_pred that are not summed over, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other.
    """
    arguments = OverlapArguments.of(locals())
    smooth = Smoothing.checked(smooth_numerator, smooth_denominator)
    return values("log_cosh_dice", smooth.parameters, y_true, y_pred, arguments)


@serializable
@described_by(Dice)
class LogCoshDice(OverlapLoss):
    """Logarithm of the hyperbolic cosine of the Dice loss, which is smooth at 0.

    Formula: `log(cosh(D))`, `D` the loss of `Dice`

    Near a perfect overlap it is half the square of the Dice loss. What is summed is said as for
    `Dice`.

    Gradient of one group: `tanh(D)` times that of `Dice`

    Example:
        >>> loss = fl.LogCoshDice()
        >>> round(float(loss([[1, 1, 0, 0]], [[0.9, 0.6, 0.2, 0.0]])), 4)
        0.0178

    Args:
        others: As in `Dice`.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other. When called: if
            the shapes do not go together, or an axis is none of y_pred's.

    Reference: Jadon, A survey of loss functions for semantic segmentation, 2020 (arXiv:2006.14822).
    """

    _loss = "log_cosh_dice"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "log_cosh_dice",
        axis: int | Sequence[int] | None = None,
        dtype: Any = None,
        *,
        from_logits: bool = False,
        activation: str | None = None,
        sparse: bool = False,
        class_axis: int = -1,
        per_class: bool | None = None,
        per_image: bool = False,
        include_background: bool = True,
        squared: bool = False,
        smooth_numerator: float = 0.0,
        smooth_denominator: float | None = None,
        class_weights: Any = None,
        ignore_class: int | None = None,
    ) -> None:
        arguments = OverlapArguments.of(locals())
        smoothing = Smoothing.checked(smooth_numerator, smooth_denominator)
        super().__init__(arguments, smoothing, name, reduction, dtype)
