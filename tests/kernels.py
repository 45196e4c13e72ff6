"""The C interface in numpy, for tests that need no TensorFlow."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import tensorflow as tf

from fastloss import core

Array = np.ndarray

NONE, SUM, MEAN, MEAN_WITH_SAMPLE_WEIGHT = range(4)
# "binary" is found by the library itself.
PARAMETERS = {
    **{"epsilon": 1e-7, "delta": 0.7, "tau": 0.9, "label_smoothing": 0.1, "gamma": 2.0},
    **{"base": 0.75, "balance": -0.5},
}


def parameters_of(loss: str) -> tuple[float, ...]:
    return tuple(PARAMETERS[name] for name in core.elementwise_losses()[loss])


def dtype_code(array: Array) -> int:
    return tf.as_dtype(array.dtype).as_datatype_enum


def accumulation(array: Array) -> type:
    return np.float64 if array.dtype == np.float64 else np.float32


def elementwise(
    loss: str,
    y_true: Array,
    y_pred: Array,
    reduction: int = MEAN,
    weight: Array | None = None,
    upstream: Array | None = None,
    parameters: tuple[float, ...] | None = None,
    gradient: bool = True,
    in_place: bool = False,
    replicas: int = 1,
) -> tuple[Any, Array | None]:
    """Loss and gradient of a matrix; `upstream` (ones by default) goes with the reduction NONE."""
    assert y_true.flags.c_contiguous
    assert y_pred.flags.c_contiguous
    rows, columns = y_pred.shape
    values = parameters_of(loss) if parameters is None else parameters
    wide = accumulation(y_pred)
    call = core.ElementwiseCall(
        loss=loss.encode(),
        parameters=(ctypes.c_double * max(1, len(values)))(*values),
        parameter_count=len(values),
        reduction=reduction,
        replicas=replicas,
        y_true_dtype=dtype_code(y_true),
        y_pred_dtype=dtype_code(y_pred),
        rows=rows,
        columns=columns,
        y_true=y_true.ctypes.data,
        y_pred=y_pred.ctypes.data,
    )
    if weight is not None:
        weight = np.ascontiguousarray(weight, wide)
        call.weight, call.weight_count, call.weight_repeat = weight.ctypes.data, weight.size, 1
    library = core.library()
    result = np.full(rows if reduction == NONE else (), np.nan, wide)
    slope = y_pred if in_place else np.empty_like(y_pred)
    at_once = gradient and reduction != NONE
    target = ctypes.c_void_p(slope.ctypes.data if at_once else None)
    pointer = ctypes.c_void_p(result.ctypes.data)
    if library.fastloss_elementwise_forward(ctypes.byref(call), pointer, target):
        raise ValueError(library.fastloss_error().decode())
    if gradient and reduction == NONE:
        upstream = np.ones(rows, wide) if upstream is None else np.ascontiguousarray(upstream, wide)
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (upstream, slope)]
        if library.fastloss_elementwise_backward(ctypes.byref(call), *pointers):
            raise ValueError(library.fastloss_error().decode())
    return result, slope if gradient else None


def same_bits(x: Any, y: Any) -> bool:
    x, y = np.asarray(x), np.asarray(y)
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
