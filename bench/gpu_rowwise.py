"""The rowwise losses of `bench/gpu.py`: rows of 1K to 256K classes.

Beside PyTorch and JAX stands Liger-Kernel, where it is installed and has the loss.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from calls import rowwise
from gpu_torch import Formula, bytes_of, of_torch
from library import Library, Term
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

ALPHA, GAMMA = 0.25, 2.0


class RowCase(NamedTuple):
    loss: str  # without "_from_logits"
    y_true: torch.dtype
    y_pred: torch.dtype
    shape: tuple[int, int]  # (rows, classes)

    @property
    def elements(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def sparse(self) -> bool:
        return self.loss.startswith("sparse")

    @property
    def focal(self) -> bool:
        return "focal" in self.loss

    @property
    def term(self) -> Term:
        return Term(f"{self.loss}_from_logits", (ALPHA, GAMMA) if self.focal else ())

    def bytes(self, gradient: bool) -> int:
        """What must move: inputs once, the gradient once."""
        true, pred = bytes_of(self.y_true), bytes_of(self.y_pred)
        labels = self.shape[0] if self.sparse else self.elements
        return labels * true + self.elements * pred * (2 if gradient else 1)


CASES = [
    RowCase(loss, y_true, y_pred, (rows, classes))
    for loss, y_true, y_pred, rows, classes in (
        ("sparse_categorical_crossentropy", torch.int64, torch.bfloat16, 8192, 131072),
        ("sparse_categorical_crossentropy", torch.int64, torch.float32, 8192, 131072),
        *(
            ("sparse_categorical_crossentropy", torch.int64, torch.bfloat16, rows, classes)
            for rows, classes in (
                *((32768, 1 << 10), (32768, 1 << 12), (32768, 1 << 14), (32768, 1 << 15)),
                *((16384, 50257), (16384, 1 << 16), (4096, 1 << 18)),
            )
        ),
        *(
            ("sparse_categorical_crossentropy", torch.uint8, torch.bfloat16, 1 << 23, classes)
            for classes in (10, 100)
        ),
        *(
            (f"{kind}_{loss}", y_true, y_pred, rows, classes)
            for kind, loss, y_true in (
                ("categorical", "crossentropy", torch.float32),
                ("sparse_categorical", "focal_crossentropy", torch.int64),
                ("categorical", "focal_crossentropy", torch.float32),
            )
            for y_pred in (torch.float32, torch.bfloat16)
            for rows, classes in ((1 << 20, 128), (65536, 1000), (8192, 32768))
        ),
    )
]


def inputs_of(case: RowCase, count: int) -> list[tuple[Tensor, Tensor]]:
    made = []
    for _ in range(count):
        # By parts: a whole one in float32 would not fit beside the inputs.
        x = torch.empty(case.shape, dtype=case.y_pred, device="cuda")
        for part in x.split(max(1, (1 << 28) // case.shape[1])):
            part.copy_(torch.randn(part.shape, device="cuda"))
        if case.sparse:
            t = torch.randint(0, case.shape[1], case.shape[:1], device="cuda").to(case.y_true)
        else:
            t = torch.rand(case.shape, device="cuda").to(case.y_true)
            t /= t.sum(1, keepdim=True)
        made.append((t, x))
    return made


def of_fastloss(
    library: Library, case: RowCase, sets: list[tuple[Tensor, Tensor]], gradient: bool
) -> Callable[[int], None]:
    calls = [rowwise(case.term, t, x.unsqueeze(2)) for t, x in sets]
    slopes = [torch.empty_like(x) if gradient else None for _, x in sets]
    loss = torch.empty((), device="cuda")
    scratch = torch.empty(
        library.scratch_bytes("rowwise", calls[0]), dtype=torch.uint8, device="cuda"
    )

    def call(turn: int) -> None:
        at = turn % len(sets)
        library.forward("rowwise", calls[at], loss, slopes[at], None, None, scratch=scratch)

    return call


def formula(case: RowCase) -> Formula:
    def loss_of(t: Tensor, x: Tensor) -> Tensor:
        if not case.focal:
            # PyTorch's own, in float32 as ours.
            return cross_entropy(x.float(), t.long() if case.sparse else t)
        log_p = log_softmax(x.float(), 1)
        if case.sparse:
            log_p = log_p.gather(1, t.long().unsqueeze(1)).squeeze(1)
            return -(ALPHA * (1 - log_p.exp()) ** GAMMA * log_p).mean()
        return -(t * ALPHA * (1 - log_p.exp()) ** GAMMA * log_p).sum(1).mean()

    return loss_of


def of_liger(sets: list[tuple[Tensor, Tensor]]) -> Callable[[int], None]:
    from liger_kernel.transformers import LigerCrossEntropyLoss

    loss = LigerCrossEntropyLoss()

    def call(turn: int) -> None:
        t, x = sets[turn % len(sets)]
        # It writes the gradient over the predictions; what they are does not change the time.
        loss(x.detach().requires_grad_(), t.long()).backward()

    return call


def jax_formula(case: RowCase) -> Callable[[Any, Any], Any]:
    import jax
    import jax.numpy as jnp

    def loss_of(x: Any, t: Any) -> Any:
        log_p = jax.nn.log_softmax(x.astype(jnp.float32), axis=1)
        if case.sparse:
            log_p = jnp.take_along_axis(log_p, t.astype(jnp.int32)[:, None], axis=1)[:, 0]
        each = -log_p
        if case.focal:
            each = each * ALPHA * (1 - jnp.exp(log_p)) ** GAMMA
        return (each if case.sparse else (t * each).sum(1)).mean()

    return loss_of


def contenders(
    library: Library, case: RowCase, sets: list[tuple[Tensor, Tensor]], gradient: bool
) -> Iterator[tuple[str, Callable[[int], None]]]:
    yield "fastloss", of_fastloss(library, case, sets, gradient)
    yield "torch eager", of_torch(formula(case), sets, gradient)
    yield "torch.compile", of_torch(torch.compile(formula(case)), sets, gradient)
    liger = importlib.util.find_spec("liger_kernel") is not None
    if liger and gradient and case.loss == "sparse_categorical_crossentropy":
        yield "Liger-Kernel", of_liger(sets)
