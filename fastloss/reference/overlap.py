"""The overlap losses: each compares the sums over two regions, what is labelled and predicted.

The names and the order of the parameters are those of `csrc/losses/overlap.h`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from fastloss.calls import Inputs, KernelTerm, Layout, OverlapOptions, RowwiseOptions, Tensor
from fastloss.reference.elementwise import elementwise
from fastloss.reference.reduction import reduced
from fastloss.reference.rowwise import rowwise
from fastloss.registry import Pattern, kernel, kernels


class Sums(NamedTuple):
    """Of each group: sum(t p), sum(p) and sum(t), or with `squared` sum(p^2) and sum(t^2).

    How many positions it has is counted only where the loss asks for it.
    """

    intersection: Tensor
    predicted: Tensor
    labelled: Tensor
    positions: Tensor | None = None


def dice(sums: Sums, smooth_numerator: float, smooth_denominator: float) -> Tensor:
    both = sums.predicted + sums.labelled
    return 1 - (2 * sums.intersection + smooth_numerator) / (both + smooth_denominator)


def tversky(
    sums: Sums, alpha: float, beta: float, smooth_numerator: float, smooth_denominator: float
) -> Tensor:
    missed = sums.labelled - sums.intersection
    wrong = sums.predicted - sums.intersection
    whole = sums.intersection + alpha * missed + beta * wrong
    return 1 - (sums.intersection + smooth_numerator) / (whole + smooth_denominator)


def jaccard(sums: Sums, smooth_numerator: float, smooth_denominator: float) -> Tensor:
    union = sums.predicted + sums.labelled - sums.intersection
    return 1 - (sums.intersection + smooth_numerator) / (union + smooth_denominator)


def focal_tversky(
    sums: Sums,
    alpha: float,
    beta: float,
    gamma: float,
    smooth_numerator: float,
    smooth_denominator: float,
) -> Tensor:
    loss = tversky(sums, alpha, beta, smooth_numerator, smooth_denominator)
    # The slope at 0 may be infinite, and is taken as 0: nothing is left to learn.
    done = loss <= 0
    power = tf.pow(tf.where(done, tf.ones_like(loss), loss), gamma)
    return tf.where(done, tf.zeros_like(loss) ** gamma, power)


def log_cosh_dice(sums: Sums, smooth_numerator: float, smooth_denominator: float) -> Tensor:
    loss = dice(sums, smooth_numerator, smooth_denominator)
    # Near 0 the second form is the difference of two numbers near log(2).
    near = tf.abs(loss) < 1
    zero = tf.zeros_like(loss)
    small, large = tf.where(near, loss, zero), tf.where(near, zero, tf.abs(loss))
    return tf.where(
        near,
        tf.math.log1p(2 * tf.square(tf.sinh(small / 2))),
        large + tf.math.log1p(tf.exp(-2 * large)) - tf.math.log(tf.constant(2, loss.dtype)),
    )


def generalized_dice(
    sums: Sums,
    power: float,
    smooth_numerator: float,
    smooth_denominator: float,
    class_weight: Tensor | None = None,
) -> Tensor:
    """Of sums with the classes in the last dimension, which it couples."""
    absent = sums.labelled == 0
    weight = tf.pow(tf.where(absent, tf.ones_like(sums.labelled), sums.labelled), -power)
    present = tf.where(absent, tf.zeros_like(weight), weight)
    largest = tf.reduce_max(present, axis=-1, keepdims=True)
    # An absent class would have an infinite weight.
    weight = tf.where(absent, tf.where(largest == 0, tf.ones_like(largest), largest), weight)
    if class_weight is not None:
        weight *= class_weight
    hit = tf.reduce_sum(weight * sums.intersection, axis=-1)
    both = tf.reduce_sum(weight * (sums.predicted + sums.labelled), axis=-1)
    return 1 - (2 * hit + smooth_numerator) / (both + smooth_denominator)


def matthews(sums: Sums, smooth_numerator: float, smooth_denominator: float) -> Tensor:
    count, predicted, labelled = sums.positions, sums.predicted, sums.labelled
    of_predictions = tf.nn.relu(predicted * (count - predicted))
    product = of_predictions * tf.nn.relu(labelled * (count - labelled))
    # The root has no derivative at 0, where labels or predictions are constant.
    varies = product > 0
    root = tf.where(varies, tf.sqrt(tf.where(varies, product, tf.ones_like(product))), 0)
    covariance = count * sums.intersection - predicted * labelled
    return 1 - (covariance + smooth_numerator) / (root + smooth_denominator)


LOSSES: dict[str, Callable[..., Tensor]] = {
    kernel.name: globals()[kernel.name] for kernel in kernels(Pattern.OVERLAP)
}


class Regions(NamedTuple):
    """Labels and predictions of one shape and dtype, ready for the sums.

    `counted` says which positions have a part in them, with a 1 in place of the classes; None is
    all.
    """

    y_true: Tensor
    y_pred: Tensor
    counted: Tensor | None = None


def activated(y_pred: Tensor, activation: str, class_axis: int) -> Tensor:
    """Probabilities."""
    if activation == "softmax":
        return tf.nn.softmax(y_pred, axis=class_axis)
    return tf.sigmoid(y_pred) if activation == "sigmoid" else y_pred


def as_class(y_true: Tensor) -> Tensor:
    """Class numbers, whatever dtype they came in."""
    return y_true if y_true.dtype == tf.int64 else tf.cast(y_true, tf.int64)


def counted_positions(y_true: Tensor, sparse: bool, ignore_class: int, class_axis: int) -> Tensor:
    """Which positions count, with a 1 in place of the classes."""
    if sparse:
        return tf.expand_dims(as_class(y_true) != ignore_class, class_axis)
    rank = len(y_true.shape)
    others = tf.range(tf.shape(y_true, tf.int64)[class_axis]) != ignore_class
    others = tf.reshape(others, [-1 if i == class_axis else 1 for i in range(rank)])
    return tf.reduce_any(tf.cast(y_true, tf.bool) & others, axis=class_axis, keepdims=True)


def one_hot(y_true: Tensor, y_pred: Tensor, class_axis: int) -> Regions:
    """Class numbers as regions; a label that is no class makes its position NaN."""
    classes = y_pred.shape[class_axis] or tf.shape(y_pred)[class_axis]
    label = as_class(y_true)
    known = (label >= 0) & (label < tf.cast(classes, tf.int64))
    # It must not pass for a position without a label.
    nan = tf.constant(float("nan"), y_pred.dtype)
    poison = tf.expand_dims(tf.where(known, tf.ones([], y_pred.dtype), nan), class_axis)
    rows = tf.one_hot(label, classes, axis=class_axis, dtype=y_pred.dtype)
    return Regions(rows * poison, y_pred * poison)


def _regions(y_true: Tensor, y_pred: Tensor, options: OverlapOptions, class_axis: int) -> Regions:
    dtype = tf.float64 if y_pred.dtype == tf.float64 else tf.float32
    y_pred = tf.cast(y_pred, dtype)
    counted = None
    if options.ignore_class is not None:
        counted = counted_positions(y_true, options.sparse, options.ignore_class, class_axis)
        # Selected before anything is computed, since NaN times 0 is NaN in its gradient.
        y_pred = tf.where(counted, y_pred, tf.ones_like(y_pred))
    if options.sparse:
        if counted is not None:
            y_true = tf.where(tf.squeeze(counted, class_axis), y_true, tf.zeros_like(y_true))
        y_true, y_pred, _ = one_hot(y_true, y_pred, class_axis)
    else:
        y_true = tf.cast(y_true, dtype)
    y_pred = activated(y_pred, options.activation, class_axis)
    if counted is not None:
        y_true = tf.where(counted, y_true, tf.zeros_like(y_true))
        y_pred = tf.where(counted, y_pred, tf.zeros_like(y_pred))
    if not options.include_background:
        foreground = (slice(None),) * class_axis + (slice(1, None),)
        y_true, y_pred = y_true[foreground], y_pred[foreground]
    return Regions(y_true, y_pred, counted)


def _sum(x: Tensor, axes: Sequence[int]) -> Tensor:
    # One dimension after another: TensorFlow adds up outer dimensions one number at a time.
    for axis in sorted(axes, reverse=True):
        x = tf.reduce_sum(x, axis)
    return x


def overlap(
    loss: str,
    parameters: Sequence[float],
    inputs: Inputs,
    options: OverlapOptions,
    layout: Layout,
    class_weight: Tensor | None = None,
) -> Tensor:
    """The same as `fastloss.ops.overlap`, argument for argument."""
    y_true, y_pred, counted = _regions(inputs.y_true, inputs.y_pred, options, layout.class_axis)
    couples = kernel(loss).couples_classes
    unsummed = {*layout.group_axes, layout.class_axis} if couples else {*layout.group_axes}
    axes = [axis for axis in range(len(y_pred.shape)) if axis not in unsummed]
    size = tf.square if options.squared else tf.identity
    sums = Sums(_sum(y_true * y_pred, axes), _sum(size(y_pred), axes), _sum(size(y_true), axes))
    if kernel(loss).counts_positions:
        ones = tf.ones_like(y_pred)
        counts = ones if counted is None else tf.where(counted, ones, tf.zeros_like(ones))
        sums = sums._replace(positions=_sum(counts, axes))
    if class_weight is not None and not options.include_background:
        class_weight = class_weight[1:]
    if couples:
        values = LOSSES[loss](sums, *parameters, class_weight)
    else:
        values = LOSSES[loss](sums, *parameters)
        if class_weight is not None:
            values *= class_weight
    return reduced(values, inputs.weight, inputs.reduction)


def overlap_sum(
    term: KernelTerm,
    fused_terms: Sequence[KernelTerm],
    inputs: Inputs,
    options: OverlapOptions,
    layout: Layout,
    class_weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The same as `fastloss.ops.overlap_sum`, argument for argument."""
    values = [overlap(term.loss, term.parameters, inputs, options, layout, class_weight)]
    of_rows = RowwiseOptions(ignore_class=options.ignore_class)
    for fused in fused_terms:
        if options.activation == "softmax":
            value = rowwise(fused.loss, fused.parameters, inputs, layout.class_axis, of_rows)
        else:
            # Every element as a row of its own.
            of_elements = inputs._replace(
                y_true=inputs.y_true[..., tf.newaxis], y_pred=inputs.y_pred[..., tf.newaxis]
            )
            value = elementwise(fused.loss, fused.parameters, of_elements)
        values.append(value)
    factors = [term.factor, *(fused.factor for fused in fused_terms)]
    total = tf.add_n([factor * value for factor, value in zip(factors, values, strict=True)])
    return total, tf.stop_gradient(tf.stack(values))
