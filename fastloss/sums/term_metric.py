"""The value of one term of a sum as a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from fastloss.terms.inputs import TensorLike
from fastloss.terms.step_cache import remembered

if TYPE_CHECKING:
    from fastloss.sums.weighted_sum import WeightedSum

serializable = keras.saving.register_keras_serializable("fastloss")


@serializable
class TermValue(keras.metrics.Mean):
    """Mean over the batches, weighed by their size, of what a term of a sum contributes.

    It reads the value that the loss has computed of the same y_pred in the same step, sample
    weights included; without such a loss it computes the term itself.

    Args:
        loss: The `WeightedSum`.
        term: One of its `term_names`.
        name: Name of the instance, `term` by default.
        dtype: Dtype of the mean.

    Raises:
        ValueError: If the loss has no such term.
    """

    def __init__(
        self, loss: WeightedSum, term: str, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name=name or term, dtype=dtype)
        if term not in loss.term_names:
            raise ValueError(
                f"term is {term!r}; expected one of {', '.join(map(repr, loss.term_names))}"
            )
        self.loss = loss
        self.term = term

    def update_state(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike = None
    ) -> Any:
        index = self.loss.term_names.index(self.term)
        values = remembered(y_pred, self.loss.identity()) or [None] * len(self.loss.losses)
        value = self.loss.value_of(index, values, y_true, y_pred, sample_weight)
        return super().update_state(tf.reduce_mean(value), sample_weight=tf.shape(y_pred)[0])

    def get_config(self) -> dict[str, Any]:
        return {
            "loss": keras.saving.serialize_keras_object(self.loss),
            "term": self.term,
            "name": self.name,
            "dtype": self.dtype,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TermValue:
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})
