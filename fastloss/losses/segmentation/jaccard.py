"""Jaccard loss, intersection over union."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from fastloss.calls import Tensor
from fastloss.losses.segmentation.base import OverlapLoss, values
from fastloss.terms.inputs import TensorLike
from fastloss.terms.overlap_arguments import OverlapArguments, Smoothing

serializable = keras.saving.register_keras_serializable("fastloss")


@serializable
def jaccard(
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
    smooth: float | None = None,
    class_weights: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Jaccard loss, one value per group.

    Formula: `1 - (I + smooth) / (P + T - I + smooth)`; see `Jaccard`.

    Args:
        y_true: Labels; boolean, integer or float.
        y_pred: Predictions; float16, bfloat16, float32 or float64.
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
        smooth: Is added to numerator and denominator. None is `keras.config.epsilon()`.
        class_weights: One weight per class.
        ignore_class: Positions with this label count nothing.

    Returns:
        The axes of y_pred that are not summed over, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other.
    """
    arguments = OverlapArguments.of(locals())
    parameters = Smoothing.of_both(smooth).parameters
    return values("jaccard", parameters, y_true, y_pred, arguments)


@serializable
class Jaccard(OverlapLoss):
    """Jaccard loss: one less the intersection of two regions over their union.

    Formula: `1 - (I + smooth) / (P + T - I + smooth)`

    Each group has its own `I = sum(t p)`, `P = sum(p)` and `T = sum(t)`, with `t` the labels, or
    the one-hot rows of class numbers, and `p` the predictions, or the sigmoid or softmax of logits.
    A group is what is summed over: by default everything, for a scalar loss, as in Keras.
    A label that is no class is an error or, where the reference serves, makes its group NaN.

    Gradient of one group: `-(t - (1 - loss) (1 - t)) / (P + T - I + smooth)` without
    `squared`

    Example:
        >>> loss = fl.Jaccard()
        >>> round(float(loss([[1, 1, 0, 0]], [[0.9, 0.6, 0.2, 0.0]])), 4)
        0.3182

    Args:
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
        smooth: Is added to numerator and denominator, so that an empty prediction of an empty mask
            is a perfect one. None is `keras.config.epsilon()`.
        class_weights: One weight per class of y_pred, for the class's loss; it does not enter the
            divisor of a mean. None is 1.
        ignore_class: Positions with this label count nothing, and have gradient 0; it need not be a
            class. Of dense labels these are the positions whose labels outside this class are all
            0. None ignores no position.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other. When called: if
            the shapes do not go together, or an axis is none of y_pred's.

    Reference: Rahman and Wang, Optimizing intersection-over-union in deep neural networks for image
    segmentation, 2016.
    """

    _loss = "jaccard"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "jaccard",
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
        smooth: float | None = None,
        class_weights: Any = None,
        ignore_class: int | None = None,
    ) -> None:
        arguments = OverlapArguments.of(locals())
        smoothing = Smoothing.of_both(smooth)
        super().__init__(arguments, smoothing, name, reduction, dtype)
        self.smooth = smoothing.smooth_numerator

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "smooth": self.smooth}
        del config["smooth_numerator"], config["smooth_denominator"]
        return config
