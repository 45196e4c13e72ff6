"""What every elementwise loss shares: how labels, predictions, weights and masks come together."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import keras
import tensorflow as tf

from fastloss import ops

Tensor: TypeAlias = tf.Tensor
TensorLike: TypeAlias = Any

MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")
_REDUCTIONS = {
    "sum_over_batch_size": "mean",
    "mean": "mean",
    "mean_with_sample_weight": "mean_with_sample_weight",
    "sum": "sum",
}
_PREDICTION_DTYPES = (tf.float32, tf.bfloat16, tf.float16, tf.float64)


class Elementwise(NamedTuple):
    """A loss with its arguments, as `fastloss.ops.elementwise` takes it."""

    loss: str
    parameters: tuple[float, ...] = ()
    axis: int | tuple[int, ...] | None = -1
    column_weight: Any = None
    broadcasts: bool = True


def checked(argument: str, value: Any, low: float, high: float, expected: str) -> float:
    """The value as a float, if it lies in [low, high].

    Raises:
        ValueError: If it does not; the message says what `expected` is.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{argument} is {value!r}; expected {expected}") from None
    if not low <= number <= high:
        raise ValueError(f"{argument} is {value!r}; expected {expected}")
    return number


def prediction(y_pred: TensorLike, dtype: str | None = None) -> Tensor:
    """y_pred as a float tensor; of at least the precision of `dtype`, else as it came."""
    if not isinstance(y_pred, tf.Tensor):
        y_pred = tf.convert_to_tensor(y_pred)
    if y_pred.dtype not in _PREDICTION_DTYPES:
        if not (y_pred.dtype.is_integer or y_pred.dtype.is_bool):
            raise ValueError(
                f"y_pred has dtype {y_pred.dtype.name}; expected float16, bfloat16, float32 or "
                "float64"
            )
        y_pred = tf.cast(y_pred, dtype or keras.config.floatx())
    if dtype == "float64" and y_pred.dtype != tf.float64:
        y_pred = tf.cast(y_pred, tf.float64)
    return y_pred


def label(y_true: TensorLike) -> Tensor:
    """y_true as a tensor of the dtype it came in."""
    if not isinstance(y_true, tf.Tensor):
        y_true = tf.convert_to_tensor(y_true)
    if y_true.dtype not in ops.LABEL_DTYPES:
        raise ValueError(
            f"y_true has dtype {y_true.dtype.name}; expected a boolean, an integer or a float"
        )
    return y_true


def same_rank(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Keras's rule: ranks that differ by one meet by a last dimension of 1."""
    x_rank, y_rank = len(x.shape), len(y.shape)
    if x_rank == y_rank + 1 and x.shape[-1] == 1:
        return (x, y[..., tf.newaxis]) if y_rank == 1 else (tf.squeeze(x, -1), y)
    if y_rank == x_rank + 1 and y.shape[-1] == 1:
        return (x[..., tf.newaxis], y) if x_rank == 1 else (x, tf.squeeze(y, -1))
    return x, y


def same_shape(term: Elementwise, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Broadcast both where their static shapes differ, if the loss does that in Keras.

    Raises:
        ValueError: If they cannot be broadcast.
    """
    true_shape, pred_shape = y_true.shape.as_list(), y_pred.shape.as_list()
    if true_shape == pred_shape:
        return y_true, y_pred
    try:
        if not term.broadcasts:
            y_true.shape.assert_is_compatible_with(y_pred.shape)
            return y_true, y_pred
        static = tf.broadcast_static_shape(y_true.shape, y_pred.shape)
    except ValueError:
        rule = ", or shapes that broadcast" if term.broadcasts else ""
        raise ValueError(
            f"{term.loss}: y_true has shape {tuple(true_shape)} and y_pred has shape "
            f"{tuple(pred_shape)}; expected the same shape{rule}"
        ) from None
    shape = tf.broadcast_dynamic_shape(tf.shape(y_true), tf.shape(y_pred))

    def broadcast(x: Tensor) -> Tensor:
        x = tf.broadcast_to(x, shape)
        x.set_shape(static)
        return x

    return (
        y_true if true_shape == static.as_list() else broadcast(y_true),
        y_pred if pred_shape == static.as_list() else broadcast(y_pred),
    )


def _float(argument: str, x: TensorLike, dtype: tf.DType) -> Tensor:
    if not isinstance(x, tf.Tensor):
        x = tf.convert_to_tensor(x)
    if x.dtype not in ops.LABEL_DTYPES:
        raise ValueError(
            f"{argument} has dtype {x.dtype.name}; expected a boolean, an integer or a float"
        )
    return x if x.dtype == dtype else tf.cast(x, dtype)


def merged_weight(
    sample_weight: TensorLike, mask: TensorLike, reduction: str | None, dtype: tf.DType
) -> Tensor | None:
    """Weights and mask as one tensor; under a mean, masked entries do not count."""
    if sample_weight is not None:
        sample_weight = _float("sample_weight", sample_weight, dtype)
    if mask is None:
        return sample_weight
    mask = _float("mask", mask, dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        total = tf.cast(tf.size(mask, tf.int64), dtype)
        valid = tf.reduce_sum(mask)
        mask = tf.where(mask != 0, tf.math.divide_no_nan(total, valid), tf.zeros([], dtype))
    if sample_weight is None:
        return mask
    mask, sample_weight = same_rank(mask, sample_weight)
    return sample_weight * mask


def _broadcasts_to(weight: list[int | None], rows: list[int | None]) -> bool:
    if len(weight) > len(rows):
        return False
    tail = rows[len(rows) - len(weight) :]
    return all(
        w in (1, row) or w is None or row is None for w, row in zip(weight, tail, strict=True)
    )


def reduce(values: Tensor, weight: Tensor | None, reduction: str | None, replicas: int) -> Tensor:
    """Weigh and reduce losses that are one per row, in TensorFlow, as Keras does."""
    if weight is not None:
        values, weight = same_rank(values, weight)
        values = values * weight
    if reduction in (None, "none") or values.shape.rank == 0 or values.shape == (0,):
        return values
    total = tf.reduce_sum(values)
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and weight is not None:
        divisor = tf.reduce_sum(weight)
    else:
        divisor = tf.cast(tf.size(values, tf.int64), values.dtype)
    return tf.math.divide_no_nan(total, divisor) / replicas


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync


def rows(term: Elementwise, y_true: Tensor, y_pred: Tensor) -> Tensor:
    """One loss per row: the mean (or the loss's sum) over `term.axis`."""
    y_true, y_pred = same_shape(term, y_true, y_pred)
    rank = len(y_pred.shape)
    if rank == 0:
        y_true, y_pred, rank = y_true[tf.newaxis], y_pred[tf.newaxis], 1
    column_weight = _column_weight(term, y_pred)
    arguments = (None, column_weight, "none", 1)
    if term.axis == -1 or term.axis == rank - 1:
        return ops.elementwise(term.loss, term.parameters, y_true, y_pred, *arguments)
    values = ops.elementwise(
        term.loss,
        term.parameters,
        y_true[..., tf.newaxis],
        y_pred[..., tf.newaxis],
        *arguments,
    )
    return tf.reduce_mean(values, axis=term.axis)


def _column_weight(term: Elementwise, y_pred: Tensor) -> Tensor | None:
    if term.column_weight is None:
        return None
    dtype = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
    weight = _float("pos_weight", term.column_weight, dtype)
    classes = y_pred.shape[-1]
    if weight.shape.rank and (weight.shape.rank > 1 or weight.shape[0] not in (1, classes, None)):
        raise ValueError(
            f"pos_weight has shape {tuple(weight.shape)}; expected a scalar or one weight for each "
            f"of the {classes} classes in the last dimension of y_pred"
        )
    return weight


def scalar(
    term: Elementwise,
    y_true: Tensor,
    y_pred: Tensor,
    sample_weight: TensorLike,
    mask: TensorLike,
    reduction: str | None,
) -> Tensor:
    """The loss weighed, masked and reduced."""
    dtype = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
    y_true, y_pred = same_shape(term, y_true, y_pred)
    weight = merged_weight(sample_weight, mask, reduction, dtype)
    replicas = _replicas() if reduction in MEANS else 1
    if reduction in _REDUCTIONS and _fits_one_walk(term, y_pred, weight):
        if weight is not None and len(weight.shape) > len(y_pred.shape) - 1:
            weight = tf.squeeze(weight, -1)
        elif weight is not None and _gains_dimension(weight, y_pred):
            weight = weight[..., tf.newaxis]
        return ops.elementwise(
            term.loss,
            term.parameters,
            y_true,
            y_pred,
            weight,
            _column_weight(term, y_pred),
            _REDUCTIONS[reduction],
            replicas,
        )
    return reduce(rows(term, y_true, y_pred), weight, reduction, replicas)


def _gains_dimension(weight: Tensor, y_pred: Tensor) -> bool:
    """Keras aligns (batch,) weights with (batch, 1) losses, and (a, b) with (a, b, 1)."""
    row_shape = y_pred.shape[:-1]
    return row_shape.rank == weight.shape.rank + 1 and row_shape[-1] == 1


def _fits_one_walk(term: Elementwise, y_pred: Tensor, weight: Tensor | None) -> bool:
    """Whether the kernel's reduction is Keras's here; else TensorFlow reduces after it."""
    rank = len(y_pred.shape)
    row_shape = y_pred.shape[:-1].as_list()
    if rank < 2 or row_shape == [0]:
        return False
    if term.axis != -1 and term.axis != rank - 1:
        return False
    if weight is None:
        return True
    shape = weight.shape.as_list()
    if len(shape) == rank and shape[-1] == 1 and rank == 2:
        shape = shape[:-1]
    elif _gains_dimension(weight, y_pred):
        shape = [*shape, 1]
    return _broadcasts_to(shape, row_shape)


class ElementwiseLoss(keras.losses.Loss):
    """Base class of the elementwise losses, a Keras loss.

    It takes labels and predictions in the dtype they come in, where Keras would first cast both,
    and hands weights, mask and reduction to the same walk over memory.
    """

    autograph_info__: Any = {}  # noqa: RUF012 - AutoGraph leaves calls to such objects alone

    def _term(self, y_pred: Tensor) -> tuple[Elementwise, Tensor]:
        """The loss to compute, and what on: logits, where they are behind y_pred."""
        raise NotImplementedError

    def __call__(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike = None
    ) -> Tensor:
        if type(self).call is not ElementwiseLoss.call:
            return super().__call__(y_true, y_pred, sample_weight)
        mask = getattr(y_pred, "_keras_mask", None)
        if tf.executing_eagerly():
            return self._evaluate(y_true, y_pred, sample_weight, mask)
        with tf.name_scope(self.name):
            return self._evaluate(y_true, y_pred, sample_weight, mask)

    def _evaluate(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike, mask: TensorLike
    ) -> Tensor:
        term, y_pred = self._term(prediction(y_pred, self.dtype))
        y_true, y_pred = same_rank(label(y_true), y_pred)
        loss = scalar(term, y_true, y_pred, sample_weight, mask, self.reduction)
        return loss if loss.dtype == self.dtype else tf.cast(loss, self.dtype)

    def call(self, y_true: TensorLike, y_pred: TensorLike) -> Tensor:
        """One loss per row, as Keras's `call`."""
        term, y_pred = self._term(prediction(y_pred, self.dtype))
        return rows(term, *same_rank(label(y_true), y_pred))


def evaluate(
    term: Elementwise, y_true: TensorLike, y_pred: Tensor, adjust_rank: bool = True
) -> Tensor:
    """One loss per row, for the functions; Keras adjusts ranks in some of them only."""
    y_true = label(y_true)
    if adjust_rank:
        y_true, y_pred = same_rank(y_true, y_pred)
    return rows(term, y_true, y_pred)
