"""What must hold of losses of ranges of columns on a GPU."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

import torch
from calls import Range, Truth, columns, require_capture, require_same_bits, require_truth
from checks import (
    GRADIENT_BOUNDS,
    LABELS,
    PREDICTIONS,
    Size,
    SkippedError,
    as_float64,
    labels,
    predictions,
)
from elementwise_formulas import SUBJECTS, Subject
from library import MEAN, MEAN_WITH_SAMPLE_WEIGHT, SUM, Library, Term, wide
from torch import Tensor

# Losses of predictions between 0 and 1, without those that depend on all labels.
RIDERS = [s for s in SUBJECTS if not s.name.endswith("hinge") and s.predictions != "logits"]


def tasks_of(subjects: Sequence[Subject], true: int, pred: int) -> list[Range]:
    """Ranges that overlap and that leave columns out."""
    shared = min(true, pred)
    made = []
    for k, subject in enumerate(subjects):
        count = (shared + k) // (k + 1)
        term = Term(subject.name, subject.parameters, (1.0, 0.5, 2.0)[k % 3])
        made.append(Range(term, (true - count) // 2, pred - count if k % 2 else 0, count))
    return made


def truth(
    subjects: Sequence[Subject],
    tasks: Sequence[Range],
    y_true: Tensor,
    y_pred: Tensor,
    reduction: int,
    weight: Tensor | None,
    upstream: Tensor | None,
) -> Truth:
    t, p = as_float64(y_true), y_pred.double().requires_grad_()
    rows = len(p)
    by_row = torch.ones(rows, dtype=torch.float64, device=p.device)
    if weight is not None:
        by_row = weight.double()
    counted = reduction == MEAN_WITH_SAMPLE_WEIGHT
    divisor = float(by_row.sum()) if counted else rows if reduction == MEAN else 1.0
    values, total = [], 0 * p.sum()
    for subject, task in zip(subjects, tasks, strict=True):
        of_true = t[:, task.first_true : task.first_true + task.columns]
        of_pred = p[:, task.first_pred : task.first_pred + task.columns]
        each = subject.formula(of_true, of_pred, *subject.parameters)
        row = (each.mean(1) if subject.mean else each.sum(1)) * by_row
        value = row.sum() / divisor if divisor else 0 * row.sum()
        values.append(value.detach())
        total = total + task.term.factor * value
    above = torch.ones_like(total) if upstream is None else upstream.double()
    (gradient,) = torch.autograd.grad(total, p, above)
    return Truth(total.detach(), gradient, torch.stack(values))


def check_columns(library: Library, size: Size) -> None:
    """Loss, tasks' values and gradient against float64: losses, dtypes, shapes, reductions."""
    shapes = [(1, 1, 1), (7, 5, 9), (341, 3, 5), (5, 2048, 2048), (3, 2500, 5001), (700, 6, 7)]
    if size.huge:
        shapes += [(size.long // 90, 85, 90), (11, 1 << 20, 1 << 20)]
    cases = itertools.product(shapes, PREDICTIONS, (SUM, MEAN, MEAN_WITH_SAMPLE_WEIGHT))
    for turn, ((rows, true, pred), dtype, reduction) in enumerate(cases):
        subjects = [RIDERS[(turn + k) % len(RIDERS)] for k in range((1, 3, 7)[turn % 3])]
        tasks = tasks_of(subjects, true, pred)
        offset = turn % 3
        y_true = labels(library, (rows, true), LABELS[turn % len(LABELS)], offset)
        y_pred = predictions(library, (rows, pred), dtype, "shares", offset)
        weight = torch.rand(rows, device=library.device).to(wide(dtype)) if turn % 2 else None
        if reduction == MEAN_WITH_SAMPLE_WEIGHT and weight is None:
            weight = torch.ones(rows, dtype=wide(dtype), device=library.device)
        call = columns(tasks, y_true, y_pred, reduction, weight)
        arguments = (subjects, tasks, y_true, y_pred.clone(), reduction, weight)

        def expected(upstream: Tensor | None, arguments: tuple = arguments) -> Truth:
            return truth(*arguments, upstream)

        wide_bounds = (1e-11, 1e-11)
        bounds = wide_bounds if dtype == torch.float64 else (4e-6, GRADIENT_BOUNDS[dtype])
        what = f"{[s.name for s in subjects]} {dtype} {(rows, true, pred)} {reduction}"
        require_truth(library, "columns", call, y_pred, expected, bounds, what, offset)


def example(library: Library, rows: int, dtype: torch.dtype) -> tuple[list[Range], Tensor, Tensor]:
    tasks = tasks_of(RIDERS[:4], 33, 33)
    y_true = labels(library, (rows, 33), torch.uint8, 0)
    return tasks, y_true, predictions(library, (rows, 33), dtype, "shares", 0)


def check_columns_determinism(library: Library, size: Size) -> None:
    """The same bits in every run."""
    for dtype in PREDICTIONS:
        tasks, y_true, y_pred = example(library, size.long // 33, dtype)
        call = columns(tasks, y_true, y_pred)
        require_same_bits(library, "columns", call, y_pred, size.runs)


def check_columns_graph(library: Library, size: Size) -> None:
    """A CUDA graph replays a call."""
    if library.device == "cpu" or "PYTORCH_NO_CUDA_MEMORY_CACHING" in os.environ:
        raise SkippedError("PyTorch captures graphs on a GPU, with its own memory pool")
    tasks, y_true, y_pred = example(library, 1000, torch.float32)
    weight = torch.rand(1000, device=library.device)
    call = columns(tasks, y_true, y_pred, MEAN_WITH_SAMPLE_WEIGHT, weight)
    require_capture(library, "columns", call, y_pred)


def check_columns_beyond_32_bits(library: Library, size: Size) -> None:
    """More than 2^31 predictions; columns outside of any range have no gradient."""
    if not size.huge:
        raise SkippedError("takes 11 GB, and is for the full size")
    rows, width = (1 << 25) + 7, 65
    y_true = torch.zeros((rows, width), dtype=torch.uint8, device=library.device)
    y_pred = torch.zeros((rows, width), dtype=torch.bfloat16, device=library.device)
    y_pred[-1, 63], y_pred[-1, 64], y_pred[0, 1] = 3.0, 5.0, 2.0
    tasks = [
        Range(Term("mean_squared_error"), 1, 1, 63),
        Range(Term("mean_absolute_error"), 0, 0, 2),
    ]
    loss = torch.empty((), device=library.device)
    gradient = torch.empty_like(y_pred)
    library.forward("columns", columns(tasks, y_true, y_pred, SUM), loss, None, gradient)
    expected = (9 + 4) / 63 + 2 / 2
    assert abs(float(loss) / expected - 1) < 1e-6, f"the sum is {float(loss)}"
    assert abs(float(gradient[-1, 63]) / (6 / 63) - 1) < 2**-8, "the last slope"
    assert abs(float(gradient[0, 1]) / (4 / 63 + 1 / 2) - 1) < 2**-8, "slopes that add up"
    assert sum(int(torch.count_nonzero(part)) for part in gradient.chunk(64)) == 2
    library.check_guards()


CHECKS = (
    check_columns,
    check_columns_determinism,
    check_columns_graph,
    check_columns_beyond_32_bits,
)
