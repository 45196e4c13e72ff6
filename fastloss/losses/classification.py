"""Losses of classification: labels of two classes, or of many that do not exclude each other."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fastloss.calls import Tensor
from fastloss.losses.base import FusedLoss
from fastloss.terms.arguments import checked, in_range, smoothing
from fastloss.terms.elementwise import Elementwise
from fastloss.terms.inputs import TensorLike, logits_behind, prediction
from fastloss.terms.term import evaluate

serializable = keras.saving.register_keras_serializable("fastloss")


@serializable
def hinge(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """Hinge loss of a margin classifier, one value per row.

    Formula: `mean(max(1 - y_true y_pred, 0))`

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.
    """
    return evaluate(Elementwise("hinge"), y_true, prediction(y_pred), adjust_rank=False)


@serializable
class Hinge(FusedLoss):
    """Hinge loss of a margin classifier.

    Formula: `mean(max(1 - y_true y_pred, 0))`

    Gradient of one value: `-y_true if y_true y_pred <= 1 else 0`

    Labels are -1 or 1; if all of them are 0 or 1, they are taken for -1 and 1.

    Example:
        >>> loss = fl.Hinge()
        >>> round(float(loss([[1, -1]], [[0.25, 0.5]])), 4)
        1.125

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Reference: Cortes and Vapnik, Support-vector networks, 1995.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return Elementwise("hinge"), y_pred


@serializable
def squared_hinge(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """Squared hinge loss of a margin classifier, one value per row.

    Formula: `mean(max(1 - y_true y_pred, 0)^2)`

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.
    """
    return evaluate(Elementwise("squared_hinge"), y_true, prediction(y_pred), adjust_rank=False)


@serializable
class SquaredHinge(FusedLoss):
    """Squared hinge loss of a margin classifier.

    Formula: `mean(max(1 - y_true y_pred, 0)^2)`

    Gradient of one value: `-2 y_true max(1 - y_true y_pred, 0)`

    Labels are -1 or 1; if all of them are 0 or 1, they are taken for -1 and 1.

    Example:
        >>> loss = fl.SquaredHinge()
        >>> round(float(loss([[1, -1]], [[0.25, 0.5]])), 4)
        1.4062

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Reference: Chang, Hsieh and Lin, Coordinate descent method for large-scale L2-loss linear
    support vector machines, 2008.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "squared_hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return Elementwise("squared_hinge"), y_pred


def _positive_weight(pos_weight: Any) -> Any:
    """The weights, checked where they are known: a tensor as it is, numbers as a tuple."""
    if pos_weight is None or (tf.is_tensor(pos_weight) and not hasattr(pos_weight, "numpy")):
        return pos_weight
    expected = "one positive number, or one for each class"
    weights = np.asarray(pos_weight)
    if weights.ndim > 1 or weights.dtype.kind not in "biuf":
        raise ValueError(f"pos_weight is {pos_weight!r}; expected {expected}")
    numbers = tuple(checked("pos_weight", x, 0, math.inf, expected) for x in weights.reshape(-1))
    return pos_weight if tf.is_tensor(pos_weight) else numbers


def _binary_crossentropy(
    y_pred: Tensor,
    from_logits: bool,
    label_smoothing: float,
    axis: int,
    pos_weight: Any,
) -> tuple[Elementwise, Tensor]:
    y_pred, from_logits = logits_behind(y_pred, from_logits, "binary_crossentropy", "Sigmoid")
    loss = "binary_crossentropy_from_logits" if from_logits else "binary_crossentropy"
    epsilon = () if from_logits else (keras.config.epsilon(),)
    parameters = (label_smoothing, *epsilon)
    return Elementwise(loss, parameters, axis, pos_weight, broadcasts=False), y_pred


@serializable
def binary_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    pos_weight: Any = None,
) -> Tensor:
    """Binary cross-entropy, one value per row.

    Formula: `-mean(pos_weight y log(p) + (1 - y) log(1 - p))`, with `y` the smoothed label

    Example:
        >>> values = fl.binary_crossentropy([[1, 0], [0, 1]], [[0.9, 0.2], [0.4, 0.6]])
        >>> [round(float(x), 4) for x in values]
        [0.1643, 0.5108]

    Args:
        y_true: Labels from 0 to 1, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Probabilities or logits of the same shape; float16, bfloat16, float32 or float64.
        from_logits: Whether y_pred holds logits.
        label_smoothing: From 0 to 1; moves the labels that far towards 0.5.
        axis: The axis to average over.
        pos_weight: Weight of the positive class: a number, or one per class of the last dimension.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If `label_smoothing` or `pos_weight` is out of range.
    """
    term, y_pred = _binary_crossentropy(
        prediction(y_pred),
        from_logits,
        smoothing(label_smoothing),
        axis,
        _positive_weight(pos_weight),
    )
    return evaluate(term, y_true, y_pred, adjust_rank=False)


@serializable
class BinaryCrossentropy(FusedLoss):
    """Cross-entropy of yes-or-no labels, one or many per sample.

    Formula: `-mean(pos_weight y log(p) + (1 - y) log(1 - p))`, with `y` the smoothed label and,
    from logits, `p = sigmoid(y_pred)`; probabilities are clipped to [epsilon, 1 - epsilon],
    `epsilon` = `keras.config.epsilon()`.

    Gradient of one value from logits (without pos_weight): `sigmoid(y_pred) - y`; of a probability
    `(p - y) / (p (1 - p))`, 0 where it is clipped

    Example:
        >>> loss = fl.BinaryCrossentropy(from_logits=True, pos_weight=2.0)
        >>> round(float(loss([[1, 0]], [[2.0, -1.0]])), 4)
        0.2836

    Args:
        from_logits: Whether y_pred holds logits. Exact where probabilities round to 0 or 1; logits
            behind a sigmoid are found and used by themselves.
        label_smoothing: From 0 to 1; moves the labels that far towards 0.5.
        axis: The axis to average over.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.
        pos_weight: Weight of the positive class: a number, or one per class of the last dimension;
            None is 1. As in PyTorch's BCEWithLogitsLoss.

    Raises:
        ValueError: If `label_smoothing` or `pos_weight` is out of range.

    Reference: Cox, The regression analysis of binary sequences, 1958; Szegedy et al., Rethinking
    the Inception architecture, 2015 (arXiv:1512.00567), for label smoothing.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_crossentropy",
        dtype: Any = None,
        pos_weight: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = from_logits
        self.label_smoothing = smoothing(label_smoothing)
        self.axis = axis
        self.pos_weight = _positive_weight(pos_weight)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return _binary_crossentropy(
            y_pred, self.from_logits, self.label_smoothing, self.axis, self.pos_weight
        )

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
            "axis": self.axis,
        }
        if self.pos_weight is not None:
            config["pos_weight"] = np.asarray(self.pos_weight, float).reshape(-1).tolist()
        return config


def _binary_focal_crossentropy(
    y_pred: Tensor,
    apply_class_balancing: bool,
    alpha: float,
    gamma: float,
    from_logits: bool,
    label_smoothing: float,
    axis: int,
) -> tuple[Elementwise, Tensor]:
    y_pred, from_logits = logits_behind(y_pred, from_logits, "binary_focal_crossentropy", "Sigmoid")
    base, balance = (1 - alpha, 2 * alpha - 1) if apply_class_balancing else (1.0, 0.0)
    loss = "binary_focal_crossentropy_from_logits" if from_logits else "binary_focal_crossentropy"
    epsilon = () if from_logits else (keras.config.epsilon(),)
    parameters = (label_smoothing, gamma, base, balance, *epsilon)
    return Elementwise(loss, parameters, axis, broadcasts=False), y_pred


@serializable
def binary_focal_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Binary cross-entropy that attends to the hard examples, one value per row.

    Formula: `mean(w (1 - p_t)^gamma bce)`; see `BinaryFocalCrossentropy`.

    Args:
        y_true: Labels from 0 to 1, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Probabilities or logits of the same shape; float16, bfloat16, float32 or float64.
        apply_class_balancing: Whether to weigh the classes by alpha and 1 - alpha.
        alpha: Weight of class 1, from 0 to 1; class 0 has 1 - alpha.
        gamma: Focus, at least 0; 0 is plain cross-entropy.
        from_logits: Whether y_pred holds logits.
        label_smoothing: From 0 to 1; moves the labels that far towards 0.5.
        axis: The axis to average over.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If `alpha`, `gamma` or `label_smoothing` is out of range.
    """
    term, y_pred = _binary_focal_crossentropy(
        prediction(y_pred),
        apply_class_balancing,
        in_range("binary_focal_crossentropy", "alpha", alpha),
        in_range("binary_focal_crossentropy", "gamma", gamma),
        from_logits,
        smoothing(label_smoothing),
        axis,
    )
    return evaluate(term, y_true, y_pred, adjust_rank=False)


@serializable
class BinaryFocalCrossentropy(FusedLoss):
    """Binary cross-entropy that attends to the hard examples.

    Formula: `mean(w (1 - p_t)^gamma bce)`, with `p_t = y p + (1 - y) (1 - p)`, `bce` the binary
    cross-entropy, `y` the smoothed label, and `w = y alpha + (1 - y) (1 - alpha)` under
    `apply_class_balancing`, else 1.

    Gradient of one value from logits, for labels 0 and 1:
    `w (2 y - 1) (1 - p_t)^gamma (gamma p_t log(p_t) + p_t - 1)`

    Example:
        >>> loss = fl.BinaryFocalCrossentropy(gamma=2.0, from_logits=True)
        >>> round(float(loss([[1, 0]], [[2.0, -1.0]])), 4)
        0.0122

    Args:
        apply_class_balancing: Whether to weigh the classes by alpha and 1 - alpha.
        alpha: Weight of class 1, from 0 to 1; class 0 has 1 - alpha.
        gamma: Focus, at least 0; 0 is plain cross-entropy, 2 is the paper's.
        from_logits: Whether y_pred holds logits.
        label_smoothing: From 0 to 1; moves the labels that far towards 0.5.
        axis: The axis to average over.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Raises:
        ValueError: If `alpha`, `gamma` or `label_smoothing` is out of range.

    Reference: Lin et al., Focal loss for dense object detection, 2017 (arXiv:1708.02002).
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.apply_class_balancing = apply_class_balancing
        self.alpha = in_range("binary_focal_crossentropy", "alpha", alpha)
        self.gamma = in_range("binary_focal_crossentropy", "gamma", gamma)
        self.from_logits = from_logits
        self.label_smoothing = smoothing(label_smoothing)
        self.axis = axis

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return _binary_focal_crossentropy(
            y_pred,
            self.apply_class_balancing,
            self.alpha,
            self.gamma,
            self.from_logits,
            self.label_smoothing,
            self.axis,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "apply_class_balancing": self.apply_class_balancing,
            "alpha": self.alpha,
            "gamma": self.gamma,
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
            "axis": self.axis,
        }


bce = BCE = binary_crossentropy
