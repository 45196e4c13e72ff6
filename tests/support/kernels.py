"""The C interface in numpy, for tests that need no TensorFlow."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fastloss import c_api

Array = np.ndarray

NONE, SUM, MEAN, MEAN_WITH_SAMPLE_WEIGHT = range(4)
# "binary" is found by the library itself.
PARAMETERS = {
    **{"epsilon": 1e-7, "delta": 0.7, "tau": 0.9, "label_smoothing": 0.1, "gamma": 2.0},
    **{"smooth_numerator": 0.25, "smooth_denominator": 0.5, "power": 2.0},
    **{"base": 0.75, "balance": -0.5, "alpha": 0.25, "q": 0.7, "beta": 0.3},
}

PIECE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
PARALLEL_FOR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, PIECE, ctypes.c_void_p)


def parameters_of(loss: str) -> tuple[float, ...]:
    names = {
        **c_api.elementwise_losses(),
        **c_api.rowwise_losses(),
        **c_api.overlap_losses(),
    }[loss].parameters
    return tuple(PARAMETERS[name] for name in names)


def dtype_code(array: Array) -> int:
    return tf.as_dtype(array.dtype).as_datatype_enum


def accumulation(array: Array) -> type:
    return np.float64 if array.dtype == np.float64 else np.float32


class Term(NamedTuple):
    """A loss of a sum; `parameters` are those of `parameters_of` by default."""

    loss: str
    factor: float = 1.0
    parameters: tuple[float, ...] | None = None


def _terms(terms: Sequence[Term]) -> Any:
    array = (c_api.Term * len(terms))()
    for c_term, term in zip(array, terms, strict=True):
        values = parameters_of(term.loss) if term.parameters is None else term.parameters
        c_term.loss = term.loss.encode()
        c_term.parameters = (ctypes.c_double * max(1, len(values)))(*values)
        c_term.parameter_count = len(values)
        c_term.factor = term.factor
    return array


def elementwise(
    loss: str | Sequence[Term],
    y_true: Array,
    y_pred: Array,
    reduction: int = MEAN,
    weight: Array | None = None,
    upstream: Array | None = None,
    parameters: tuple[float, ...] | None = None,
    gradient: bool = True,
    in_place: bool = False,
    replicas: int = 1,
    term_values: Array | None = None,
) -> tuple[Any, Array | None]:
    """Loss and gradient of a matrix; `upstream` (ones by default) goes with the reduction NONE.

    `loss` may be the terms of a sum; `term_values` is filled with the value of each.
    """
    assert y_true.flags.c_contiguous
    assert y_pred.flags.c_contiguous
    rows, columns = y_pred.shape
    wide = accumulation(y_pred)
    terms = [Term(loss, 1.0, parameters)] if isinstance(loss, str) else loss
    call = c_api.ElementwiseCall(
        terms=_terms(terms),
        term_count=len(terms),
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
    library = c_api.library()
    result = np.full(rows if reduction == NONE else (), np.nan, wide)
    slope = y_pred if in_place else np.empty_like(y_pred)
    at_once = gradient and reduction != NONE
    target = ctypes.c_void_p(slope.ctypes.data if at_once else None)
    pointer = ctypes.c_void_p(result.ctypes.data)
    each = _pointer(term_values)
    if library.fastloss_elementwise_forward(ctypes.byref(call), pointer, each, target):
        raise ValueError(library.fastloss_error().decode())
    if gradient and reduction == NONE:
        upstream = np.ones(rows, wide) if upstream is None else np.ascontiguousarray(upstream, wide)
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (upstream, slope)]
        if library.fastloss_elementwise_backward(ctypes.byref(call), *pointers):
            raise ValueError(library.fastloss_error().decode())
    return result, slope if gradient else None


class Task(NamedTuple):
    """A loss of some columns."""

    loss: str
    first_true: int
    first_pred: int
    columns: int
    factor: float = 1.0


def columns(
    tasks: Sequence[Task],
    y_true: Array,
    y_pred: Array,
    reduction: int = MEAN,
    weight: Array | None = None,
    upstream: float | None = None,
    in_place: bool = False,
) -> tuple[Any, Array, Array]:
    """Loss, the loss of each task and gradient; with `upstream` the gradient is a later call's."""
    wide = accumulation(y_pred)
    array = (c_api.Task * len(tasks))()
    terms = _terms([Term(task.loss, task.factor) for task in tasks])
    for c_task, term, task in zip(array, terms, tasks, strict=True):
        c_task.term = term
        c_task.first_true, c_task.first_pred = task.first_true, task.first_pred
        c_task.columns = task.columns
    call = c_api.ColumnsCall(
        tasks=array,
        task_count=len(tasks),
        reduction=reduction,
        replicas=1,
        y_true_dtype=dtype_code(y_true),
        y_pred_dtype=dtype_code(y_pred),
        rows=len(y_pred),
        true_columns=y_true.shape[1],
        pred_columns=y_pred.shape[1],
        y_true=y_true.ctypes.data,
        y_pred=y_pred.ctypes.data,
    )
    if weight is not None:
        weight = np.ascontiguousarray(weight, wide)
        call.weight, call.weight_count, call.weight_repeat = weight.ctypes.data, weight.size, 1
    library = c_api.library()
    value, values = np.full((), np.nan, wide), np.full(len(tasks), np.nan, wide)
    slope = y_pred if in_place else np.empty_like(y_pred)
    target = None if upstream is not None else slope
    pointers = [_pointer(x) for x in (value, values, target)]
    if library.fastloss_columns_forward(ctypes.byref(call), *pointers):
        raise ValueError(library.fastloss_error().decode())
    if upstream is not None:
        pointers = [_pointer(np.array(upstream, wide)), _pointer(slope)]
        if library.fastloss_columns_backward(ctypes.byref(call), *pointers):
            raise ValueError(library.fastloss_error().decode())
    return value, values, slope


class Rows(NamedTuple):
    loss: Any
    gradient: Array | None
    log_sum_exp: Array | None
    hit: Array | None


def is_sparse(loss: str) -> bool:
    return c_api.rowwise_losses()[loss].sparse


def rowwise(
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
    class_weight: Array | None = None,
    label_smoothing: float = 0.0,
    temperature: float = 1.0,
    logit_softcap: float = 0.0,
    z_loss: float = 0.0,
    ignore_class: int | None = None,
    metrics: bool = False,
    parallel_for: Callable[[int, Callable[[int], None]], None] | None = None,
) -> Rows:
    """Loss, gradient and metrics of predictions, (rows, classes) or (outer, classes, inner).

    `upstream` (ones by default) goes with the reduction NONE; `parallel_for(pieces, piece)` runs
    the pieces.
    """
    assert y_true.flags.c_contiguous
    assert y_pred.flags.c_contiguous
    outer, classes, inner = y_pred.shape if y_pred.ndim == 3 else (*y_pred.shape, 1)
    rows = outer * inner
    assert y_true.size == (rows if is_sparse(loss) else y_pred.size)
    values = parameters_of(loss) if parameters is None else parameters
    wide = accumulation(y_pred)
    call = c_api.RowwiseCall(
        loss=loss.encode(),
        parameters=(ctypes.c_double * max(1, len(values)))(*values),
        parameter_count=len(values),
        reduction=reduction,
        replicas=replicas,
        y_true_dtype=dtype_code(y_true),
        y_pred_dtype=dtype_code(y_pred),
        outer=outer,
        classes=classes,
        inner=inner,
        y_true=y_true.ctypes.data,
        y_pred=y_pred.ctypes.data,
        label_smoothing=label_smoothing,
        temperature=temperature,
        logit_softcap=logit_softcap,
        z_loss=z_loss,
        has_ignore_class=ignore_class is not None,
        ignore_class=ignore_class or 0,
    )
    if weight is not None:
        weight = np.ascontiguousarray(weight, wide)
        call.weight, call.weight_count, call.weight_repeat = weight.ctypes.data, weight.size, 1
    if class_weight is not None:
        class_weight = np.ascontiguousarray(class_weight, wide)
        assert class_weight.size == classes
        call.class_weight = class_weight.ctypes.data
    if parallel_for is not None:
        run = PARALLEL_FOR(
            lambda _, pieces, piece, state: parallel_for(pieces, lambda i: piece(state, i))
        )
        call.parallel_for = ctypes.cast(run, ctypes.c_void_p)
    library = c_api.library()
    result = np.full(rows if reduction == NONE else (), np.nan, wide)
    slope = y_pred if in_place else np.empty_like(y_pred)
    log_sum_exp = np.full(rows, np.nan, wide) if metrics else None
    hit = np.full(rows, 255, np.uint8) if metrics else None
    at_once = gradient and reduction != NONE
    outputs = (result, slope if at_once else None, log_sum_exp, hit)
    if library.fastloss_rowwise_forward(ctypes.byref(call), *map(_pointer, outputs)):
        raise ValueError(library.fastloss_error().decode())
    if gradient and reduction == NONE:
        upstream = np.ones(rows, wide) if upstream is None else np.ascontiguousarray(upstream, wide)
        if library.fastloss_rowwise_backward(ctypes.byref(call), *map(_pointer, (upstream, slope))):
            raise ValueError(library.fastloss_error().decode())
    return Rows(result, slope if gradient else None, log_sum_exp, hit)


ACTIVATIONS = ("none", "sigmoid", "softmax")


class Regions(NamedTuple):
    loss: Any
    gradient: Array | None
    terms: Array | None


def overlap(
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
    class_weight: Array | None = None,
    activation: str = "none",
    per_outer: bool = False,
    per_class: bool = False,
    sparse: bool = False,
    squared: bool = False,
    include_background: bool = True,
    ignore_class: int | None = None,
    factor: float = 1.0,
    fused_terms: Sequence[Term] = (),
    parallel_for: Callable[[int, Callable[[int], None]], None] | None = None,
) -> Regions:
    """Loss and gradient of predictions (outer, above, classes, inner).

    `upstream` (ones by default) goes with the reduction NONE; `parallel_for(pieces, piece)` runs
    the pieces.
    """
    assert y_true.flags.c_contiguous
    assert y_pred.flags.c_contiguous
    outer, above, classes, inner = y_pred.shape
    assert y_true.shape == ((outer, above, inner) if sparse else y_pred.shape)
    values = parameters_of(loss) if parameters is None else parameters
    wide = accumulation(y_pred)
    call = c_api.OverlapCall(
        loss=loss.encode(),
        parameters=(ctypes.c_double * max(1, len(values)))(*values),
        parameter_count=len(values),
        reduction=reduction,
        replicas=replicas,
        y_true_dtype=dtype_code(y_true),
        y_pred_dtype=dtype_code(y_pred),
        outer=outer,
        above=above,
        classes=classes,
        inner=inner,
        y_true=y_true.ctypes.data,
        y_pred=y_pred.ctypes.data,
        activation=ACTIVATIONS.index(activation),
        per_outer=per_outer,
        per_class=per_class,
        sparse=sparse,
        squared=squared,
        skip_background=not include_background,
        has_ignore_class=ignore_class is not None,
        ignore_class=ignore_class or 0,
        fused_terms=_terms(fused_terms),
        fused_term_count=len(fused_terms),
        factor=factor,
    )
    if weight is not None:
        weight = np.ascontiguousarray(weight, wide)
        call.weight, call.weight_count, call.weight_repeat = weight.ctypes.data, weight.size, 1
    if class_weight is not None:
        class_weight = np.ascontiguousarray(class_weight, wide)
        assert class_weight.size == classes
        call.class_weight = class_weight.ctypes.data
    if parallel_for is not None:
        run = PARALLEL_FOR(
            lambda _, pieces, piece, state: parallel_for(pieces, lambda i: piece(state, i))
        )
        call.parallel_for = ctypes.cast(run, ctypes.c_void_p)
    library = c_api.library()
    groups = [outer] * per_outer + [max(0, classes - (not include_background))] * per_class
    result = np.full(groups if reduction == NONE else (), np.nan, wide)
    slope = y_pred if in_place else np.empty_like(y_pred)
    at_once = gradient and reduction != NONE
    each = np.full(1 + len(fused_terms), np.nan, wide) if reduction != NONE else None
    outputs = (result, each, slope if at_once else None)
    if library.fastloss_overlap_forward(ctypes.byref(call), *map(_pointer, outputs)):
        raise ValueError(library.fastloss_error().decode())
    if gradient and reduction == NONE:
        upstream = np.ones(groups) if upstream is None else upstream
        upstream = np.ascontiguousarray(upstream, wide)
        if library.fastloss_overlap_backward(ctypes.byref(call), *map(_pointer, (upstream, slope))):
            raise ValueError(library.fastloss_error().decode())
    return Regions(result, slope if gradient else None, each)


def boxes(
    loss: str,
    y_true: Array,
    y_pred: Array,
    reduction: int = MEAN,
    weight: Array | None = None,
    upstream: Array | None = None,
    centred: bool = False,
    epsilon: float = PARAMETERS["epsilon"],
    gradient: bool = True,
    in_place: bool = False,
    replicas: int = 1,
    parallel_for: Callable[[int, Callable[[int], None]], None] | None = None,
) -> tuple[Any, Array | None]:
    """Loss and gradient of boxes, (boxes, 4); `upstream` and `parallel_for` as in `rowwise`."""
    assert y_true.flags.c_contiguous
    assert y_pred.flags.c_contiguous
    assert y_true.shape == y_pred.shape
    count, wide = len(y_pred), accumulation(y_pred)
    call = c_api.BoxesCall(
        loss=loss.encode(),
        parameters=(ctypes.c_double * 1)(epsilon),
        parameter_count=1,
        reduction=reduction,
        replicas=replicas,
        y_true_dtype=dtype_code(y_true),
        y_pred_dtype=dtype_code(y_pred),
        box_format=int(centred),
        boxes=count,
        y_true=y_true.ctypes.data,
        y_pred=y_pred.ctypes.data,
    )
    if weight is not None:
        weight = np.ascontiguousarray(weight, wide)
        call.weight, call.weight_count, call.weight_repeat = weight.ctypes.data, weight.size, 1
    if parallel_for is not None:
        run = PARALLEL_FOR(
            lambda _, pieces, piece, state: parallel_for(pieces, lambda i: piece(state, i))
        )
        call.parallel_for = ctypes.cast(run, ctypes.c_void_p)
    library = c_api.library()
    result = np.full(count if reduction == NONE else (), np.nan, wide)
    slope = y_pred if in_place else np.empty_like(y_pred)
    at_once = gradient and reduction != NONE
    outputs = map(_pointer, (result, slope if at_once else None))
    if library.fastloss_boxes_forward(ctypes.byref(call), *outputs):
        raise ValueError(library.fastloss_error().decode())
    if gradient and reduction == NONE:
        upstream = (
            np.ones(count, wide) if upstream is None else np.ascontiguousarray(upstream, wide)
        )
        if library.fastloss_boxes_backward(ctypes.byref(call), *map(_pointer, (upstream, slope))):
            raise ValueError(library.fastloss_error().decode())
    return result, slope if gradient else None


def _pointer(array: Array | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def same_bits(x: Any, y: Any) -> bool:
    x, y = np.asarray(x), np.asarray(y)
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
