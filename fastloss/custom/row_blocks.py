"""Loss and gradient of a function of rows, some rows at a time.

XLA makes the gradient of a large tensor in memory that the system hands out page by page, which
takes longer than the arithmetic. A block of rows comes from memory that is in use already, and goes
from there, while the caches hold it, into a recycled buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from fastloss.custom.row_independence import is_row_independent
from fastloss.custom.xla import Compiled, Compiler, not_recorded_call
from fastloss.ops.context import has_gpu
from fastloss.ops.library import kernels, runs_reference

# Predictions of a block: enough to outweigh the start of a compiled program, few enough for the
# allocator to keep their memory.
_BLOCK = 1 << 20
# With fewer blocks the allocator keeps all memory.
_WORTH_BLOCKS = 8


class RowLoss(NamedTuple):
    """A loss as a function of rows and what is done to their losses.

    Attributes:
        prepare: `(y_true, y_pred)`: what the function is called with instead; keeps rows.
        values: The function `(y_true, y_pred, **parameters)`.
        total: `(values, *weights)`: the loss, linear in the values.
        reduces: Whether that is a scalar for losses of rows.
        weights: How many inputs are weights.
        parameters: Names of the inputs after them.
        dtype: Of the values that `total` takes.
    """

    prepare: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    values: Any
    total: Callable[..., tf.Tensor]
    reduces: bool
    weights: int
    parameters: tuple[str, ...]
    dtype: tf.DType

    def program(self, y_true: tf.Tensor, y_pred: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
        """The loss of all rows at once."""
        parameters = dict(zip(self.parameters, others[self.weights :], strict=True))
        values = self.values(*self.prepare(y_true, y_pred), **parameters)
        return self.total(tf.cast(values, self.dtype), *others[: self.weights])


class RowBlocks:
    """Loss and gradient of y_pred of a `RowLoss`, block by block, where that gives the same."""

    def __init__(self, loss: RowLoss, compiler: Compiler) -> None:
        self._loss = loss
        self._compiler = compiler
        self._traced: dict[tuple[Any, ...], _Traced | None] = {}

    def find(self, inputs: Sequence[tf.Tensor]) -> _Traced | None:
        """What evaluates inputs of these shapes, whatever their rows; None if nothing does."""
        y_true, y_pred = inputs[:2]
        if not self._loss.reduces or runs_reference() or has_gpu():
            return None
        if not y_true.shape.rank or not y_pred.shape.rank:
            return None
        size, labels = (x.shape[1:].num_elements() for x in (y_pred, y_true))
        if not size or not labels or size > _BLOCK:
            return None
        specs = [
            tf.TensorSpec([None, *x.shape[1:]], x.dtype)
            if i < 2 + self._loss.weights and x.shape.rank
            else tf.TensorSpec(x.shape, x.dtype)
            for i, x in enumerate(inputs)
        ]
        key = tuple(specs)
        if key not in self._traced:
            with tf.init_scope():
                values = self._values(specs)
                self._traced[key] = values and _Traced(self._loss, self._compiler, values, specs)
        return self._traced[key]

    def _values(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """The function traced for any number of rows, or None if they depend on each other."""
        parameters = specs[2 + self._loss.weights :]
        prepared = tf.function(self._loss.prepare, autograph=False)
        try:
            values = tf.function(self._loss.values, autograph=False).get_concrete_function(
                *prepared.get_concrete_function(*specs[:2]).structured_outputs,
                **dict(zip(self._loss.parameters, parameters, strict=True)),
            )
        except (TypeError, ValueError, tf.errors.OpError):
            # It asks for the number of rows; its other mistakes show where all rows are given.
            return None
        if not is_row_independent(values, (0, 1)):
            return None
        return values if values.outputs[0].shape[1:].is_fully_defined() else None


class _Traced:
    """The blocks of inputs that differ in their rows only."""

    def __init__(
        self,
        loss: RowLoss,
        compiler: Compiler,
        values: Any,
        specs: Sequence[tf.TensorSpec],
    ) -> None:
        self._loss = loss
        self._values = values
        self._block = Compiled(self._values_and_slope, compiler)
        self._rows = _BLOCK // specs[1].shape[1:].num_elements()
        self._whole = tf.function(self._evaluate, autograph=False, input_signature=specs)

    def pays(self, inputs: Sequence[tf.Tensor]) -> bool | tf.Tensor:
        """Whether there are enough rows; a tensor where a graph does not know."""
        least = _WORTH_BLOCKS * self._rows
        labels, rows = (x.shape[0] for x in inputs[:2])
        if labels is not None and rows is not None:
            return labels == rows and rows >= least
        labels, rows = (tf.shape(x)[0] for x in inputs[:2])
        return tf.logical_and(labels == rows, rows >= least)

    def __call__(self, *inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return not_recorded_call(self._whole, inputs)

    def _values_and_slope(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, factor: tf.Tensor, *parameters: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(y_pred)
            values = self._loss.values(
                *self._loss.prepare(y_true, y_pred),
                **dict(zip(self._loss.parameters, parameters, strict=True)),
            )
            values = tf.cast(values, self._loss.dtype)
        return values, tape.gradient(
            values, y_pred, factor, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    def _evaluate(self, *inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        y_true, y_pred = inputs[:2]
        weights, parameters = inputs[2 : 2 + self._loss.weights], inputs[2 + self._loss.weights :]
        count = tf.shape(y_pred, tf.int64)[0]
        shape = tf.stack([count, *map(int, self._values.outputs[0].shape[1:])])
        # By the losses of rows the total has the same slope wherever they are.
        with tf.GradientTape() as tape:
            nothing = tf.zeros(shape, self._loss.dtype)
            tape.watch(nothing)
            total = self._loss.total(nothing, *weights)
        factor = tape.gradient(total, nothing)

        def body(block: tf.Tensor, values: tf.Tensor, slope: tf.Tensor) -> tuple[tf.Tensor, ...]:
            # The last block goes back over some rows, as one of another shape would be compiled.
            begin = tf.minimum(block * self._rows, count - self._rows)
            some = [_rows(x, begin, self._rows) for x in (y_true, y_pred, factor)]
            of_block = self._block.not_recorded(*some, *parameters)
            return (
                block + 1,
                *(
                    kernels().fastloss_place(whole, part, begin)
                    for whole, part in zip((values, slope), of_block, strict=True)
                ),
            )

        blocks = (count + self._rows - 1) // self._rows
        _, values, slope = tf.while_loop(
            lambda block, *_: block < blocks,
            body,
            (
                tf.constant(0, tf.int64),
                kernels().fastloss_empty(shape, T=self._loss.dtype),
                kernels().fastloss_empty(tf.shape(y_pred, tf.int64), T=y_pred.dtype),
            ),
            shape_invariants=(
                tf.TensorShape([]),
                self._values.outputs[0].shape,
                y_pred.shape,
            ),
            parallel_iterations=1,
        )
        return self._loss.total(values, *weights), slope


def _rows(x: tf.Tensor, begin: tf.Tensor, rows: int) -> tf.Tensor:
    others = x.shape[1:].as_list()
    return tf.slice(x, [begin, *[0] * len(others)], [rows, *others])
