"""The elementwise losses of `bench/gpu.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from formulas import SUBJECTS
from gpu_torch import Formula, bytes_of, of_torch
from library import MEAN, Library, Term
from torch import Tensor

COLUMNS = 64


class Case(NamedTuple):
    loss: str
    y_true: torch.dtype
    y_pred: torch.dtype
    elements: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.elements // COLUMNS, COLUMNS

    def bytes(self, gradient: bool) -> int:
        """What must move: inputs once, the gradient once."""
        true, pred = bytes_of(self.y_true), bytes_of(self.y_pred)
        return self.elements * (true + pred + (pred if gradient else 0))


CASES = [
    Case(loss, y_true, y_pred, elements)
    for elements in (1 << 20, 1 << 26, 1 << 28)
    for loss in (
        "mean_squared_error",
        "huber",
        "binary_crossentropy",
        "binary_crossentropy_from_logits",
        "binary_focal_crossentropy_from_logits",
    )
    for y_true, y_pred in (
        (torch.float32, torch.float32),
        (torch.uint8, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.uint8, torch.bfloat16),
    )
]


def inputs_of(case: Case, count: int) -> list[tuple[Tensor, Tensor]]:
    made = []
    for _ in range(count):
        y_true = torch.randint(0, 2, case.shape, device="cuda", dtype=torch.uint8).to(case.y_true)
        y_pred = torch.randn(case.shape, device="cuda", dtype=torch.float32)
        if not case.loss.endswith("logits"):
            y_pred = torch.sigmoid(y_pred)
        made.append((y_true, y_pred.to(case.y_pred)))
    return made


def of_fastloss(
    library: Library, case: Case, sets: list[tuple[Tensor, Tensor]], gradient: bool
) -> Callable[[int], Any]:
    subject = next(s for s in SUBJECTS if s.name == case.loss)
    terms = [Term(subject.name, subject.parameters)]
    slopes = [torch.empty_like(p) if gradient else None for _, p in sets]
    loss = torch.empty((), device="cuda")
    scratch = torch.empty(1 << 20, dtype=torch.uint8, device="cuda")

    def call(turn: int) -> None:
        at = turn % len(sets)
        library.elementwise(terms, *sets[at], MEAN, gradient=slopes[at], loss=loss, scratch=scratch)

    return call


def formula(case: Case) -> Formula:
    subject = next(s for s in SUBJECTS if s.name == case.loss)

    def loss_of(t: Tensor, p: Tensor) -> Tensor:
        # As PyTorch's own losses: half types are computed in float32.
        return subject.formula(t.to(torch.float32), p.to(torch.float32), *subject.parameters).mean()

    return loss_of


def jax_formula(case: Case) -> Callable[[Any, Any], Any] | None:
    """The mean loss of predictions and labels, of the losses that are written down here."""
    import jax
    import jax.numpy as jnp

    def crossentropy(t: Any, x: Any) -> Any:
        return t * jax.nn.softplus(-x) + (1 - t) * jax.nn.softplus(x)

    def huber(t: Any, p: Any) -> Any:
        size = abs(p - t)
        return jnp.where(size <= 0.7, size**2 / 2, 0.7 * (size - 0.35))

    formulas = {
        "mean_squared_error": lambda t, p: (p - t) ** 2,
        "huber": huber,
        "binary_crossentropy_from_logits": crossentropy,
    }
    if case.loss not in formulas:
        return None

    def loss_of(p: Any, t: Any) -> Any:
        return formulas[case.loss](t.astype(jnp.float32), p.astype(jnp.float32)).mean()

    return loss_of


def contenders(
    library: Library, case: Case, sets: list[tuple[Tensor, Tensor]], gradient: bool
) -> Iterator[tuple[str, Callable[[int], Any]]]:
    yield "fastloss", of_fastloss(library, case, sets, gradient)
    yield "torch eager", of_torch(formula(case), sets, gradient)
    yield "torch.compile", of_torch(torch.compile(formula(case)), sets, gradient)
