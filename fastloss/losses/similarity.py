"""Losses between directions."""

from __future__ import annotations

from typing import Any

import keras

from fastloss.calls import Tensor
from fastloss.losses.base import FusedLoss
from fastloss.terms.arguments import integer
from fastloss.terms.inputs import TensorLike, prediction
from fastloss.terms.rowwise import Rowwise
from fastloss.terms.term import evaluate

serializable = keras.saving.register_keras_serializable("fastloss")


def _cosine(axis: int) -> Rowwise:
    return Rowwise("cosine_similarity", (keras.config.epsilon(),), axis, broadcasts=True)


@serializable
def cosine_similarity(y_true: TensorLike, y_pred: TensorLike, axis: int = -1) -> Tensor:
    """Cosine of the angle between labels and predictions, negated, one value per row.

    Formula: `-sum(normalize(y_true) normalize(y_pred))`

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.
        axis: The axis of the vectors.

    Returns:
        y_pred's shape without `axis`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If `axis` is no integer, or no axis of y_pred.
    """
    return evaluate(_cosine(integer("axis", axis)), y_true, prediction(y_pred))


@serializable
class CosineSimilarity(FusedLoss):
    """Cosine of the angle between labels and predictions, negated: -1 is the same direction.

    Formula: `-sum(normalize(y_true) normalize(y_pred))`, with
    `normalize(v) = v min(1 / sqrt(sum(v**2)), 1 / epsilon)` and `epsilon` =
    `keras.config.epsilon()`

    Gradient of one value: `-(t - sum(t p) p) / sqrt(sum(y_pred**2))`, with `t` and `p` the
    normalized vectors; at most `epsilon` long, `-t / epsilon`, also for a vector of zeros.

    Example:
        >>> loss = fl.CosineSimilarity()
        >>> round(float(loss([[3.0, 4.0]], [[4.0, 3.0]])), 4)
        -0.96

    Args:
        axis: The axis of the vectors.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Raises:
        ValueError: If `axis` is no integer. When called: if it is no axis of y_pred.

    Reference: Salton, Wong and Yang, A vector space model for automatic indexing, 1975.
    """

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "cosine_similarity",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.axis = integer("axis", axis)

    def _term(self, y_pred: Tensor) -> tuple[Rowwise, Tensor]:
        return _cosine(self.axis), y_pred

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}
