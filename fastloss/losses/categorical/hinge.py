"""Hinge losses of labels that are one of many classes."""

from __future__ import annotations

from typing import Any

import keras

from fastloss.calls import RowwiseOptions, Tensor
from fastloss.losses.base import FusedLoss
from fastloss.terms.arguments import integer_or_none
from fastloss.terms.inputs import TensorLike, prediction
from fastloss.terms.rowwise import Rowwise
from fastloss.terms.term import evaluate

serializable = keras.saving.register_keras_serializable("fastloss")

_DENSE = Rowwise("categorical_hinge", broadcasts=True)


@serializable
def categorical_hinge(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
    """Hinge loss between the label's score and the best of the others, one value per row.

    Formula: `max(max((1 - y_true) y_pred) - sum(y_true y_pred) + 1, 0)`

    Args:
        y_true: One-hot labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Scores of the same shape; float16, bfloat16, float32 or float64.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.
    """
    return evaluate(_DENSE, y_true, prediction(y_pred), adjust_rank=False)


@serializable
class CategoricalHinge(FusedLoss):
    """Hinge loss between the label's score and the best of the others, of one-hot labels.

    Formula: `max(max((1 - y_true) y_pred) - sum(y_true y_pred) + 1, 0)`

    Gradient of one value where the outer maximum is not that of its 0: 1 at the best of the others,
    in equal parts at several that are equal, and -1 at the label; else 0. The label itself has
    score 0 among the others.

    Example:
        >>> loss = fl.CategoricalHinge()
        >>> round(float(loss([[0, 1, 0]], [[1.0, 1.5, 0.0]])), 4)
        0.5

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Reference: Crammer and Singer, On the algorithmic implementation of multiclass kernel-based
    vector machines, 2001.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def _term(self, y_pred: Tensor) -> tuple[Rowwise, Tensor]:
        return _DENSE, y_pred


def _sparse(ignore_class: int | None) -> Rowwise:
    return Rowwise("sparse_categorical_hinge", options=RowwiseOptions(ignore_class=ignore_class))


@serializable
def sparse_categorical_hinge(
    y_true: TensorLike, y_pred: TensorLike, ignore_class: int | None = None
) -> Tensor:
    """Hinge loss between the label's score and the best of the others, one value per row.

    Formula: `max(max((1 - y) y_pred) - y_pred[t] + 1, 0)`, `t` the label and `y` its one-hot row

    Args:
        y_true: Class numbers, `(batch, d0, .. dN-1)` or with a last dimension of 1; boolean,
            integer or float.
        y_pred: Scores, `(batch, d0, .. dN)`; float16, bfloat16, float32 or float64.
        ignore_class: Rows with this label have loss 0. It need not be a class.

    Returns:
        `(batch, d0, .. dN-1)`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If `ignore_class` is no integer.
    """
    return evaluate(
        _sparse(integer_or_none("ignore_class", ignore_class)), y_true, prediction(y_pred)
    )


@serializable
class SparseCategoricalHinge(FusedLoss):
    """Hinge loss between the label's score and the best of the others, of class numbers.

    Formula: `max(max((1 - y) y_pred) - y_pred[t] + 1, 0)`, `t` the label and `y` its one-hot row;
    else as `CategoricalHinge`.

    Gradient of one value: as that of `CategoricalHinge`

    Example:
        >>> loss = fl.SparseCategoricalHinge()
        >>> round(float(loss([1], [[1.0, 1.5, 0.0]])), 4)
        0.5

    Args:
        ignore_class: Rows with this label have loss 0 and do not count in a mean. It need not be a
            class. None ignores no row.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Raises:
        ValueError: If `ignore_class` is no integer.

    Reference: Crammer and Singer, On the algorithmic implementation of multiclass kernel-based
    vector machines, 2001.
    """

    def __init__(
        self,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "sparse_categorical_hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.ignore_class = integer_or_none("ignore_class", ignore_class)

    def _term(self, y_pred: Tensor) -> tuple[Rowwise, Tensor]:
        return _sparse(self.ignore_class), y_pred

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ignore_class": self.ignore_class}
