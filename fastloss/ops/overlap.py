"""One call for every overlap loss, through the kernels or the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fastloss import reference
from fastloss.calls import Inputs, KernelTerm, Layout, OverlapOptions
from fastloss.ops.context import is_recorded
from fastloss.ops.library import float64_bits, kernels, runs_reference


def overlap(
    loss: str,
    parameters: Sequence[float],
    inputs: Inputs,
    options: OverlapOptions,
    layout: Layout,
    class_weight: tf.Tensor | None = None,
) -> tf.Tensor:
    """A loss of region sums, reduced.

    Args:
        loss: A kernel of the registry, as "dice".
        parameters: Its parameters in the order of the registry, a tuple.
        inputs: Predictions; labels of their shape, or, if sparse, classes of that shape without the
            class axis; a weight of each group, and the reduction.
        options: How the sums are taken.
        layout: Which axes of y_pred tell the groups apart.
        class_weight: `(classes,)`, of the accumulation dtype. Or None.

    Returns:
        The loss in the accumulation dtype: the group axes for the reduction "none", where the
        classes are one less without background; else a scalar.
    """
    if runs_reference():
        return reference.overlap(loss, parameters, inputs, options, layout, class_weight)
    inputs, layout = _with_groups_first(inputs, layout)
    tensors = _tensors(inputs, class_weight)
    attributes = _attributes(loss, parameters, inputs, options, layout)
    wide = inputs.accumulation
    if inputs.reduction.kind == "none":
        rows = kernels().fastloss_overlap_rows(*tensors, A=wide, **attributes)
        return _with_shape(rows, inputs.y_pred, options, layout)
    # As for the elementwise losses: a float16 gradient is made after the loss scale.
    if inputs.y_pred.dtype == tf.float16 or not is_recorded(inputs.y_pred):
        return kernels().fastloss_overlap(*tensors, A=wide, **attributes)
    value, gradient = kernels().fastloss_overlap_with_gradient(*tensors, A=wide, **attributes)
    if not tf.executing_eagerly():
        return value
    return kernels().fastloss_overlap_record(*tensors, value, gradient, **attributes)


def overlap_sum(
    term: KernelTerm,
    fused_terms: Sequence[KernelTerm],
    inputs: Inputs,
    options: OverlapOptions,
    layout: Layout,
    class_weight: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """An overlap loss and losses of each element or position, added up in the same passes.

    Args:
        term: The overlap loss.
        fused_terms: Elementwise losses of the same y_true and y_pred; after a softmax rowwise ones
            from logits, of integer labels if sparse.
        inputs: As of `overlap`, without a weight; the reduction is "sum" or "mean", that of every
            term. Positions that are ignored do not count.
        options: As of `overlap`.
        layout: As of `overlap`.
        class_weight: Weights of the classes in the overlap loss, or None.

    Returns:
        The sum of all, and the value of each without its factor, `(1 + fused_terms,)`, which
        carries no gradient.
    """
    if runs_reference():
        return reference.overlap_sum(term, fused_terms, inputs, options, layout, class_weight)
    inputs, layout = _with_groups_first(inputs, layout)
    attributes = {
        **_attributes(term.loss, term.parameters, inputs, options, layout),
        "factor": float64_bits((term.factor,)),
        "fused_terms": " ".join(fused.loss for fused in fused_terms),
        "fused_term_factors": float64_bits(tuple(fused.factor for fused in fused_terms)),
        "fused_term_parameters": float64_bits(
            tuple(number for fused in fused_terms for number in fused.parameters)
        ),
        "fused_term_counts": [len(fused.parameters) for fused in fused_terms],
    }
    tensors = _tensors(inputs, class_weight)
    # As for the elementwise losses: a float16 gradient is made after the loss scale.
    with_gradient = inputs.y_pred.dtype != tf.float16 and is_recorded(inputs.y_pred)
    value, values, gradients = kernels().fastloss_overlap_sum(
        *tensors, A=inputs.accumulation, G=int(with_gradient), **attributes
    )
    if with_gradient and tf.executing_eagerly():
        value = kernels().fastloss_overlap_record(*tensors, value, gradients[0], **attributes)
    if not tf.executing_eagerly():
        value.set_shape([])
        values.set_shape([1 + len(fused_terms)])
    return value, tf.stop_gradient(values)


# More groups side by side outgrow the cache.
_MOST_INTERLEAVED = 4096


def _with_groups_first(inputs: Inputs, layout: Layout) -> tuple[Inputs, Layout]:
    """Both so that a kernel can pass over them; transposed, where it cannot as they are."""
    axes = layout.group_axes
    if layout.class_axis >= 0 or _fits_kernel(axes, inputs.y_pred.shape):
        return inputs, layout
    order = [*axes, *(axis for axis in range(len(inputs.y_pred.shape)) if axis not in axes)]
    inputs = inputs._replace(
        y_true=tf.transpose(inputs.y_true, order), y_pred=tf.transpose(inputs.y_pred, order)
    )
    return inputs, layout._replace(group_axes=tuple(range(len(axes))))


def _fits_kernel(group_axes: tuple[int, ...], shape: tf.TensorShape) -> bool:
    """Whether the groups are a run at the front, and perhaps one more that is not too wide."""
    starts = [axis for axis in group_axes if axis - 1 not in group_axes]
    later = [axis for axis in starts if axis > 0]
    if len(later) > 1:
        return False
    sizes = [shape[axis] for axis in group_axes if later and axis >= later[0]]
    return all(size is not None for size in sizes) and math.prod(sizes) <= _MOST_INTERLEAVED


def _tensors(
    inputs: Inputs, class_weight: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
    return (
        inputs.y_true,
        inputs.y_pred,
        [] if inputs.weight is None else [inputs.weight],
        [] if class_weight is None else [class_weight],
    )


def _attributes(
    loss: str,
    parameters: Sequence[float],
    inputs: Inputs,
    options: OverlapOptions,
    layout: Layout,
) -> dict[str, Any]:
    return {
        "loss": loss,
        "parameters": float64_bits(parameters),
        "reduction": inputs.reduction.kind,
        "group_axes": layout.group_axes,
        "class_axis": layout.class_axis,
        "activation": options.activation,
        "sparse": int(options.sparse),
        "factor": float64_bits((1.0,)),
        "replicas": inputs.reduction.replicas,
        "squared": int(options.squared),
        "include_background": int(options.include_background),
        "has_ignore_class": int(options.ignore_class is not None),
        "ignore_class": options.ignore_class or 0,
    }


def _with_shape(
    rows: tf.Tensor, y_pred: tf.Tensor, options: OverlapOptions, layout: Layout
) -> tf.Tensor:
    """Rows with the shape that is known while tracing: an op's shape function sees no layout."""
    if not tf.executing_eagerly():
        shape = [y_pred.shape[axis] for axis in layout.group_axes]
        if not options.include_background and layout.class_axis in layout.group_axes:
            index = layout.group_axes.index(layout.class_axis)
            shape[index] = None if shape[index] is None else max(shape[index] - 1, 0)
        rows.set_shape(shape)
    return rows
