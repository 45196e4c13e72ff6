"""One call for every elementwise loss and any sum of them, through the kernels or the reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import tensorflow as tf

from fastloss import reference
from fastloss.ops.context import is_recorded
from fastloss.ops.library import float64_bits, ops, runs_reference, why_not_on_gpu
from fastloss.reference.elementwise import Term

# As many as a kernel on a GPU adds up: FASTLOSS_CUDA_MAX_TERMS of csrc/api/fastloss_cuda.h.
MAX_TERMS = 16

LABEL_DTYPES = frozenset(
    (
        tf.bool,
        tf.int8,
        tf.uint8,
        tf.int16,
        tf.uint16,
        tf.int32,
        tf.uint32,
        tf.int64,
        tf.uint64,
        tf.float16,
        tf.bfloat16,
        tf.float32,
        tf.float64,
    )
)


def elementwise(
    loss: str,
    parameters: Sequence[float],
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    weight: tf.Tensor | None,
    column_weight: tf.Tensor | None,
    reduction: str,
    replicas: int,
) -> tf.Tensor:
    """A loss over matrices of labels and predictions, reduced.

    Args:
        loss: A name of `csrc/losses/elementwise.h`, as "huber".
        parameters: Its parameters in the order of that file, a tuple.
        y_true: Labels, `(..., columns)`; boolean, integer or float.
        y_pred: Predictions of the same shape; float16, bfloat16, float32 or float64.
        weight: One weight per row, broadcastable to `(...)`, of the accumulation dtype: float64 for
            float64 predictions, else float32. Or None.
        column_weight: One weight per element, as a pattern that repeats in row-major order, of the
            accumulation dtype; for the losses that have one (`pos_weight`). Or None.
        reduction: "none" (one loss per row), "sum", "mean" or "mean_with_sample_weight".
        replicas: Divides the two means.

    Returns:
        The loss in the accumulation dtype: `(...)` for "none", else a scalar.
    """
    if runs_reference():
        return reference.elementwise(
            loss, parameters, y_true, y_pred, weight, column_weight, reduction, replicas
        )
    kernels = ops()
    dtype = y_pred.dtype
    inputs = (
        y_true,
        y_pred,
        [] if weight is None else [weight],
        [] if column_weight is None else [column_weight],
    )
    accumulation = tf.float64 if dtype == tf.float64 else tf.float32
    bits = float64_bits(parameters)
    attributes = (loss, bits, reduction, accumulation, replicas)
    if reduction == "none":
        return kernels.fastloss_elementwise_rows(*inputs, *attributes)
    # A float16 gradient would underflow before a loss scale reaches it: it is made in the backward
    # pass, after the scale.
    if dtype == tf.float16 or not is_recorded(y_pred):
        return kernels.fastloss_elementwise(*inputs, *attributes)
    value, gradient = kernels.fastloss_elementwise_with_gradient(*inputs, *attributes)
    if not tf.executing_eagerly():
        return value
    # An eager tape fills in zeros for outputs without a gradient; this op has no such output.
    return kernels.fastloss_elementwise_record(
        *inputs, value, gradient, loss, bits, reduction, replicas
    )


def elementwise_sum(
    terms: tuple[Term, ...],
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    weight: tf.Tensor | None,
    reduction: str,
    replicas: int,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """A weighted sum of losses over the same labels and predictions, which are read once.

    Args:
        terms: The losses with their parameters and factors.
        y_true: As in `elementwise`.
        y_pred: As in `elementwise`.
        weight: As in `elementwise`.
        reduction: As in `elementwise`, the same for every term.
        replicas: As in `elementwise`.

    Returns:
        The sum, as `elementwise` returns a loss; and the value that each term would have alone,
        without its factor, `(terms,)` and without a gradient, or None for the reduction "none".
    """
    if runs_reference():
        return reference.elementwise_sum(terms, y_true, y_pred, weight, reduction, replicas)
    if len(terms) > MAX_TERMS and not why_not_on_gpu():
        parts = (terms[:MAX_TERMS], terms[MAX_TERMS:])
        sums, values = zip(
            *(elementwise_sum(part, y_true, y_pred, weight, reduction, replicas) for part in parts),
            strict=True,
        )
        return sum(sums), None if reduction == "none" else tf.concat(values, 0)
    kernels = ops()
    dtype = y_pred.dtype
    weights: list[tf.Tensor] = [] if weight is None else [weight]
    no_column_weight: list[tf.Tensor] = []
    inputs = (y_true, y_pred, weights, no_column_weight)
    accumulation = tf.float64 if dtype == tf.float64 else tf.float32
    loss, bits, factors = _joined(terms)
    attributes = (loss, bits, reduction, accumulation)
    if reduction == "none":
        rows = kernels.fastloss_elementwise_rows(*inputs, *attributes, replicas, factors)
        return rows, None
    with_gradient = dtype != tf.float16 and is_recorded(y_pred)
    value, values, gradients = kernels.fastloss_elementwise_sum(
        *inputs, *attributes, int(with_gradient), replicas, factors
    )
    if not tf.executing_eagerly():
        value.set_shape([])
        values.set_shape([len(terms)])
    elif with_gradient:
        value = kernels.fastloss_elementwise_record(
            *inputs, value, *gradients, loss, bits, reduction, replicas, factors
        )
    return value, values


@cache
def _joined(terms: tuple[Term, ...]) -> tuple[str, list[int], list[int]]:
    """The attributes of an op: the names, the bits of all parameters and those of the factors."""
    return (
        "+".join(term.loss for term in terms),
        float64_bits(tuple(x for term in terms for x in term.parameters)),
        float64_bits(tuple(term.factor for term in terms)),
    )


def terms_of(
    loss: str, parameters: tuple[float, ...], factors: tuple[float, ...]
) -> tuple[Term, ...]:
    """The terms behind the attributes of an op."""
    terms = []
    for name, factor in zip(loss.split("+"), factors, strict=True):
        count = reference.parameter_count(name)
        terms.append(Term(name, parameters[:count], factor))
        parameters = parameters[count:]
    return tuple(terms)
