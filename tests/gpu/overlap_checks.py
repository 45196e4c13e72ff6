"""What must hold of the overlap losses on a GPU."""

from __future__ import annotations

import itertools
import os

import torch
from calls import Regions, Truth, overlap, require_capture, require_same_bits, require_truth
from checks import GRADIENT_BOUNDS, PREDICTIONS, Size, SkippedError, same_bits, view_of
from library import MEAN, MEAN_WITH_SAMPLE_WEIGHT, NONE, SUM, Library, Term, wide
from overlap_formulas import SIGMOID, SOFTMAX, truth
from torch import Tensor

SMOOTH = (0.25, 0.5)
LOSSES = (
    Term("dice", SMOOTH),
    Term("tversky", (0.7, 0.3, *SMOOTH)),
    Term("jaccard", SMOOTH),
    Term("focal_tversky", (0.7, 0.3, 0.75, *SMOOTH)),
    Term("log_cosh_dice", SMOOTH),
    Term("matthews", SMOOTH),
    Term("generalized_dice", (2.0, *SMOOTH)),
)
MASKS = (torch.uint8, torch.int32, torch.int64, torch.int16, torch.float32)
LABELS = (torch.float32, torch.uint8, torch.bfloat16, torch.bool, torch.float64)


def fusable_terms_of(options: Regions, turn: int) -> tuple[Term, ...]:
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
        # uint8 cannot hold more classes.
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
            # The softmax of one class is always 1: no error is relative to a gradient of 0.
            activation=option % 3 if shape[2] > 1 else option % 2,
            sparse=bool(option // 3 % 2),
            per_outer=bool(option // 6 % 2),
            per_class=bool(option // 12 % 2) and loss.loss != "generalized_dice",
            squared=bool(option // 24 % 2),
            skip_background=bool(option // 48 % 2) and shape[2] > 1,
            ignore_class=1 if turn % 4 == 3 else None,
        )
        fused_terms = fusable_terms_of(options, turn)
        reduction = (SUM, MEAN)[turn % 2]
        classes = shape[2] - options.skip_background
        groups = (shape[0] if options.per_outer else 1) * (classes if options.per_class else 1)
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
        arguments = (loss._replace(factor=0.75), y_true, y_pred.clone(), options, reduction, weight)
        arguments += (class_weight, fused_terms)

        def expected(upstream: Tensor | None, arguments: tuple = arguments) -> Truth:
            return truth(*arguments, upstream)

        what = f"{loss.loss} {dtype} {shape} {options} {reduction} {fused_terms}"
        bounds = (1e-5, max(2e-5, GRADIENT_BOUNDS[dtype]))
        if dtype == torch.float64:
            bounds = (1e-9, 1e-9)
        require_truth(library, "overlap", call, y_pred, expected, bounds, what, offset)


def check_overlap_extremes(library: Library, size: Size) -> None:
    """Large logits, ignored positions that hold NaN, labels that are not classes."""
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
        arguments = (loss, label, y_pred.clone(), options, MEAN, None, None, fused_terms)
        bounds = (1e-9, 1e-9) if dtype == torch.float64 else (1e-5, 2e-5)
        require_truth(
            library,
            "overlap",
            call,
            y_pred,
            lambda u, g=arguments: truth(*g, u),
            bounds,
            "extremes",
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
        assert bool(each[1].isnan()), f"the loss hides the label {wrong}"
        assert bool(gradient[1].isnan().all()), f"the gradient hides the label {wrong}"
        for k in (0, 2):
            assert same_bits(each[k], good[k]), "a wrong label changes another image's loss"
            assert same_bits(gradient[k], good_gradient[k]), "or its gradient"
    library.check_guards()


def check_overlap_alignment(library: Library, size: Size) -> None:
    """The alignment of arrays changes no bit."""
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
            assert same_bits(loss, seen[0][0]), f"{dtype}: alignment changes the loss"
            assert same_bits(gradient, seen[0][1]), f"{dtype}: alignment changes the gradient"
    library.check_guards()


def example(
    library: Library, positions: int, dtype: torch.dtype, options: Regions
) -> tuple[Tensor, Tensor, tuple[Term, ...]]:
    shape = (2, positions, 14, 1)
    y_true = labels_of(library, shape, options, 0, 0)
    y_pred = torch.randn(shape, device=library.device).to(dtype)
    return y_true, y_pred, fusable_terms_of(options, 1)


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
        # Each probability is an eighth: hits of class 0 and 7, and the sizes of both regions.
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
