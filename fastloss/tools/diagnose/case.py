"""What the rules look at: one term on one batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np

from fastloss.tools.diagnose.batch import Array, Batch, is_finite
from fastloss.tools.diagnose.evaluation import Evaluation
from fastloss.tools.diagnose.expects import Expected, Labels, classes_in, counts


@dataclass(frozen=True)
class Case:
    """One term on one batch.

    Attributes:
        loss: The term.
        batch: What it is called with.
        expected: What it expects.
        result: What it gives.
    """

    loss: keras.losses.Loss
    batch: Batch
    expected: Expected
    result: Evaluation

    @property
    def labels(self) -> Labels:
        """What the labels should be."""
        return self.expected.labels

    @cached_property
    def classes(self) -> int | None:
        """How many classes there are that exclude each other, if y_pred has an axis of them."""
        return classes_in(self.expected, self.batch.pred.shape)

    @cached_property
    def counting(self) -> Array:
        """Where labels are finite and not ignored."""
        true = self.batch.true
        return is_finite(true) & counts(self.expected, true)

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

    def class_sums(self) -> Array:
        """The sums of predictions over the classes."""
        axis = -1 if self.expected.class_axis is None else self.expected.class_axis
        return self.batch.pred.astype(np.float64).sum(axis=axis)
