"""The calls of `csrc/api/fastloss.h` on tensors of PyTorch; keep alive what a call points to."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from checks import require_close, same_bits
from library import DTYPES, MEAN, NONE, Library, Term, c_api, wide
from torch import Tensor


def doubles(numbers: Sequence[float]) -> Any:
    return (ctypes.c_double * max(1, len(numbers)))(*numbers)


def set_term(c_term: Any, term: Term) -> Any:
    c_term.loss = term.loss.encode()
    c_term.parameters = doubles(term.parameters)
    c_term.parameter_count = len(term.parameters)
    c_term.factor = term.factor
    return c_term


def set_common(
    call: Any, y_true: Tensor, y_pred: Tensor, reduction: int, weight: Tensor | None, replicas: int
) -> Any:
    call.reduction, call.replicas = reduction, replicas
    call.y_true_dtype, call.y_pred_dtype = DTYPES[y_true.dtype], DTYPES[y_pred.dtype]
    call.y_true, call.y_pred = y_true.data_ptr(), y_pred.data_ptr()
    if weight is not None:
        call.weight, call.weight_count, call.weight_repeat = weight.data_ptr(), weight.numel(), 1
    return call


def boxes(
    loss: Term,
    y_true: Tensor,
    y_pred: Tensor,
    reduction: int = MEAN,
    weight: Tensor | None = None,
    replicas: int = 1,
    centred: bool = False,
) -> Any:
    """Of boxes `(boxes, 4)`."""
    call = c_api.BoxesCall(
        loss=loss.loss.encode(),
        parameters=doubles(loss.parameters),
        parameter_count=len(loss.parameters),
        box_format=int(centred),
        boxes=len(y_pred),
    )
    return set_common(call, y_true, y_pred, reduction, weight, replicas)


class Range(NamedTuple):
    """A loss of some columns."""

    term: Term
    first_true: int
    first_pred: int
    columns: int


def columns(
    tasks: Sequence[Range],
    y_true: Tensor,
    y_pred: Tensor,
    reduction: int = MEAN,
    weight: Tensor | None = None,
    replicas: int = 1,
) -> Any:
    """Of labels and predictions `(rows, columns)`."""
    array = (c_api.Task * len(tasks))()
    for c_task, task in zip(array, tasks, strict=True):
        set_term(c_task.term, task.term)
        c_task.first_true, c_task.first_pred, c_task.columns = task[1:]
    call = c_api.ColumnsCall(
        tasks=array,
        task_count=len(tasks),
        rows=len(y_pred),
        true_columns=y_true.shape[1],
        pred_columns=y_pred.shape[1],
    )
    return set_common(call, y_true, y_pred, reduction, weight, replicas)


class Regions(NamedTuple):
    """The options of `fastloss_overlap`; activation 0, 1, 2 is none, sigmoid, softmax."""

    activation: int = 0
    per_outer: bool = False
    per_class: bool = False
    sparse: bool = False
    squared: bool = False
    skip_background: bool = False
    ignore_class: int | None = None


def overlap(
    loss: Term,
    y_true: Tensor,
    y_pred: Tensor,
    options: Regions,
    reduction: int = MEAN,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    fused_terms: Sequence[Term] = (),
    replicas: int = 1,
) -> Any:
    """Of predictions `(outer, above, classes, inner)`."""
    array = (c_api.Term * max(1, len(fused_terms)))()
    for c_term, term in zip(array, fused_terms, strict=False):
        set_term(c_term, term)
    outer, above, classes, inner = y_pred.shape
    call = c_api.OverlapCall(
        loss=loss.loss.encode(),
        parameters=doubles(loss.parameters),
        parameter_count=len(loss.parameters),
        outer=outer,
        above=above,
        classes=classes,
        inner=inner,
        activation=options.activation,
        per_outer=options.per_outer,
        per_class=options.per_class,
        sparse=options.sparse,
        squared=options.squared,
        skip_background=options.skip_background,
        has_ignore_class=options.ignore_class is not None,
        ignore_class=options.ignore_class or 0,
        fused_terms=array,
        fused_term_count=len(fused_terms),
        factor=loss.factor,
    )
    if class_weight is not None:
        call.class_weight = class_weight.data_ptr()
    return set_common(call, y_true, y_pred, reduction, weight, replicas)


class Rows(NamedTuple):
    """The options of a loss of rows."""

    label_smoothing: float = 0.0
    temperature: float = 1.0
    logit_softcap: float = 0.0
    z_loss: float = 0.0
    ignore_class: int | None = None


def rowwise(
    loss: Term,
    y_true: Tensor,
    y_pred: Tensor,
    options: Rows | None = None,
    reduction: int = MEAN,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    replicas: int = 1,
) -> Any:
    """Of predictions `(outer, classes, inner)`."""
    options = options or Rows()
    outer, classes, inner = y_pred.shape
    call = c_api.RowwiseCall(
        loss=loss.loss.encode(),
        parameters=doubles(loss.parameters),
        parameter_count=len(loss.parameters),
        outer=outer,
        classes=classes,
        inner=inner,
        label_smoothing=options.label_smoothing,
        temperature=options.temperature,
        logit_softcap=options.logit_softcap,
        z_loss=options.z_loss,
        has_ignore_class=options.ignore_class is not None,
        ignore_class=options.ignore_class or 0,
    )
    if class_weight is not None:
        call.class_weight = class_weight.data_ptr()
    return set_common(call, y_true, y_pred, reduction, weight, replicas)


def outputs_of(
    pattern: str, loss: Tensor, values: Tensor | None, gradient: Tensor | None
) -> tuple[Tensor | None, ...]:
    """In the order of `fastloss_cuda_<pattern>_forward`."""
    if pattern in ("overlap", "columns"):
        return loss, values, gradient
    return (loss, gradient, None, None) if pattern == "rowwise" else (loss, gradient)


class Truth(NamedTuple):
    """What a call must give, in float64; `values` of a pattern that has them."""

    loss: Tensor
    gradient: Tensor
    values: Tensor | None = None


def require_truth(
    library: Library,
    pattern: str,
    call: Any,
    y_pred: Tensor,
    truth: Callable[[Tensor | None], Truth],
    bounds: tuple[float, float],
    what: str,
    offset: int = 0,
) -> None:
    """Fails unless a call agrees with `truth` of an upstream gradient, or of None for 1."""
    per_row = call.reduction == NONE
    dtype, accumulation = y_pred.dtype, wide(y_pred.dtype)
    expected = truth(None)
    loss = library.output(expected.loss.shape, accumulation)
    values = None
    if expected.values is not None and not per_row:
        values = library.output(expected.values.shape, accumulation)
    gradient = None if per_row else library.output(y_pred.shape, dtype, offset)
    library.forward(pattern, call, *outputs_of(pattern, loss, values, gradient))
    require_close(loss, expected.loss, bounds[0], f"{what}: loss")
    if values is not None and expected.values is not None:
        require_close(values, expected.values, bounds[0], f"{what}: values")
    if gradient is not None:
        require_close(gradient, expected.gradient, bounds[1], f"{what}: gradient at once")
        alone = library.output(expected.loss.shape, accumulation)
        library.forward(pattern, call, *outputs_of(pattern, alone, None, None))
        assert same_bits(alone, loss), f"{what}: the loss alone is different"
    upstream = torch.rand(expected.loss.shape, device=library.device).to(accumulation)
    backward = library.output(y_pred.shape, dtype, offset)
    library.backward(pattern, call, upstream, backward)
    require_close(backward, truth(upstream).gradient, bounds[1], f"{what}: gradient")
    # The predictions are lost: this comes last.
    library.backward(pattern, call, upstream, y_pred)
    assert same_bits(backward, y_pred), f"{what}: the gradient in place is different"
    library.check_guards()


def require_same_bits(library: Library, pattern: str, call: Any, y_pred: Tensor, runs: int) -> None:
    """Fails unless every run gives the same bits, also beside other work."""
    accumulation = wide(y_pred.dtype)
    load = torch.randn(512, 512, device=library.device)
    first = None
    for run in range(runs):
        loss = library.output((), accumulation)
        gradient = library.output(y_pred.shape, y_pred.dtype)
        if run % 2 and library.device != "cpu":
            with torch.cuda.stream(torch.cuda.Stream()):
                for _ in range(8):
                    load = load @ load * 1e-3
        library.forward(pattern, call, *outputs_of(pattern, loss, None, gradient))
        first = first or (loss, gradient)
        assert same_bits(loss, first[0]), f"{pattern}: run {run} has another loss"
        assert same_bits(gradient, first[1]), f"{pattern}: run {run} has another gradient"
    library.check_guards()


def require_capture(library: Library, pattern: str, call: Any, y_pred: Tensor) -> None:
    """Fails unless a CUDA graph, which refuses whatever waits for the GPU, replays a call."""
    accumulation = wide(y_pred.dtype)
    loss = torch.empty((), dtype=accumulation, device=library.device)
    gradient = torch.empty_like(y_pred)
    upstream = torch.rand((), device=library.device).to(accumulation)
    backward = torch.empty_like(y_pred)
    scratch = torch.empty(
        library.scratch_bytes(pattern, call), dtype=torch.uint8, device=library.device
    )
    outputs = outputs_of(pattern, loss, None, gradient)

    def run() -> None:
        library.forward(pattern, call, *outputs, scratch=scratch)
        library.backward(pattern, call, upstream, backward, scratch=scratch)

    run()
    expected = tuple(x.clone() for x in (loss, gradient, backward))
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    for x in (loss, gradient, backward):
        x.fill_(7)
    graph.replay()
    for found, true in zip((loss, gradient, backward), expected, strict=True):
        assert same_bits(found, true), f"{pattern}: a replayed graph gives something else"
