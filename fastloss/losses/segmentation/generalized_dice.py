"""Dice loss whose classes weigh more where they are rare."""

from __future__ import annotations

from typing import Any

import keras

from fastloss.calls import Tensor
from fastloss.losses.segmentation.base import OverlapLoss, values
from fastloss.terms.inputs import TensorLike
from fastloss.terms.overlap_arguments import OverlapArguments, Smoothing

serializable = keras.saving.register_keras_serializable("fastloss")


_POWERS = {"square": 2.0, "simple": 1.0, "uniform": 0.0}


def _power(weight: Any) -> float:
    if weight not in _POWERS:
        raise ValueError(f"weight is {weight!r}; expected 'square', 'simple' or 'uniform'")
    return _POWERS[weight]


@serializable
def generalized_dice(
    y_true: TensorLike,
    y_pred: TensorLike,
    weight: str = "square",
    *,
    from_logits: bool = False,
    activation: str | None = None,
    sparse: bool = False,
    class_axis: int = -1,
    per_image: bool = False,
    include_background: bool = True,
    squared: bool = False,
    smooth_numerator: float = 0.0,
    smooth_denominator: float | None = None,
    class_weights: Any = None,
    ignore_class: int | None = None,
) -> Tensor:
    """Dice loss of all classes together, one value, or one per image.

    Formula: `1 - (2 sum(w I) + smooth_numerator) / (sum(w (P + T)) + smooth_denominator)`; see
    `GeneralizedDice`.

    Args:
        y_true: Labels; boolean, integer or float.
        y_pred: Predictions; float16, bfloat16, float32 or float64.
        weight: "square" is `w = 1 / T**2`, "simple" is `1 / T` and "uniform" is 1.
        from_logits: Whether y_pred holds logits.
        activation: "sigmoid" or "softmax", of logits.
        sparse: Whether y_true holds class numbers.
        class_axis: The axis of the classes in y_pred.
        per_image: Whether each image is scored alone.
        include_background: Whether class 0 takes part.
        squared: Whether `P = sum(p**2)` and `T = sum(t**2)`.
        smooth_numerator: Is added to the numerator.
        smooth_denominator: Is added to the denominator. None is `keras.config.epsilon()`.
        class_weights: One weight per class.
        ignore_class: Positions with this label count nothing.

    Returns:
        A scalar, or one loss per image; float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other.
    """
    arguments = OverlapArguments.of(locals())
    smooth = Smoothing.checked(smooth_numerator, smooth_denominator)
    return values(
        "generalized_dice", (_power(weight), *smooth.parameters), y_true, y_pred, arguments
    )


@serializable
class GeneralizedDice(OverlapLoss):
    """Dice loss of all classes together, the rare ones weighing more.

    Formula: `1 - (2 sum(w I) + smooth_numerator) / (sum(w (P + T)) + smooth_denominator)`

    Sums go over the classes; each class has its own `I = sum(t p)`, `P = sum(p)` and `T = sum(t)`,
    with `t` the labels, or the one-hot rows of class numbers, and `p` the predictions, or the
    sigmoid or softmax of logits. A class that is not there, `T = 0`, has the largest weight of the
    others, or 1 if there is none.

    What smoothing is added to is small: for "square" near `2 / T` of the rarest class, 2e-6 for a
    million positions. Large images want a `smooth_denominator` well below the default.
    A label that is no class is an error or, where the reference serves, makes its group NaN.

    Gradient of one group: `-w (2 t - (1 - loss)) / (sum(w (P + T)) + smooth_denominator)`

    Example:
        >>> loss = fl.GeneralizedDice(from_logits=True, sparse=True)
        >>> round(float(loss([[0, 1, 1]], [[[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]]])), 4)
        0.3415

    Args:
        weight: "square" is `w = 1 / T**2`, "simple" is `1 / T` and "uniform" is 1.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None; over the groups.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.
        from_logits: Whether y_pred holds logits. Those behind a sigmoid, or behind a softmax over
            `class_axis`, are found inside a `tf.function` and used by themselves.
        activation: "sigmoid" or "softmax", of logits. None is the sigmoid, or the softmax if
            `sparse`.
        sparse: Whether y_true holds class numbers, of y_pred's shape without `class_axis` or with a
            1 there; else it has y_pred's shape.
        class_axis: The axis of the classes in y_pred.
        per_image: Whether each image, an entry of the first axis, is scored alone.
        include_background: Whether class 0 takes part. The softmax sees it in any case.
        squared: Whether `P = sum(p**2)` and `T = sum(t**2)`.
        smooth_numerator: Is added to the numerator. Equal to `smooth_denominator` it makes an empty
            prediction of an empty mask a perfect one.
        smooth_denominator: Is added to the denominator. None is `keras.config.epsilon()`.
        class_weights: One factor of `w` per class of y_pred. None is 1.
        ignore_class: Positions with this label count nothing, and have gradient 0; it need not be a
            class. Of dense labels these are the positions whose labels outside this class are all
            0. None ignores no position.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other. When called: if
            the shapes do not go together, or an axis is none of y_pred's.

    Reference: Sudre et al., Generalised Dice overlap as a deep learning loss function for highly
    unbalanced segmentations, 2017 (arXiv:1707.03237).
    """

    _loss = "generalized_dice"

    def __init__(
        self,
        weight: str = "square",
        reduction: str | None = "sum_over_batch_size",
        name: str = "generalized_dice",
        dtype: Any = None,
        *,
        from_logits: bool = False,
        activation: str | None = None,
        sparse: bool = False,
        class_axis: int = -1,
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
        _power(weight)
        super().__init__(arguments, smoothing, name, reduction, dtype)
        self.weight = weight

    def _own_parameters(self) -> tuple[float, ...]:
        return (_power(self.weight),)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "weight": self.weight}
        del config["axis"], config["per_class"]
        return config
