"""Functions compiled by XLA where it can, and for as many shapes as are worth it."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from fastloss.custom.powers import with_vector_powers
from fastloss.custom.scalar_calls import is_quicker_uncompiled
from fastloss.ops.context import has_gpu, not_recorded

Function: TypeAlias = Callable[..., Any]

# Stands for a dimension that a trace does not know, while XLA is asked whether it knows the ops:
# many numbers divide it.
_SOME_SIZE = 24


class Compiler:
    """Decides for the functions of one loss what XLA compiles, and says once why it does not.

    XLA compiles a function anew for every shape. After `max_shapes` shapes, others run uncompiled.
    """

    def __init__(self, name: str, max_shapes: int) -> None:
        self._name = name
        self._max_shapes = max_shapes
        self._shapes: set[tuple[Any, ...]] = set()
        self._table: Any = None
        self._warned: set[str] = set()

    def supports(self, function: Function, inputs: Sequence[tf.Tensor]) -> bool:
        """Whether XLA knows all that the function does, and gains by it."""
        specs = [tf.TensorSpec([n or _SOME_SIZE for n in x.shape], x.dtype) for x in inputs]
        with tf.init_scope():
            # A function of its own: its trace would have the other one forget static shapes.
            probe = tf.function(function, autograph=False, jit_compile=True)
            # A mistake in the function comes up here, and is the user's to see.
            traced = probe.get_concrete_function(*specs)
            if not has_gpu() and is_quicker_uncompiled(traced.graph):
                return False
            try:
                probe.experimental_get_compiler_ir(*specs)(stage="hlo")
            except (ValueError, tf.errors.OpError) as error:
                reason = _reason(str(error))
                self._warn(reason, f"XLA cannot compile it ({reason}), so it runs uncompiled.")
                return False
        return True

    def admits(self, inputs: Sequence[tf.Tensor]) -> bool:
        """Whether inputs of these shapes, all known, are compiled."""
        key = tuple(tuple(x.shape) for x in inputs)
        if key in self._shapes:
            return True
        if len(self._shapes) >= self._max_shapes:
            self._warn("shapes", self._too_many_shapes)
            return False
        self._shapes.add(key)
        return True

    def admits_at_run_time(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """The same for a graph that does not know the shapes, as a boolean scalar."""
        if self._table is None:
            with tf.init_scope():
                self._table = tf.lookup.experimental.MutableHashTable(tf.string, tf.bool, False)
        table = self._table
        shapes = [tf.strings.reduce_join(tf.as_string(tf.shape(x)), separator=",") for x in inputs]
        key = tf.strings.join(shapes, separator=";")

        def admit() -> tf.Tensor:
            with tf.control_dependencies([table.insert(key, True)]):
                return tf.constant(True)

        def refuse() -> tf.Tensor:
            said = tf.constant("said")
            message = f"UserWarning: {self._name}: {self._too_many_shapes}"

            def say() -> tf.Tensor:
                printed = tf.print(message, output_stream=sys.stderr)
                with tf.control_dependencies([printed, table.insert(said, True)]):
                    return tf.constant(False)

            return tf.cond(table.lookup(said), lambda: tf.constant(False), say)

        def decide() -> tf.Tensor:
            return tf.cond(table.size() < self._max_shapes, admit, refuse)

        return tf.cond(table.lookup(key), lambda: tf.constant(True), decide)

    @property
    def _too_many_shapes(self) -> str:
        return (
            f"it has been compiled for {self._max_shapes} shapes; others run uncompiled, as every "
            "one would cost a compilation. Pad the batches to fewer shapes, or raise max_shapes."
        )

    def _warn(self, about: str, message: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            warnings.warn(f"{self._name}: {message}", stacklevel=2)


class Compiled:
    """A function of tensors, compiled as its `Compiler` decides."""

    def __init__(self, function: Function, compiler: Compiler) -> None:
        self._function = function
        self._compiler = compiler
        self._fused = _fused(function)
        self._fused_once = _fused(with_vector_powers(function))
        self._plain = tf.function(function, autograph=False, reduce_retracing=True)
        self._supported: bool | None = None

    def __call__(self, *inputs: tf.Tensor) -> Any:
        return self._call(lambda function: function(*inputs), inputs, self._fused)

    def not_recorded(self, *inputs: tf.Tensor) -> Any:
        """The same without a gradient, for which a tape would keep all intermediate results."""
        return self._call(
            lambda function: not_recorded_call(function, inputs), inputs, self._fused_once
        )

    def _call(self, call: Function, inputs: Sequence[tf.Tensor], fused: Any) -> Any:
        if self._supported is None:
            self._supported = self._compiler.supports(self._function, inputs)
        if not self._supported:
            return call(self._plain)
        if all(x.shape.is_fully_defined() for x in inputs):
            return call(fused if self._compiler.admits(inputs) else self._plain)
        return tf.cond(
            self._compiler.admits_at_run_time(inputs),
            lambda: call(fused),
            lambda: call(self._plain),
        )


def _fused(function: Function) -> Any:
    return tf.function(function, autograph=False, jit_compile=True, reduce_retracing=True)


def not_recorded_call(function: Any, inputs: Sequence[tf.Tensor]) -> Any:
    """Calls a `tf.function` so that no tape around it records what it does."""
    # Traced before, since a tape inside the function is to record.
    concrete = function.get_concrete_function(*inputs)
    with not_recorded():
        results = concrete(*inputs)
    # By this `tf.custom_gradient` learns that they are read.
    for variable in concrete.trainable_variables:
        variable.read_value()
    return results


def _reason(message: str) -> str:
    """The op that XLA's message is about, or else how the message begins."""
    for pattern in (r"on XLA_\w+: (\w+)", r"with op (\w+)"):
        if match := re.search(pattern, message):
            return f"op {match[1]}"
    return message.removeprefix("Failed getting HLO text: ").strip("'").split("\n")[0]
