"""What must hold of the functions on whole arrays on a GPU: products, sums, and scalar.h."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import torch
from checks import PREDICTIONS, Size, same_bits, view_of
from library import ROOT, Library, wide
from torch import Tensor


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


def check_accumulate(library: Library, size: Size) -> None:
    """A part is added to a total of the accumulation type."""
    for dtype, count in itertools.product(PREDICTIONS, (0, 1, 5, size.long)):
        part = view_of(torch.randn(count, device=library.device).to(dtype), 1)
        total = view_of(torch.randn(count, device=library.device).to(wide(dtype)), 3)
        expected = total + part.to(total.dtype)
        library.accumulate(part, total)
        assert same_bits(total, expected), f"{count} numbers of {dtype}"


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
        # atan2 takes y first.
        arguments = (x,) if y is None else (y, x) if name == "atan2" else (x, y)
        found = library.scalar(name, *arguments)
        true = function(*(argument.double() for argument in arguments))
        normal = (true.abs() < 3e38) & (true.abs() > 1.2e-38)
        spacing = torch.exp2(torch.floor(torch.log2(true.abs())) - 23)
        error = ((found.double() - true).abs() / spacing)[normal].max()
        assert bool(error <= bounds[name][0]), f"{name}: {error:.2f} ULP, not {bounds[name][0]}"
    library.check_guards()


CHECKS = (check_scale, check_accumulate, check_scalar_functions)
