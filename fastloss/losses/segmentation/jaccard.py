"""Jaccard loss, intersection over union."""

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
        smooth: Is added to numerator and denominator. None is `keras.config.epsilon()`.
        others: As in `Dice`.

    Returns:
        The axes of y_pred that are not summed over, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other.
    """
    arguments = OverlapArguments.of(locals())
    parameters = Smoothing.of_both(smooth).parameters
    return values("jaccard", parameters, y_true, y_pred, arguments)


@serializable
@described_by(Dice)
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
        smooth: Is added to numerator and denominator, so that an empty prediction of an empty mask
            is a perfect one. None is `keras.config.epsilon()`.
        others: As in `Dice`.

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
