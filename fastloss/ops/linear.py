"""A dense layer and a sparse rowwise loss in one: the logits exist a chunk of tokens at a time.

The gradients of hidden, kernel and bias are made with the loss, chunk by chunk, where the loss is a
sum; where each token has a loss of its own, and for float16, whose gradients must see the loss
scale first, the logits are made again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from fastloss import reference
from fastloss.calls import SUM, Inputs, RowwiseOptions, Tensor, accumulation
from fastloss.ops.context import is_recorded
from fastloss.ops.library import kernels, runs_reference
from fastloss.ops.rowwise import rowwise

Gradients: TypeAlias = tuple[Tensor, ...]

# glibc keeps what is freed in heaps of at most 64 MiB: a chunk and what is made of it must fit into
# one, or the system is asked for their pages again and again.
MEMORY_BUDGET = 24 << 20


class Head(NamedTuple):
    """What is constant of a call.

    Attributes:
        loss: A sparse kernel of the registry, from logits.
        parameters: Its parameters.
        options: As `fastloss.ops.rowwise` takes them.
        tied: Whether the kernel is `(classes, features)`, as an embedding's, instead of
            `(features, classes)`.
        budget: Bytes that a chunk of logits may take.
    """

    loss: str
    parameters: tuple[float, ...]
    options: RowwiseOptions
    tied: bool
    budget: int

    def logits(self, hidden: Tensor, weights: Gradients) -> Tensor:
        product = tf.matmul(hidden, weights[0], transpose_b=self.tied)
        return product if len(weights) == 1 else product + weights[1]

    def kernel_sum(self, total: Tensor, hidden: Tensor, slope: Tensor) -> Tensor:
        """The kernel's gradient with that of a chunk added."""
        left, right = (slope, hidden) if self.tied else (hidden, slope)
        if runs_reference() or None in total.shape:
            return total + tf.cast(tf.matmul(left, right, transpose_a=True), total.dtype)
        # Some rows at a time: their product is a temporary, as large as they.
        rows, columns = total.shape
        most = max(1, min(self.budget, MEMORY_BUDGET) // 2)
        blocks = min(rows, -(-rows * columns * hidden.dtype.size // most))
        for block in range(blocks):
            begin, end = block * rows // blocks, (block + 1) * rows // blocks
            # One after the other: else they are all made before the first is added.
            with tf.control_dependencies([total]):
                part = tf.matmul(left[:, begin:end], right, transpose_a=True)
            total = kernels().fastloss_accumulate(total, part, tf.constant(begin))
        return total

    def hidden_gradient(self, slope: Tensor, kernel: Tensor) -> Tensor:
        return tf.matmul(slope, kernel, transpose_b=not self.tied)


class _Tokens(NamedTuple):
    """Tokens in chunks of one size, of which the last may have fewer.

    Attributes:
        count: Number of chunks.
        size: Tokens in each but the last.
        hidden: `(tokens, features)`
        y_true: `(tokens,)`
        weight: `(tokens,)`
    """

    count: Any
    size: Any
    hidden: Tensor
    y_true: Tensor
    weight: Tensor

    @classmethod
    def of(
        cls, head: Head, hidden: Tensor, y_true: Tensor, weight: Tensor, classes: Any
    ) -> _Tokens:
        rows = _dimension(hidden, 0)
        per_chunk = min(head.budget, tf.int32.max) // (classes * hidden.dtype.size)
        # No tokens are one chunk without any, so that its shape is known.
        if isinstance(rows, int) and isinstance(per_chunk, int):
            count = max(1, -(-rows // max(1, per_chunk)))
        else:
            count = tf.maximum(1, -(-rows // tf.maximum(1, per_chunk)))
        return cls(count, -(-rows // count), hidden, tf.cast(y_true, tf.int64), weight)

    def chunk(self, begin: Any, size: Any) -> tuple[Tensor, Tensor, Tensor]:
        return (
            tf.slice(self.hidden, [begin, 0], [size, _dimension(self.hidden, 1)]),
            tf.slice(self.y_true, [begin], [size]),
            tf.slice(self.weight, [begin], [size]),
        )

    def for_each(
        self, body: Callable[..., tuple[Any, ...]], start: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """body(begin, size, *state) -> state, for each chunk."""
        full, state = self.count - 1, start
        if not isinstance(full, int) or full:
            # One iteration at a time: two would need two chunks of logits.
            state = tf.while_loop(
                lambda index, *_: index < full,
                lambda index, *state: (index + 1, *body(index * self.size, self.size, *state)),
                (tf.constant(0), *start),
                parallel_iterations=1,
                maximum_iterations=full,
            )[1:]
        begin = full * self.size
        return body(begin, _dimension(self.hidden, 0) - begin, *state)


def _with_rows(total: Tensor, part: Tensor, begin: Any) -> Tensor:
    """Rows of zeros from `begin` on replaced by those of a part."""
    if runs_reference():
        rows = begin + tf.range(tf.shape(part)[0])
        return tf.tensor_scatter_nd_update(total, rows[:, tf.newaxis], tf.cast(part, total.dtype))
    return kernels().fastloss_accumulate(total, part, begin)


def _dimension(x: Tensor, index: int) -> Any:
    known = x.shape[index]
    return tf.shape(x)[index] if known is None else known


def _classes(head: Head, kernel: Tensor) -> Any:
    return _dimension(kernel, 0 if head.tied else 1)


def _losses(
    head: Head,
    y_true: Tensor,
    hidden: Tensor,
    weights: Gradients,
    class_weight: Tensor | None,
    _traced_for: Any,
) -> Tensor:
    """One loss per token."""
    ones = tf.ones([_dimension(hidden, 0)], accumulation(hidden))
    tokens = _Tokens.of(head, hidden, y_true, ones, _classes(head, weights[0]))

    def body(begin: Any, size: Any, losses: Tensor) -> tuple[Tensor]:
        some, label, _ = tokens.chunk(begin, size)
        inputs = Inputs(label, head.logits(some, weights))
        rows = rowwise(head.loss, head.parameters, inputs, 1, head.options, class_weight)
        return (_with_rows(losses, rows, begin),)

    return tokens.for_each(body, (tf.zeros_like(ones),))[0]


def _loss_and_gradients(
    head: Head,
    y_true: Tensor,
    hidden: Tensor,
    weights: Gradients,
    class_weight: Tensor | None,
    weight: Tensor,
    learns_class_weight: bool,
    _traced_for: Any,
) -> tuple[Tensor, Gradients]:
    """The weighted sum of the losses, and its gradients by hidden and each of the weights.

    That by the class weights is the last, if it is wanted.
    """
    wide = accumulation(hidden)
    tokens = _Tokens.of(head, hidden, y_true, weight, _classes(head, weights[0]))
    learned = (class_weight,) if learns_class_weight else ()

    def body(
        begin: Any, size: Any, total: Tensor, slopes: Tensor, *sums: Tensor
    ) -> tuple[Tensor, ...]:
        some, label, row_weight = tokens.chunk(begin, size)
        logits = head.logits(some, weights)
        with tf.GradientTape() as tape:
            tape.watch([logits, *learned])
            inputs = Inputs(label, logits, row_weight, SUM)
            value = rowwise(head.loss, head.parameters, inputs, 1, head.options, class_weight)
        slope, *class_slope = tape.gradient(value, [logits, *learned])
        added = [head.kernel_sum(sums[0], some, slope)]
        if len(weights) == 2:
            added.append(sums[1] + tf.reduce_sum(tf.cast(slope, wide), axis=0))
        added.extend(sums[-1] + x for x in class_slope)
        slopes = _with_rows(slopes, head.hidden_gradient(slope, weights[0]), begin)
        return (total + value, slopes, *added)

    sources = (hidden, *weights, *learned)
    start = [
        tf.zeros(x.shape if x.shape.is_fully_defined() else tf.shape(x), wide) for x in sources
    ]
    total, *sums = tokens.for_each(body, (tf.zeros([], wide), *start))
    return total, tuple(tf.cast(x, y.dtype) for x, y in zip(sums, sources, strict=True))


_compiled_losses = tf.function(_losses, autograph=False, reduce_retracing=True)
_compiled_loss_and_gradients = tf.function(
    _loss_and_gradients, autograph=False, reduce_retracing=True
)


def _run(plain: Callable[..., Any], compiled: Callable[..., Any], *arguments: Any) -> Any:
    """In a graph, where the logits' buffer becomes that of their gradient."""
    # What is recorded on an outer tape would be stored for the backward pass.
    arguments = tf.nest.map_structure(
        lambda x: tf.stop_gradient(x) if tf.is_tensor(x) else x, arguments
    )
    chosen = compiled if tf.executing_eagerly() else plain
    # What was traced for one backend does not serve another; nor may shapes be relaxed together
    # that the trace must know, which is all but the number of tokens.
    shapes = [tuple(x.shape.as_list()) for x in arguments[3]] if chosen is compiled else []
    return chosen(*arguments, ("reference" if runs_reference() else "fused", *shapes))


def _learned(class_weight: Tensor) -> bool:
    """Whether the gradient of the class weights may be asked for."""
    if is_recorded(class_weight):
        return True
    # A graph may be differentiated from outside.
    return not hasattr(class_weight, "numpy") and class_weight.op.type != "Const"


def _scaled(gradient: Tensor, upstream: Tensor) -> Tensor:
    if runs_reference():
        return tf.cast(tf.cast(gradient, upstream.dtype) * upstream, gradient.dtype)
    return kernels().fastloss_scale(gradient, upstream)


def _reference_rows(
    head: Head, y_true: Tensor, hidden: Tensor, weights: Gradients, class_weight: Tensor | None
) -> Tensor:
    """One loss per token with all logits at once, in ops that can be differentiated again."""
    inputs = Inputs(y_true, head.logits(hidden, weights))
    return reference.rowwise(head.loss, head.parameters, inputs, 1, head.options, class_weight)


def _differentiable(
    gradients: Callable[[], Gradients],
    rows: Callable[..., Tensor],
    upstream: Tensor,
    inputs: Gradients,
) -> Gradients:
    """Gradients that are computed one way, and differentiated as those of `rows`."""

    @tf.custom_gradient
    def first(upstream: Tensor, *inputs: Tensor) -> Any:
        def second(*upstreams: Tensor) -> Gradients:
            with tf.GradientTape() as outer:
                outer.watch([upstream, *inputs])
                with tf.GradientTape() as inner:
                    inner.watch(inputs)
                    value = rows(*inputs)
                again = inner.gradient(value, inputs, upstream)
            return tuple(outer.gradient(again, [upstream, *inputs], list(upstreams)))

        return gradients(), second

    return tuple(first(upstream, *inputs))


class _Inputs(NamedTuple):
    """What is differentiated, as one tuple: hidden, the weights, class weights that are learned."""

    sources: Gradients
    constant: Tensor | None
    learned: bool

    @classmethod
    def of(cls, hidden: Tensor, weights: Gradients, class_weight: Tensor | None) -> _Inputs:
        if class_weight is not None and _learned(class_weight):
            return cls((hidden, *weights, class_weight), None, True)
        return cls((hidden, *weights), class_weight, False)

    def split(self, sources: Gradients) -> tuple[Tensor, Gradients, Tensor | None]:
        if self.learned:
            return sources[0], sources[1:-1], sources[-1]
        return sources[0], sources[1:], self.constant


def linear_rows(
    head: Head,
    y_true: Tensor,
    hidden: Tensor,
    weights: Gradients,
    class_weight: Tensor | None,
) -> Tensor:
    """One loss per token.

    Args:
        head: What is constant.
        y_true: Class of each token, `(tokens,)`, an integer.
        hidden: `(tokens, features)`; float16, bfloat16, float32 or float64.
        weights: The kernel and, if there is one, the bias `(classes,)`, of hidden's dtype.
        class_weight: `(classes,)`, of the accumulation dtype, or None.

    Returns:
        `(tokens,)` in the accumulation dtype. Its gradient makes the logits again.
    """
    inputs = _Inputs.of(hidden, weights, class_weight)

    @tf.custom_gradient
    def rows(*sources: Tensor) -> Any:
        hidden, weights, class_weight = inputs.split(sources)
        values = _run(_losses, _compiled_losses, head, y_true, hidden, weights, class_weight)

        def backward(upstream: Tensor) -> Gradients:
            def gradients() -> Gradients:
                return _run(
                    _loss_and_gradients,
                    _compiled_loss_and_gradients,
                    head,
                    y_true,
                    hidden,
                    weights,
                    class_weight,
                    upstream,
                    inputs.learned,
                )[1]

            def again(*sources: Tensor) -> Tensor:
                return _reference_rows(head, y_true, *inputs.split(sources))

            return _differentiable(gradients, again, upstream, sources)

        return values, backward

    return rows(*inputs.sources)


def linear_sum(
    head: Head,
    y_true: Tensor,
    hidden: Tensor,
    weights: Gradients,
    class_weight: Tensor | None,
    weight: Tensor,
) -> Tensor:
    """The weighted sum of the losses of the tokens.

    Args:
        head: As of `linear_rows`.
        y_true: As of `linear_rows`.
        hidden: As of `linear_rows`.
        weights: As of `linear_rows`.
        class_weight: As of `linear_rows`.
        weight: One weight per token, `(tokens,)`, of the accumulation dtype.

    Returns:
        A scalar in the accumulation dtype.
    """
    inputs = _Inputs.of(hidden, weights, class_weight)
    recorded = any(is_recorded(x) for x in inputs.sources)
    # The gradient of a weight is the loss of its token.
    if hidden.dtype == tf.float16 or not recorded or is_recorded(weight):
        return tf.reduce_sum(weight * linear_rows(head, y_true, hidden, weights, class_weight))

    @tf.custom_gradient
    def total(*sources: Tensor) -> Any:
        hidden, weights, class_weight = inputs.split(sources)
        value, made = _run(
            _loss_and_gradients,
            _compiled_loss_and_gradients,
            head,
            y_true,
            hidden,
            weights,
            class_weight,
            weight,
            inputs.learned,
        )

        def backward(upstream: Tensor) -> Gradients:
            def again(*sources: Tensor) -> Tensor:
                rows = _reference_rows(head, y_true, *inputs.split(sources))
                return tf.reduce_sum(weight * rows)

            return _differentiable(
                lambda: tuple(_scaled(gradient, upstream) for gradient in made),
                again,
                upstream,
                sources,
            )

        return value, backward

    return total(*inputs.sources)
