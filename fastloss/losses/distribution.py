"""Losses between distributions and rates."""

from __future__ import annotations

from typing import Any

import keras

from fastloss.calls import RowwiseOptions, Tensor
from fastloss.losses.base import FusedLoss
from fastloss.losses.categorical.base import refuse_without_logits
from fastloss.terms.arguments import in_range, integer, positive
from fastloss.terms.elementwise import Elementwise
from fastloss.terms.inputs import TensorLike, prediction
from fastloss.terms.rowwise import Rowwise
from fastloss.terms.term import Term, evaluate

serializable = keras.saving.register_keras_serializable("fastloss")


def _divergence(from_logits: bool, reverse: bool, temperature: float, axis: int) -> Term:
    if from_logits:
        loss = "reverse_kl_divergence_from_logits" if reverse else "kl_divergence_from_logits"
        return Rowwise(loss, (), axis, RowwiseOptions(temperature=temperature))
    return Elementwise("kl_divergence", (keras.config.epsilon(),))


def _check_logits(from_logits: bool, reverse: bool, temperature: float, axis: int) -> None:
    if not from_logits:
        refuse_without_logits(
            reverse=(reverse, False), temperature=(temperature, 1.0), axis=(axis, -1)
        )


@serializable
def kl_divergence(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    from_logits: bool = False,
    reverse: bool = False,
    temperature: float = 1.0,
    axis: int = -1,
) -> Tensor:
    """Kullback-Leibler divergence of y_pred from y_true, one value per row.

    Formula: `sum(y_true log(y_true / y_pred))`; see `KLDivergence`.

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.
        from_logits: Whether both hold logits.
        reverse: Whether to give the divergence of y_true from y_pred; from logits only.
        temperature: Both logits are divided by it.
        axis: The axis of the classes; another than the last from logits only.

    Returns:
        y_pred's shape without `axis`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If `temperature` or `axis` is out of range, or `reverse`, `temperature` or
            `axis` is given without logits.
    """
    temperature, axis = positive("temperature", temperature), integer("axis", axis)
    _check_logits(from_logits, reverse, temperature, axis)
    term = _divergence(from_logits, reverse, temperature, axis)
    return evaluate(term, y_true, prediction(y_pred))


@serializable
class KLDivergence(FusedLoss):
    """Kullback-Leibler divergence of y_pred from y_true.

    Formula: `sum(p log(p / q))` with `p` from y_true and `q` from y_pred, or under `reverse` the
    other way round. From logits both are `softmax(logits / temperature)`. Else they are the numbers
    as they come, clipped to [epsilon, 1], `epsilon` = `keras.config.epsilon()`.

    Gradient of one value: `-y_true / y_pred`, 0 where y_pred is clipped; from logits
    `(q - p) / temperature`, or under `reverse` `q (log(q / p) - loss) / temperature`

    The classes are summed, not averaged. With `from_logits` it distils one model into another;
    multiply by `temperature**2` to keep the size of the gradients when the temperature changes.

    Example:
        >>> loss = fl.KLDivergence()
        >>> round(float(loss([[0.5, 0.5]], [[0.25, 0.75]])), 4)
        0.1438

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.
        from_logits: Whether y_true and y_pred both hold logits.
        reverse: Whether to give the divergence of y_true from y_pred; from logits only.
        temperature: Both logits are divided by it; from logits only.
        axis: The axis of the classes; another than the last from logits only.

    Raises:
        ValueError: If `temperature` or `axis` is out of range, or `reverse`, `temperature` or
            `axis` is given without logits.

    Reference: Kullback and Leibler, On information and sufficiency, 1951; Hinton et al., Distilling
    the knowledge in a neural network, 2015 (arXiv:1503.02531), for the temperature.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "kl_divergence",
        dtype: Any = None,
        *,
        from_logits: bool = False,
        reverse: bool = False,
        temperature: float = 1.0,
        axis: int = -1,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = from_logits
        self.reverse = reverse
        self.temperature = positive("temperature", temperature)
        self.axis = integer("axis", axis)
        _check_logits(from_logits, reverse, self.temperature, self.axis)

    def _term(self, y_pred: Tensor) -> tuple[Term, Tensor]:
        return _divergence(self.from_logits, self.reverse, self.temperature, self.axis), y_pred

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "reverse": self.reverse,
            "temperature": self.temperature,
            "axis": self.axis,
        }


def _mixture(beta: Any) -> float:
    return in_range("jensen_shannon_divergence", "beta", beta)


def _mixed_divergence(beta: float, temperature: float, axis: int) -> Rowwise:
    options = RowwiseOptions(temperature=temperature)
    return Rowwise("jensen_shannon_divergence_from_logits", (beta,), axis, options)


@serializable
def jensen_shannon_divergence(
    y_true: TensorLike,
    y_pred: TensorLike,
    beta: float = 0.5,
    temperature: float = 1.0,
    axis: int = -1,
) -> Tensor:
    """Jensen-Shannon divergence between two distributions given as logits, one value per row.

    Formula: `beta KL(p, m) + (1 - beta) KL(q, m)`; see `JensenShannonDivergence`.

    Args:
        y_true: Logits, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Logits of the same shape; float16, bfloat16, float32 or float64.
        beta: Share of y_true in the mixture, between 0 and 1.
        temperature: Both logits are divided by it.
        axis: The axis of the classes.

    Returns:
        y_pred's shape without `axis`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If `beta`, `temperature` or `axis` is out of range.
    """
    term = _mixed_divergence(
        _mixture(beta), positive("temperature", temperature), integer("axis", axis)
    )
    return evaluate(term, y_true, prediction(y_pred))


@serializable
class JensenShannonDivergence(FusedLoss):
    """Generalized Jensen-Shannon divergence between two distributions given as logits.

    Formula: `beta KL(p, m) + (1 - beta) KL(q, m)` with `p = softmax(y_true / temperature)`,
    `q = softmax(y_pred / temperature)`, `m = beta p + (1 - beta) q` and
    `KL(p, m) = sum(p log(p / m))`

    Gradient of one value: `(1 - beta) q (log(q / m) - KL(q, m)) / temperature`

    It is finite where the divergences of Kullback and Leibler are not, and at beta 0.5 symmetric.

    Example:
        >>> loss = fl.JensenShannonDivergence()
        >>> round(float(loss([[0.0, 1.0]], [[1.0, 0.0]])), 4)
        0.1109

    Args:
        beta: Share of y_true in the mixture, between 0 and 1.
        temperature: Both logits are divided by it.
        axis: The axis of the classes.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Raises:
        ValueError: If `beta`, `temperature` or `axis` is out of range.

    Reference: Agarwal et al., On-policy distillation of language models, 2023 (arXiv:2306.13649).
    """

    def __init__(
        self,
        beta: float = 0.5,
        temperature: float = 1.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "jensen_shannon_divergence",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.beta = _mixture(beta)
        self.temperature = positive("temperature", temperature)
        self.axis = integer("axis", axis)

    def _term(self, y_pred: Tensor) -> tuple[Rowwise, Tensor]:
        return _mixed_divergence(self.beta, self.temperature, self.axis), y_pred

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta": self.beta,
            "temperature": self.temperature,
            "axis": self.axis,
        }


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
class Poisson(FusedLoss):
    """Negative log-likelihood of counts under a Poisson rate, less its constant.

    Formula: `mean(y_pred - y_true log(y_pred + epsilon))`

    Gradient of one value: `1 - y_true / (y_pred + epsilon)`

    `epsilon` is `keras.config.epsilon()`, 1e-7 by default. A rate below `-epsilon` makes the loss
    NaN: end the model with a softplus or an exponential.

    Example:
        >>> loss = fl.Poisson()
        >>> round(float(loss([[3, 0]], [[2.0, 0.5]])), 4)
        0.2103

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Reference: Nelder and Wedderburn, Generalized linear models, 1972.
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
