"""What the rules look at: one term on one batch, and what it expects there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np

from fastloss import registry
from fastloss.registry import Labels, Pattern, Predictions
from fastloss.tools import known_loss
from fastloss.tools.diagnose.batch import Array, Batch, is_finite
from fastloss.tools.diagnose.evaluation import Evaluation


@dataclass(frozen=True)
class Case:
    """One term on one batch.

    Attributes:
        loss: The term.
        batch: What it is called with.
        result: What it gives.
    """

    loss: keras.losses.Loss
    batch: Batch
    result: Evaluation

    @cached_property
    def registered(self) -> registry.Loss | None:
        """The registry's line about the loss, if it is known."""
        return known_loss.registered(self.loss)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """What the loss was made with."""
        return known_loss.arguments_of(self.loss)

    @cached_property
    def labels(self) -> Labels | None:
        """What a label should say; None if the loss is not known."""
        known = self.registered
        if known is None:
            return None
        if known.pattern is Pattern.OVERLAP:
            return Labels.CLASS if self.arguments.get("sparse") else Labels.PROBABILITY
        if known.pattern is Pattern.SORTED and self.arguments.get("sparse") is False:
            return Labels.ONE_HOT
        from_logits = bool(self.arguments.get("from_logits"))
        kernels = [kernel for kernel in known.kernels if kernel.from_logits == from_logits]
        return kernels[0].labels if kernels else known.labels

    @cached_property
    def from_logits(self) -> bool | None:
        """Whether predictions are logits; None if they are neither logits nor probabilities."""
        known = self.registered
        if known is not None and known.predictions is Predictions.PROBABILITIES:
            return bool(self.arguments.get("from_logits"))
        if known is not None and known.predictions is Predictions.SCORES:
            return True if known.labels is Labels.PROBABILITY else None
        return None

    @cached_property
    def class_axis(self) -> int | None:
        """The axis of y_pred that the classes lie along, if they exclude each other."""
        known = self.registered
        if known is None:
            return None
        if known.pattern is Pattern.OVERLAP:
            has_classes = self.arguments.get("activation") == "softmax"
        else:
            is_of_rows = self.labels in (Labels.ONE_HOT, Labels.LOGITS)
            has_classes = is_of_rows and self.from_logits is not None
        has_classes = has_classes or self.labels is Labels.CLASS
        return known_loss.class_axis(known, self.arguments) if has_classes else None

    @property
    def ignored(self) -> int | None:
        """The label that does not count, if there is one."""
        return self.arguments.get("ignore_class")

    @cached_property
    def classes(self) -> int | None:
        """How many classes there are that exclude each other, if y_pred has an axis of them."""
        axis, shape = self.class_axis, self.batch.pred.shape
        return shape[axis] if axis is not None and -len(shape) <= axis < len(shape) else None

    @cached_property
    def counting(self) -> Array:
        """Where labels are finite and not ignored."""
        true = self.batch.true
        return is_finite(true) if self.ignored is None else is_finite(true) & (true != self.ignored)

    @cached_property
    def known(self) -> Array:
        """The labels that count."""
        return self.batch.true[self.counting]

    @cached_property
    def scores(self) -> Array:
        """The finite predictions."""
        pred = self.batch.pred
        return pred[is_finite(pred)]

    @cached_property
    def bad(self) -> Array:
        """The samples whose loss or gradient is not finite."""
        return self.result.bad_samples(self.batch.size)

    def sums_of_classes(self, x: Array) -> Array:
        """The sums of an array over the classes, in float64."""
        return x.astype(np.float64).sum(axis=-1 if self.class_axis is None else self.class_axis)
