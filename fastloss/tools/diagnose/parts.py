"""The terms of a loss, each with the part of the batch that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from fastloss.sums.multi_task import MultiTask, MultiTaskOutput
from fastloss.sums.regularized import Regularized
from fastloss.sums.weighted_sum import WeightedSum
from fastloss.terms.inputs import same_rank
from fastloss.tools.diagnose.batch import Batch


class Part(NamedTuple):
    """One term: its name, the loss, and what it reads."""

    name: str
    loss: keras.losses.Loss
    batch: Batch


class FunctionLoss(keras.losses.Loss):
    """A function as `model.compile` takes it: ranks adjusted, a mean over the samples."""

    def __init__(self, function: Any) -> None:
        super().__init__(name=getattr(function, "__name__", type(function).__name__))
        self.fn = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """What the function returns."""
        return self.fn(*same_rank(y_true, y_pred))


def as_loss(loss: Any) -> keras.losses.Loss:
    """The loss that `model.compile` would make of a string, a class, a function or a loss.

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(loss, type) and issubclass(loss, keras.losses.Loss):
        loss = loss()
    if not isinstance(loss, keras.losses.Loss):
        loss = keras.losses.get(loss) if isinstance(loss, str) else loss
    if isinstance(loss, keras.losses.Loss):
        return loss
    if not callable(loss):
        raise ValueError(
            f"loss is {loss!r}; expected a Keras loss, its name, or a function (y_true, y_pred)"
        )
    return FunctionLoss(loss)


def parts_of(loss: Any, batch: Batch, name: str = "") -> Iterator[Part]:
    """The terms of a composed loss, by name; any other loss is its own only term."""
    if isinstance(loss, WeightedSum):
        for one, term in zip(loss.losses, loss.term_names, strict=True):
            yield from parts_of(one, batch, _joined(name, term))
    elif isinstance(loss, Regularized):
        yield from parts_of(loss.loss, batch, name)
    elif isinstance(loss, MultiTaskOutput):
        index = loss.multi_task.keys.index(loss.output)
        yield from parts_of(loss.multi_task.losses[index], batch, name)
    elif isinstance(loss, MultiTask) and not loss.is_named:
        for one, key in zip(loss.losses, loss.keys, strict=True):
            assert not isinstance(key, str)
            columns = Batch(
                batch.y_true[..., slice(*key.true)],
                batch.y_pred[..., slice(*key.pred)],
                batch.sample_weight,
                batch.mask,
            )
            columns_name = "columns {}:{}".format(*("" if x is None else x for x in key.pred))
            yield from parts_of(one, columns, _joined(name, f"{one.name} of {columns_name}"))
    else:
        yield Part(name, loss, batch)


def penalty_of(loss: Any) -> float | None:
    """The penalty on weights that the loss adds, if it does."""
    return float(tf.convert_to_tensor(loss.penalty())) if isinstance(loss, Regularized) else None


def _joined(outer: str, inner: str) -> str:
    return f"{outer}/{inner}" if outer else inner
