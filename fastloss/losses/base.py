"""The base class of all losses: how labels, predictions, weights and masks come together."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fastloss.calls import Tensor
from fastloss.sums.algebra import Algebra
from fastloss.terms.inputs import TensorLike, label, prediction
from fastloss.terms.term import Term


class FusedLoss(Algebra, keras.losses.Loss):
    """Base class of the losses, a Keras loss.

    It takes labels and predictions in the dtype they come in, where Keras would first cast both,
    and hands weights, mask and reduction to the same pass over memory. Sums, differences and
    multiples of losses are losses: `fl.MeanSquaredError() + 0.5 * fl.Huber()`.
    """

    autograph_info__: Any = {}  # noqa: RUF012 - AutoGraph leaves calls to such objects alone

    def _term(self, y_pred: Tensor) -> tuple[Term, Tensor]:
        """The loss to compute, and what on: logits, where they are behind y_pred."""
        raise NotImplementedError

    def is_fused(self) -> bool:
        """Whether the loss is its term: a subclass may have a `call` of its own instead."""
        return type(self).call is FusedLoss.call

    def prediction(self, y_pred: TensorLike) -> Tensor:
        """y_pred as the loss reads it."""
        return prediction(y_pred, self.dtype)

    def __call__(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike = None
    ) -> Tensor:
        if not self.is_fused():
            return super().__call__(y_true, y_pred, sample_weight)
        mask = getattr(y_pred, "_keras_mask", None)
        if tf.executing_eagerly():
            return self._evaluate(y_true, y_pred, sample_weight, mask)
        with tf.name_scope(self.name):
            return self._evaluate(y_true, y_pred, sample_weight, mask)

    def _evaluate(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike, mask: TensorLike
    ) -> Tensor:
        term, y_pred = self._term(self.prediction(y_pred))
        y_true, y_pred = term.aligned(label(y_true), y_pred)
        loss = term.scalar(y_true, y_pred, sample_weight, mask, self.reduction)
        return loss if loss.dtype == self.dtype else tf.cast(loss, self.dtype)

    def call(self, y_true: TensorLike, y_pred: TensorLike) -> Tensor:
        """One loss per row, as Keras's `call`."""
        term, y_pred = self._term(self.prediction(y_pred))
        return term.rows(*term.aligned(label(y_true), y_pred))
