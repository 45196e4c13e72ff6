"""A weighted sum of losses, itself a loss."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from fastloss.calls import Tensor
from fastloss.sums.algebra import Algebra, Terms
from fastloss.sums.planner import Planned, Read, plan
from fastloss.sums.shared_pass import Batch, Member
from fastloss.sums.term_metric import TermValue
from fastloss.terms.inputs import TensorLike, label
from fastloss.terms.step_cache import remember

# A value: a tensor, or an element of one; or not known.
Where: TypeAlias = tuple[Tensor, int | None] | None

serializable = keras.saving.register_keras_serializable("fastloss")


@serializable
class WeightedSum(Algebra, keras.losses.Loss):
    """A weighted sum of losses, itself a loss; what arithmetic of losses gives.

    Formula: `sum(factor * loss)`

    Gradient: the sum of the gradients of the terms, each times its factor

    Each term keeps its own arguments and reduction, and sample weights and masks go to all of them.
    Elementwise terms of the last axis that have the same reduction and dtype, and no `pos_weight`,
    are computed in one pass over y_true and y_pred. So are an overlap loss and the terms that can
    be fused with it, while there are no sample weights: elementwise terms of the last axis under a
    mean, or, after a softmax, cross-entropies of the same classes from logits, plain or focal, with
    the same `ignore_class`. `explain` says which terms share a pass. Losses of other origin,
    `keras.losses.CosineSimilarity()` as well as your own subclass of `keras.losses.Loss`, are
    called as they are; as they know no multiplication, scale them here:
    `fl.WeightedSum([keras.losses.CosineSimilarity()], [0.5])`.

    Example:
        >>> loss = fl.MeanSquaredError() + 0.5 * fl.Huber()
        >>> print(loss.explain())
        weighted_sum: 2 losses in 1 pass
          1. 1 * mean_squared_error + 0.5 * huber_loss (elementwise)
        >>> float(loss([[0.0]], [[2.0]]))
        4.75

    Args:
        losses: The terms, Keras losses.
        factors: What each is multiplied by; 1 by default.
        name: Name of the instance.

    Raises:
        ValueError: If there is no loss, if there are not as many finite factors as losses, or if
            some of the losses have the reduction "none" and others do not. When called: if losses
            per row of different shapes are to be added.
        TypeError: If one of `losses` is no Keras loss.
    """

    autograph_info__: Any = {}  # noqa: RUF012 - AutoGraph leaves calls to such objects alone

    def __init__(
        self,
        losses: Sequence[keras.losses.Loss],
        factors: Sequence[float] | None = None,
        name: str = "weighted_sum",
    ) -> None:
        losses = list(losses)
        for loss in losses:
            if not isinstance(loss, keras.losses.Loss):
                raise TypeError(f"{loss!r} is no Keras loss; expected a keras.losses.Loss")
        self.losses = losses
        self.factors = _checked_factors(factors, losses)
        self._per_row = _is_per_row(losses)
        reductions = {loss.reduction for loss in losses}
        super().__init__(
            name=name,
            reduction=reductions.pop() if len(reductions) == 1 else "sum",
            dtype=keras.backend.result_type(*(loss.dtype for loss in losses)),
        )
        self.term_names = _numbered([loss.name for loss in losses])
        self._key: str | None = None

    def __call__(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike = None
    ) -> Tensor:
        y_true, y_pred = _as_tensor(y_true), _as_tensor(y_pred)
        with nullcontext() if tf.executing_eagerly() else tf.name_scope(self.name):
            total, values = self._evaluate(y_true, y_pred, sample_weight)
        remember(y_pred, self.identity(), values)
        return total

    def call(self, y_true: TensorLike, y_pred: TensorLike) -> Tensor:
        """One loss per row, as Keras's `call`."""
        rows = [loss.call(y_true, y_pred) for loss in self.losses]
        return self._added([self._scaled(k, x) for k, x in enumerate(rows)])

    def terms(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike = None
    ) -> dict[str, Tensor]:
        """The value of each term, without its factor, by name; for looking at: without a gradient.

        A value is what the term alone would return, sample weights and reduction included. Terms of
        the same name are numbered: "huber_loss", "huber_loss_1".
        """
        y_true, y_pred = _as_tensor(y_true), _as_tensor(y_pred)
        _, values = self._evaluate(y_true, y_pred, sample_weight)
        return {
            name: self.value_of(k, values, y_true, y_pred, sample_weight)
            for k, name in enumerate(self.term_names)
        }

    def metrics(self) -> list[keras.metrics.Metric]:
        """One metric per term, for `model.compile(loss=loss, metrics=loss.metrics())`.

        They report what the loss has already computed in the same step, so that they cost no second
        pass over the predictions.
        """
        return [TermValue(self, name) for name in self.term_names]

    def explain(self) -> str:
        """Which terms share a pass over y_true and y_pred, as a text to print.

        It holds for a y_true and a y_pred that all terms take as they come: a sigmoid in front of
        the loss makes a cross-entropy read the logits behind it, in a pass of its own.
        """
        passes = self._plan_of_anything()
        count = len(passes)
        lines = [f"{self.name}: {len(self.losses)} losses in {count} pass{'es' * (count > 1)}"]
        for number, (shared, indices) in enumerate(passes, 1):
            terms = " + ".join(f"{self.factors[k]:g} * {self.term_names[k]}" for k in indices)
            kind = shared.name if shared else "alone"
            lines.append(f"  {number}. {terms.replace('+ -', '- ')} ({kind})")
        return "\n".join(lines)

    def _plan_of_anything(self) -> tuple[Planned, ...]:
        # An axis may name a dimension that only images or volumes have.
        for rank in range(4, 8):
            anything = tf.zeros([2] * rank)
            try:
                return plan(Read.of(self.losses, anything, anything).parts)
            except ValueError:
                if rank == 7:
                    raise
        raise AssertionError

    def get_config(self) -> dict[str, Any]:
        return {
            "losses": [keras.saving.serialize_keras_object(loss) for loss in self.losses],
            "factors": list(self.factors),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WeightedSum:
        losses = [keras.saving.deserialize_keras_object(loss) for loss in config["losses"]]
        return cls(**{**config, "losses": losses})

    def _summands(self) -> Terms:
        return list(zip(self.factors, self.losses, strict=True))

    def _evaluate(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: TensorLike
    ) -> tuple[Tensor, list[Where]]:
        """The sum, and where each term's value is."""
        mask = getattr(y_pred, "_keras_mask", None)
        read = Read.of(self.losses, y_true, y_pred)
        values: list[Where] = [None] * len(self.losses)
        totals = []
        for shared, indices in plan(read.parts):
            lead = indices[0]
            if shared is None:
                value = self.losses[lead](y_true, y_pred, sample_weight)
                values[lead] = (value, None)
                totals.append(self._scaled(lead, value))
                continue
            members = [
                Member(self.losses[k].name, self.factors[k], part.term)
                for k in indices
                if (part := read.parts[k]) is not None
            ]
            reduction = self.losses[lead].reduction
            batch = Batch(label(y_true), read.y_pred[lead], sample_weight, mask, reduction)
            total, own = shared.run(members, batch)
            totals.append(tf.cast(total, self.dtype))
            if own is not None:
                for position, k in enumerate(indices):
                    values[k] = (own, position)
        return self._added(totals), values

    def _scaled(self, index: int, value: Tensor) -> Tensor:
        value, factor = tf.cast(value, self.dtype), self.factors[index]
        return value if factor == 1 else factor * value

    def _added(self, totals: list[Tensor]) -> Tensor:
        if self._per_row:
            shapes = [total.shape for total in totals]
            if not all(shapes[0].is_compatible_with(shape) for shape in shapes):
                raise ValueError(
                    f"{self.name}: the terms give losses per row of shapes "
                    f"{', '.join(str(tuple(shape)) for shape in shapes)}; expected the same shape "
                    "from all (give the losses a reduction, or the same axis)"
                )
        return totals[0] if len(totals) == 1 else tf.add_n(totals)

    def value_of(
        self,
        index: int,
        values: Sequence[Where],
        y_true: TensorLike,
        y_pred: TensorLike,
        sample_weight: TensorLike,
    ) -> Tensor:
        """A term's value, taken from `values` or else computed; without a gradient."""
        known = values[index]
        if known is None:
            known = self.losses[index](y_true, y_pred, sample_weight), None
        value, position = known
        value = value if position is None else value[position]
        return tf.stop_gradient(tf.cast(value, self.losses[index].dtype))

    def identity(self) -> str:
        """The same for the loss that a saved model is loaded with."""
        if self._key is None:
            self._key = json.dumps(self.get_config(), sort_keys=True, default=str)
        return self._key


def _checked_factors(
    factors: Sequence[float] | None, losses: Sequence[keras.losses.Loss]
) -> tuple[float, ...]:
    if not losses:
        raise ValueError("losses is empty; expected at least one loss")
    numbers = (1.0,) * len(losses) if factors is None else tuple(map(float, factors))
    if len(numbers) != len(losses) or not all(map(math.isfinite, numbers)):
        raise ValueError(
            f"factors is {factors!r}; expected one finite number for each of the {len(losses)} "
            "losses"
        )
    return numbers


def _is_per_row(losses: Sequence[keras.losses.Loss]) -> bool:
    per_row = [loss.reduction in (None, "none") for loss in losses]
    if any(per_row) and not all(per_row):
        row, scalar = losses[per_row.index(True)], losses[per_row.index(False)]
        raise ValueError(
            f"{row.name} has the reduction {row.reduction!r} and {scalar.name} has "
            f"{scalar.reduction!r}; expected a loss per row from all terms of a sum, or from none"
        )
    return all(per_row)


def _numbered(names: list[str]) -> list[str]:
    unique: list[str] = []
    for name in names:
        number, candidate = 0, name
        while candidate in unique:
            number += 1
            candidate = f"{name}_{number}"
        unique.append(candidate)
    return unique


def _as_tensor(x: TensorLike) -> Tensor:
    return x if isinstance(x, tf.Tensor) else tf.convert_to_tensor(x)
