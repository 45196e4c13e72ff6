"""The rowwise losses: each takes rows of labels and predictions, classes in the last dimension.

The names and the order of the parameters are those of `csrc/losses/rowwise.h`. Labels arrive here
as rows, smoothed and weighed; integer labels as their one-hot rows, or, where one of them is all
that a row has, as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from fastloss.calls import NO_OPTIONS, Inputs, RowwiseOptions, Tensor, accumulation
from fastloss.registry import Labels, Pattern, kernel, kernels


def _log_sum_exp(logits: Tensor) -> Tensor:
    """With the classes' dimension counted; the maximum carries no gradient, which cancels."""
    largest = tf.stop_gradient(tf.reduce_max(logits, axis=-1, keepdims=True))
    return largest + tf.math.log(tf.reduce_sum(tf.exp(logits - largest), axis=-1, keepdims=True))


def _log_softmax(logits: Tensor) -> Tensor:
    # Not logits less the log-sum-exp: that loses the small differences of large logits.
    shifted = logits - tf.stop_gradient(tf.reduce_max(logits, axis=-1, keepdims=True))
    return shifted - tf.math.log(tf.reduce_sum(tf.exp(shifted), axis=-1, keepdims=True))


def _counted(share: Tensor, log: Tensor) -> Tensor:
    """log, but 0 where it is -infinity and its share is 0: such a class adds nothing."""
    # Selected before the product, since 0 times infinity would come back in its gradient.
    return tf.where((share == 0) & (log == -float("inf")), tf.zeros_like(log), log)


def _normalised(y_pred: Tensor, epsilon: float) -> Tensor:
    y_pred /= tf.reduce_sum(y_pred, axis=-1, keepdims=True)
    return tf.clip_by_value(y_pred, epsilon, 1 - epsilon)


@tf.custom_gradient
def categorical_crossentropy_from_logits(
    y_true: Tensor, y_pred: Tensor
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    # Through the logarithm's own gradient a compiler would take the softmax twice.
    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        upstream = upstream[..., tf.newaxis]
        log = _log_softmax(y_pred)
        total = tf.reduce_sum(y_true, axis=-1, keepdims=True)
        return -upstream * _counted(y_true, log), upstream * (total * tf.exp(log) - y_true)

    log = _counted(y_true, _log_softmax(y_pred))
    return -tf.reduce_sum(y_true * log, axis=-1), gradient


def categorical_crossentropy(y_true: Tensor, y_pred: Tensor, epsilon: float) -> Tensor:
    return -tf.reduce_sum(y_true * tf.math.log(_normalised(y_pred, epsilon)), axis=-1)


def sparse_categorical_crossentropy_from_logits(y_true: Tensor, y_pred: Tensor) -> Tensor:
    if y_true.dtype.is_integer:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(y_true, y_pred)
    return categorical_crossentropy_from_logits(y_true, y_pred)


def sparse_categorical_crossentropy(y_true: Tensor, y_pred: Tensor, epsilon: float) -> Tensor:
    y_pred = tf.clip_by_value(y_pred, epsilon, 1 - epsilon)
    log = tf.math.log(y_pred) - tf.math.log(tf.reduce_sum(y_pred, axis=-1, keepdims=True))
    return -tf.reduce_sum(y_true * log, axis=-1)


def _focus(miss: Tensor, gamma: float) -> Tensor:
    """miss**gamma, without a gradient at 0: there the logarithm beside it makes it 0."""
    if gamma == 0:
        return tf.ones_like(miss)
    # At 1 the logarithm may be infinite, and its product with a gradient of 0 would be NaN.
    certain = miss <= 0
    power = tf.pow(tf.where(certain | (miss >= 1), tf.ones_like(miss), miss), gamma)
    return tf.where(certain, tf.zeros_like(miss), power)


def categorical_focal_crossentropy_from_logits(
    y_true: Tensor, y_pred: Tensor, alpha: float, gamma: float
) -> Tensor:
    log = _counted(y_true, _log_softmax(y_pred))
    return -alpha * tf.reduce_sum(y_true * _focus(-tf.math.expm1(log), gamma) * log, axis=-1)


def categorical_focal_crossentropy(
    y_true: Tensor, y_pred: Tensor, alpha: float, gamma: float, epsilon: float
) -> Tensor:
    y_pred = _normalised(y_pred, epsilon)
    terms = y_true * _focus(1 - y_pred, gamma) * tf.math.log(y_pred)
    return -alpha * tf.reduce_sum(terms, axis=-1)


def sparse_categorical_focal_crossentropy_from_logits(
    y_true: Tensor, y_pred: Tensor, alpha: float, gamma: float
) -> Tensor:
    return categorical_focal_crossentropy_from_logits(y_true, y_pred, alpha, gamma)


def sparse_categorical_focal_crossentropy(
    y_true: Tensor, y_pred: Tensor, alpha: float, gamma: float, epsilon: float
) -> Tensor:
    return categorical_focal_crossentropy(y_true, y_pred, alpha, gamma, epsilon)


def _of_label(y_true: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The weight of the one label of each row, and what x has there: 1 for a weight of 0."""
    # Selected, not multiplied: an infinite gradient at the label must not make NaN of the others.
    chosen = tf.reduce_sum(tf.where(y_true == 0, tf.zeros_like(x), x), axis=-1)
    weight = tf.reduce_sum(y_true, axis=-1)
    return weight, tf.where(weight == 0, tf.ones_like(chosen), chosen)


def categorical_generalized_cross_entropy(y_true: Tensor, y_pred: Tensor, q: float) -> Tensor:
    weight, chosen = _of_label(y_true, y_pred)
    return weight * (1 - tf.pow(chosen, q)) / q


def categorical_generalized_cross_entropy_from_logits(
    y_true: Tensor, y_pred: Tensor, q: float
) -> Tensor:
    weight, log = _of_label(y_true, _log_softmax(y_pred))
    return -weight * tf.math.expm1(q * log) / q


def categorical_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    hit = tf.reduce_sum(y_true * y_pred, axis=-1)
    return tf.maximum(tf.reduce_max((1 - y_true) * y_pred, axis=-1) - hit + 1, 0)


def sparse_categorical_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    return categorical_hinge(y_true, y_pred)


def _unit(x: Tensor, epsilon: float) -> Tensor:
    square = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
    short = square <= epsilon * epsilon
    # The gradient of the root at 0 is infinite: it must not see the 0.
    root = tf.math.rsqrt(tf.where(short, tf.ones_like(square), square))
    return x * tf.where(short, tf.fill(tf.shape(square), tf.cast(1 / epsilon, x.dtype)), root)


def cosine_similarity(y_true: Tensor, y_pred: Tensor, epsilon: float) -> Tensor:
    return -tf.reduce_sum(_unit(y_true, epsilon) * _unit(y_pred, epsilon), axis=-1)


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """sum(p (log_p - log_q)), with 0 where p is 0."""
    p = tf.exp(log_p)
    absent = p == 0
    ratio = tf.where(absent, tf.zeros_like(p), log_p) - tf.where(absent, tf.zeros_like(p), log_q)
    return tf.reduce_sum(p * ratio, axis=-1)


def kl_divergence_from_logits(y_true: Tensor, y_pred: Tensor) -> Tensor:
    return _divergence(_log_softmax(y_true), _log_softmax(y_pred))


def reverse_kl_divergence_from_logits(y_true: Tensor, y_pred: Tensor) -> Tensor:
    return _divergence(_log_softmax(y_pred), _log_softmax(y_true))


def jensen_shannon_divergence_from_logits(y_true: Tensor, y_pred: Tensor, beta: float) -> Tensor:
    log_true, log_pred = _log_softmax(y_true), _log_softmax(y_pred)
    mixture = beta * tf.exp(log_true) + (1 - beta) * tf.exp(log_pred)
    log_mixture = tf.math.log(tf.where(mixture == 0, tf.ones_like(mixture), mixture))
    return beta * _divergence(log_true, log_mixture) + (1 - beta) * _divergence(
        log_pred, log_mixture
    )


LOSSES: dict[str, Callable[..., Tensor]] = {
    kernel.name: globals()[kernel.name] for kernel in kernels(Pattern.ROWWISE)
}


def _classes_last(x: Tensor, axis: int) -> Tensor:
    rank = len(x.shape)
    if axis == rank - 1:
        return x
    return tf.transpose(x, [i for i in range(rank) if i != axis] + [axis])


def _as_class(y_true: Tensor) -> Tensor:
    return y_true if y_true.dtype == tf.int64 else tf.cast(y_true, tf.int64)


def counted_rows(loss: str, y_true: Tensor, ignore_class: int, axis: int) -> Tensor:
    """Which rows count: those whose label is another class.

    Args:
        loss: The name of a kernel, which says whether labels are classes or rows.
        y_true: The labels, as they came.
        ignore_class: The class to ignore. Rows of labels are ignored if all other classes are 0.
        axis: The dimension of the classes, from 0 to rank - 1.

    Returns:
        Booleans, one per row.
    """
    if kernel(loss).sparse:
        return _as_class(y_true) != ignore_class
    y_true = _classes_last(y_true, axis)
    others = tf.range(tf.shape(y_true, tf.int64)[-1]) != ignore_class
    return tf.reduce_any(tf.cast(y_true, tf.bool) & others, axis=-1)


class _Rows(NamedTuple):
    """What is ready for a loss: classes last, labels as rows or numbers, logits transformed.

    Attributes:
        y_true: `(.., classes)`, or `(..)` for numbers.
        y_pred: `(.., classes)`
        counted: Which rows count, `(..)`; None for all.
        poison: NaN for rows whose label is no class, else 1, `(..)`; None where y_pred has it.
    """

    y_true: Tensor
    y_pred: Tensor
    counted: Tensor | None
    poison: Tensor | None = None

    def poisoned(self, values: Tensor) -> Tensor:
        return values if self.poison is None else values * self.poison


def _capped(logits: Tensor, options: RowwiseOptions) -> Tensor:
    if options.logit_softcap:
        logits = options.logit_softcap * tf.tanh(logits / options.logit_softcap)
    return logits if options.temperature == 1 else logits / options.temperature


def _prepared(
    loss: str, y_true: Tensor, y_pred: Tensor, options: RowwiseOptions, axis: int
) -> _Rows:
    dtype = accumulation(y_pred)
    counted = None
    if options.ignore_class is not None:
        counted = counted_rows(loss, y_true, options.ignore_class, axis)
    y_pred = _classes_last(tf.cast(y_pred, dtype), axis)
    if counted is not None:
        # Selected before anything is computed, since NaN times 0 is NaN in its gradient.
        y_pred = tf.where(counted[..., tf.newaxis], y_pred, tf.ones_like(y_pred))
    if kernel(loss).from_logits:
        y_pred = _capped(y_pred, options)
    if not kernel(loss).sparse:
        y_true = tf.cast(_classes_last(y_true, axis), dtype)
        if kernel(loss).labels is Labels.LOGITS:
            y_true = _capped(y_true, options)
        if counted is not None:
            y_true = tf.where(counted[..., tf.newaxis], y_true, tf.zeros_like(y_true))
        return _Rows(y_true, y_pred, counted)
    classes = tf.shape(y_pred, tf.int64)[-1]
    label = _as_class(y_true)
    if counted is not None:
        label = tf.where(counted, label, tf.zeros_like(label))
    known = (label >= 0) & (label < classes)
    # A label that is no class must not pass for a row without labels.
    poison = tf.where(known, tf.ones([], dtype), tf.constant(float("nan"), dtype))
    if loss == "sparse_categorical_crossentropy_from_logits" and not options.label_smoothing:
        return _Rows(tf.where(known, label, tf.zeros_like(label)), y_pred, counted, poison)
    y_true = tf.one_hot(label, tf.cast(classes, tf.int32), dtype=dtype)
    return _Rows(y_true * poison[..., tf.newaxis], y_pred * poison[..., tf.newaxis], counted)


def _without_ignored(values: Tensor, counted: Tensor | None) -> Tensor:
    return values if counted is None else tf.where(counted, values, tf.zeros_like(values))


def _values(
    loss: str,
    parameters: Sequence[float],
    rows: _Rows,
    class_weight: Tensor | None,
    options: RowwiseOptions,
) -> Tensor:
    y_true = rows.y_true
    smoothing = options.label_smoothing
    if smoothing:
        classes = tf.cast(tf.shape(y_true)[-1], y_true.dtype)
        y_true = y_true * (1 - smoothing) + smoothing / classes
    numbers = y_true.dtype.is_integer
    if class_weight is not None and not numbers:
        y_true *= class_weight
    values = LOSSES[loss](y_true, rows.y_pred, *parameters)
    if class_weight is not None and numbers:
        # Along the second axis, as the gradient along the first is no tensor but slices of one.
        values *= tf.gather(class_weight[tf.newaxis], y_true, axis=1)[0]
    if options.z_loss:
        values += options.z_loss * tf.square(_log_sum_exp(rows.y_pred)[..., 0])
    return _without_ignored(rows.poisoned(values), rows.counted)


def rowwise(
    loss: str,
    parameters: Sequence[float],
    inputs: Inputs,
    axis: int,
    options: RowwiseOptions = NO_OPTIONS,
    class_weight: Tensor | None = None,
) -> Tensor:
    """The same as `fastloss.ops.rowwise`, argument for argument."""
    weight, (kind, replicas) = inputs.weight, inputs.reduction
    rows = _prepared(loss, inputs.y_true, inputs.y_pred, options, axis)
    values = _values(loss, parameters, rows, class_weight, options)
    counted = rows.counted
    if weight is not None:
        values = _without_ignored(values * weight, counted)
    if kind == "none":
        return values
    total = tf.reduce_sum(values)
    if kind == "sum":
        return total
    if kind == "mean_with_sample_weight" and weight is not None:
        # Only a row that is left out makes Keras spread the weights over the rows.
        if counted is not None:
            weight = _without_ignored(tf.broadcast_to(weight, tf.shape(counted)), counted)
        divisor = tf.reduce_sum(weight)
    elif counted is not None:
        divisor = tf.cast(tf.math.count_nonzero(counted), values.dtype)
    else:
        divisor = tf.cast(tf.size(values, tf.int64), values.dtype)
    return tf.math.divide_no_nan(total, divisor) / replicas


def rowwise_metrics(
    loss: str,
    parameters: Sequence[float],
    inputs: Inputs,
    axis: int,
    options: RowwiseOptions = NO_OPTIONS,
    class_weight: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same as `fastloss.ops.rowwise_metrics`, argument for argument."""
    y_true, y_pred = inputs.y_true, inputs.y_pred
    rows = _prepared(loss, y_true, y_pred, options, axis)
    values = _values(loss, parameters, rows, class_weight, options)
    log_sum_exp = rows.poisoned(_log_sum_exp(rows.y_pred)[..., 0])
    log_sum_exp = _without_ignored(log_sum_exp, rows.counted)
    label = _as_class(y_true) if kernel(loss).sparse else tf.argmax(rows.y_true, axis=-1)
    # Of the logits as they came: a cap may make equals of them.
    hit = tf.argmax(_classes_last(y_pred, axis), axis=-1) == label
    if rows.counted is not None:
        hit &= rows.counted
    return values, tf.stop_gradient(log_sum_exp), hit
