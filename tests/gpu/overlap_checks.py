"""What must hold of the overlap losses on a GPU."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence

import torch
from calls import Regions, Truth, overlap, require_capture, require_same_bits, require_truth
from checks import GRADIENT_BOUNDS, PREDICTIONS, Size, SkippedError, as_float64, same_bits, view_of
from formulas import binary_crossentropy_from_logits, mean_squared_error
from library import MEAN, MEAN_WITH_SAMPLE_WEIGHT, NONE, SUM, Library, Term, wide
from torch import Tensor

SIGMOID, SOFTMAX = 1, 2
SMOOTH = (0.25, 0.5)
LOSSES = (
    Term("dice", SMOOTH),
    Term("tversky", (0.7, 0.3, *SMOOTH)),
    Term("jaccard", SMOOTH),
    Term("focal_tversky", (0.7, 0.3, 0.75, *SMOOTH)),
    Term("log_cosh_dice", SMOOTH),
    Term("generalized_dice", (2.0, *SMOOTH)),
)
MASKS = (torch.uint8, torch.int32, torch.int64, torch.int16, torch.float32)
LABELS = (torch.float32, torch.uint8, torch.bfloat16, torch.bool, torch.float64)


# ---- The formulas.


def _over(numerator: Tensor, denominator: Tensor, smooth: Sequence[float]) -> Tensor:
    return 1 - (numerator + smooth[0]) / (denominator + smooth[1])


def _tversky(
    hit: Tensor, p: Tensor, t: Tensor, alpha: float, beta: float, *smooth: float
) -> Tensor:
    return _over(hit, hit + alpha * (t - hit) + beta * (p - hit), smooth)


def _dice(hit: Tensor, p: Tensor, t: Tensor, *smooth: float) -> Tensor:
    return _over(2 * hit, p + t, smooth)


def _jaccard(hit: Tensor, p: Tensor, t: Tensor, *smooth: float) -> Tensor:
    return _over(hit, p + t - hit, smooth)


def _focal_tversky(
    hit: Tensor, p: Tensor, t: Tensor, alpha: float, beta: float, gamma: float, *smooth: float
) -> Tensor:
    loss = _tversky(hit, p, t, alpha, beta, *smooth)
    # Regions that meet, as those of ignored positions do, have no slope.
    safe = torch.where(loss > 0, loss, torch.ones_like(loss))
    return torch.where(loss > 0, safe**gamma, torch.zeros_like(loss))


def _log_cosh_dice(hit: Tensor, p: Tensor, t: Tensor, *smooth: float) -> Tensor:
    return _dice(hit, p, t, *smooth).cosh().log()


ALONE: dict[str, Callable[..., Tensor]] = {
    "dice": _dice,
    "tversky": _tversky,
    "jaccard": _jaccard,
    "focal_tversky": _focal_tversky,
    "log_cosh_dice": _log_cosh_dice,
}


def generalized_dice(
    hit: Tensor, p: Tensor, t: Tensor, weight: Tensor | None, power: float, *smooth: float
) -> Tensor:
    """Of all classes, the last dimension."""
    present = torch.where(t > 0, t.clamp(min=1e-30) ** -power, torch.zeros_like(t))
    largest = present.amax(-1, keepdim=True)
    of_class = torch.where(t > 0, present, torch.where(largest > 0, largest, torch.ones_like(t)))
    if weight is not None:
        of_class = of_class * weight
    return _over(2 * (of_class * hit).sum(-1), (of_class * (p + t)).sum(-1), smooth)


def _rows(name: str, parameters: Sequence[float], t: Tensor, x: Tensor) -> Tensor:
    """A fused_term after a softmax, of each position; classes are dimension 2."""
    log_p = torch.log_softmax(x, 2)
    if "generalized" in name:
        (q,) = parameters
        each = -torch.expm1(q * log_p) / q
    elif "focal" in name:
        alpha, gamma = parameters
        each = -alpha * (1 - log_p.exp()) ** gamma * log_p
    else:
        each = -log_p
    return (t * each).sum(2)


def _companion(
    term: Term, t: Tensor, x: Tensor, counted: Tensor, options: Regions, reduction: int
) -> Tensor:
    if options.activation == SOFTMAX:
        # Selected before: positions that do not count may hold anything.
        safe = torch.where(counted, x, torch.zeros_like(x))
        each = _rows(term.loss, term.parameters, t, safe) * counted.squeeze(2)
        count = float(counted.sum())
    else:
        formula = {f.__name__: f for f in (mean_squared_error, binary_crossentropy_from_logits)}
        each = formula[term.loss](t, x, *term.parameters)
        count = float(x.numel())
    divisor = count if reduction == MEAN else 1.0
    return each.sum() / divisor if divisor else 0 * each.sum()


def one_hot(label: Tensor, classes: int) -> Tensor:
    """`(outer, above, inner)` to `(outer, above, classes, inner)`."""
    rows = torch.nn.functional.one_hot(label.clamp(0, classes - 1), classes)
    return rows.permute(0, 1, 3, 2).double()


def truth(
    loss: Term,
    y_true: Tensor,
    y_pred: Tensor,
    options: Regions,
    reduction: int,
    weight: Tensor | None,
    class_weight: Tensor | None,
    fused_terms: Sequence[Term],
    upstream: Tensor | None,
) -> Truth:
    leaf = y_pred.double().requires_grad_()
    counted = torch.ones_like(leaf[:, :, :1], dtype=torch.bool)
    if options.sparse:
        label = y_true.to(torch.int64)
        t = one_hot(label, leaf.shape[2])
        if options.ignore_class is not None:
            counted = (label != options.ignore_class).unsqueeze(2)
    else:
        t = as_float64(y_true)
        if options.ignore_class is not None:
            others = torch.arange(t.shape[2], device=t.device) != options.ignore_class
            counted = (t * others.view(-1, 1) != 0).any(2, keepdim=True)
    t = t * counted
    p = torch.where(counted, leaf, torch.zeros_like(leaf))
    if options.activation == SIGMOID:
        p = p.sigmoid()
    elif options.activation == SOFTMAX:
        p = torch.softmax(p, 2)
    p = p * counted
    over = (1, 3) if options.per_outer else (0, 1, 3)
    sums = [
        x.sum(over).view(-1, leaf.shape[2])
        for x in (t * p, p**2 if options.squared else p, t**2 if options.squared else t)
    ]
    weights = None if class_weight is None else class_weight.double()
    if options.skip_background:
        sums = [x[:, 1:] for x in sums]
        weights = None if weights is None else weights[1:]
    if loss.loss == "generalized_dice":
        groups = generalized_dice(*sums, weights, *loss.parameters)
    elif options.per_class:
        groups = ALONE[loss.loss](*sums, *loss.parameters)
        groups = (groups if weights is None else groups * weights).reshape(-1)
    else:
        groups = ALONE[loss.loss](*(x.sum(1) for x in sums), *loss.parameters)
    of_group = torch.ones_like(groups) if weight is None else weight.double()
    groups = groups * of_group
    counts = reduction == MEAN_WITH_SAMPLE_WEIGHT
    divisor = float(of_group.sum()) if counts else len(groups) if reduction == MEAN else 1.0
    values = [groups if reduction == NONE else groups.sum() / divisor]
    values += [_companion(c, t, leaf, counted, options, reduction) for c in fused_terms]
    total = values[0] * (loss.factor if fused_terms else 1.0)
    for fused_term, value in zip(fused_terms, values[1:], strict=True):
        total = total + fused_term.factor * value
    above = torch.ones_like(total) if upstream is None else upstream.double()
    (gradient,) = torch.autograd.grad(total, leaf, above)
    # What does not count passes NaN on to its own slope.
    gradient = torch.where(counted, gradient, torch.zeros_like(gradient))
    stacked = torch.stack([v.detach().reshape(-1)[0] for v in values])
    return Truth(total.detach(), gradient, stacked)


# ---- The checks.


def companions_of(options: Regions, turn: int) -> tuple[Term, ...]:
    if turn % 3 == 2:
        return ()
    if options.activation == SOFTMAX:
        kind = "sparse_" if options.sparse else ""
        terms: tuple[Term, ...] = (
            Term(f"{kind}categorical_crossentropy_from_logits", (), 0.5),
            Term(f"{kind}categorical_focal_crossentropy_from_logits", (0.25, 2.0), 2.0),
        )
        if options.sparse:
            terms += (Term("categorical_generalized_cross_entropy_from_logits", (0.7,)),)
    elif options.sparse or options.ignore_class is not None:
        return ()
    else:
        terms = (
            Term("mean_squared_error", (), 0.5),
            Term("binary_crossentropy_from_logits", (0.1,), 2.0),
        )
    return terms if turn % 3 else terms[:1]


def labels_of(
    library: Library, shape: tuple[int, ...], options: Regions, turn: int, offset: int
) -> Tensor:
    outer, above, classes, inner = shape
    if options.sparse:
        dtype = MASKS[turn % len(MASKS)]
        # uint8 ends at 255.
        dtype = torch.int32 if classes > 255 and dtype == torch.uint8 else dtype
        label = torch.randint(0, classes, (outer, above, inner), device=library.device)
        return view_of(label.to(dtype), offset)
    hard = torch.rand(shape, device=library.device) < 0.3
    return view_of(hard.to(LABELS[turn % len(LABELS)]), offset)


def check_overlap(library: Library, size: Size) -> None:
    """Loss, terms and gradient against float64: losses, options, layouts, dtypes."""
    shapes = [
        *((1, 1, 1, 1), (2, 33, 3, 1), (2, 3, 5, 17), (1, 300, 19, 1), (2, 5, 129, 4)),
        *((1, 9, 257, 1), (1, 3, 300, 8), (2, 2500, 1, 1), (3, 600, 4, 1)),
    ]
    if size.huge:
        shapes += [(4, 96**3 // 8, 14, 1), (2, 1, 19, 512 * 512 + 1), (2, 3, 5000, 7)]
        shapes += [(5000, 40, 3, 1), (3, 1 << 20, 1, 1)]
    for turn, (shape, dtype, option) in enumerate(
        itertools.product(shapes, PREDICTIONS, range(0, 96, 1 if size.huge else 7))
    ):
        loss = LOSSES[turn % len(LOSSES)]
        options = Regions(
            # The softmax of one class is 1 whatever it is of: errors would have nothing to be
            # compared to.
            activation=option % 3 if shape[2] > 1 else option % 2,
            sparse=bool(option // 3 % 2),
            per_outer=bool(option // 6 % 2),
            per_class=bool(option // 12 % 2) and loss.loss != "generalized_dice",
            squared=bool(option // 24 % 2),
            skip_background=bool(option // 48 % 2) and shape[2] > 1,
            ignore_class=1 if turn % 4 == 3 else None,
        )
        fused_terms = companions_of(options, turn)
        reduction = (SUM, MEAN)[turn % 2]
        kept = shape[2] - options.skip_background
        groups = (shape[0] if options.per_outer else 1) * (kept if options.per_class else 1)
        weight = class_weight = None
        if not fused_terms:
            reduction = (SUM, MEAN_WITH_SAMPLE_WEIGHT, NONE)[turn % 3]
            weight = torch.rand(groups, device=library.device).to(wide(dtype)) + 0.1
        if options.per_class or loss.loss == "generalized_dice":
            class_weight = torch.rand(shape[2], device=library.device).to(wide(dtype)) + 0.5
        offset = turn % 3
        y_true = labels_of(library, shape, options, turn, offset)
        x = torch.randn(shape, dtype=torch.float64, device=library.device)
        x = x.sigmoid() if options.activation == 0 else 2 * x
        y_pred = view_of(x.to(dtype), offset)
        call = overlap(
            loss._replace(factor=0.75),
            y_true,
            y_pred,
            options,
            reduction,
            weight,
            class_weight,
            fused_terms,
        )
        given = (loss._replace(factor=0.75), y_true, y_pred.clone(), options, reduction, weight)
        given += (class_weight, fused_terms)

        def expected(upstream: Tensor | None, given: tuple = given) -> Truth:
            return truth(*given, upstream)

        what = f"{loss.loss} {dtype} {shape} {options} {reduction} {fused_terms}"
        bounds = (1e-5, max(2e-5, GRADIENT_BOUNDS[dtype]))
        if dtype == torch.float64:
            bounds = (1e-9, 1e-9)
        require_truth(library, "overlap", call, y_pred, expected, bounds, what, offset)


def check_overlap_extremes(library: Library, size: Size) -> None:
    """Large logits, positions that do not count and hold NaN, labels that are no class."""
    shape = (3, 50, 4, 1)
    options = Regions(SOFTMAX, per_outer=True, sparse=True, ignore_class=-1)
    fused_terms = (Term("sparse_categorical_crossentropy_from_logits", (), 0.5),)
    loss = LOSSES[0]
    for dtype in (torch.float32, torch.float64):
        label = torch.randint(0, 4, (3, 50, 1), device=library.device)
        y_pred = torch.randn(shape, device=library.device).to(dtype) + 1e5
        y_pred[0, 7], label[0, 7] = torch.nan, -1
        y_pred[1, 9, 2], label[1, 9] = torch.inf, -1
        call = overlap(loss, label, y_pred, options, fused_terms=fused_terms)
        given = (loss, label, y_pred.clone(), options, MEAN, None, None, fused_terms)
        bounds = (1e-9, 1e-9) if dtype == torch.float64 else (1e-5, 2e-5)
        require_truth(
            library, "overlap", call, y_pred, lambda u, g=given: truth(*g, u), bounds, "extremes"
        )
    for wrong in (-2, 4, 1 << 40):
        label = torch.randint(0, 4, (3, 50, 1), device=library.device)
        y_pred = torch.randn(shape, device=library.device)
        upstream = torch.rand(3, device=library.device)
        seen = []
        for broken in (False, True):
            if broken:
                label[1, 20] = wrong
            each = library.output((3,), torch.float32)
            gradient = library.output(shape, torch.float32)
            call = overlap(loss, label, y_pred, options, NONE)
            library.forward("overlap", call, each, None, None)
            library.backward("overlap", call, upstream, gradient)
            seen.append((each, gradient))
        (good, good_gradient), (each, gradient) = seen
        assert bool(each[1].isnan()), f"label {wrong} is no class, and the loss hides it"
        assert bool(gradient[1].isnan().all()), f"label {wrong} is no class, and slopes hide it"
        for k in (0, 2):
            assert same_bits(each[k], good[k]), "a wrong label changes another image's loss"
            assert same_bits(gradient[k], good_gradient[k]), "or its gradient"
    library.check_guards()


def check_overlap_alignment(library: Library, size: Size) -> None:
    """Where arrays begin changes no bit."""
    for dtype, shape in itertools.product(PREDICTIONS, ((2, 77, 5, 1), (2, 3, 5, 24))):
        options = Regions(SOFTMAX, per_class=True)
        y_true = labels_of(library, shape, options, 0, 0)
        y_pred = torch.randn(shape, device=library.device).to(dtype)
        seen = []
        for offset in range(9):
            moved = view_of(y_true, (offset + 1) // 2), view_of(y_pred, offset)
            loss = library.output((), wide(dtype))
            gradient = library.output(shape, dtype, offset)
            library.forward("overlap", overlap(LOSSES[0], *moved, options), loss, None, gradient)
            seen.append((loss, gradient))
        for loss, gradient in seen[1:]:
            assert same_bits(loss, seen[0][0]), f"{dtype}: an offset changes the loss"
            assert same_bits(gradient, seen[0][1]), f"{dtype}: an offset changes the gradient"
    library.check_guards()


def example(
    library: Library, positions: int, dtype: torch.dtype, options: Regions
) -> tuple[Tensor, Tensor, tuple[Term, ...]]:
    shape = (2, positions, 14, 1)
    y_true = labels_of(library, shape, options, 0, 0)
    y_pred = torch.randn(shape, device=library.device).to(dtype)
    return y_true, y_pred, companions_of(options, 1)


def check_overlap_determinism(library: Library, size: Size) -> None:
    """The same bits in every run."""
    for dtype, sparse, activation in itertools.product(
        PREDICTIONS, (False, True), (SIGMOID, SOFTMAX)
    ):
        options = Regions(activation, per_outer=True, sparse=sparse)
        y_true, y_pred, fused_terms = example(library, size.long // 28, dtype, options)
        call = overlap(LOSSES[0], y_true, y_pred, options, fused_terms=fused_terms)
        require_same_bits(library, "overlap", call, y_pred, size.runs)


def check_overlap_graph(library: Library, size: Size) -> None:
    """A CUDA graph replays a call."""
    if library.device == "cpu" or "PYTORCH_NO_CUDA_MEMORY_CACHING" in os.environ:
        raise SkippedError("PyTorch captures graphs on a GPU, with its own memory pool")
    options = Regions(SOFTMAX, per_outer=True, sparse=True)
    y_true, y_pred, fused_terms = example(library, 10001, torch.float32, options)
    call = overlap(LOSSES[0], y_true, y_pred, options, fused_terms=fused_terms)
    require_capture(library, "overlap", call, y_pred)


def check_overlap_beyond_32_bits(library: Library, size: Size) -> None:
    """More than 2^31 predictions."""
    if not size.huge:
        raise SkippedError("takes 9 GB, and is for the full size")
    positions, classes = (1 << 28) + 9, 8
    for sparse in (True, False):
        shape = (1, positions, classes, 1)
        y_pred = torch.zeros(shape, dtype=torch.bfloat16, device=library.device)
        y_true = torch.zeros(
            (*shape[:2], 1) if sparse else shape, dtype=torch.uint8, device=library.device
        )
        if sparse:
            y_true[0, -1] = 7
        else:
            y_true[0, :, 0], y_true[0, -1, 0], y_true[0, -1, 7] = 1, 0, 1
        options = Regions(SOFTMAX, per_class=True, sparse=sparse)
        loss = torch.empty(classes, device=library.device)
        call = overlap(Term("dice", (0.0, 0.0)), y_true, y_pred, options, NONE)
        library.forward("overlap", call, loss, None, None)
        # Each share is an eighth: hits of class 0 and 7, and the sizes of both regions.
        expected = torch.ones(classes, dtype=torch.float64)
        expected[0] = 1 - 2 * (positions - 1) / 8 / (positions / 8 + positions - 1)
        expected[7] = 1 - 2 / 8 / (positions / 8 + 1)
        assert torch.allclose(loss.double().cpu(), expected, rtol=1e-6), f"the losses are {loss}"
        gradient = torch.empty_like(y_pred)
        total = torch.empty((), device=library.device)
        call = overlap(Term("dice", (0.0, 0.0)), y_true, y_pred, options, SUM)
        library.forward("overlap", call, total, None, gradient)
        assert not torch.equal(gradient[0, -1], gradient[0, -2]), "the last slopes"
        assert torch.equal(gradient[0, 0], gradient[0, -2]), "slopes of equal positions"
        del y_pred, y_true, gradient
    library.check_guards()


CHECKS = (
    check_overlap,
    check_overlap_extremes,
    check_overlap_alignment,
    check_overlap_determinism,
    check_overlap_graph,
    check_overlap_beyond_32_bits,
)
