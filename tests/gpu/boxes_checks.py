"""What must hold of the losses between boxes on a GPU."""

from __future__ import annotations

import itertools
import math
import os

import torch
from calls import Truth, boxes, require_capture, require_same_bits, require_truth
from checks import GRADIENT_BOUNDS, PREDICTIONS, Size, SkippedError, as_float64, view_of
from library import MEAN, MEAN_WITH_SAMPLE_WEIGHT, NONE, SUM, Library, Term, wide
from torch import Tensor

EPSILON = 1e-7
LOSSES = ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou")


def formula(loss: str, t: Tensor, p: Tensor, centred: bool) -> Tensor:
    """The loss of each pair, `(boxes,)`, of boxes whose ends are in order and do not meet."""
    if centred:
        t, p = (torch.cat([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], 1) for b in (t, p))
    size, label_size = p[:, 2:] - p[:, :2], t[:, 2:] - t[:, :2]
    overlap = torch.minimum(p[:, 2:], t[:, 2:]) - torch.maximum(p[:, :2], t[:, :2])
    hull = torch.maximum(p[:, 2:], t[:, 2:]) - torch.minimum(p[:, :2], t[:, :2])
    both = overlap.clamp(min=0).prod(1)
    union = size.prod(1) + label_size.prod(1) - both
    value = 1 - both / union
    if loss == "generalized_box_iou":
        return value + 1 - union / hull.prod(1)
    if loss == "box_iou":
        return value
    shift = ((p[:, :2] - t[:, :2]) + (p[:, 2:] - t[:, 2:])) / 2
    distance = (shift**2).sum(1) / (hull**2).sum(1)
    if loss == "distance_box_iou":
        return value + distance
    angle = torch.atan(label_size[:, 0] / label_size[:, 1]) - torch.atan(size[:, 0] / size[:, 1])
    v = 4 / math.pi**2 * angle**2
    return value + distance + (v / (value + v)).detach() * v


def truth(
    loss: str,
    y_true: Tensor,
    y_pred: Tensor,
    centred: bool,
    reduction: int,
    weight: Tensor | None,
    upstream: Tensor | None,
) -> Truth:
    p = y_pred.double().requires_grad_()
    count = len(p)
    each = formula(loss, as_float64(y_true), p, centred)
    by_box = torch.ones_like(each) if weight is None else weight.double()
    each = each * by_box
    counted = reduction == MEAN_WITH_SAMPLE_WEIGHT
    divisor = float(by_box.sum()) if counted else count if reduction == MEAN else 1.0
    total = each if reduction == NONE else each.sum() / divisor if divisor else 0 * each.sum()
    above = torch.ones_like(total) if upstream is None else upstream.double()
    (gradient,) = torch.autograd.grad(total, p, above)
    return Truth(total.detach(), gradient)


def random_boxes(library: Library, count: int, dtype: torch.dtype, centred: bool) -> Tensor:
    low = torch.rand((count, 2), dtype=torch.float64, device=library.device)
    size = torch.rand((count, 2), dtype=torch.float64, device=library.device) * 0.6 + 0.4
    made = torch.cat([low, size if centred else low + size], 1)
    return made.to(dtype)


def check_boxes(library: Library, size: Size) -> None:
    """Loss and gradient against float64: all losses, formats, dtypes and reductions."""
    counts = (0, 1, 255, 256, 1001, size.long // 8)
    cases = itertools.product(
        LOSSES, PREDICTIONS, (False, True), (SUM, MEAN_WITH_SAMPLE_WEIGHT, NONE)
    )
    for turn, (loss, dtype, centred, reduction) in enumerate(cases):
        count, offset = counts[turn % len(counts)], turn % 5
        y_pred = view_of(random_boxes(library, count, dtype, centred), offset)
        # Numbers that no prediction of fewer digits equals: where ends meet, slopes are a choice.
        y_true = view_of(random_boxes(library, count, torch.float32, centred), (offset + 1) % 3)
        weight = None
        if turn % 2 or reduction == MEAN_WITH_SAMPLE_WEIGHT:
            weight = torch.rand(count, device=library.device).to(wide(dtype))
        call = boxes(Term(loss, (EPSILON,)), y_true, y_pred, reduction, weight, centred=centred)
        original = y_pred.clone()

        def expected(
            upstream: Tensor | None,
            loss: str = loss,
            y_true: Tensor = y_true,
            original: Tensor = original,
            centred: bool = centred,
            reduction: int = reduction,
            weight: Tensor | None = weight,
        ) -> Truth:
            return truth(loss, y_true, original, centred, reduction, weight, upstream)

        bounds = (
            (1e-10, 1e-9) if dtype == torch.float64 else (1e-5, max(2e-5, GRADIENT_BOUNDS[dtype]))
        )
        what = f"{loss} {dtype} {'centred' if centred else 'corners'} {reduction} {count}"
        require_truth(library, "boxes", call, y_pred, expected, bounds, what, offset)


def check_boxes_of_labels(library: Library, size: Size) -> None:
    """Labels of every dtype are the numbers that they are."""
    corners = torch.randint(0, 4, (301, 2), device=library.device)
    label = torch.cat([corners, corners + torch.randint(1, 4, (301, 2), device=library.device)], 1)
    y_pred = random_boxes(library, 301, torch.float32, False) * 3
    losses = []
    for dtype in (
        torch.float32,
        torch.float64,
        torch.bfloat16,
        torch.uint8,
        torch.int16,
        torch.int64,
    ):
        y_true = label.to(dtype)
        loss = library.output((301,), torch.float32)
        call = boxes(Term("complete_box_iou", (EPSILON,)), y_true, y_pred, NONE)
        library.forward("boxes", call, loss, None)
        losses.append(loss)
    assert all(torch.equal(loss, losses[0]) for loss in losses[1:]), "a dtype changes the loss"
    library.check_guards()


def example(library: Library, count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return (
        random_boxes(library, count, torch.float32, False),
        random_boxes(library, count, dtype, False),
    )


def check_boxes_determinism(library: Library, size: Size) -> None:
    """The same bits in every run."""
    for dtype in PREDICTIONS:
        y_true, y_pred = example(library, size.long // 16, dtype)
        call = boxes(Term("complete_box_iou", (EPSILON,)), y_true, y_pred)
        require_same_bits(library, "boxes", call, y_pred, size.runs)


def check_boxes_graph(library: Library, size: Size) -> None:
    """A CUDA graph replays a call."""
    if library.device == "cpu" or "PYTORCH_NO_CUDA_MEMORY_CACHING" in os.environ:
        raise SkippedError("PyTorch captures graphs on a GPU, with its own memory pool")
    y_true, y_pred = example(library, 10001, torch.float32)
    weight = torch.rand(10001, device=library.device)
    call = boxes(Term("box_iou", (EPSILON,)), y_true, y_pred, MEAN_WITH_SAMPLE_WEIGHT, weight)
    require_capture(library, "boxes", call, y_pred)


def check_boxes_beyond_32_bits(library: Library, size: Size) -> None:
    """More than 2^31 coordinates."""
    if not size.huge:
        raise SkippedError("takes 11 GB, and is for the full size")
    count = (1 << 29) + 1001
    box = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.bfloat16, device=library.device)
    y_pred = box.repeat(count, 1)
    y_true = box.to(torch.uint8).repeat(count, 1)
    y_pred[-1] = box * 2
    gradient = torch.empty_like(y_pred)
    loss = torch.empty((), device=library.device)
    call = boxes(Term("box_iou", (EPSILON,)), y_true, y_pred, SUM)
    library.forward("boxes", call, loss, gradient)
    assert abs(float(loss) - 0.75) < 1e-6, f"the sum is {float(loss)}"
    # An area of 4 of which 1 is common: each of the high ends makes the union grow by 2.
    slopes = gradient[-1].float().cpu()
    assert torch.allclose(slopes[2:], torch.full((2,), 0.125)), f"the last slopes are {slopes}"
    library.check_guards()


CHECKS = (
    check_boxes,
    check_boxes_of_labels,
    check_boxes_determinism,
    check_boxes_graph,
    check_boxes_beyond_32_bits,
)
