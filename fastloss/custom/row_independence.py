"""Whether a traced function treats every row by itself, so that it may be given some at a time."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import tensorflow as tf

# fmt: off
_ELEMENTWISE = frozenset([
    "Abs", "Acos", "Acosh", "Add", "AddN", "AddV2", "Asin", "Asinh", "Atan", "Atan2", "Atanh",
    "Cast", "Ceil", "ClipByValue", "Cos", "Cosh", "Digamma", "Div", "DivNoNan", "Elu", "Equal",
    "Erf", "Erfc", "Exp", "Expm1", "Floor", "FloorDiv", "FloorMod", "Greater", "GreaterEqual",
    "Identity", "IsFinite", "IsInf", "IsNan", "LeakyRelu", "Less", "LessEqual", "Lgamma", "Log",
    "Log1p", "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum", "Minimum", "Mul", "MulNoNan",
    "Neg", "NotEqual", "OnesLike", "Pow", "RealDiv", "Reciprocal", "Relu", "Relu6", "Rint",
    "Round", "Rsqrt", "SelectV2", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus",
    "Softsign", "Sqrt", "Square", "SquaredDifference", "StopGradient", "Sub", "Tan", "Tanh",
    "Xdivy", "Xlog1py", "Xlogy", "ZerosLike",
])
# fmt: on
_REDUCTIONS = frozenset(["All", "Any", "Max", "Mean", "Min", "Prod", "Sum"])
_LAST_AXIS = frozenset(["LogSoftmax", "Softmax"])
_SOURCES = frozenset(["Const", "Placeholder", "ReadVariableOp", "NoOp"])


def is_row_independent(function: Any, by_row: Collection[int]) -> bool:
    """Whether each row of the result follows from the same row of the inputs `by_row`.

    It is a promise where the answer is yes; of functions with ops that are not known here, and of
    all that depend on the number of rows, the answer is no.

    Args:
        function: A `tf.function` traced without knowing the number of rows.
        by_row: Which of its inputs have rows.
    """
    graph = function.graph
    rows = {function.inputs[i].ref() for i in by_row}
    for op in graph.get_operations():
        if op.type in _SOURCES:
            continue
        outputs_rows = _keeps_rows(op, [x.ref() in rows for x in op.inputs])
        if outputs_rows is None:
            return False
        if outputs_rows:
            rows.update(x.ref() for x in op.outputs)
    return len(function.outputs) == 1 and function.outputs[0].ref() in rows


def _keeps_rows(op: Any, has_rows: list[bool]) -> bool | None:
    """Whether the result of an op has rows, each of those of its inputs; None if not known."""
    ranks = [x.shape.rank for x in op.inputs]
    if None in ranks:
        return None
    if op.type in _ELEMENTWISE:
        if not any(has_rows):
            return False
        rank = max(ranks)
        aligned = all(
            r == rank if rows else r < rank or x.shape[0] == 1
            for x, r, rows in zip(op.inputs, ranks, has_rows, strict=True)
        )
        return True if aligned else None
    if op.type in _REDUCTIONS and not has_rows[1]:
        axes = tf.get_static_value(op.inputs[1])
        if not has_rows[0]:
            return False
        return True if axes is not None and not (axes % ranks[0] == 0).any() else None
    if op.type in _LAST_AXIS:
        return None if has_rows[0] and ranks[0] < 2 else has_rows[0]
    return None
