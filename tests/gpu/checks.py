"""What the checks share: how large they may be, dtypes, bounds, comparisons."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from library import Library
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
    """Why a check cannot be made here."""


@dataclass(frozen=True)
class Size:
    """How large a check may be."""

    shapes: tuple[tuple[int, int], ...]
    long: int  # elements of an array of many pieces
    runs: int
    huge: bool  # more than 2^31 elements too


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
    """A copy, `offset` elements after a multiple of 16 bytes."""
    buffer = torch.empty(numbers.numel() + offset, dtype=numbers.dtype, device=numbers.device)
    view = buffer[offset:].view(numbers.shape)
    view.copy_(numbers)
    return view


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
    ), f"{what}: NaN or infinity at other elements"
    if not bool(finite.any()):
        return
    size = expected[finite].abs().max()
    error = (found - expected)[finite].abs().max()
    assert bool(error <= bound * size + floor), f"{what}: error {error:.3g} of {size:.3g}"


def same_bits(x: Tensor, y: Tensor) -> bool:
    """Whether two contiguous arrays agree to the last bit, NaN included."""
    return torch.equal(x.reshape(-1).view(torch.uint8), y.reshape(-1).view(torch.uint8))
