"""Losses between distributions and rates."""

from __future__ import annotations

from typing import Any

import keras

from fastloss.losses.base import (
    Elementwise,
    ElementwiseLoss,
    Tensor,
    TensorLike,
    evaluate,
    prediction,
)

serializable = keras.saving.register_keras_serializable("fastloss")


@serializable
def kl_divergence(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """Kullback-Leibler divergence of y_pred from y_true, one value per row.

    Formula: `sum(y_true log(y_true / y_pred))`

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.
    """
    return evaluate(
        Elementwise("kl_divergence", (keras.config.epsilon(),)), y_true, prediction(y_pred)
    )


@serializable
class KLDivergence(ElementwiseLoss):
    """Kullback-Leibler divergence of y_pred from y_true.

    Formula: `sum(y_true log(y_true / y_pred))`

    Gradient of one value: `-y_true / y_pred`

    Both are clipped to [epsilon, 1], `epsilon` = `keras.config.epsilon()`; outside, the gradient is
    0. The last dimension is summed, not averaged.

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Reference: Kullback and Leibler, On information and sufficiency, 1951.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "kl_divergence",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return Elementwise("kl_divergence", (keras.config.epsilon(),)), y_pred


@serializable
def poisson(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """Negative log-likelihood of counts under a Poisson rate, less its constant, one value per row.

    Formula: `mean(y_pred - y_true log(y_pred + epsilon))`

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.
    """
    return evaluate(
        Elementwise("poisson", (keras.config.epsilon(),)),
        y_true,
        prediction(y_pred),
        adjust_rank=False,
    )


@serializable
class Poisson(ElementwiseLoss):
    """Negative log-likelihood of counts under a Poisson rate, less its constant.

    Formula: `mean(y_pred - y_true log(y_pred + epsilon))`

    Gradient of one value: `1 - y_true / (y_pred + epsilon)`

    `epsilon` is `keras.config.epsilon()`, 1e-7 by default.

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "poisson",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return Elementwise("poisson", (keras.config.epsilon(),)), y_pred


kld = KLD = kullback_leibler_divergence = kl_divergence
