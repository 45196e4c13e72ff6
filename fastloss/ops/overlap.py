"""One call for every overlap loss, through the kernels or the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fastloss import reference
from fastloss.ops.context import is_recorded
from fastloss.ops.library import float64_bits, ops, runs_reference
from fastloss.reference import OverlapOptions, Term


def overlap(
    loss: str,
    parameters: Sequence[float],
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    weight: tf.Tensor | None,
    class_weight: tf.Tensor | None,
    options: OverlapOptions,
    kept: tuple[int, ...],
    class_axis: int,
    reduction: str,
    replicas: int,
) -> tf.Tensor:
    """A loss of region sums, reduced.

    Args:
        loss: A name of `csrc/losses/overlap.h`, as "dice".
        parameters: Its parameters in the order of that file, a tuple.
        y_true: Labels of y_pred's shape; if sparse, classes, of y_pred's shape without
            `class_axis`.
        y_pred: Predictions; float16, bfloat16, float32 or float64.
        weight: One weight per group, broadcastable to the kept dimensions, of the accumulation
            dtype: float64 for float64 predictions, else float32. Or None.
        class_weight: `(classes,)`, of the accumulation dtype. Or None.
        options: How the sums are taken.
        kept: The dimensions of y_pred that are not summed over, in order. With classes these are
            the first one, the classes, both, or none.
        class_axis: The dimension of the classes, from 0 to rank - 1; -1 if they play no role.
        reduction: "none" (one loss per group), "sum", "mean" or "mean_with_sample_weight".
        replicas: Divides the two means.

    Returns:
        The loss in the accumulation dtype: the kept dimensions for "none", where the classes are
        one less without background; else a scalar.
    """
    if runs_reference():
        return reference.overlap(
            loss,
            parameters,
            y_true,
            y_pred,
            weight,
            class_weight,
            options,
            kept,
            class_axis,
            reduction,
            replicas,
        )
    if class_axis < 0 and not _walkable(kept, y_pred.shape):
        y_true, y_pred, kept = _with_groups_first(kept, y_true, y_pred)
    inputs = _inputs(y_true, y_pred, weight, class_weight)
    attributes = _attributes(loss, parameters, options, kept, class_axis, reduction, replicas)
    if reduction == "none":
        rows = ops().fastloss_overlap_rows(*inputs, A=_accumulation(y_pred), **attributes)
        return _with_shape(rows, y_pred, options, kept, class_axis)
    kernels = ops()
    accumulation = _accumulation(y_pred)
    if y_pred.dtype == tf.float16 or not is_recorded(y_pred):
        return kernels.fastloss_overlap(*inputs, A=accumulation, **attributes)
    value, gradient = kernels.fastloss_overlap_with_gradient(*inputs, A=accumulation, **attributes)
    if not tf.executing_eagerly():
        return value
    return kernels.fastloss_overlap_record(*inputs, value, gradient, **attributes)


def overlap_sum(
    loss: str,
    parameters: Sequence[float],
    factor: float,
    fused_terms: Sequence[Term],
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    class_weight: tf.Tensor | None,
    options: OverlapOptions,
    kept: tuple[int, ...],
    class_axis: int,
    reduction: str,
    replicas: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """An overlap loss and losses of each element or position, added up in the same walks.

    Args:
        loss: The overlap loss, as for `overlap`.
        parameters: Its parameters.
        factor: What it counts for.
        fused_terms: Elementwise losses of the same y_true and y_pred; after a softmax rowwise ones
            from logits, of integer labels if sparse.
        y_true: Labels, as for `overlap`.
        y_pred: Predictions.
        class_weight: Weights of the classes in the overlap loss, or None.
        options: How its sums are taken.
        kept: The dimensions that they keep.
        class_axis: The dimension of the classes, or -1.
        reduction: "sum" or "mean", of each; positions that are ignored do not count.
        replicas: Divides the mean.

    Returns:
        The sum of all, and the value of each without its factor, `(1 + fused_terms,)`, which
        carries no gradient.
    """
    if runs_reference():
        return reference.overlap_sum(
            loss,
            parameters,
            factor,
            fused_terms,
            y_true,
            y_pred,
            class_weight,
            options,
            kept,
            class_axis,
            reduction,
            replicas,
        )
    if class_axis < 0 and not _walkable(kept, y_pred.shape):
        y_true, y_pred, kept = _with_groups_first(kept, y_true, y_pred)
    attributes = _attributes(loss, parameters, options, kept, class_axis, reduction, replicas)
    attributes |= {
        "factor": float64_bits((factor,)),
        "fused_terms": " ".join(fused_term.loss for fused_term in fused_terms),
        "fused_term_factors": float64_bits(tuple(fused_term.factor for fused_term in fused_terms)),
        "fused_term_parameters": float64_bits(
            tuple(number for fused_term in fused_terms for number in fused_term.parameters)
        ),
        "fused_term_counts": [len(fused_term.parameters) for fused_term in fused_terms],
    }
    kernels = ops()
    inputs = _inputs(y_true, y_pred, None, class_weight)
    # As for the elementwise losses: a float16 gradient is made after the loss scale.
    with_gradient = y_pred.dtype != tf.float16 and is_recorded(y_pred)
    value, terms, gradients = kernels.fastloss_overlap_sum(
        *inputs, A=_accumulation(y_pred), G=int(with_gradient), **attributes
    )
    if with_gradient and tf.executing_eagerly():
        value = kernels.fastloss_overlap_record(*inputs, value, gradients[0], **attributes)
    if not tf.executing_eagerly():
        value.set_shape([])
        terms.set_shape([1 + len(fused_terms)])
    return value, tf.stop_gradient(terms)


# More groups side by side outgrow the cache.
_MOST_SIDE_BY_SIDE = 4096


def _walkable(kept: tuple[int, ...], shape: tf.TensorShape) -> bool:
    """Whether the groups are a run at the front, and perhaps one more that is not too wide."""
    starts = [dim for dim in kept if dim - 1 not in kept]
    later = [dim for dim in starts if dim > 0]
    if len(later) > 1:
        return False
    sizes = [shape[dim] for dim in kept if later and dim >= later[0]]
    return all(size is not None for size in sizes) and math.prod(sizes) <= _MOST_SIDE_BY_SIDE


def _with_groups_first(
    kept: tuple[int, ...], y_true: tf.Tensor, y_pred: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tuple[int, ...]]:
    order = [*kept, *(dim for dim in range(len(y_pred.shape)) if dim not in kept)]
    return tf.transpose(y_true, order), tf.transpose(y_pred, order), tuple(range(len(kept)))


def _accumulation(y_pred: tf.Tensor) -> tf.DType:
    return tf.float64 if y_pred.dtype == tf.float64 else tf.float32


def _inputs(
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    weight: tf.Tensor | None,
    class_weight: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
    return (
        y_true,
        y_pred,
        [] if weight is None else [weight],
        [] if class_weight is None else [class_weight],
    )


def _attributes(
    loss: str,
    parameters: Sequence[float],
    options: OverlapOptions,
    kept: tuple[int, ...],
    class_axis: int,
    reduction: str,
    replicas: int,
) -> dict[str, Any]:
    return {
        "loss": loss,
        "parameters": float64_bits(parameters),
        "reduction": reduction,
        "kept": list(kept),
        "class_axis": class_axis,
        "activation": options.activation,
        "sparse": int(options.sparse),
        "factor": float64_bits((1.0,)),
        "replicas": replicas,
        "squared": int(options.squared),
        "include_background": int(options.include_background),
        "has_ignore_class": int(options.ignore_class is not None),
        "ignore_class": options.ignore_class or 0,
    }


def _with_shape(
    rows: tf.Tensor,
    y_pred: tf.Tensor,
    options: OverlapOptions,
    kept: tuple[int, ...],
    class_axis: int,
) -> tf.Tensor:
    """Rows with the shape that is known while tracing: an op's shape function sees no `kept`."""
    if not tf.executing_eagerly():
        shape = [y_pred.shape[dim] for dim in kept]
        if not options.include_background and class_axis in kept:
            index = kept.index(class_axis)
            shape[index] = None if shape[index] is None else max(shape[index] - 1, 0)
        rows.set_shape(shape)
    return rows
