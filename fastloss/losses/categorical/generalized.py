"""Cross-entropy that bears wrong labels."""

from __future__ import annotations

from typing import Any

import keras

from fastloss.calls import Tensor
from fastloss.losses.base import FusedLoss
from fastloss.losses.categorical.base import CrossEntropyArguments, config_of, term
from fastloss.terms.arguments import in_range
from fastloss.terms.inputs import TensorLike, prediction
from fastloss.terms.rowwise import Rowwise
from fastloss.terms.term import evaluate

serializable = keras.saving.register_keras_serializable("fastloss")


def _exponent(q: Any) -> float:
    return in_range("categorical_generalized_cross_entropy", "q", q)


def _generalized(q: float, y_pred: Tensor, arguments: CrossEntropyArguments) -> Rowwise:
    return term("categorical_generalized_cross_entropy", (q,), y_pred, arguments)


@serializable
def categorical_generalized_cross_entropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    q: float,
    *,
    from_logits: bool = False,
    ignore_class: int | None = None,
    class_weights: Any = None,
    axis: int = -1,
    temperature: float = 1.0,
    logit_softcap: float | None = None,
) -> Tensor:
    """Generalized cross-entropy of labels that are class numbers, one value per row.

    Formula: `class_weights[t] (1 - p[t]^q) / q`, `t` the label

    Args:
        y_true: Class numbers, of y_pred's shape without `axis` or with a 1 there; boolean, integer
            or float.
        y_pred: Probabilities or logits; float16, bfloat16, float32 or float64.
        q: Between 0 and 1: towards 0 it is cross-entropy, towards 1 absolute error.
        from_logits: Whether y_pred holds logits.
        ignore_class: Rows with this label have loss 0. It need not be a class.
        class_weights: One weight per class.
        axis: The axis of the classes in y_pred.
        temperature: Logits are divided by it.
        logit_softcap: Logits become cap * tanh(logits / cap).

    Returns:
        y_pred's shape without `axis`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range, or needs logits and y_pred holds probabilities.
    """
    arguments = CrossEntropyArguments.of(locals())
    y_pred = prediction(y_pred)
    return evaluate(_generalized(_exponent(q), y_pred, arguments), y_true, y_pred)


@serializable
class CategoricalGeneralizedCrossEntropy(FusedLoss):
    """Generalized cross-entropy of labels that are class numbers, some of them wrong.

    Formula: `class_weights[t] (1 - p[t]^q) / q`, with `t` the label and `p` the probabilities as
    they come, or, from logits, `softmax(y_pred)` after softcap and temperature.

    Gradient of one value: `-class_weights[t] p[t]^(q - 1)` by `p[t]`, 0 by the other
    probabilities; by logits (without options) `p[t]^q (p - y)`, `y` the label's one-hot row

    Example:
        >>> loss = fl.CategoricalGeneralizedCrossEntropy(q=0.7)
        >>> round(float(loss([1], [[0.2, 0.5, 0.3]])), 4)
        0.5492

    Args:
        q: Between 0 and 1: towards 0 it is cross-entropy, towards 1 absolute error.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.
        from_logits: Whether y_pred holds logits.
        ignore_class: Rows with this label have loss 0 and do not count in a mean. It need not be a
            class. None ignores no row.
        class_weights: One weight per class, for the loss of the rows with that label. None is 1.
        axis: The axis of the classes in y_pred.
        temperature: Logits are divided by it, after the softcap.
        logit_softcap: Logits become cap * tanh(logits / cap). None is no cap.

    Raises:
        ValueError: If an argument is out of range. When called: if `temperature` or
            `logit_softcap` is given and y_pred holds probabilities.

    Reference: Zhang and Sabuncu, Generalized cross entropy loss for training deep neural networks
    with noisy labels, 2018 (arXiv:1805.07836).
    """

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_generalized_cross_entropy",
        dtype: Any = None,
        *,
        from_logits: bool = False,
        ignore_class: int | None = None,
        class_weights: Any = None,
        axis: int = -1,
        temperature: float = 1.0,
        logit_softcap: float | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.q = _exponent(q)
        self._arguments = CrossEntropyArguments.of(locals())

    def _term(self, y_pred: Tensor) -> tuple[Rowwise, Tensor]:
        return _generalized(self.q, y_pred, self._arguments), y_pred

    def get_config(self) -> dict[str, Any]:
        arguments = self._arguments
        return {
            **super().get_config(),
            "q": self.q,
            "from_logits": arguments.from_logits,
            "ignore_class": arguments.ignore_class,
            "class_weights": config_of(arguments.class_weights),
            "axis": arguments.axis,
            "temperature": arguments.temperature,
            "logit_softcap": arguments.logit_softcap,
        }
