"""What must hold of the CUDA kernels. Each check takes the library and how large it may go."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from formulas import SUBJECTS, Subject
from library import MEAN, MEAN_WITH_SAMPLE_WEIGHT, NONE, ROOT, SUM, Library, Term, wide
from torch import Tensor

PREDICTIONS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
LABELS = (
    *(torch.float32, torch.uint8, torch.bool, torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.float64, torch.bfloat16, torch.float16, torch.uint16, torch.uint32, torch.uint64),
)
UNSIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
# Largest error against float64, as a share of the largest number in the result.
LOSS_BOUNDS = {torch.float64: 1e-12, torch.float32: 4e-6}
GRADIENT_BOUNDS = {
    **{torch.float64: 1e-12, torch.float32: 4e-6, torch.bfloat16: 4e-3, torch.float16: 1e-3},
}


class SkippedError(Exception):
    """A check that cannot be made here, and why."""


@dataclass(frozen=True)
class Size:
    """How much work a check may make of it."""

    shapes: tuple[tuple[int, int], ...]
    long: int  # elements of an array of many pieces
    runs: int
    huge: bool  # whether to go beyond 2^31 elements


FULL = Size(
    (
        *((1, 1), (7, 5), (341, 3), (2, 1025), (100003, 1), (1, 70001), (0, 3), (3, 0)),
        *((1021, 1021), (3, 1048583), (1 << 20, 7), (4096, 4096), (255, 16337)),
    ),
    (1 << 26) + 12345,
    20,
    True,
)
SMALL = Size(((1, 1), (7, 5), (341, 3), (2, 1025), (1, 17001), (0, 3), (3, 0)), 70001, 3, False)


def view_of(numbers: Tensor, offset: int) -> Tensor:
    """A copy, `offset` elements behind a multiple of 16 bytes."""
    buffer = torch.empty(numbers.numel() + offset, dtype=numbers.dtype, device=numbers.device)
    place = buffer[offset:].view(numbers.shape)
    place.copy_(numbers)
    return place


def labels(library: Library, shape: tuple[int, int], dtype: torch.dtype, offset: int) -> Tensor:
    hard = torch.randint(0, 2, shape, device=library.device)
    signed = UNSIGNED.get(dtype, dtype)
    return view_of(hard.to(signed), offset).view(dtype)


def predictions(
    library: Library, shape: tuple[int, int], dtype: torch.dtype, kind: str, offset: int
) -> Tensor:
    x = torch.randn(shape, dtype=torch.float64, device=library.device) * 2
    x = {"numbers": x, "shares": 0.98 * torch.sigmoid(x) + 0.01, "logits": 4 * x}[kind]
    return view_of(x.to(dtype), offset)


def as_float64(x: Tensor) -> Tensor:
    signed = UNSIGNED.get(x.dtype)
    return (x if signed is None else x.view(signed)).to(torch.float64)


@dataclass(frozen=True)
class Truth:
    loss: Tensor
    gradient: Tensor
    values: tuple[Tensor, ...]


def truth(
    subjects: tuple[Subject, ...],
    factors: tuple[float, ...],
    y_true: Tensor,
    y_pred: Tensor,
    reduction: int,
    weight: Tensor | None,
    column: Tensor | None,
    upstream: Tensor | None,
    replicas: int,
) -> Truth:
    """Loss and gradient in float64; `weight` is that of each row."""
    t, p = as_float64(y_true), as_float64(y_pred).requires_grad_()
    rows = p.shape[0]
    by_row = torch.ones(rows, dtype=torch.float64, device=p.device)
    if weight is not None:
        by_row = as_float64(weight)
    divisor = 1.0
    if reduction in (MEAN, MEAN_WITH_SAMPLE_WEIGHT):
        counted = reduction == MEAN_WITH_SAMPLE_WEIGHT and weight is not None
        divisor = (float(by_row.sum()) if counted else float(rows)) * replicas
    inverse = 1 / divisor if divisor else 0.0
    values, total = [], torch.zeros(rows, dtype=torch.float64, device=p.device)
    for subject, factor in zip(subjects, factors, strict=True):
        options = {} if column is None else {"column": as_float64(column)}
        each = subject.formula(t, p, *subject.parameters, **options)
        row = (each.mean(1) if subject.mean else each.sum(1)) * by_row
        values.append(row if reduction == NONE else row.sum() * inverse)
        total = total + factor * row
    loss = total if reduction == NONE else total.sum() * inverse
    above = torch.ones_like(loss) if upstream is None else as_float64(upstream)
    (gradient,) = torch.autograd.grad(loss, p, above)
    return Truth(loss.detach(), gradient, tuple(value.detach() for value in values))


def require_close(found: Tensor, expected: Tensor, bound: float, what: str) -> None:
    """Fails unless errors stay within `bound` of the largest number, or half types' last bit."""
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, not {expected.shape}"
    if not found.numel():
        return
    expected = expected.to(found.dtype).double()
    floor = 2.0**-24 if found.dtype == torch.float16 else 0.0
    found = found.double()
    finite = expected.isfinite()
    assert same_bits(found.nan_to_num(1)[~finite], expected.nan_to_num(1)[~finite]) and bool(
        (found.isnan() == expected.isnan()).all()
    ), f"{what}: NaN or infinity in other places"
    if not bool(finite.any()):
        return
    size = expected[finite].abs().max()
    error = (found - expected)[finite].abs().max()
    assert bool(error <= bound * size + floor), f"{what}: error {error:.3g} of {size:.3g}"


def same_bits(x: Tensor, y: Tensor) -> bool:
    """Whether two contiguous arrays agree to the last bit, NaN included."""
    return torch.equal(x.reshape(-1).view(torch.uint8), y.reshape(-1).view(torch.uint8))


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
            # Behind those labels that hinge losses guess from.
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
            given = (arguments["weight"], arguments["column_weight"])
            expected = truth(
                subjects, factors, y_true, y_pred, reduction, *given, upstream, replicas=2
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
                true = truth(subjects, factors, y_true, y_pred, reduction, *given, None, replicas=2)
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
    """NaN and infinity stay in their row, and large logits keep their small losses."""
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
    """Where arrays begin changes no bit."""
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
    """The gradient may overwrite the predictions, unless a second walk may come."""
    y_true = labels(library, (97, 31), torch.uint8, 0)
    for dtype in PREDICTIONS:
        y_pred = predictions(library, (97, 31), dtype, "logits", 0)
        terms = [Term("binary_crossentropy_from_logits", (0.1,))]
        apart = library.output((97, 31), dtype)
        library.elementwise(terms, y_true, y_pred, gradient=apart)
        library.elementwise(terms, y_true, y_pred, gradient=y_pred)
        assert same_bits(apart, y_pred), f"{dtype}: in place gives another gradient"
    try:
        library.elementwise([Term("hinge")], y_true, y_pred, gradient=y_pred)
    except RuntimeError as error:
        assert "hinge" in str(error)
    else:
        raise AssertionError("hinge in place was not refused")
    library.check_guards()


def check_scale(library: Library, size: Size) -> None:
    """The gradient times upstream, in place too."""
    for dtype, count, factor in itertools.product(PREDICTIONS, (0, 1, 5, 100003), (1.0, 0.3)):
        x = view_of(torch.randn(count, device=library.device).to(dtype), 1)
        upstream = torch.tensor(factor, dtype=wide(dtype), device=library.device)
        out = library.output((count,), dtype, 1)
        library.scale(x, upstream, out)
        expected = (x.to(wide(dtype)) * upstream).to(dtype)
        assert same_bits(out, expected), f"{dtype} times {factor}"
        library.scale(x, upstream, x)
        assert same_bits(out, x), f"{dtype} times {factor} in place"
    library.check_guards()


def published() -> dict[str, tuple[float, float]]:
    """The largest error of each function in ULP, float32 and float64, of docs/numerics.md."""
    text = (ROOT / "docs" / "numerics.md").read_text()
    section = text.split("## Scalar functions: maximum error in ULP")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)\(.*\)` \|.*\| ([\d.]+) \| ([\d.]+) \|$", section, re.MULTILINE)
    return {name: (float(single), float(double)) for name, single, double in rows}


TRUTHS: dict[str, Callable[..., Tensor]] = {
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: x.clamp(min=0) + torch.log1p(torch.exp(-x.abs())),
    "log_sigmoid": lambda x: -((-x).clamp(min=0) + torch.log1p(torch.exp(-x.abs()))),
    "pow": torch.pow,
    "atan2": torch.atan2,
}


def check_scalar_functions(library: Library, size: Size) -> None:
    """Errors in ULP of float32 functions within those that are published for CPUs."""
    count = min(size.long, 1 << 22)
    bounds = published()
    for name, function in TRUTHS.items():
        exponent = torch.rand(count, device=library.device) * 40 - 30
        x = torch.exp2(exponent) * torch.randn(count, device=library.device).sign()
        if name in ("log", "pow", "log1p", "atan2"):
            x = x.abs()
        y = torch.randn(count, device=library.device) if name in ("pow", "atan2") else None
        # The angle of (x, y) takes the height first.
        arguments = (x,) if y is None else (y, x) if name == "atan2" else (x, y)
        found = library.scalar(name, *arguments)
        true = function(*(argument.double() for argument in arguments))
        normal = (true.abs() < 3e38) & (true.abs() > 1.2e-38)
        spacing = torch.exp2(torch.floor(torch.log2(true.abs())) - 23)
        error = ((found.double() - true).abs() / spacing)[normal].max()
        assert bool(error <= bounds[name][0]), f"{name}: {error:.2f} ULP, not {bounds[name][0]}"
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
    check_scale,
    check_scalar_functions,
    check_beyond_32_bits,
)
