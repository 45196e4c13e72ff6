"""Gradients of the ops: y_pred from the kernels, all others and second order from the reference."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from fastloss import reference
from fastloss.ops.library import ops

Gradient: TypeAlias = tf.Tensor | None


class _Call(NamedTuple):
    """An op's inputs and attributes, as `reference.elementwise` takes them."""

    loss: str
    bits: list[int]
    reduction: str
    replicas: int
    y_true: tf.Tensor
    y_pred: tf.Tensor
    weight: tf.Tensor | None
    column_weight: tf.Tensor | None

    @classmethod
    def of(cls, op: Any) -> _Call:
        inputs = list(op.inputs)
        weights, column_weights = op.get_attr("N"), op.get_attr("M")
        return cls(
            tf.compat.as_str(op.get_attr("loss")),
            list(op.get_attr("parameters")),
            tf.compat.as_str(op.get_attr("reduction")),
            op.get_attr("replicas"),
            inputs[0],
            inputs[1],
            inputs[2] if weights else None,
            inputs[2 + weights] if column_weights else None,
        )

    @property
    def accumulation(self) -> tf.DType:
        return tf.float64 if self.y_pred.dtype == tf.float64 else tf.float32

    @property
    def inputs(self) -> list[tf.Tensor]:
        optional = (self.weight, self.column_weight)
        return [self.y_true, self.y_pred, *(x for x in optional if x is not None)]

    def reference(self) -> tf.Tensor:
        parameters = [struct.unpack("<d", struct.pack("<q", bits))[0] for bits in self.bits]
        return reference.elementwise(
            self.loss,
            parameters,
            self.y_true,
            self.y_pred,
            self.weight,
            self.column_weight,
            self.reduction,
            self.replicas,
        )

    def reference_gradient(self, upstream: tf.Tensor) -> tf.Tensor:
        """The gradient of y_pred as TensorFlow ops, so that it can be differentiated again."""
        with tf.GradientTape() as tape:
            tape.watch(self.y_pred)
            loss = self.reference()
        return tape.gradient(loss, self.y_pred, upstream)

    def gradient(self, upstream: tf.Tensor) -> tf.Tensor:
        """The gradient of y_pred from the kernel."""
        return ops().fastloss_elementwise_gradient(
            self.y_true,
            self.y_pred,
            [] if self.weight is None else [self.weight],
            [] if self.column_weight is None else [self.column_weight],
            upstream,
            self.loss,
            self.bits,
            self.reduction,
            self.replicas,
        )


def _needed(op: Any) -> list[bool]:
    """Which inputs need a gradient: an eager op says it, a graph prunes what is not used."""
    skipped = getattr(op, "skip_input_indices", None) or ()
    return [i not in skipped and x.dtype.is_floating for i, x in enumerate(op.inputs)]


def _others(op: Any, needed: list[bool], upstream: tf.Tensor) -> list[Gradient]:
    """Gradients of labels and weights, from the reference, where they are needed."""
    gradients: list[Gradient] = [None] * len(needed)
    indices = [i for i, wanted in enumerate(needed) if wanted and i != 1]
    if indices:
        call = _Call.of(op)
        targets = [op.inputs[i] for i in indices]
        with tf.GradientTape() as tape:
            tape.watch(targets)
            loss = call.reference()
        for i, gradient in zip(indices, tape.gradient(loss, targets, upstream), strict=True):
            gradients[i] = gradient
    return gradients


def _is_zero(gradient: Gradient) -> bool:
    return gradient is None or getattr(gradient, "_is_zeros_tensor", False)


def _add(x: Gradient, y: Gradient) -> Gradient:
    return y if x is None else x if y is None else x + y


def _differentiate(
    function: Callable[[], tf.Tensor], inputs: list[tf.Tensor], upstream: tf.Tensor
) -> list[Gradient]:
    sources = [tensor for tensor in inputs if tensor.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        value = function()
    gradients = iter(tape.gradient(value, sources, upstream))
    return [next(gradients) if tensor.dtype.is_floating else None for tensor in inputs]


def _elementwise(op: Any, upstream: tf.Tensor) -> list[Gradient]:
    needed = _needed(op)
    gradients = _others(op, needed, upstream)
    if needed[1]:
        gradients[1] = _Call.of(op).gradient(upstream)
    return gradients


def _elementwise_with_gradient(
    op: Any, upstream: tf.Tensor, gradient_upstream: tf.Tensor
) -> list[Gradient]:
    needed = _needed(op)
    gradients: list[Gradient] = [None] * len(needed)
    if not _is_zero(upstream):
        gradients = _others(op, needed, upstream)
        if needed[1]:
            gradients[1] = ops().fastloss_scale(op.outputs[1], upstream)
    if not _is_zero(gradient_upstream):
        call = _Call.of(op)
        one = tf.ones([], call.accumulation)
        second = _differentiate(
            lambda: call.reference_gradient(one), call.inputs, gradient_upstream
        )
        gradients = [_add(x, y) for x, y in zip(gradients, second, strict=True)]
    return gradients


def _elementwise_record(op: Any, upstream: tf.Tensor) -> list[Gradient]:
    # The last two inputs are the loss and its gradient, which are carried, not differentiated.
    needed = [*_needed(op)[:-2], False, False]
    gradients = _others(op, needed, upstream)
    if needed[1]:
        gradients[1] = ops().fastloss_scale(op.inputs[-1], upstream)
    return gradients


def _elementwise_gradient(op: Any, gradient_upstream: tf.Tensor) -> list[Gradient]:
    call = _Call.of(op)
    upstream = op.inputs[-1]
    return _differentiate(
        lambda: call.reference_gradient(upstream), [*call.inputs, upstream], gradient_upstream
    )


def _scale(op: Any, scaled_upstream: tf.Tensor) -> list[Gradient]:
    gradient, upstream = op.inputs
    product = tf.cast(scaled_upstream, upstream.dtype) * tf.cast(gradient, upstream.dtype)
    return [ops().fastloss_scale(scaled_upstream, upstream), tf.reduce_sum(product)]


def register() -> None:
    """Tell TensorFlow the gradients of the ops."""
    for op, gradient in {
        "FastlossElementwise": _elementwise,
        "FastlossElementwiseRows": _elementwise,
        "FastlossElementwiseWithGradient": _elementwise_with_gradient,
        "FastlossElementwiseRecord": _elementwise_record,
        "FastlossElementwiseGradient": _elementwise_gradient,
        "FastlossScale": _scale,
    }.items():
        tf.RegisterGradient(op)(gradient)
