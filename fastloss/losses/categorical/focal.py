"""Focal cross-entropy of labels that are one of many classes."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fastloss.calls import Tensor
from fastloss.losses.categorical.base import (
    CategoricalLoss,
    CrossEntropyArguments,
    config_of,
    rows_and_metrics,
    term,
)
from fastloss.terms.arguments import checked, in_range, per_class
from fastloss.terms.inputs import TensorLike, in_dtype, prediction
from fastloss.terms.rowwise import RowMetrics, Rowwise
from fastloss.terms.term import evaluate

serializable = keras.saving.register_keras_serializable("fastloss")


def _balance(alpha: Any) -> Any:
    """Alpha as a float, or one per class."""
    is_known = not tf.is_tensor(alpha) or hasattr(alpha, "numpy")
    shape = np.shape(alpha) if is_known else tuple(alpha.shape)
    if shape not in ((), (1,)):
        return per_class("alpha", alpha)
    expected = "a finite number that is not negative, or one for each class"
    number = alpha if shape == () else alpha[0]
    return checked("alpha", number, 0, sys.float_info.max, expected)


def _product(alpha: Any, class_weights: Any) -> Any:
    if class_weights is None:
        return alpha
    alpha = in_dtype("alpha", alpha, tf.float64)
    class_weights = in_dtype("class_weights", class_weights, tf.float64)
    if not alpha.shape.is_compatible_with(class_weights.shape):
        raise ValueError(
            f"alpha has shape {tuple(alpha.shape)} and class_weights has shape "
            f"{tuple(class_weights.shape)}; expected one number for each class in both"
        )
    return alpha * class_weights


def _focal(
    loss: str,
    alpha: Any,
    gamma: float,
    y_pred: Tensor,
    arguments: CrossEntropyArguments,
    return_metrics: bool = False,
) -> Rowwise:
    if not isinstance(alpha, float):
        arguments = arguments._replace(class_weights=_product(alpha, arguments.class_weights))
        alpha = 1.0
    return term(loss, (alpha, gamma), y_pred, arguments, return_metrics)


@serializable
def categorical_focal_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    *,
    ignore_class: int | None = None,
    class_weights: Any = None,
    temperature: float = 1.0,
    logit_softcap: float | None = None,
    z_loss: float = 0.0,
    return_metrics: bool = False,
) -> Tensor | tuple[Tensor, RowMetrics]:
    """Cross-entropy that attends to the hard examples, one value per row.

    Formula: `-sum(alpha y (1 - p)^gamma log(p))`; see `CategoricalFocalCrossentropy`.

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Probabilities or logits of the same shape; float16, bfloat16, float32 or float64.
        alpha: Weight of the loss: a number, or one per class.
        gamma: Focus, at least 0; 0 is plain cross-entropy.
        from_logits: Whether y_pred holds logits.
        label_smoothing: From 0 to 1; moves the labels that far towards 1 / classes.
        axis: The axis of the classes.
        ignore_class: Rows whose labels outside this class are all 0 have loss 0.
        class_weights: One weight per class, times alpha.
        temperature: Logits are divided by it.
        logit_softcap: Logits become cap * tanh(logits / cap).
        z_loss: Weight of the squared log-sum-exp of the logits.
        return_metrics: Whether to return what else is known of each row; from logits only.

    Returns:
        y_pred's shape without `axis`, float64 for float64 predictions, else float32; with
        `return_metrics` that and a `RowMetrics`.

    Raises:
        ValueError: If an argument is out of range, or needs logits and y_pred holds probabilities.
    """
    arguments = CrossEntropyArguments.of(locals())
    y_pred = prediction(y_pred)
    loss = _focal(
        "categorical_focal_crossentropy",
        _balance(alpha),
        in_range("categorical_focal_crossentropy", "gamma", gamma),
        y_pred,
        arguments,
        return_metrics,
    )
    if return_metrics:
        return rows_and_metrics(loss, y_true, y_pred, adjust_rank=False)
    return evaluate(loss, y_true, y_pred, adjust_rank=False)


class _FocalLoss(CategoricalLoss):
    """What both forms share besides."""

    def __init__(
        self,
        alpha: Any,
        gamma: float,
        arguments: CrossEntropyArguments,
        name: str,
        reduction: str | None,
        dtype: Any,
    ) -> None:
        super().__init__(arguments, name, reduction, dtype)
        self.alpha = _balance(alpha)
        self.gamma = in_range("categorical_focal_crossentropy", "gamma", gamma)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": config_of(self.alpha), "gamma": self.gamma}


@serializable
class CategoricalFocalCrossentropy(_FocalLoss):
    """Cross-entropy that attends to the hard examples, of one-hot or soft labels.

    Formula: `-sum(class_weights alpha y (1 - p)^gamma log(p)) + z_loss log_sum_exp**2`, with `y`
    the smoothed label, `p = softmax(z)` and `log_sum_exp = log(sum(exp(z)))`. From logits, `z` is
    y_pred after softcap and temperature, and nothing is clipped. Probabilities are divided by their
    sum and clipped to [epsilon, 1 - epsilon], `epsilon` = `keras.config.epsilon()`.

    Gradient of one value from logits, with the one-hot row `y` of class `t` (without options):
    `alpha (1 - p[t])^(gamma - 1) (gamma p[t] log(p[t]) + p[t] - 1) (y - p)`

    Example:
        >>> loss = fl.CategoricalFocalCrossentropy(alpha=1.0, from_logits=True)
        >>> round(float(loss([[0, 1, 0]], [[1.0, 3.0, 0.0]])), 4)
        0.0041

    Args:
        alpha: Weight of the loss: a number, or one per class.
        gamma: Focus, at least 0; 0 is plain cross-entropy, 2 is the paper's.
        from_logits: Whether y_pred holds logits.
        label_smoothing: From 0 to 1; moves the labels that far towards 1 / classes.
        axis: The axis of the classes.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.
        ignore_class: Rows whose labels outside this class are all 0 have loss 0 and do not count in
            a mean; so a row of zeros is ignored whatever the class. None ignores no row.
        class_weights: One weight per class, times alpha. None is 1.
        temperature: Logits are divided by it, after the softcap.
        logit_softcap: Logits become cap * tanh(logits / cap). None is no cap.
        z_loss: Weight of the squared log-sum-exp of the logits.

    Raises:
        ValueError: If an argument is out of range. When called: if `temperature`, `logit_softcap`
            or `z_loss` is given and y_pred holds probabilities.

    Reference: Lin et al., Focal loss for dense object detection, 2017 (arXiv:1708.02002).
    """

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_focal_crossentropy",
        dtype: Any = None,
        *,
        ignore_class: int | None = None,
        class_weights: Any = None,
        temperature: float = 1.0,
        logit_softcap: float | None = None,
        z_loss: float = 0.0,
    ) -> None:
        arguments = CrossEntropyArguments.of(locals())
        super().__init__(alpha, gamma, arguments, name, reduction, dtype)

    def _term(self, y_pred: Tensor) -> tuple[Rowwise, Tensor]:
        loss = "categorical_focal_crossentropy"
        return _focal(loss, self.alpha, self.gamma, y_pred, self._arguments), y_pred


@serializable
def sparse_categorical_focal_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    ignore_class: int | None = None,
    label_smoothing: float = 0.0,
    axis: int = -1,
    *,
    class_weights: Any = None,
    temperature: float = 1.0,
    logit_softcap: float | None = None,
    z_loss: float = 0.0,
    return_metrics: bool = False,
) -> Tensor | tuple[Tensor, RowMetrics]:
    """Cross-entropy that attends to the hard examples, of class numbers, one value per row.

    Formula: `-alpha (1 - p[t])^gamma log(p[t])`, `t` the label (without smoothing); see
    `SparseCategoricalFocalCrossentropy`.

    Args:
        y_true: Class numbers, of y_pred's shape without `axis` or with a 1 there; boolean, integer
            or float.
        y_pred: Probabilities or logits; float16, bfloat16, float32 or float64.
        alpha: Weight of the loss: a number, or one per class.
        gamma: Focus, at least 0; 0 is plain cross-entropy.
        from_logits: Whether y_pred holds logits.
        ignore_class: Rows with this label have loss 0. It need not be a class.
        label_smoothing: From 0 to 1; moves the labels that far towards 1 / classes.
        axis: The axis of the classes in y_pred.
        class_weights: One weight per class, times alpha.
        temperature: Logits are divided by it.
        logit_softcap: Logits become cap * tanh(logits / cap).
        z_loss: Weight of the squared log-sum-exp of the logits.
        return_metrics: Whether to return what else is known of each row; from logits only.

    Returns:
        y_pred's shape without `axis`, float64 for float64 predictions, else float32; with
        `return_metrics` that and a `RowMetrics`.

    Raises:
        ValueError: If an argument is out of range, or needs logits and y_pred holds probabilities.
    """
    arguments = CrossEntropyArguments.of(locals())
    y_pred = prediction(y_pred)
    loss = _focal(
        "sparse_categorical_focal_crossentropy",
        _balance(alpha),
        in_range("categorical_focal_crossentropy", "gamma", gamma),
        y_pred,
        arguments,
        return_metrics,
    )
    if return_metrics:
        return rows_and_metrics(loss, y_true, y_pred, adjust_rank=True)
    return evaluate(loss, y_true, y_pred)


@serializable
class SparseCategoricalFocalCrossentropy(_FocalLoss):
    """Cross-entropy that attends to the hard examples, of labels that are class numbers.

    Formula: `-class_weights[t] alpha (1 - p[t])^gamma log(p[t]) + z_loss log_sum_exp**2`, `t` the
    label; else as `CategoricalFocalCrossentropy` with the label's one-hot row.

    Gradient of one value from logits (without options):
    `alpha (1 - p[t])^(gamma - 1) (gamma p[t] log(p[t]) + p[t] - 1) (y - p)`, `y` the one-hot row

    Labels stay integers, however large; floating labels lose their fraction. A label that is no
    class is an error or, where the reference serves, makes the row's loss and gradient NaN.

    Example:
        >>> loss = fl.SparseCategoricalFocalCrossentropy(alpha=1.0, from_logits=True)
        >>> round(float(loss([1], [[1.0, 3.0, 0.0]])), 4)
        0.0041

    Args:
        alpha: Weight of the loss: a number, or one per class.
        gamma: Focus, at least 0; 0 is plain cross-entropy, 2 is the paper's.
        from_logits: Whether y_pred holds logits.
        ignore_class: Rows with this label have loss 0 and do not count in a mean. It need not be a
            class: -1 and 255 are usual. None ignores no row.
        label_smoothing: From 0 to 1; moves the labels that far towards 1 / classes.
        axis: The axis of the classes in y_pred.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.
        class_weights: One weight per class, times alpha. None is 1.
        temperature: Logits are divided by it, after the softcap.
        logit_softcap: Logits become cap * tanh(logits / cap). None is no cap.
        z_loss: Weight of the squared log-sum-exp of the logits.

    Raises:
        ValueError: If an argument is out of range. When called: if `temperature`, `logit_softcap`
            or `z_loss` is given and y_pred holds probabilities.

    Reference: Lin et al., Focal loss for dense object detection, 2017 (arXiv:1708.02002).
    """

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        ignore_class: int | None = None,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "sparse_categorical_focal_crossentropy",
        dtype: Any = None,
        *,
        class_weights: Any = None,
        temperature: float = 1.0,
        logit_softcap: float | None = None,
        z_loss: float = 0.0,
    ) -> None:
        arguments = CrossEntropyArguments.of(locals())
        super().__init__(alpha, gamma, arguments, name, reduction, dtype)

    def _term(self, y_pred: Tensor) -> tuple[Rowwise, Tensor]:
        loss = "sparse_categorical_focal_crossentropy"
        return _focal(loss, self.alpha, self.gamma, y_pred, self._arguments), y_pred
