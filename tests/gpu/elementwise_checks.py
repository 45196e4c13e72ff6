"""What must hold of the elementwise losses on a GPU."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import torch
from checks import (
    GRADIENT_BOUNDS,
    LABELS,
    LOSS_BOUNDS,
    PREDICTIONS,
    UNSIGNED,
    Size,
    SkippedError,
    labels,
    predictions,
    require_close,
    same_bits,
    view_of,
)
from elementwise_formulas import SUBJECTS, Subject, truth
from library import MEAN, MEAN_WITH_SAMPLE_WEIGHT, NONE, SUM, Library, Term, wide


def cases(size: Size) -> Iterator[tuple[int, Subject, torch.dtype, torch.dtype, tuple[int, int]]]:
    """Each loss with each dtype of predictions; labels' dtypes and shapes take turns."""
    for turn, (subject, dtype) in enumerate(itertools.product(SUBJECTS, PREDICTIONS)):
        for k in range(2):
            at = 2 * turn + k
            shape = size.shapes[(at + at // len(size.shapes)) % len(size.shapes)]
            yield at, subject, dtype, LABELS[at % len(LABELS)], shape


def check_losses(library: Library, size: Size) -> None:
    """Loss, values of terms and gradients against float64: all losses, dtypes and options."""
    for turn, subject, dtype, label_dtype, shape in cases(size):
        offset = turn % 3
        y_true = labels(library, shape, label_dtype, offset)
        if turn % 5 == 0 and y_true.numel() > 1024 and y_true.dtype != torch.bool:
            # Beyond the labels that the guess for hinge losses looks at.
            y_true.view(UNSIGNED.get(label_dtype, label_dtype)).view(-1)[-3] = 2
        y_pred = predictions(library, shape, dtype, subject.predictions, offset)
        rows, columns = shape
        accumulation = wide(dtype)
        weight = torch.rand(rows, device=library.device).to(accumulation)
        column = torch.rand(columns, device=library.device).to(accumulation) + 0.5
        other = next(
            s for s in SUBJECTS[::-1] if s.predictions == subject.predictions and s != subject
        )
        for reduction, weighted, options in (
            (SUM, False, {}),
            (MEAN, True, {}),
            (MEAN_WITH_SAMPLE_WEIGHT, True, {}),
            (NONE, turn % 2 == 0, {}),
            (MEAN, False, {"column": True}),
            (MEAN, True, {"terms": True}),
            (NONE, True, {"terms": True}),
        ):
            if options.get("column") and not (subject.column and columns):
                continue
            subjects = (subject, other) if options.get("terms") else (subject,)
            factors = (1.0, 0.5)[: len(subjects)]
            terms = [Term(s.name, s.parameters, f) for s, f in zip(subjects, factors, strict=True)]
            arguments = {
                "reduction": reduction,
                "replicas": 2,
                "weight": weight if weighted and rows else None,
                "column_weight": column if options.get("column") else None,
            }
            upstream = torch.rand(rows if reduction == NONE else (), device=library.device)
            upstream = upstream.to(accumulation)
            weights = (arguments["weight"], arguments["column_weight"])
            expected = truth(
                subjects, factors, y_true, y_pred, reduction, *weights, upstream, replicas=2
            )
            what = f"{subject.name} {dtype} {label_dtype} {shape} {reduction} {options}"
            bound = LOSS_BOUNDS[accumulation]
            gradient = None if reduction == NONE else library.output(shape, dtype, offset)
            found = library.elementwise(terms, y_true, y_pred, gradient=gradient, **arguments)
            assert found.loss is not None
            require_close(found.loss, expected.loss, bound, f"{what}: loss")
            if found.term_values is not None:
                for value, true in zip(found.term_values, expected.values, strict=True):
                    require_close(value, true, bound, f"{what}: a term")
            if gradient is not None:
                alone = library.elementwise(terms, y_true, y_pred, **arguments)
                require_close(alone.loss, expected.loss, bound, f"{what}: loss alone")
                true = truth(
                    subjects, factors, y_true, y_pred, reduction, *weights, None, replicas=2
                )
                require_close(
                    gradient, true.gradient, GRADIENT_BOUNDS[dtype], f"{what}: gradient at once"
                )
            backward = library.output(shape, dtype, offset)
            library.elementwise(
                terms, y_true, y_pred, upstream=upstream, gradient=backward, **arguments
            )
            require_close(backward, expected.gradient, GRADIENT_BOUNDS[dtype], f"{what}: gradient")
            library.check_guards()


def check_special_values(library: Library, size: Size) -> None:
    """NaN and infinity stay in their row, and small losses of large logits are exact."""
    for subject, dtype in itertools.product(SUBJECTS, PREDICTIONS):
        y_true = labels(library, (64, 3), torch.float32, 0)
        y_pred = predictions(library, (64, 3), dtype, subject.predictions, 0)
        y_pred[5, 1], y_pred[9, 0] = torch.nan, torch.inf
        y_pred[11, 2] = -torch.inf
        terms = [Term(subject.name, subject.parameters)]
        found = library.elementwise(terms, y_true, y_pred, reduction=NONE).loss
        assert found is not None
        broken = {5, 9, 11}
        assert bool(found[5].isnan()), f"{subject.name} {dtype}: hides NaN"
        others = [row for row in range(64) if row not in broken]
        assert bool(found[others].isfinite().all()), f"{subject.name} {dtype}: NaN spreads"
    x = torch.tensor([[1e5], [-1e5], [30.0], [-30.0]], device=library.device)
    t = torch.tensor([[1.0], [0.0], [1.0], [0.0]], device=library.device)
    found = library.elementwise([Term("binary_crossentropy_from_logits", (0.0,))], t, x, NONE).loss
    assert found is not None
    exact = torch.log1p(torch.exp(-x.abs().double())).view(-1)
    assert bool(((found.double() - exact).abs() <= 1e-6 * exact).all()), "small losses are lost"
    library.check_guards()


def check_alignment(library: Library, size: Size) -> None:
    """The alignment of arrays changes no bit."""
    for dtype, reduction, count in itertools.product(PREDICTIONS, (NONE, MEAN), (1, 2)):
        shape = (333, 7)
        y_true = labels(library, shape, torch.float32, 0)
        y_pred = predictions(library, shape, dtype, "logits", 0)
        terms = [Term("binary_crossentropy_from_logits", (0.1,)), Term("huber", (0.5,), 0.5)]
        seen = []
        for offset in range(9):
            gradient = None if reduction == NONE else library.output(shape, dtype, offset)
            found = library.elementwise(
                terms[:count],
                view_of(y_true, (offset + 1) // 2),
                view_of(y_pred, offset),
                reduction,
                gradient=gradient,
            )
            seen.append((found.loss, gradient))
        for loss, gradient in seen[1:]:
            assert same_bits(loss, seen[0][0]), f"{dtype}: an offset changes the loss"
            assert gradient is None or same_bits(gradient, seen[0][1]), f"{dtype}: the gradient"
    library.check_guards()


def check_determinism(library: Library, size: Size) -> None:
    """The same bits in every run, also beside other work, and with scratch full of rubbish."""
    load = torch.randn(512, 512, device=library.device)
    for dtype, reduction, count in itertools.product(PREDICTIONS, (NONE, MEAN), (1, 2)):
        shape = (size.long // 33, 33)
        y_true = labels(library, shape, torch.uint8, 0)
        y_pred = predictions(library, shape, dtype, "logits", 0)
        terms = [Term("binary_crossentropy_from_logits", (0.1,)), Term("hinge")][:count]
        first = None
        for run in range(size.runs):
            gradient = None if reduction == NONE else library.output(shape, dtype)
            if run % 2 and library.device != "cpu":
                side = torch.cuda.Stream()
                with torch.cuda.stream(side):
                    for _ in range(8):
                        load = load @ load * 1e-3
            found = library.elementwise(terms, y_true, y_pred, reduction, gradient=gradient)
            first = first or (found.loss, gradient)
            assert same_bits(found.loss, first[0]), f"{dtype}: run {run} has another loss"
            assert gradient is None or same_bits(gradient, first[1]), f"{dtype}: run {run}"
        library.check_guards()


def require_capture(library: Library, terms: list[Term]) -> None:
    """Fails unless a replayed CUDA graph of the calls has their bits."""
    shape = (1000, 33)
    y_true = labels(library, shape, torch.uint8, 0)
    y_pred = predictions(library, shape, torch.float32, "logits", 0)
    weight = torch.rand(1000, device=library.device)
    upstream = torch.rand((), device=library.device)
    gradient, loss = torch.empty_like(y_pred), torch.empty((), device=library.device)
    outputs = {"gradient": gradient, "loss": loss}
    scratch = torch.empty(1 << 20, dtype=torch.uint8, device=library.device)

    def call() -> None:
        inputs = (y_true, y_pred, MEAN_WITH_SAMPLE_WEIGHT, weight)
        library.elementwise(terms, *inputs, **outputs, scratch=scratch)
        library.scale(gradient, upstream, gradient)

    call()
    expected = loss.clone(), gradient.clone()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    loss.fill_(7)
    gradient.fill_(7)
    graph.replay()
    assert same_bits(loss, expected[0]), "a replayed graph has another loss"
    assert same_bits(gradient, expected[1]), "a replayed graph has another gradient"


def check_no_synchronisation(library: Library, size: Size) -> None:
    """All calls can be captured in a CUDA graph, which refuses whatever waits for the GPU."""
    if library.device == "cpu" or "PYTORCH_NO_CUDA_MEMORY_CACHING" in os.environ:
        raise SkippedError("PyTorch captures graphs on a GPU, with its own memory pool")
    require_capture(library, [Term("hinge")])
    require_capture(library, [Term("huber", (0.5,)), Term("squared_hinge")])


def check_in_place(library: Library, size: Size) -> None:
    """The gradient may overwrite the predictions, unless a second pass may follow."""
    y_true = labels(library, (97, 31), torch.uint8, 0)
    for dtype in PREDICTIONS:
        y_pred = predictions(library, (97, 31), dtype, "logits", 0)
        terms = [Term("binary_crossentropy_from_logits", (0.1,))]
        separate = library.output((97, 31), dtype)
        library.elementwise(terms, y_true, y_pred, gradient=separate)
        library.elementwise(terms, y_true, y_pred, gradient=y_pred)
        assert same_bits(separate, y_pred), f"{dtype}: in place gives another gradient"
    try:
        library.elementwise([Term("hinge")], y_true, y_pred, gradient=y_pred)
    except RuntimeError as error:
        assert "hinge" in str(error)
    else:
        raise AssertionError("hinge in place was not refused")
    library.check_guards()


def check_beyond_32_bits(library: Library, size: Size) -> None:
    """More than 2^31 elements: nothing counts in 32 bits."""
    if not size.huge:
        raise SkippedError("takes 12 GB, and is for the full size")
    rows, columns = 65537, 32769
    y_true = torch.zeros((rows, columns), dtype=torch.uint8, device=library.device)
    y_pred = torch.zeros((rows, columns), dtype=torch.bfloat16, device=library.device)
    exceptions = {(0, 0): 2.0, (3, 17): -1.0, (rows - 1, columns - 2): 3.0}
    for position, value in exceptions.items():
        y_pred[position] = value
    y_true[rows - 1, 5] = 7
    terms = [Term("mean_squared_error"), Term("mean_absolute_error", (), 0.0)]
    for count in (1, 2):
        gradient = torch.empty_like(y_pred)
        found = library.elementwise(terms[:count], y_true, y_pred, SUM, gradient=gradient)
        expected = (sum(value**2 for value in exceptions.values()) + 49) / columns
        assert found.loss is not None
        assert abs(float(found.loss) / expected - 1) < 1e-6, f"the sum is {float(found.loss)}"
        for position, value in exceptions.items():
            assert abs(float(gradient[position]) / (2 * value / columns) - 1) < 2**-8, position
        assert sum(int(torch.count_nonzero(part)) for part in gradient.chunk(64)) == 4
        by_row = library.elementwise(terms[:count], y_true, y_pred, NONE).loss
        assert by_row is not None
        assert abs(float(by_row[-1]) / ((9 + 49) / columns) - 1) < 1e-6, "the last row"
        assert int(torch.count_nonzero(by_row)) == 3
    library.check_guards()


CHECKS = (
    check_losses,
    check_special_values,
    check_alignment,
    check_determinism,
    check_no_synchronisation,
    check_in_place,
    check_beyond_32_bits,
)
