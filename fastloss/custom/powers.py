"""Powers with constant exponents, in ops for which XLA has vector instructions on a CPU.

XLA's own power is a call of the C library for every element there, unless the exponent is one of a
few that its simplifier knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import tensorflow as tf

from fastloss.ops.context import has_gpu

# XLA makes products, a quotient or a square root of these.
_SIMPLIFIED = frozenset([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0])
# The square roots that are taken at most, and the largest exponent.
_ROOTS, _LARGEST = 2, 64


def power(x: tf.Tensor, exponent: float) -> tf.Tensor:
    """`x**exponent` for a float32 tensor and a multiple of 1/4: a whole power of a root.

    In float64 neither roots nor products round off anything that float32 could hold, or leave its
    range early.
    """
    root, whole = tf.cast(x, tf.float64), exponent
    if not whole.is_integer():
        # Powers of -0 and of -infinity are those of 0 and of infinity; their roots are not.
        nan = tf.constant(math.nan, tf.float64)
        root = tf.where((root < 0) & (root > -math.inf), nan, tf.abs(root))
    while not whole.is_integer():
        root, whole = tf.sqrt(root), 2 * whole
    result = _product(root, abs(int(whole)))
    return tf.cast(1 / result if whole < 0 else result, x.dtype)


def _product(x: tf.Tensor, count: int) -> tf.Tensor:
    if count == 1:
        return x
    half = _product(x, count // 2)
    return half * half * x if count % 2 else half * half


def with_vector_powers(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of tensors, with its powers by `power` where that can be.

    A tape cannot follow it: its gradients are among what the function computes.
    """

    @wraps(function)
    def evaluate(*inputs: tf.Tensor) -> Any:
        if has_gpu():
            return function(*inputs)
        specs = [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
        traced = tf.function(function, autograph=False).get_concrete_function(*specs)
        exponents = _exponents(traced.graph)
        return _replay(traced, inputs, exponents) if exponents else function(*inputs)

    return evaluate


def _exponents(graph: tf.Graph) -> dict[str, float]:
    """The exponents of the ops that `power` can replace, by their names."""
    # A function in a graph, a loop's body for one, is left as it is, and all around it.
    if graph.as_graph_def().library.function:
        return {}
    found = {}
    for op in graph.get_operations():
        if op.type == "Pow" and op.inputs[0].dtype == tf.float32:
            exponent = _constant(op.inputs[1])
            if exponent is not None and _is_vectorized(exponent):
                found[op.name] = exponent
    return found


def _is_vectorized(exponent: float) -> bool:
    whole = exponent * 2**_ROOTS
    return exponent not in _SIMPLIFIED and whole.is_integer() and abs(exponent) <= _LARGEST


def _constant(tensor: tf.Tensor) -> float | None:
    """The value of a scalar that is the same for all inputs; None if there is none."""
    if tensor.shape.rank != 0:
        return None
    # The exponent of a gradient is one less.
    if tensor.op.type == "Sub":
        of, less = map(_constant, tensor.op.inputs)
        return None if of is None or less is None else of - less
    value = tf.get_static_value(tensor)
    return None if value is None else float(value)


def _replay(traced: Any, inputs: Sequence[tf.Tensor], exponents: dict[str, float]) -> Any:
    """The ops of a traced function once more in the current graph, but for powers."""
    graph = tf.compat.v1.get_default_graph()
    for variable in traced.variables:
        # The current graph is to know what it reads.
        variable.read_value()
    new: dict[Any, tf.Tensor] = {
        old.ref(): x
        for old, x in zip(traced.inputs, [*inputs, *traced.captured_inputs], strict=True)
    }
    made: dict[str, tf.Operation] = {}
    for op in traced.graph.get_operations():
        if op.type == "Placeholder":
            continue
        operands = [new[x.ref()] for x in op.inputs]
        if op.name in exponents:
            outputs = [power(operands[0], exponents[op.name])]
        else:
            before = [made[x.name] for x in op.control_inputs if x.name in made]
            with tf.control_dependencies(before):
                made[op.name] = graph.create_op(
                    op.type,
                    operands,
                    [x.dtype for x in op.outputs],
                    attrs=dict(op.node_def.attr),
                    op_def=op.op_def,
                )
            outputs = made[op.name].outputs
        new.update((old.ref(), x) for old, x in zip(op.outputs, outputs, strict=True))
    return tf.nest.map_structure(lambda x: new[x.ref()], traced.structured_outputs)
