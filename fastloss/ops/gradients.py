"""Gradients of the ops: y_pred from the kernels, all others and second order from the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, ClassVar, TypeAlias

import tensorflow as tf

from fastloss import reference
from fastloss.calls import Inputs, KernelTerm, Layout, OverlapOptions, Reduction, RowwiseOptions
from fastloss.ops.columns import tasks_of
from fastloss.ops.elementwise import terms_of
from fastloss.ops.library import float64_of, kernels

Gradient: TypeAlias = tf.Tensor | None


@dataclass(frozen=True)
class _Call:
    """An op's inputs and attributes, as the reference takes them."""

    op: Any
    y_true: tf.Tensor
    y_pred: tf.Tensor
    weight: tf.Tensor | None
    second_weight: tf.Tensor | None

    @classmethod
    def of(cls, op: Any) -> _Call:
        inputs = list(op.inputs)
        weights, second_weights = op.get_attr("N"), op.get_attr("M")
        return cls(
            op,
            inputs[0],
            inputs[1],
            inputs[2] if weights else None,
            inputs[2 + weights] if second_weights else None,
        )

    @property
    def reference_inputs(self) -> Inputs:
        """The inputs as the reference takes them."""
        reduction = Reduction(self.text("reduction"), self.op.get_attr("replicas"))
        return Inputs(self.y_true, self.y_pred, self.weight, reduction)

    @property
    def ignore_class(self) -> int | None:
        """The class that is ignored, of ops that can ignore one."""
        has_one = self.op.get_attr("has_ignore_class")
        return self.op.get_attr("ignore_class") if has_one else None

    @property
    def inputs(self) -> list[tf.Tensor]:
        optional = (self.weight, self.second_weight)
        return [self.y_true, self.y_pred, *(x for x in optional if x is not None)]

    def text(self, attribute: str) -> str:
        return tf.compat.as_str(self.op.get_attr(attribute))

    def numbers(self, attribute: str) -> tuple[float, ...]:
        return float64_of(self.op.get_attr(attribute))

    @property
    def attributes(self) -> dict[str, Any]:
        """Those that the op of the gradient has as well."""
        names = ("loss", "parameters", "reduction", "replicas", *self.own_attributes)
        return {name: self.op.get_attr(name) for name in names}

    own_attributes: ClassVar[tuple[str, ...]] = ()

    def reference(self) -> tf.Tensor:
        raise NotImplementedError

    def gradient(self, upstream: tf.Tensor) -> tf.Tensor:
        """The gradient of y_pred from the kernel."""
        raise NotImplementedError

    def _gradient(self, op: Callable[..., tf.Tensor], upstream: tf.Tensor) -> tf.Tensor:
        return op(
            self.y_true,
            self.y_pred,
            [] if self.weight is None else [self.weight],
            [] if self.second_weight is None else [self.second_weight],
            upstream,
            **self.attributes,
        )

    def known_gradients(self, upstream: tf.Tensor) -> dict[int, tf.Tensor]:
        """Gradients of inputs beside y_pred, by index, that the op itself has the values for."""
        return {}

    def reference_gradient(self, upstream: tf.Tensor) -> tf.Tensor:
        """The gradient of y_pred as TensorFlow ops, so that it can be differentiated again."""
        with tf.GradientTape() as tape:
            tape.watch(self.y_pred)
            loss = self.reference()
        return tape.gradient(loss, self.y_pred, upstream)


class _Elementwise(_Call):
    own_attributes: ClassVar[tuple[str, ...]] = ("factors",)

    def reference(self) -> tf.Tensor:
        loss, parameters = self.text("loss"), self.numbers("parameters")
        factors = self.numbers("factors")
        if not factors:
            return reference.elementwise(
                loss, parameters, self.reference_inputs, self.second_weight
            )
        return reference.elementwise_sum(
            terms_of(loss, parameters, factors), self.reference_inputs
        )[0]

    def gradient(self, upstream: tf.Tensor) -> tf.Tensor:
        return self._gradient(kernels().fastloss_elementwise_gradient, upstream)


class _Columns(_Call):
    own_attributes: ClassVar[tuple[str, ...]] = ("counts", "ranges")

    def reference(self) -> tf.Tensor:
        tasks = tasks_of(
            self.text("loss"),
            self.numbers("parameters"),
            self.op.get_attr("counts"),
            self.op.get_attr("ranges"),
        )
        return reference.columns(tasks, self.second_weight, self.reference_inputs)[0]

    def gradient(self, upstream: tf.Tensor) -> tf.Tensor:
        return self._gradient(kernels().fastloss_columns_gradient, upstream)

    def known_gradients(self, upstream: tf.Tensor) -> dict[int, tf.Tensor]:
        # The sum is linear in the factors.
        is_sum = self.op.type == "FastlossColumns"
        return {len(self.inputs) - 1: upstream * self.op.outputs[1]} if is_sum else {}


class _Rowwise(_Call):
    own_attributes: ClassVar[tuple[str, ...]] = (
        *("options", "axis", "has_ignore_class", "ignore_class"),
    )

    def reference(self) -> tf.Tensor:
        label_smoothing, temperature, logit_softcap, z_loss = self.numbers("options")
        return reference.rowwise(
            self.text("loss"),
            self.numbers("parameters"),
            self.reference_inputs,
            self.op.get_attr("axis"),
            RowwiseOptions(label_smoothing, temperature, logit_softcap, z_loss, self.ignore_class),
            self.second_weight,
        )

    def gradient(self, upstream: tf.Tensor) -> tf.Tensor:
        return self._gradient(kernels().fastloss_rowwise_gradient, upstream)


class _Boxes(_Call):
    own_attributes: ClassVar[tuple[str, ...]] = ("box_format",)

    def reference(self) -> tf.Tensor:
        loss, parameters = self.text("loss"), self.numbers("parameters")
        return reference.boxes(loss, parameters, self.reference_inputs, self.text("box_format"))

    def gradient(self, upstream: tf.Tensor) -> tf.Tensor:
        weights = [] if self.weight is None else [self.weight]
        return kernels().fastloss_boxes_gradient(
            self.y_true, self.y_pred, weights, upstream, **self.attributes
        )


class _Overlap(_Call):
    own_attributes: ClassVar[tuple[str, ...]] = (
        *("group_axes", "class_axis", "activation", "sparse", "squared", "include_background"),
        *("has_ignore_class", "ignore_class", "factor", "fused_terms", "fused_term_factors"),
        *("fused_term_parameters", "fused_term_counts"),
    )

    def _fused_terms(self) -> list[KernelTerm]:
        parameters = iter(self.numbers("fused_term_parameters"))
        counts = self.op.get_attr("fused_term_counts")
        return [
            KernelTerm(loss, tuple(islice(parameters, count)), factor)
            for loss, count, factor in zip(
                self.text("fused_terms").split(),
                counts,
                self.numbers("fused_term_factors"),
                strict=True,
            )
        ]

    def reference(self) -> tf.Tensor:
        attribute = self.op.get_attr
        options = OverlapOptions(
            activation=self.text("activation"),
            sparse=bool(attribute("sparse")),
            squared=bool(attribute("squared")),
            include_background=bool(attribute("include_background")),
            ignore_class=self.ignore_class,
        )
        layout = Layout(tuple(attribute("group_axes")), attribute("class_axis"))
        rest = (self.reference_inputs, options, layout, self.second_weight)
        term = KernelTerm(self.text("loss"), self.numbers("parameters"), *self.numbers("factor"))
        fused_terms = self._fused_terms()
        if not fused_terms:
            return reference.overlap(term.loss, term.parameters, *rest)
        return reference.overlap_sum(term, fused_terms, *rest)[0]

    def gradient(self, upstream: tf.Tensor) -> tf.Tensor:
        return self._gradient(kernels().fastloss_overlap_gradient, upstream)


def _needed(op: Any) -> list[bool]:
    """Which inputs need a gradient: an eager op says it, a graph prunes what is not used."""
    skipped = getattr(op, "skip_input_indices", None) or ()
    return [i not in skipped and x.dtype.is_floating for i, x in enumerate(op.inputs)]


def _others(kind: type[_Call], op: Any, needed: list[bool], upstream: tf.Tensor) -> list[Gradient]:
    """Gradients of labels and weights, from the reference, where they are needed."""
    gradients: list[Gradient] = [None] * len(needed)
    indices = [i for i, wanted in enumerate(needed) if wanted and i != 1]
    if not indices:
        return gradients
    call = kind.of(op)
    for i, gradient in call.known_gradients(upstream).items():
        gradients[i] = gradient
    indices = [i for i in indices if gradients[i] is None]
    if indices:
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


def _plain(kind: type[_Call], op: Any, upstream: tf.Tensor) -> list[Gradient]:
    needed = _needed(op)
    gradients = _others(kind, op, needed, upstream)
    if needed[1]:
        gradients[1] = kind.of(op).gradient(upstream)
    return gradients


def _with_gradient(
    kind: type[_Call], op: Any, upstream: tf.Tensor, gradient_upstream: tf.Tensor
) -> list[Gradient]:
    needed = _needed(op)
    gradients: list[Gradient] = [None] * len(needed)
    if not _is_zero(upstream):
        gradients = _others(kind, op, needed, upstream)
        if needed[1]:
            gradients[1] = kernels().fastloss_scale(op.outputs[-1], upstream)
    if not _is_zero(gradient_upstream):
        call = kind.of(op)
        one = tf.ones([], call.reference_inputs.accumulation)
        second = _differentiate(
            lambda: call.reference_gradient(one), call.inputs, gradient_upstream
        )
        gradients = [_add(x, y) for x, y in zip(gradients, second, strict=True)]
    return gradients


def _record(kind: type[_Call], op: Any, upstream: tf.Tensor) -> list[Gradient]:
    # The last two inputs are the loss and its gradient, which are carried, not differentiated.
    needed = [*_needed(op)[:-2], False, False]
    gradients = _others(kind, op, needed, upstream)
    if needed[1]:
        gradients[1] = kernels().fastloss_scale(op.inputs[-1], upstream)
    return gradients


def _gradient(kind: type[_Call], op: Any, gradient_upstream: tf.Tensor) -> list[Gradient]:
    call = kind.of(op)
    upstream = op.inputs[-1]
    return _differentiate(
        lambda: call.reference_gradient(upstream), [*call.inputs, upstream], gradient_upstream
    )


def _metrics(op: Any, upstream: tf.Tensor, *_: Any) -> list[Gradient]:
    # Log-sum-exp and hits come out of the op for looking at; they carry no gradient.
    return _plain(_Rowwise, op, upstream)


def _sum(
    kind: type[_Call], op: Any, upstream: tf.Tensor, _: Any, *gradient_upstream: tf.Tensor
) -> list[Gradient]:
    # The values of the terms come out of the op for looking at; they carry no gradient.
    if gradient_upstream:
        return _with_gradient(kind, op, upstream, *gradient_upstream)
    return _plain(kind, op, upstream)


def _columns(
    op: Any, upstream: tf.Tensor, values_upstream: tf.Tensor, *gradient_upstream: tf.Tensor
) -> list[Gradient]:
    gradients = _sum(_Columns, op, upstream, values_upstream, *gradient_upstream)
    # The values are the gradient of the factors, so that a second derivative comes this way.
    if _is_zero(values_upstream) or (tf.executing_eagerly() and not any(values_upstream.numpy())):
        return gradients
    call = _Columns.of(op)
    call = replace(call, second_weight=values_upstream)
    one = tf.ones([], call.reference_inputs.accumulation)
    more = _differentiate(call.reference, call.inputs[:-1], one)
    return [_add(x, y) for x, y in zip(gradients, [*more, None], strict=True)]


def _scale(op: Any, scaled_upstream: tf.Tensor) -> list[Gradient]:
    gradient, upstream = op.inputs
    product = tf.cast(scaled_upstream, upstream.dtype) * tf.cast(gradient, upstream.dtype)
    return [kernels().fastloss_scale(scaled_upstream, upstream), tf.reduce_sum(product)]


def register() -> None:
    """Tell TensorFlow the gradients of the ops."""
    kinds: dict[str, type[_Call]] = {
        "FastlossBoxes": _Boxes,
        "FastlossElementwise": _Elementwise,
        "FastlossOverlap": _Overlap,
        "FastlossRowwise": _Rowwise,
    }
    for op, kind in kinds.items():
        gradients: dict[str, Callable[..., list[Gradient]]] = {
            "": _plain,
            "Rows": _plain,
            "WithGradient": _with_gradient,
            "Record": _record,
            "Gradient": _gradient,
        }
        for suffix, gradient in gradients.items():
            tf.RegisterGradient(op + suffix)(partial(gradient, kind))
    tf.RegisterGradient("FastlossRowwiseMetrics")(_metrics)
    tf.RegisterGradient("FastlossElementwiseSum")(partial(_sum, _Elementwise))
    tf.RegisterGradient("FastlossOverlapSum")(partial(_sum, _Overlap))
    tf.RegisterGradient("FastlossColumns")(_columns)
    tf.RegisterGradient("FastlossColumnsGradient")(partial(_gradient, _Columns))
    tf.RegisterGradient("FastlossColumnsRecord")(partial(_record, _Columns))
    tf.RegisterGradient("FastlossScale")(_scale)
    tf.no_gradient("FastlossAccumulate")
