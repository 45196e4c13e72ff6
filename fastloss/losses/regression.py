"""Losses of regression: how far a number is from its target."""

from __future__ import annotations

from typing import Any

import keras

from fastloss.calls import Tensor
from fastloss.losses.base import FusedLoss
from fastloss.terms.arguments import in_range
from fastloss.terms.elementwise import Elementwise
from fastloss.terms.inputs import TensorLike, prediction
from fastloss.terms.term import evaluate

serializable = keras.saving.register_keras_serializable("fastloss")


def _with_epsilon(loss: str) -> Elementwise:
    return Elementwise(loss, (keras.config.epsilon(),))


@serializable
def mean_squared_error(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """Mean of squared errors, one value per row.

    Formula: `mean((y_true - y_pred)^2)`

    Example:
        >>> values = fl.mean_squared_error([[1.0, 2.0]], [[1.5, 4.0]])
        >>> [round(float(x), 4) for x in values]
        [2.125]

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.
    """
    return evaluate(Elementwise("mean_squared_error"), y_true, prediction(y_pred))


@serializable
class MeanSquaredError(FusedLoss):
    """Mean of squared errors.

    Formula: `mean((y_true - y_pred)^2)`

    Gradient of one value: `2 (y_pred - y_true)`

    Example:
        >>> loss = fl.MeanSquaredError()
        >>> round(float(loss([[1.0, 2.0]], [[1.5, 4.0]])), 4)
        2.125

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Reference: Legendre, Nouvelles méthodes pour la détermination des orbites des comètes, 1805.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "mean_squared_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return Elementwise("mean_squared_error"), y_pred


@serializable
def mean_absolute_error(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """Mean of absolute errors, one value per row.

    Formula: `mean(|y_true - y_pred|)`

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.
    """
    return evaluate(Elementwise("mean_absolute_error"), y_true, prediction(y_pred))


@serializable
class MeanAbsoluteError(FusedLoss):
    """Mean of absolute errors.

    Formula: `mean(|y_true - y_pred|)`

    Gradient of one value: `sign(y_pred - y_true)`, 0 where both are equal

    Example:
        >>> loss = fl.MeanAbsoluteError()
        >>> round(float(loss([[1.0, 2.0]], [[1.5, 4.0]])), 4)
        1.25

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Reference: Bloomfield and Steiger, Least absolute deviations, 1983.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "mean_absolute_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return Elementwise("mean_absolute_error"), y_pred


@serializable
def mean_absolute_percentage_error(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """Mean of absolute errors in percent of the label, one value per row.

    Formula: `100 mean(|y_true - y_pred| / max(|y_true|, epsilon))`

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.
    """
    return evaluate(_with_epsilon("mean_absolute_percentage_error"), y_true, prediction(y_pred))


@serializable
class MeanAbsolutePercentageError(FusedLoss):
    """Mean of absolute errors in percent of the label.

    Formula: `100 mean(|y_true - y_pred| / max(|y_true|, epsilon))`

    Gradient of one value: `100 sign(y_pred - y_true) / max(|y_true|, epsilon)`, 0 where both are
    equal

    `epsilon` is `keras.config.epsilon()`, 1e-7 by default: it keeps labels of 0 finite.

    Example:
        >>> loss = fl.MeanAbsolutePercentageError()
        >>> round(float(loss([[10.0, 20.0]], [[11.0, 15.0]])), 4)
        17.5

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Reference: De Myttenaere et al., Mean absolute percentage error for regression models, 2016
    (arXiv:1605.02541).
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "mean_absolute_percentage_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return _with_epsilon("mean_absolute_percentage_error"), y_pred


@serializable
def mean_squared_logarithmic_error(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """Mean of squared differences of log(1 + x), one value per row.

    Formula: `mean((log(1 + max(y_true, epsilon)) - log(1 + max(y_pred, epsilon)))^2)`

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.
    """
    return evaluate(_with_epsilon("mean_squared_logarithmic_error"), y_true, prediction(y_pred))


@serializable
class MeanSquaredLogarithmicError(FusedLoss):
    """Mean of squared differences of log(1 + x).

    Formula: `mean((log(1 + max(y_true, epsilon)) - log(1 + max(y_pred, epsilon)))^2)`

    Gradient of one value: `2 (log(1 + y_pred) - log(1 + y_true)) / (1 + y_pred)`

    `epsilon` is `keras.config.epsilon()`, 1e-7 by default; the gradient below it is 0.

    Example:
        >>> loss = fl.MeanSquaredLogarithmicError()
        >>> round(float(loss([[10.0, 1000.0]], [[20.0, 2000.0]])), 4)
        0.4489

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Reference: Tofallis, A better measure of relative prediction accuracy for model selection and
    model estimation, 2015, for the square of a logarithmic ratio.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "mean_squared_logarithmic_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return _with_epsilon("mean_squared_logarithmic_error"), y_pred


def _huber(delta: float) -> Elementwise:
    return Elementwise("huber", (in_range("huber", "delta", delta),))


@serializable
def huber(y_true: TensorLike, y_pred: TensorLike, delta: float = 1.0) -> Tensor:
    """Squared for small errors, linear for large ones, one value per row.

    Formula: `mean(e^2 / 2 if |e| <= delta else delta |e| - delta^2 / 2)`, `e = y_pred - y_true`

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.
        delta: Size of error, in units of the labels, at which the loss turns linear.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If `delta` is negative.
    """
    return evaluate(_huber(delta), y_true, prediction(y_pred))


@serializable
class Huber(FusedLoss):
    """Squared for small errors, linear for large ones: outliers pull with a bounded force.

    Formula: `mean(e^2 / 2 if |e| <= delta else delta |e| - delta^2 / 2)`, `e = y_pred - y_true`

    Gradient of one value: `clip(e, -delta, delta)`

    Example:
        >>> loss = fl.Huber(delta=1.0)
        >>> round(float(loss([[0.0, 0.0]], [[0.5, 3.0]])), 4)
        1.3125

    Args:
        delta: Size of error, in units of the labels, at which the loss turns linear.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Raises:
        ValueError: If `delta` is negative.

    Reference: Huber, Robust estimation of a location parameter, 1964.
    """

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.delta = delta
        self._huber = _huber(delta)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return self._huber, y_pred

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "delta": self.delta}


def _smooth_l1(beta: float) -> Elementwise:
    return Elementwise("smooth_l1", (in_range("smooth_l1", "beta", beta),))


@serializable
def smooth_l1(y_true: TensorLike, y_pred: TensorLike, beta: float = 1.0) -> Tensor:
    """Squared for small errors, absolute for large ones, one value per row.

    Formula: `mean(e^2 / (2 beta) if |e| < beta else |e| - beta / 2)`, `e = y_pred - y_true`

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.
        beta: Size of error, in units of the labels, from which on the loss is linear.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If `beta` is negative or not finite.
    """
    return evaluate(_smooth_l1(beta), y_true, prediction(y_pred))


@serializable
class SmoothL1(FusedLoss):
    """Squared for small errors, absolute for large ones, whose gradient is 1 for any `beta`.

    Formula: `mean(e^2 / (2 beta) if |e| < beta else |e| - beta / 2)`, `e = y_pred - y_true`

    Gradient of one value: `clip(e / beta, -1, 1)`

    It is `Huber(delta=beta) / beta`; with `beta=0` it is the absolute error.

    Example:
        >>> loss = fl.SmoothL1(beta=0.5)
        >>> round(float(loss([[0.0, 0.0]], [[0.25, 3.0]])), 4)
        1.4062

    Args:
        beta: Size of error, in units of the labels, from which on the loss is linear; 1 as in
            torchvision and KerasCV.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Raises:
        ValueError: If `beta` is negative or not finite.

    Reference: Girshick, Fast R-CNN, 2015 (arXiv:1504.08083).
    """

    def __init__(
        self,
        beta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "smooth_l1",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.beta = beta
        self._smooth_l1 = _smooth_l1(beta)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return self._smooth_l1, y_pred

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta}


@serializable
def log_cosh(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """Logarithm of the hyperbolic cosine of the error, one value per row.

    Formula: `mean(log(cosh(y_pred - y_true)))`

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.
    """
    return evaluate(Elementwise("log_cosh"), y_true, prediction(y_pred))


@serializable
class LogCosh(FusedLoss):
    """Logarithm of the hyperbolic cosine of the error.

    Formula: `mean(log(cosh(y_pred - y_true)))`

    Gradient of one value: `tanh(y_pred - y_true)`

    Half the squared error for small errors, the absolute error less log(2) for large ones.

    Example:
        >>> loss = fl.LogCosh()
        >>> round(float(loss([[0.0, 0.0]], [[0.5, 3.0]])), 4)
        1.2147

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Reference: Green, Bayesian reconstructions from emission tomography data using a modified EM
    algorithm, 1990.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "log_cosh",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return Elementwise("log_cosh"), y_pred


def _pinball(tau: float) -> Elementwise:
    return Elementwise("pinball", (in_range("pinball", "tau", tau),))


@serializable
def pinball(y_true: TensorLike, y_pred: TensorLike, tau: float = 0.5) -> Tensor:
    """Pinball (quantile) loss, one value per row.

    Formula: `mean(max(tau e, (tau - 1) e))`, `e = y_true - y_pred`

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.
        tau: The quantile to predict, between 0 and 1.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If `tau` is not between 0 and 1.
    """
    return evaluate(_pinball(tau), y_true, prediction(y_pred))


@serializable
class Pinball(FusedLoss):
    """Pinball (quantile) loss: its minimum is the `tau` quantile of the labels.

    Formula: `mean(max(tau e, (tau - 1) e))`, `e = y_true - y_pred`

    Gradient of one value: `-tau` where `e >= 0`, else `1 - tau`

    Example:
        >>> loss = fl.Pinball(tau=0.9)
        >>> round(float(loss([[10.0, 10.0]], [[9.0, 11.0]])), 4)
        0.5

    Args:
        tau: The quantile to predict, between 0 and 1; 0.5 is half the absolute error.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Raises:
        ValueError: If `tau` is not between 0 and 1.

    Reference: Koenker and Bassett, Regression quantiles, 1978.
    """

    def __init__(
        self,
        tau: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "pinball_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.tau = tau
        self._pinball = _pinball(tau)

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        return self._pinball, y_pred

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "tau": self.tau}


Quantile = Pinball
quantile = pinball
mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
logcosh = log_cosh
