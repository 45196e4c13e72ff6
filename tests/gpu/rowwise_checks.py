"""What must hold of the rowwise losses on a GPU."""

from __future__ import annotations

import itertools
import os
import random

import torch
from calls import Rows, Truth, require_capture, require_same_bits, require_truth, rowwise
from checks import (
    GRADIENT_BOUNDS,
    LABELS,
    PREDICTIONS,
    UNSIGNED,
    Size,
    SkippedError,
    require_close,
    same_bits,
    view_of,
)
from library import MEAN, MEAN_WITH_SAMPLE_WEIGHT, NONE, SUM, Library, Term, wide
from rowwise_formulas import SUBJECTS, RowSubject, one_hot, scale_logits, truth
from torch import Tensor

# Every dtype of labels holds so many.
MOST_CLASSES = 127
# (outer, classes, inner), on both sides of every border between the kernels.
SHAPES = (
    *((5, 2, 1), (300, 3, 1), (41, 10, 1), (33, 65, 1), (9, 256, 1), (9, 257, 1)),
    *((3, 1024, 1), (2, 1025, 1), (3, 2049, 1), (2, 4097, 1), (1, 8193, 1), (1, 16387, 1)),
    *((2, 5, 7), (1, 300, 2), (3, 20, 33), (2, 3, 301), (0, 3, 1)),
)
LONG = ((100003, 10, 1), (8, 131072, 1), (3, 262145, 1), (2, 1 << 20, 1), (4, 14, 96**3 // 8))


def labels_of(
    library: Library, subject: RowSubject, shape: tuple[int, int, int], turn: int, offset: int
) -> Tensor:
    outer, classes, inner = shape
    dtype = LABELS[turn % len(LABELS)]
    signed = UNSIGNED.get(dtype, dtype)
    if subject.sparse:
        most = 2 if dtype == torch.bool else MOST_CLASSES
        label = torch.randint(0, min(classes, most), (outer, inner), device=library.device)
    elif dtype.is_floating_point:
        label = torch.rand(shape, device=library.device) * 0.75 + 0.25
    else:
        label = torch.randint(0, 2, shape, device=library.device)
    return view_of(label.to(signed), offset).view(dtype)


def predictions_of(
    library: Library, subject: RowSubject, shape: tuple[int, int, int], dtype: torch.dtype
) -> Tensor:
    if subject.logits:
        x = torch.randn(shape, dtype=torch.float64, device=library.device) * 2
    else:
        x = torch.rand(shape, dtype=torch.float64, device=library.device) * 0.5 + 0.25
    return x.to(dtype)


def bounds_of(dtype: torch.dtype) -> tuple[float, float]:
    return (1e-10, 1e-9) if dtype == torch.float64 else (1e-5, max(2e-5, GRADIENT_BOUNDS[dtype]))


def options_of(subject: RowSubject, draw: random.Random) -> Rows:
    def sometimes(number: float, otherwise: float = 0.0) -> float:
        return draw.choice((number, otherwise))

    return Rows(
        label_smoothing=sometimes(0.1) if subject.smooths else 0.0,
        temperature=sometimes(2.0, 1.0) if subject.logits else 1.0,
        logit_softcap=sometimes(3.0) if subject.logits else 0.0,
        z_loss=sometimes(0.01) if subject.logits else 0.0,
        ignore_class=draw.choice((1, None)) if not subject.labels_are_logits else None,
    )


def check_rowwise(library: Library, size: Size) -> None:
    """Loss and gradient against float64: losses, options, layouts, dtypes."""
    shapes = (*SHAPES, *LONG) if size.huge else SHAPES
    draw = random.Random(7)
    for turn, (subject, dtype, _) in enumerate(
        itertools.product(SUBJECTS, PREDICTIONS, range(len(shapes) if size.huge else 4))
    ):
        shape = shapes[turn % len(shapes)]
        options, offset = options_of(subject, draw), turn % 5
        reduction = draw.choice((SUM, MEAN, MEAN_WITH_SAMPLE_WEIGHT, NONE))
        weight = class_weight = None
        if draw.random() < 0.5 or reduction == MEAN_WITH_SAMPLE_WEIGHT:
            weight = torch.rand(shape[0] * shape[2], device=library.device).to(wide(dtype)) + 0.1
        if draw.random() < 0.5 and not subject.labels_are_logits:
            class_weight = torch.rand(shape[1], device=library.device).to(wide(dtype)) + 0.5
        y_true = labels_of(library, subject, shape, turn, (offset + 1) % 3)
        y_pred = view_of(predictions_of(library, subject, shape, dtype), offset)
        arguments = (subject, y_true, y_pred.clone(), options, reduction, weight, class_weight, 2)
        term = Term(subject.loss, subject.parameters)
        call = rowwise(term, y_true, y_pred, options, reduction, weight, class_weight, 2)

        def expected(upstream: Tensor | None, arguments: tuple = arguments) -> Truth:
            return truth(*arguments, upstream)

        what = f"{term} {dtype} {y_true.dtype} {shape} {options} {reduction}"
        require_truth(library, "rowwise", call, y_pred, expected, bounds_of(dtype), what, offset)


def check_rows_of_one_class(library: Library, size: Size) -> None:
    """The same where most losses and gradients are 0 but for rounding."""
    for subject, dtype in itertools.product(SUBJECTS, PREDICTIONS):
        shape = (1001, 1, 1)
        y_true = labels_of(library, subject, shape, 0, 0)
        y_pred = predictions_of(library, subject, shape, dtype)
        arguments = (y_true, y_pred, Rows(), SUM, None, None, 1)
        loss, gradient = library.output((), wide(dtype)), library.output(shape, dtype)
        call = rowwise(Term(subject.loss, subject.parameters), *arguments)
        library.forward("rowwise", call, loss, gradient, None, None)
        expected = truth(subject, *arguments, None)
        bounds = bounds_of(dtype)
        what = f"{subject.loss} {dtype}"
        assert abs(float(loss - expected.loss)) < 1001 * bounds[0], f"{what}: a loss of {loss}"
        assert bool(((gradient - expected.gradient).abs() < 4 * bounds[1]).all()), f"{what}: slopes"
    library.check_guards()


SPARSE = "sparse_categorical_crossentropy_from_logits"
ROW_LENGTHS = (3, 300, 2500, 20000)


def crossentropy(sparse: bool) -> RowSubject:
    name = SPARSE if sparse else "categorical_crossentropy_from_logits"
    return next(s for s in SUBJECTS if s.loss == name)


def each_row(
    library: Library, subject: RowSubject, y_true: Tensor, y_pred: Tensor, options: Rows
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Losses, gradients (upstream 1), log_sum_exp and hits of rows."""
    rows, accumulation = y_pred.shape[0] * y_pred.shape[2], wide(y_pred.dtype)
    loss, log_sum_exp = (library.output((rows,), accumulation) for _ in range(2))
    hit = library.output((rows,), torch.uint8)
    gradient = library.output(y_pred.shape, y_pred.dtype)
    upstream = torch.ones(rows, dtype=accumulation, device=library.device)
    call = rowwise(Term(subject.loss, subject.parameters), y_true, y_pred, options, NONE)
    library.forward("rowwise", call, loss, None, log_sum_exp, hit)
    library.backward("rowwise", call, upstream, gradient)
    library.check_guards()
    return loss, gradient, log_sum_exp, hit


def check_row_metrics(library: Library, size: Size) -> None:
    """log_sum_exp and hits: the first of the largest predictions, also of NaN and of ties."""
    for dtype, classes, inner, sparse in itertools.product(
        PREDICTIONS, ROW_LENGTHS, (1, 3), (False, True)
    ):
        if inner > 1 and classes > 300:
            continue
        subject, shape = crossentropy(sparse), (8, classes, inner)
        # Few different numbers, so that the largest is not alone.
        x = torch.randint(-4, 5, shape, device=library.device).to(dtype)
        x[3, 1] = torch.nan
        largest = x.nan_to_num(-100).argmax(1)
        hits = torch.rand(largest.shape, device=library.device) < 0.5
        label = torch.where(hits, largest, (largest + 1) % classes)
        # Of ties the first is the hit.
        label[5], x[5, 0], x[5, classes - 1] = classes - 1, 9, 9
        hits[5] = False
        ignored = label == 2
        options = Rows(temperature=2.0, logit_softcap=3.0, ignore_class=2)
        y_true = label if sparse else one_hot(label, classes).float()
        _, _, log_sum_exp, hit = each_row(library, subject, y_true, x, options)
        assert torch.equal(hit.bool(), (hits & ~ignored).view(-1)), f"{dtype} {shape}: hits"
        expected = torch.logsumexp(scale_logits(x.double(), options), 1)
        expected = torch.where(ignored, torch.zeros_like(expected), expected).view(-1)
        require_close(log_sum_exp, expected, bounds_of(dtype)[0], f"{dtype} {shape}: log_sum_exp")


def check_row_extremes(library: Library, size: Size) -> None:
    """Large logits, infinity, NaN and labels that are no class stay in their row."""
    for dtype, classes, sparse in itertools.product(
        (torch.float32, torch.float64), ROW_LENGTHS, (False, True)
    ):
        subject, shape = crossentropy(sparse), (9, classes, 1)
        what = f"{dtype}, rows of {classes}, {'classes' if sparse else 'rows'} of labels"
        label = torch.randint(0, classes - 1, (9, 1), device=library.device)
        x = torch.randn(shape, device=library.device).to(dtype) + 1e5
        good = x.clone()
        x[1, -1], x[2, 0], x[3, :-1], x[4] = torch.nan, torch.inf, -torch.inf, -torch.inf
        x[5, -1] = -torch.inf
        wrong = {6: -1, 7: classes, 8: -(1 << 62)} if sparse else {}
        y_true = label if sparse else one_hot(label, classes)
        before = each_row(library, subject, y_true, good, Rows())
        arguments = (subject, y_true, good, Rows(), NONE, None, None, 1)
        expected = truth(*arguments, None)
        require_close(before[0], expected.loss, bounds_of(dtype)[0], f"{what}: large logits")
        require_close(before[1], expected.gradient, bounds_of(dtype)[1], f"{what}: their slopes")
        for row, broken in wrong.items():
            y_true[row] = broken
        after = each_row(library, subject, y_true, x, Rows())
        for row in range(9):
            loss, gradient = after[0][row], after[1][row]
            if row in (1, 2, 4) or row in wrong:
                assert bool(loss.isnan()), f"{what}: row {row} hides what is no number"
                assert bool(gradient.isnan().all()), f"{what}: slopes hide it in row {row}"
            elif row == 3:
                # The label's probability is 0.
                assert float(loss) == torch.inf, f"{what}: a loss of {float(loss)}"
            elif row == 5:
                assert bool(loss.isfinite()), f"{what}: a share of 0 breaks the others"
                assert float(gradient[-1]) == 0, f"{what}: a share of 0 has a slope"
            else:
                assert same_bits(loss, before[0][row]), f"{what}: NaN spreads to row {row}"
                assert same_bits(gradient, before[1][row]), f"{what}: NaN spreads to row {row}"


def check_rows_ignored(library: Library, size: Size) -> None:
    """Where no row counts, loss and gradient are 0, even of NaN."""
    for dtype, classes, sparse, reduction in itertools.product(
        PREDICTIONS, ROW_LENGTHS, (False, True), (SUM, MEAN, MEAN_WITH_SAMPLE_WEIGHT)
    ):
        subject, shape = crossentropy(sparse), (5, classes, 1)
        label = torch.full((5, 1), 2, device=library.device)
        y_true = label if sparse else one_hot(label, classes).to(torch.uint8)
        x = torch.full(shape, torch.nan, dtype=dtype, device=library.device)
        weight = torch.rand(5, device=library.device).to(wide(dtype))
        loss, gradient = library.output((), wide(dtype)), library.output(shape, dtype)
        call = rowwise(
            Term(subject.loss), y_true, x, Rows(z_loss=0.1, ignore_class=2), reduction, weight
        )
        library.forward("rowwise", call, loss, gradient, None, None)
        assert float(loss) == 0, f"{dtype}, rows of {classes}: a loss of {float(loss)}"
        assert int(torch.count_nonzero(gradient)) == 0, f"{dtype}, rows of {classes}: slopes"
    library.check_guards()


def check_row_alignment(library: Library, size: Size) -> None:
    """Where arrays begin, and which row of them it is, changes no bit of a row."""
    for dtype, classes, sparse in itertools.product(
        PREDICTIONS, (10, 259, 2053, 16395), (False, True)
    ):
        subject = crossentropy(sparse)
        row = torch.randn((1, classes, 1), device=library.device).to(dtype)
        label = torch.randint(0, classes, (1, 1), device=library.device)
        seen = []
        for offset in range(0, 9, 2 if classes > 2053 else 1):
            x = view_of(row.expand(3, -1, -1), offset)
            y_true = label.expand(3, -1).contiguous()
            y_true = y_true if sparse else view_of(one_hot(y_true, classes).float(), offset // 2)
            loss, gradient, *_ = each_row(library, subject, y_true, x, Rows(z_loss=0.1))
            seen += zip(loss, gradient, strict=True)
        for loss, gradient in seen[1:]:
            assert same_bits(loss, seen[0][0]), f"{dtype}, rows of {classes}: another loss"
            assert same_bits(gradient, seen[0][1]), f"{dtype}, rows of {classes}: other slopes"


def example(
    library: Library, shape: tuple[int, int, int], dtype: torch.dtype, sparse: bool
) -> tuple[Term, Tensor, Tensor]:
    subject = crossentropy(sparse)
    y_true = labels_of(library, subject, shape, 0, 0)
    y_pred = predictions_of(library, subject, shape, dtype)
    return Term(subject.loss), y_true, y_pred


def check_row_determinism(library: Library, size: Size) -> None:
    """The same bits in every run."""
    for dtype, classes, sparse in itertools.product(PREDICTIONS, (10, 1000, 20001), (False, True)):
        shape = (max(2, size.long // 10 // classes), classes, 1)
        term, y_true, y_pred = example(library, shape, dtype, sparse)
        call = rowwise(term, y_true, y_pred, Rows(label_smoothing=0.1))
        require_same_bits(library, "rowwise", call, y_pred, size.runs)


def check_row_graph(library: Library, size: Size) -> None:
    """A CUDA graph replays a call."""
    if library.device == "cpu" or "PYTORCH_NO_CUDA_MEMORY_CACHING" in os.environ:
        raise SkippedError("PyTorch captures graphs on a GPU, with its own memory pool")
    for classes, sparse in itertools.product((10, 1000, 100000), (False, True)):
        term, y_true, y_pred = example(library, (50, classes, 1), torch.float32, sparse)
        weight = torch.rand(50, device=library.device)
        options = Rows(ignore_class=1)
        call = rowwise(term, y_true, y_pred, options, MEAN_WITH_SAMPLE_WEIGHT, weight)
        require_capture(library, "rowwise", call, y_pred)


def check_rowwise_beyond_32_bits(library: Library, size: Size) -> None:
    """More than 2^31 predictions, in rows of every kind."""
    if not size.huge:
        raise SkippedError("takes 9 GB, and is for the full size")
    for rows, classes, inner in (
        ((1 << 29) + 9, 4, 1),
        ((1 << 21) + 9, 1024, 1),
        ((1 << 14) + 9, 131072, 1),
        (2, (1 << 30) + 9, 1),
        (3, 4, (1 << 28) + 9),
    ):
        shape = (rows, classes, inner)
        y_pred = torch.zeros(shape, dtype=torch.bfloat16, device=library.device)
        y_true = torch.zeros((rows, inner), dtype=torch.int32, device=library.device)
        y_true[-1, -1] = classes - 1
        # The last row's label has half of the softmax.
        x = torch.tensor(float(classes - 1), device=library.device).log().to(torch.bfloat16)
        y_pred[-1, -1, -1] = x
        loss = torch.empty((rows * inner,), device=library.device)
        call = rowwise(Term(SPARSE), y_true, y_pred, None, NONE)
        library.forward("rowwise", call, loss, None, None, None)
        of_all = torch.tensor(float(classes)).log()
        of_last = torch.log1p((classes - 1) * torch.exp(-x.double())).cpu()
        assert torch.allclose(loss[:-1].cpu(), of_all, rtol=1e-5), f"{shape}: the losses"
        assert abs(float(loss[-1]) / float(of_last) - 1) < 1e-5, f"{shape}: the last loss"
        del loss
        library.backward("rowwise", call, torch.ones(rows * inner, device=library.device), y_pred)
        hit = float(torch.exp(-of_last)) - 1
        assert abs(float(y_pred[-1, -1, -1]) / hit - 1) < 2**-7, f"{shape}: the last slope"
        assert abs(float(y_pred[0, 0, 0]) / (1 / classes - 1) - 1) < 2**-7, f"{shape}: the first"
        assert abs(float(y_pred[0, 1, 0]) * classes - 1) < 2**-7, f"{shape}: the second"
        del y_pred, y_true
    library.check_guards()


CHECKS = (
    check_rowwise,
    check_rows_of_one_class,
    check_row_metrics,
    check_row_extremes,
    check_rows_ignored,
    check_row_alignment,
    check_row_determinism,
    check_row_graph,
    check_rowwise_beyond_32_bits,
)
