"""Cross-entropy of a dense layer's output whose logits are never all in memory."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fastloss import ops
from fastloss.calls import Reduction, Tensor, accumulation
from fastloss.losses.categorical.base import CrossEntropyArguments
from fastloss.ops.linear import MEMORY_BUDGET
from fastloss.terms.arguments import integer
from fastloss.terms.inputs import TensorLike, in_dtype, label, prediction
from fastloss.terms.reduction import REDUCTIONS, weigh_and_reduce

serializable = keras.saving.register_keras_serializable("fastloss")

_LOSS = "sparse_categorical_crossentropy_from_logits"


def _tensor(
    argument: str, x: TensorLike, dtype: tf.DType, shape: list[int | None], expected: str
) -> Tensor:
    if not isinstance(x, tf.Tensor):
        x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        raise ValueError(f"{argument} has dtype {x.dtype.name}; expected a float")
    if not x.shape.is_compatible_with(shape):
        raise ValueError(f"{argument} has shape {tuple(x.shape)}; expected {expected}")
    return x if x.dtype == dtype else tf.cast(x, dtype)


def _hidden(x: TensorLike) -> Tensor:
    if not isinstance(x, tf.Tensor):
        x = tf.convert_to_tensor(x)
    if x.dtype.is_complex or x.dtype == tf.string:
        raise ValueError(
            f"hidden has dtype {x.dtype.name}; expected float16, bfloat16, float32 or float64"
        )
    return prediction(x)


def _checked_labels(y_true: Tensor, classes: Any, ignore_class: int | None) -> Tensor:
    """The labels, with an error that counts rows from the first token, not the first of a chunk."""
    if ops.runs_reference():
        return y_true
    known = (y_true >= 0) & (y_true < tf.cast(classes, tf.int64))
    if ignore_class is not None:
        known |= y_true == ignore_class
    sentence = "linear_sparse_categorical_crossentropy: the label of row {} is {}; expected "
    sentence += "one from 0 to {}" + ("" if ignore_class is None else f", or {ignore_class}")
    last = tf.cast(classes, tf.int64) - 1
    if tf.executing_eagerly():
        if not tf.reduce_all(known):
            row = int(tf.argmin(tf.cast(known, tf.int32)))
            message = sentence.format(row, int(y_true[row]), int(last))
            raise tf.errors.InvalidArgumentError(None, None, message)
        return y_true
    # Of no row where all are known.
    row = tf.reshape(tf.where(~known)[:1], [-1])
    wrong = tf.reduce_sum(tf.gather(y_true, row))
    message = tf.strings.format(sentence, (tf.reduce_sum(row), wrong, last))
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(known), [message])]):
        return tf.identity(y_true)


@serializable
@tf.autograph.experimental.do_not_convert
def linear_sparse_categorical_crossentropy(
    y_true: TensorLike,
    hidden: TensorLike,
    kernel: TensorLike,
    bias: TensorLike = None,
    ignore_class: int | None = None,
    label_smoothing: float = 0.0,
    *,
    class_weights: Any = None,
    temperature: float = 1.0,
    logit_softcap: float | None = None,
    z_loss: float = 0.0,
    sample_weight: TensorLike = None,
    reduction: str | None = "sum_over_batch_size",
    tied: bool = False,
    memory_budget: int = MEMORY_BUDGET,
) -> Tensor:
    """Cross-entropy of `hidden @ kernel + bias`, computed without ever holding all logits.

    Formula: `sparse_categorical_crossentropy(y_true, hidden @ kernel + bias, from_logits=True)`,
    reduced. Tokens go through the product a chunk at a time, and the gradients of hidden, kernel
    and bias are made with the loss: logits of (tokens, classes) never exist. Exact: nothing is left
    out of the gradient. The gradients of kernel and bias are accumulated in float32 (float64 for
    float64).

    Gradient of one token's logits `z`: `softmax(z) - one_hot(t)`, `t` the label (without options),
    which goes into hidden and kernel a chunk at a time

    Example:
        >>> hidden, kernel = tf.ones([2, 3]), tf.ones([3, 4])
        >>> loss = fl.linear_sparse_categorical_crossentropy([0, 3], hidden, kernel)
        >>> round(float(loss), 4)
        1.3863

    Args:
        y_true: Class of each token, `(batch, d0, .. dN)`, an integer.
        hidden: `(batch, d0, .. dN, features)`; float16, bfloat16, float32 or float64.
        kernel: `(features, classes)`, or `(classes, features)` if `tied`; cast to hidden's dtype.
        bias: `(classes,)`, or None.
        ignore_class: Tokens of this class have no loss and do not count in a mean.
        label_smoothing: From 0 to 1; moves the labels that far towards 1 / classes.
        class_weights: One weight per class, for its term of the sum.
        temperature: Logits are divided by it.
        logit_softcap: Logits become cap * tanh(logits / cap).
        z_loss: Weight of the squared log-sum-exp of the logits.
        sample_weight: One weight per token, or of a shape that broadcasts to y_true's.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None. Without a reduction, and for float16, the logits are made a second time
            in the backward pass.
        tied: Whether the kernel is that of an embedding.
        memory_budget: Bytes that a chunk of logits may take, 24 MiB by default; at least one token
            goes through at a time.

    Returns:
        A scalar, or `(batch, d0, .. dN)` without a reduction; float64 for float64, else float32.

    Raises:
        ValueError: If an argument is out of range, or the shapes do not go together.
        tf.errors.InvalidArgumentError: If a label is no class and not `ignore_class`; inside XLA
            and in the reference such a token's loss and gradient are NaN instead.

    Reference: Wijmans et al., Cut your losses in large-vocabulary language models, 2024
    (arXiv:2411.09009); Hsu et al., Liger kernel, 2024 (arXiv:2410.10989).
    """
    arguments = CrossEntropyArguments.of({**locals(), "from_logits": True})
    if reduction not in (None, "none", *REDUCTIONS):
        raise ValueError(
            f"reduction is {reduction!r}; expected one of {', '.join(REDUCTIONS)}, none or None"
        )
    budget = integer("memory_budget", memory_budget)
    if budget < 1:
        raise ValueError(f"memory_budget is {budget}; expected a positive number of bytes")
    mask = getattr(hidden, "_keras_mask", None)
    hidden, y_true = _hidden(hidden), label(y_true)
    if len(hidden.shape) < 1 or not y_true.shape.is_compatible_with(hidden.shape[:-1]):
        raise ValueError(
            f"y_true has shape {tuple(y_true.shape)} and hidden has shape {tuple(hidden.shape)}; "
            "expected one label for each token of (..., features)"
        )
    features = hidden.shape[-1]
    kernel = _tensor(
        "kernel",
        kernel,
        hidden.dtype,
        [None, features] if tied else [features, None],
        f"{'(classes, features)' if tied else '(features, classes)'} of {features} features, as "
        f"hidden has shape {tuple(hidden.shape)}",
    )
    classes = kernel.shape[0 if tied else 1]
    if classes == 0:
        raise ValueError(f"kernel has shape {tuple(kernel.shape)}; expected at least one class")
    weights = [kernel]
    if bias is not None:
        weights.append(
            _tensor(
                "bias", bias, hidden.dtype, [classes], f"one number for each of {classes} classes"
            )
        )
    wide = accumulation(hidden)
    weights_of_classes = _class_weight(arguments.class_weights, classes, wide)

    tokens = y_true.shape
    y_true = tf.cast(y_true, tf.int64)
    if arguments.ignore_class is not None:
        counted = y_true != arguments.ignore_class
        mask = counted if mask is None else tf.cast(mask, tf.bool) & counted

    head = ops.Head(_LOSS, (), arguments.options, tied, budget)
    count = tf.shape(kernel)[0 if tied else 1] if classes is None else classes
    flat = _checked_labels(tf.reshape(y_true, [-1]), count, arguments.ignore_class)
    if features is None:
        features = kernel.shape[1 if tied else 0]
    hidden = tf.reshape(hidden, [-1, tf.shape(hidden)[-1] if features is None else features])
    call = (head, flat, hidden, tuple(weights), weights_of_classes)

    def values(weight: Tensor | None, reduction: Reduction) -> Tensor:
        if reduction.kind == "none":
            rows = tf.reshape(ops.linear_rows(*call), tf.shape(y_true))
            rows.set_shape(tokens)
            return rows
        size = tf.cast(tf.size(y_true), wide)
        divisor = tf.ones([], wide)
        if reduction.kind == "mean":
            divisor = size
        elif reduction.kind == "mean_with_sample_weight":
            divisor = size if weight is None else tf.reduce_sum(weight)
        weight = tf.ones([], wide) if weight is None else weight
        scale = tf.math.divide_no_nan(tf.ones([], wide), divisor) / reduction.replicas
        each = tf.reshape(tf.broadcast_to(weight * scale, tf.shape(y_true)), [-1])
        return ops.linear_sum(*call, each)

    return weigh_and_reduce(values, tokens.as_list(), wide, sample_weight, mask, reduction)


def _class_weight(weights: Any, classes: int | None, dtype: tf.DType) -> Tensor | None:
    if weights is None:
        return None
    weight = in_dtype("class_weights", weights, dtype)
    if not weight.shape.is_compatible_with([classes]):
        raise ValueError(
            f"class_weights has shape {tuple(weight.shape)}; expected one weight "
            f"for each of the {'' if classes is None else f'{classes} '}classes"
        )
    return weight
