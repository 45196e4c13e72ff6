"""A function of tensors whose value and gradient of y_pred come out of one compiled call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from fastloss.custom.row_blocks import RowBlocks, RowLoss
from fastloss.custom.xla import Compiled, Compiler
from fastloss.ops.context import is_compiled_by_xla, is_recorded
from fastloss.ops.library import kernels, runs_reference

_PREDICTION = 1
# With fewer predictions a graph is done with the ops before a compiled program has been started.
_WORTH_COMPILING = 1 << 15


class ValueAndGradient:
    """Evaluates a loss `(y_true, y_pred, *others)` with gradients of everything.

    Where y_pred is being differentiated and the value is a scalar, the forward call computes the
    gradient of y_pred too. All other gradients are compiled calls of their own, made when they are
    asked for, and can be differentiated again.
    """

    def __init__(self, loss: RowLoss, compiler: Compiler) -> None:
        self._function = function = loss.program
        self._compiler = compiler
        self._value = Compiled(function, compiler)
        self._value_and_slope = Compiled(self._with_slope, compiler)
        self._blocks = RowBlocks(loss, compiler)
        self._gradients: dict[tuple[Any, ...], Compiled] = {}

    def __call__(self, *inputs: tf.Tensor) -> tf.Tensor:
        # XLA sees all of it there, and differentiates what it needs.
        if is_compiled_by_xla() or _is_quicker_uncompiled(inputs[_PREDICTION]):
            return self._function(*inputs)
        # A float16 gradient would underflow before a loss scale reaches it.
        at_once = inputs[_PREDICTION].dtype != tf.float16 and is_recorded(inputs[_PREDICTION])
        # An eager tape says beforehand what it will ask for; in a graph all may be asked for, and
        # what is not is pruned.
        wanted = [
            i
            for i, x in enumerate(inputs)
            if x.dtype.is_floating and (not tf.executing_eagerly() or is_recorded(x))
        ]

        def evaluate(*inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
            if at_once:
                value, slope = self._at_once(inputs)
            else:
                value, slope = self._value.not_recorded(*inputs), None

            def gradient(upstream: tf.Tensor, variables: Any = None) -> Any:
                return self._backward(inputs, wanted, value, slope, upstream, variables)

            return value, gradient

        return tf.custom_gradient(evaluate)(*inputs)

    def _at_once(self, inputs: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        def whole() -> tuple[tf.Tensor, tf.Tensor]:
            return self._value_and_slope.not_recorded(*inputs)

        blocks = self._blocks.find(inputs)
        if not blocks:
            return whole()
        pays = blocks.pays(inputs)
        if isinstance(pays, bool):
            return blocks(*inputs) if pays else whole()
        return tf.cond(pays, lambda: blocks(*inputs), whole)

    def _with_slope(self, *inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        y_pred = inputs[_PREDICTION]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(y_pred)
            value = self._function(*inputs)
        slope = tape.gradient(value, y_pred, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return value, tf.convert_to_tensor(slope)

    def _backward(
        self,
        inputs: Sequence[tf.Tensor],
        wanted: Sequence[int],
        value: tf.Tensor,
        slope: tf.Tensor | None,
        upstream: tf.Tensor,
        variables: Sequence[tf.Variable] | None,
    ) -> Any:
        variables = tuple(variables or ())
        gradients: list[tf.Tensor | None] = [None] * len(inputs)
        watched = [upstream, *inputs, *(variable.handle for variable in variables)]
        # To a tape the slope is a constant, so what is differentiated again is made anew.
        again = any(is_recorded(x) for x in watched)
        if slope is not None and not again and value.shape.rank == 0:
            gradients[_PREDICTION] = _scaled(slope, upstream)
        elif _PREDICTION in wanted:
            (gradients[_PREDICTION],) = self._gradient((_PREDICTION,), ())(upstream, *inputs)
        others = tuple(i for i in wanted if i != _PREDICTION)
        if not others and not variables:
            return gradients
        # TensorFlow names the variables in any order.
        ordered = tuple(sorted(variables, key=id))
        found = self._gradient(others, ordered)(upstream, *inputs)
        for i, x in zip(others, found, strict=False):
            gradients[i] = x
        if not variables:
            return gradients
        of = dict(zip(map(id, ordered), found[len(others) :], strict=True))
        return gradients, [of[id(variable)] for variable in variables]

    def _gradient(self, indices: tuple[int, ...], variables: tuple[tf.Variable, ...]) -> Compiled:
        key = (indices, tuple(variable.ref() for variable in variables))
        if key not in self._gradients:

            def gradient(upstream: tf.Tensor, *inputs: tf.Tensor) -> list[tf.Tensor]:
                sources = [*(inputs[i] for i in indices), *variables]
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(sources)
                    value = self._function(*inputs)
                zero = tf.UnconnectedGradients.ZERO
                found = tape.gradient(value, sources, upstream, unconnected_gradients=zero)
                return [tf.convert_to_tensor(x) for x in found]

            self._gradients[key] = Compiled(gradient, self._compiler)
        return self._gradients[key]


def _is_quicker_uncompiled(y_pred: tf.Tensor) -> bool:
    count = y_pred.shape.num_elements()
    return not tf.executing_eagerly() and count is not None and count < _WORTH_COMPILING


def _scaled(slope: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    if runs_reference():
        return slope * tf.cast(upstream, slope.dtype)
    # It leaves a gradient alone whose factor is 1.
    wide = tf.float64 if slope.dtype == tf.float64 else tf.float32
    return kernels().fastloss_scale(slope, tf.cast(upstream, wide))
