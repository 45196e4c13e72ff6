"""Tversky loss, plain and as a power."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from fastloss.calls import Tensor
from fastloss.losses.segmentation.base import OverlapLoss, values
from fastloss.terms.arguments import in_range
from fastloss.terms.inputs import TensorLike
from fastloss.terms.overlap_arguments import OverlapArguments, Smoothing

serializable = keras.saving.register_keras_serializable("fastloss")


@serializable
def tversky(
    y_true: TensorLike,
    y_pred: TensorLike,
    alpha: float = 0.5,
    beta: float = 0.5,
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
    """Tversky loss, one value per group.

    Formula: `1 - (I + smooth_numerator) / D`,
    `D = I + alpha (T - I) + beta (P - I) + smooth_denominator`; see `Tversky`.

    Args:
        y_true: Labels; boolean, integer or float.
        y_pred: Predictions; float16, bfloat16, float32 or float64.
        alpha: Weighs what is labelled and missed, `T - I`, as in Keras, whose documentation calls
            these the false positives; in the paper alpha weighs the others.
        beta: Weighs what is predicted and wrong, `P - I`.
        axis: The axis or axes that are summed over. None is all, but for what `per_class` and
            `per_image` keep apart.
        from_logits: Whether y_pred holds logits.
        activation: "sigmoid" or "softmax", of logits.
        sparse: Whether y_true holds class numbers.
        class_axis: The axis of the classes in y_pred.
        per_class: Whether each class is scored alone.
        per_image: Whether each image is scored alone.
        include_background: Whether class 0 takes part.
        squared: Whether `P = sum(p**2)` and `T = sum(t**2)`.
        smooth_numerator: Is added to the numerator.
        smooth_denominator: Is added to the denominator. None is `keras.config.epsilon()`.
        class_weights: One weight per class.
        ignore_class: Positions with this label count nothing.

    Returns:
        The axes of y_pred that are not summed over, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other.
    """
    arguments = OverlapArguments.of(locals())
    smooth = Smoothing.checked(smooth_numerator, smooth_denominator)
    return values(
        "tversky",
        (
            in_range("tversky", "alpha", alpha),
            in_range("tversky", "beta", beta),
            *smooth.parameters,
        ),
        y_true,
        y_pred,
        arguments,
    )


@serializable
class Tversky(OverlapLoss):
    """Tversky loss: Dice with a weight for each of the two kinds of mistake.

    Formula: `1 - (I + smooth_numerator) / D`,
    `D = I + alpha (T - I) + beta (P - I) + smooth_denominator`

    Each group has its own `I = sum(t p)`, `P = sum(p)` and `T = sum(t)`, with `t` the labels, or
    the one-hot rows of class numbers, and `p` the predictions, or the sigmoid or softmax of logits.
    A group is what is summed over: by default everything, for a scalar loss, as in Keras.
    A label that is no class is an error or, where the reference serves, makes its group NaN.

    Gradient of one group: `-(t - (1 - loss) (t - alpha t + beta (1 - t))) / D`
    without `squared`; `alpha = beta = 0.5` is the Dice loss

    Example:
        >>> loss = fl.Tversky(alpha=0.7, beta=0.3)
        >>> round(float(loss([[1, 1, 0, 0]], [[0.9, 0.6, 0.2, 0.0]])), 4)
        0.2147

    Args:
        alpha: Weighs what is labelled and missed, `T - I`, as in Keras, whose documentation calls
            these the false positives; in the paper alpha weighs the others.
        beta: Weighs what is predicted and wrong, `P - I`.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None; over the groups.
        name: Name of the instance.
        axis: The axis or axes that are summed over, as in Keras. None is all, but for what
            `per_class` and `per_image` keep apart.
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
        squared: Whether `P = sum(p**2)` and `T = sum(t**2)`.
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

    Reference: Salehi et al., Tversky loss function for image segmentation, 2017 (arXiv:1706.05721).
    """

    _loss = "tversky"

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "tversky",
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
        self.alpha = in_range("tversky", "alpha", alpha)
        self.beta = in_range("tversky", "beta", beta)

    def _own_parameters(self) -> tuple[float, ...]:
        return (self.alpha, self.beta)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}


@serializable
def focal_tversky(
    y_true: TensorLike,
    y_pred: TensorLike,
    alpha: float = 0.7,
    beta: float = 0.3,
    gamma: float = 0.75,
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
    """A power of the Tversky loss, one value per group.

    Formula: `max(L, 0)**gamma`, `L` the loss of `Tversky`; see `FocalTversky`.

    Args:
        y_true: Labels; boolean, integer or float.
        y_pred: Predictions; float16, bfloat16, float32 or float64.
        alpha: Weighs what is labelled and missed, `T - I`.
        beta: Weighs what is predicted and wrong, `P - I`.
        gamma: The power, 1 / gamma of the paper; below 1 it learns on from small losses.
        axis: The axis or axes that are summed over. None is all, but for what `per_class` and
            `per_image` keep apart.
        from_logits: Whether y_pred holds logits.
        activation: "sigmoid" or "softmax", of logits.
        sparse: Whether y_true holds class numbers.
        class_axis: The axis of the classes in y_pred.
        per_class: Whether each class is scored alone.
        per_image: Whether each image is scored alone.
        include_background: Whether class 0 takes part.
        squared: Whether `P = sum(p**2)` and `T = sum(t**2)`.
        smooth_numerator: Is added to the numerator.
        smooth_denominator: Is added to the denominator. None is `keras.config.epsilon()`.
        class_weights: One weight per class.
        ignore_class: Positions with this label count nothing.

    Returns:
        The axes of y_pred that are not summed over, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other.
    """
    arguments = OverlapArguments.of(locals())
    smooth = Smoothing.checked(smooth_numerator, smooth_denominator)
    return values(
        "focal_tversky",
        (
            in_range("focal_tversky", "alpha", alpha),
            in_range("focal_tversky", "beta", beta),
            in_range("focal_tversky", "gamma", gamma),
            *smooth.parameters,
        ),
        y_true,
        y_pred,
        arguments,
    )


@serializable
class FocalTversky(OverlapLoss):
    """A power of the Tversky loss, which turns towards what is hard.

    Formula: `max(L, 0)**gamma`, `L` the loss of `Tversky`

    What is summed is said as for `Dice`; alpha weighs the missed, as in the paper.

    Gradient of one group: `gamma L**(gamma - 1)` times that of `Tversky`; 0 where `L` is not
    above 0

    Example:
        >>> loss = fl.FocalTversky()
        >>> round(float(loss([[1, 1, 0, 0]], [[0.9, 0.6, 0.2, 0.0]])), 4)
        0.3154

    Args:
        alpha: Weighs what is labelled and missed, `T - I`.
        beta: Weighs what is predicted and wrong, `P - I`.
        gamma: The power, 1 / gamma of the paper; below 1 it learns on from small losses.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None; over the groups.
        name: Name of the instance.
        axis: The axis or axes that are summed over, as in Keras. None is all, but for what
            `per_class` and `per_image` keep apart.
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
        squared: Whether `P = sum(p**2)` and `T = sum(t**2)`.
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

    Reference: Abraham and Khan, A novel focal Tversky loss function with improved attention
    U-Net for lesion segmentation, 2018 (arXiv:1810.07842).
    """

    _loss = "focal_tversky"

    def __init__(
        self,
        alpha: float = 0.7,
        beta: float = 0.3,
        gamma: float = 0.75,
        reduction: str | None = "sum_over_batch_size",
        name: str = "focal_tversky",
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
        self.alpha = in_range("focal_tversky", "alpha", alpha)
        self.beta = in_range("focal_tversky", "beta", beta)
        self.gamma = in_range("focal_tversky", "gamma", gamma)

    def _own_parameters(self) -> tuple[float, ...]:
        return (self.alpha, self.beta, self.gamma)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta, "gamma": self.gamma}
