"""Which tasks of several, each of some columns, are computed in one pass that copies no columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import keras
import tensorflow as tf

from fastloss import ops, registry
from fastloss.calls import Inputs, Task, Tensor, accumulation
from fastloss.sums.algebra import Algebra
from fastloss.sums.weighted_sum import WeightedSum
from fastloss.terms.elementwise import Elementwise
from fastloss.terms.inputs import TensorLike, label, prediction
from fastloss.terms.reduction import (
    REDUCTIONS,
    aligned,
    fits_one_pass,
    kernel_reduction,
    merged_weight,
)

Range: TypeAlias = tuple[int | None, int | None]


class Columns(NamedTuple):
    """The columns of a task: a range of the last axis of y_true and one of y_pred."""

    true: Range
    pred: Range


class _Part(NamedTuple):
    """A task, or a term of one: what it is multiplied by, and how the op takes it."""

    factor: float | Tensor
    task: Task


def in_shared_passes(
    tasks: Sequence[tuple[Columns, keras.losses.Loss]],
    factors: Sequence[float | Tensor],
    y_true: TensorLike,
    y_pred: TensorLike,
    sample_weight: TensorLike,
) -> tuple[list[int], list[Tensor]]:
    """Elementwise tasks in one pass for each reduction and dtype.

    Args:
        tasks: Columns and their losses.
        factors: What each task is multiplied by.
        y_true: Labels of all tasks, side by side in the last dimension.
        y_pred: Predictions of all tasks, as y_true.
        sample_weight: Weights of the rows, for all tasks.

    Returns:
        Which tasks were computed, and what is to be added up for them. Others need their columns
        cut out: losses that are not elementwise, columns of different numbers in y_true and y_pred,
        or of numbers that are not known while tracing.
    """
    mask = getattr(y_pred, "_keras_mask", None)
    y_true = label(y_true)
    groups: dict[tuple[str, str], list[_Part]] = {}
    together = []
    for index, (columns, loss) in enumerate(tasks):
        parts = _parts(columns, loss, factors[index], y_true, y_pred)
        key = loss.reduction, loss.dtype
        if parts is not None and _fits_one_pass(*key, y_pred, sample_weight, mask):
            together.append(index)
            groups.setdefault(key, []).extend(parts)
    totals = []
    for (reduction, dtype), parts in groups.items():
        seen = prediction(y_pred, dtype)
        wide = accumulation(seen)
        weight = merged_weight(sample_weight, mask, reduction, wide)
        weight = aligned(weight, seen.shape[:-1].as_list())
        value, _ = ops.columns(
            tuple(part.task for part in parts),
            _stacked([part.factor for part in parts], wide),
            Inputs(y_true, seen, weight, kernel_reduction(reduction)),
        )
        totals.append(value)
    return together, totals


def _stacked(factors: list[float | Tensor], dtype: tf.DType) -> Tensor:
    if all(isinstance(factor, float) for factor in factors):
        return tf.constant(factors, dtype)
    return tf.stack([tf.cast(factor, dtype) for factor in factors])


def _fits_one_pass(
    reduction: str, dtype: str, y_pred: TensorLike, sample_weight: TensorLike, mask: TensorLike
) -> bool:
    wide = accumulation(prediction(y_pred, dtype))
    rows = y_pred.shape[:-1].as_list()
    return fits_one_pass(rows, merged_weight(sample_weight, mask, reduction, wide))


def _parts(
    columns: Columns,
    loss: keras.losses.Loss,
    factor: float | Tensor,
    y_true: Tensor,
    y_pred: Tensor,
) -> list[_Part] | None:
    ranges = _ranges(columns, y_true.shape, y_pred.shape)
    if ranges is None:
        return None
    is_sum = isinstance(loss, WeightedSum)
    losses, own = (loss.losses, loss.factors) if is_sum else ([loss], [1.0])
    parts = []
    for one, times in zip(losses, own, strict=True):
        term = _elementwise(one, y_pred)
        if term is None or (one.reduction, one.dtype) != (loss.reduction, loss.dtype):
            return None
        parts.append(_Part(times * factor, Task(term.loss, term.parameters, *ranges)))
    return parts


def _elementwise(loss: keras.losses.Loss, y_pred: Tensor) -> Elementwise | None:
    if loss.reduction not in REDUCTIONS or not (isinstance(loss, Algebra) and loss.is_fused()):
        return None
    # Logits behind a sigmoid are those of all columns.
    term, _ = loss._term(tf.identity(loss.prediction(y_pred)))
    by_rows = (
        isinstance(term, Elementwise)
        and term.axis == -1
        and term.column_weight is None
        and not registry.kernel(term.loss).needs_all_labels
    )
    return term if by_rows else None


def _ranges(
    columns: Columns, true: tf.TensorShape, pred: tf.TensorShape
) -> tuple[int, int, int] | None:
    """The first column of y_true and of y_pred, and how many, if these are known to fit."""
    if not (true.rank and pred.rank and true[:-1].is_compatible_with(pred[:-1])):
        return None
    if true[-1] is None or pred[-1] is None:
        return None
    of_true = range(*slice(*columns.true).indices(true[-1]))
    of_pred = range(*slice(*columns.pred).indices(pred[-1]))
    if not of_pred or len(of_true) != len(of_pred):
        return None
    return of_true[0], of_pred[0], len(of_pred)
