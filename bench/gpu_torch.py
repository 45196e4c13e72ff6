"""What the patterns of `bench/gpu.py` share: a formula in PyTorch as a contender."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Formula = Callable[[Tensor, Tensor], Tensor]


def bytes_of(dtype: torch.dtype) -> int:
    """Of one element."""
    return torch.empty((), dtype=dtype).element_size()


def of_torch(
    run: Formula, sets: Sequence[tuple[Tensor, Tensor]], gradient: bool
) -> Callable[[int], Any]:
    """The loss of (labels, predictions), with or without its gradient; told which set to take."""

    def call(turn: int) -> None:
        t, p = sets[turn % len(sets)]
        if not gradient:
            with torch.no_grad():
                run(t, p)
            return
        run(t, p.detach().requires_grad_()).backward()

    return call
