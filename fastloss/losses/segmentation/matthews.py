"""Matthews correlation, which counts the true negatives too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from fastloss.calls import Tensor
from fastloss.losses.described import described_by
from fastloss.losses.segmentation.base import OverlapLoss, values
from fastloss.losses.segmentation.dice import Dice
from fastloss.terms.inputs import TensorLike
from fastloss.terms.overlap_arguments import OverlapArguments, Smoothing

serializable = keras.saving.register_keras_serializable("fastloss")


@serializable
@described_by(Dice)
def matthews(
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
    smooth_numerator: float = 0.0,
    smooth_denominator: float | None = None,
    class_weights: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """One minus the Matthews correlation, one value per group.

    Formula: `1 - (N I - P T + smooth_numerator) / (R + smooth_denominator)`, with
    `R = sqrt(P (N - P) T (N - T))`; see `Matthews`.

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
    return values("matthews", smooth.parameters, y_true, y_pred, arguments)


@serializable
@described_by(Dice)
class Matthews(OverlapLoss):
    """One minus the Matthews correlation of labels and predictions, from 0 to 2.

    Formula: `1 - (N I - P T + smooth_numerator) / (R + smooth_denominator)`, with
    `R = sqrt(P (N - P) T (N - T))`

    Each group has its own `I = sum(t p)`, `P = sum(p)` and `T = sum(t)` over its `N` positions,
    with `t` the labels, or the one-hot rows of class numbers, and `p` the predictions, or the
    sigmoid or softmax of logits. Unlike Dice and Jaccard it rewards true negatives, so that it
    tells more where a region fills most of an image. A group whose labels are all equal, or whose
    predictions are, has the loss 1. Labels and predictions are numbers from 0 to 1.

    Gradient of one group: `-(N t - T) / D + (N I - P T + smooth_numerator) R' / D^2`, with
    `D = R + smooth_denominator` and `R' = T (N - T) (N - 2 P) / (2 R)`, which is 0 where `R` is

    Example:
        >>> loss = fl.Matthews()
        >>> round(float(loss([[1, 1, 0, 0]], [[0.9, 0.6, 0.2, 0.0]])), 4)
        0.3426

    Args:
        others: As in `Dice`.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other. When called: if
            the shapes do not go together, or an axis is none of y_pred's.

    Reference: Abhishek and Hamarneh, Matthews correlation coefficient loss for deep convolutional
    networks, 2021 (arXiv:2010.13454).
    """

    _loss = "matthews"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "matthews",
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
        smooth_numerator: float = 0.0,
        smooth_denominator: float | None = None,
        class_weights: Any = None,
        ignore_class: int | None = None,
    ) -> None:
        arguments = OverlapArguments.of(locals())
        smoothing = Smoothing.checked(smooth_numerator, smooth_denominator)
        super().__init__(arguments, smoothing, name, reduction, dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["squared"]
        return config
