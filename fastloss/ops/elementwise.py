"""One call for every elementwise loss and any sum of them, through the kernels or the reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import tensorflow as tf

from fastloss import reference, registry
from fastloss.calls import Inputs, KernelTerm
from fastloss.ops.context import is_recorded
from fastloss.ops.library import float64_bits, kernels, runs_reference, why_not_on_gpu

# As many as a kernel on a GPU adds up: FASTLOSS_CUDA_MAX_TERMS of csrc/api/fastloss_cuda.h.
MAX_TERMS = 16

LABEL_DTYPES = frozenset(
    (
        *(tf.bool, tf.int8, tf.uint8, tf.int16, tf.uint16, tf.int32, tf.uint32, tf.int64),
        *(tf.uint64, tf.float16, tf.bfloat16, tf.float32, tf.float64),
    )
)


def elementwise(
    loss: str,
    parameters: Sequence[float],
    inputs: Inputs,
    column_weight: tf.Tensor | None = None,
) -> tf.Tensor:
    """A loss over matrices of labels and predictions, reduced.

    Args:
        loss: A kernel of the registry, as "huber".
        parameters: Its parameters in the order of the registry, a tuple.
        inputs: Labels and predictions `(..., columns)`, a weight of each row `(...)`, and the
            reduction.
        column_weight: One weight per element, as a pattern that repeats in row-major order, of the
            accumulation dtype; for the losses that have one (`pos_weight`). Or None.

    Returns:
        The loss in the accumulation dtype: `(...)` for the reduction "none", else a scalar.
    """
    if runs_reference():
        return reference.elementwise(loss, parameters, inputs, column_weight)
    y_true, y_pred, weight, (reduction, replicas) = inputs
    tensors = (
        y_true,
        y_pred,
        [] if weight is None else [weight],
        [] if column_weight is None else [column_weight],
    )
    bits = float64_bits(parameters)
    attributes = (loss, bits, reduction, inputs.accumulation, replicas)
    if reduction == "none":
        return kernels().fastloss_elementwise_rows(*tensors, *attributes)
    # A float16 gradient would underflow before a loss scale reaches it: it is made in the backward
    # pass, after the scale.
    if y_pred.dtype == tf.float16 or not is_recorded(y_pred):
        return kernels().fastloss_elementwise(*tensors, *attributes)
    value, gradient = kernels().fastloss_elementwise_with_gradient(*tensors, *attributes)
    if not tf.executing_eagerly():
        return value
    # An eager tape fills in zeros for outputs without a gradient; this op has no such output.
    return kernels().fastloss_elementwise_record(
        *tensors, value, gradient, loss, bits, reduction, replicas
    )


def elementwise_sum(
    terms: tuple[KernelTerm, ...], inputs: Inputs
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """A weighted sum of losses over the same labels and predictions, which are read once.

    Args:
        terms: The losses with their parameters and factors.
        inputs: As of `elementwise`; the reduction is that of every term.

    Returns:
        The sum, as `elementwise` returns a loss; and the value that each term would have alone,
        without its factor, `(terms,)` and without a gradient, or None for the reduction "none".
    """
    if runs_reference():
        return reference.elementwise_sum(terms, inputs)
    y_true, y_pred, weight, (reduction, replicas) = inputs
    if len(terms) > MAX_TERMS and not why_not_on_gpu():
        parts = (terms[:MAX_TERMS], terms[MAX_TERMS:])
        sums, values = zip(*(elementwise_sum(part, inputs) for part in parts), strict=True)
        return sum(sums), None if reduction == "none" else tf.concat(values, 0)
    no_column_weight: list[tf.Tensor] = []
    tensors = (y_true, y_pred, [] if weight is None else [weight], no_column_weight)
    loss, bits, factors = _joined(terms)
    attributes = (loss, bits, reduction, inputs.accumulation)
    if reduction == "none":
        rows = kernels().fastloss_elementwise_rows(*tensors, *attributes, replicas, factors)
        return rows, None
    with_gradient = y_pred.dtype != tf.float16 and is_recorded(y_pred)
    value, values, gradients = kernels().fastloss_elementwise_sum(
        *tensors, *attributes, int(with_gradient), replicas, factors
    )
    if not tf.executing_eagerly():
        value.set_shape([])
        values.set_shape([len(terms)])
    elif with_gradient:
        value = kernels().fastloss_elementwise_record(
            *tensors, value, *gradients, loss, bits, reduction, replicas, factors
        )
    return value, values


@lru_cache(maxsize=256)
def _joined(terms: tuple[KernelTerm, ...]) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """The attributes of an op: the names, the bits of all parameters and those of the factors."""
    return (
        "+".join(term.loss for term in terms),
        float64_bits(tuple(x for term in terms for x in term.parameters)),
        float64_bits(tuple(term.factor for term in terms)),
    )


def terms_of(
    loss: str, parameters: tuple[float, ...], factors: tuple[float, ...]
) -> tuple[KernelTerm, ...]:
    """The terms behind the attributes of an op."""
    terms = []
    for name, factor in zip(loss.split("+"), factors, strict=True):
        count = len(registry.kernel(name).parameters)
        terms.append(KernelTerm(name, parameters[:count], factor))
        parameters = parameters[count:]
    return tuple(terms)
