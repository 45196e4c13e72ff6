"""The loss of one output, and what a step writes down about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from fastloss.sums.weighted_sum import WeightedSum
from fastloss.terms.inputs import Tensor, TensorLike
from fastloss.terms.reduction import merged_weight
from fastloss.terms.step_cache import remembered
from fastloss.tools.known_loss import arguments_of
from fastloss.tools.monitor.gradient_probe import give_back, probed

VALUE_IS_BAD, GRADIENT_IS_BAD = 1, 2


class Inputs(NamedTuple):
    """What a loss was called with in a step."""

    y_true: Tensor
    y_pred: Tensor
    sample_weight: TensorLike
    mask: TensorLike


class Record(NamedTuple):
    """What one step, or a sum of steps, says about an output.

    Attributes:
        steps: How many steps.
        samples: How many samples.
        value: The loss times the samples.
        norm: Norm of the gradient that reaches what the loss reads, y_pred or logits behind it.
        not_finite: How many entries of y_pred and its gradient are NaN or infinite.
        entries: How many entries these have.
        counted: How many labels count, after weights, mask and ignored labels.
        labels: How many there are.
        terms: The values of the terms of a composed loss times the samples.
    """

    steps: float
    samples: float
    value: float
    norm: float
    not_finite: float
    entries: float
    counted: float
    labels: float
    terms: tuple[float, ...]


class WatchedLoss:
    """Calls a loss, and writes into variables what the step should tell.

    Args:
        loss: The Keras loss.
        name: Name of the output.
        weight: Its factor in the total.
        scale: Gives what the optimizer multiplies the loss by.
        scale_may_overflow: Whether the optimizer finds that out by gradients that are not finite.
    """

    def __init__(
        self,
        loss: keras.losses.Loss,
        name: str,
        weight: float,
        scale: Callable[[], Tensor],
        scale_may_overflow: bool,
    ) -> None:
        self.loss = loss
        self.name = name
        self.weight = weight
        self.terms = tuple(loss.term_names) if isinstance(loss, WeightedSum) else ()
        self.may_ignore = False
        self.sees_gradient = False
        self.was_called = False
        self.inputs: Inputs | None = None
        self._scale = scale
        self._scale_may_overflow = scale_may_overflow
        ignored = (arguments_of(one).get("ignore_class") for one in _losses_in(loss))
        self._ignored = [label for label in ignored if label is not None]
        fields = len(Record._fields) - 1 + len(self.terms)
        with tf.init_scope():
            self._now = tf.Variable(np.zeros(fields), dtype=tf.float64)
            self._sum = tf.Variable(np.zeros(fields), dtype=tf.float64)
            self._first = tf.Variable(np.zeros(fields), dtype=tf.float64)
            # Value and gradient, of this step and of the first bad one.
            self.bad = tf.Variable(0, dtype=tf.int64)
            self.first_bad = tf.Variable(0, dtype=tf.int64)

    def __call__(
        self, y_true: TensorLike, y_pred: Tensor, sample_weight: TensorLike = None
    ) -> Tensor:
        """The loss, and its forward part of the record."""
        self.was_called = True
        if keras.tree.is_nested(y_pred):
            return self.loss(y_true, y_pred, sample_weight)
        y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
        mask = getattr(y_pred, "_keras_mask", None)
        probe = probed(y_pred, self._see_gradient)
        value = self.loss(y_true, probe, sample_weight)
        give_back(probe, y_pred)
        self.inputs = Inputs(y_true, y_pred, sample_weight, mask)
        self._see_value(tf.convert_to_tensor(value), probe)
        return value

    def begin_step(self) -> None:
        """Forget the step before."""
        self.inputs = None
        self._now.assign(tf.zeros_like(self._now))
        self.bad.assign(0)

    def end_step(self, is_bad: Tensor, is_first: Tensor, counts_bad: bool) -> None:
        """Add the step to the sum; of a step that is not to count only what was not finite."""
        now = tf.convert_to_tensor(self._now)
        # Squares add up over all that the loss reads.
        now = tf.tensor_scatter_nd_update(now, [[3]], tf.sqrt(now[3:4]))
        self._now.assign(now)
        self._first.assign(tf.where(is_first, now, self._first))
        if not counts_bad:
            stays = np.zeros(now.shape[0], bool)
            stays[4:6] = True
            now = tf.where(is_bad, tf.where(stays, now, tf.zeros_like(now)), now)
        self._sum.assign_add(now)
        self.first_bad.assign(tf.where(is_first, self.bad, self.first_bad))

    def step(self) -> Record:
        """The latest step."""
        return _record(self._now)

    def first_step(self) -> Record:
        """The first bad step."""
        return _record(self._first)

    def take(self) -> Record:
        """The sum of all steps since the last call."""
        total = _record(self._sum)
        self._sum.assign(tf.zeros_like(self._sum))
        return total

    def _see_value(self, value: Tensor, y_pred: Tensor) -> None:
        is_finite = tf.reduce_all(tf.math.is_finite(value))
        self._mark(tf.logical_not(is_finite), VALUE_IS_BAD)
        samples = tf.cast(tf.shape(y_pred)[0] if y_pred.shape.rank else 1, tf.float64)
        counted, labels = self._counted()
        fields = [
            tf.ones([], tf.float64),
            samples,
            samples * tf.cast(tf.reduce_mean(value), tf.float64),
            tf.zeros([], tf.float64),
            # A loss that is finite has seen nothing else in what counts.
            tf.cond(is_finite, lambda: tf.zeros([], tf.float64), lambda: _not_finite(y_pred)),
            tf.cast(tf.size(y_pred, tf.int64), tf.float64),
            counted,
            labels,
        ]
        fields += [samples * tf.cast(one, tf.float64) for one in self._term_values(y_pred)]
        self._now.assign_add(tf.stack(fields))

    def _term_values(self, y_pred: Tensor) -> list[Tensor]:
        if not self.terms:
            return []
        assert self.inputs is not None
        y_true, _, weight, _ = self.inputs
        values = remembered(y_pred, self.loss.identity()) or [None] * len(self.terms)
        return [
            tf.reduce_mean(self.loss.value_of(k, values, y_true, y_pred, weight))
            for k in range(len(self.terms))
        ]

    def _see_gradient(self, gradient: Tensor) -> None:
        self.sees_gradient = True
        values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
        squares = 2 * tf.nn.l2_loss(tf.cast(values, tf.float32))
        scale = tf.cast(self._scale(), tf.float64)

        def precisely() -> tuple[Tensor, Tensor]:
            # Squares of large gradients overflow where the gradients do not.
            exact = tf.cast(values, tf.float64)
            return tf.reduce_sum(tf.square(exact)), _not_finite(values)

        squares, not_finite = tf.cond(
            tf.math.is_finite(squares),
            lambda: (tf.cast(squares, tf.float64), tf.zeros([], tf.float64)),
            precisely,
        )
        if self._scale_may_overflow:
            squares = tf.where(not_finite > 0, tf.zeros_like(squares), squares)
        else:
            self._mark(not_finite > 0, GRADIENT_IS_BAD)
        entries = tf.cast(tf.size(values, tf.int64), tf.float64)
        fields = [0.0] * 3 + [squares / tf.square(scale), not_finite, entries]
        fields += [0.0] * (self._now.shape[0] - len(fields))
        self._now.assign_add(tf.stack([tf.cast(x, tf.float64) for x in fields]))

    def _mark(self, is_bad: Tensor, bit: int) -> None:
        mark = tf.cast(is_bad, tf.int64) * bit
        self.bad.assign(tf.bitwise.bitwise_or(self.bad, mark))

    def _counted(self) -> tuple[Tensor, Tensor]:
        """How many labels count, and how many there are."""
        assert self.inputs is not None
        y_true, _, sample_weight, mask = self.inputs
        weight = merged_weight(sample_weight, mask, "sum", tf.float32)
        self.may_ignore = bool(self._ignored) or weight is not None
        counts = tf.ones(tf.shape(y_true), tf.bool)
        labels = y_true if y_true.dtype.is_floating else tf.cast(y_true, tf.int64)
        for one in self._ignored:
            counts = tf.logical_and(counts, labels != tf.cast(one, labels.dtype))
        if weight is not None:
            has_weight = _per_label(weight != 0, y_true)
            # Weights that are not of the labels, such as of classes, count for themselves.
            counts = weight != 0 if has_weight is None else tf.logical_and(counts, has_weight)
        total = tf.cast(tf.size(counts, tf.int64), tf.float64)
        return tf.cast(tf.math.count_nonzero(counts), tf.float64), total


def _per_label(x: Tensor, y_true: Tensor) -> Tensor | None:
    """Something of the first axes as it broadcasts to the labels; None if it cannot."""
    if x.shape.rank is None or y_true.shape.rank is None:
        return None
    if x.shape.rank == y_true.shape.rank + 1 and x.shape[-1] == 1:
        x = tf.squeeze(x, -1)
    missing = y_true.shape.rank - x.shape.rank
    if missing < 0:
        return None
    x = tf.reshape(x, tf.concat([tf.shape(x), tf.ones([missing], tf.int32)], 0))
    fits = all(
        a in (1, b) or a is None or b is None for a, b in zip(x.shape, y_true.shape, strict=True)
    )
    return x if fits else None


def _losses_in(loss: Any) -> list[Any]:
    return list(loss.losses) if isinstance(loss, WeightedSum) else [loss]


def _not_finite(x: Tensor) -> Tensor:
    bad = tf.logical_not(tf.math.is_finite(x))
    return tf.cast(tf.math.count_nonzero(bad), tf.float64)


def _record(variable: tf.Variable) -> Record:
    numbers = variable.numpy().tolist()
    fields = len(Record._fields) - 1
    return Record._make([*numbers[:fields], tuple(numbers[fields:])])
