"""The overlap losses of `bench/gpu.py`: Dice, alone and with cross-entropy in the same passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from calls import Regions, overlap
from gpu_torch import Formula, bytes_of, of_torch
from library import MEAN, Library, Term
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

SMOOTH = 1e-5


class RegionCase(NamedTuple):
    loss: str
    y_true: torch.dtype
    y_pred: torch.dtype
    shape: tuple[int, int, int]  # (images, positions, classes)
    sparse: bool  # labels are classes, predictions logits; else both are shares

    @property
    def elements(self) -> int:
        images, positions, classes = self.shape
        return images * positions * classes

    def bytes(self, gradient: bool) -> int:
        """What must move: inputs once for the loss, once again for the gradient, which is written.

        The sums of an image must be known before its first slope.
        """
        true, pred = bytes_of(self.y_true), bytes_of(self.y_pred)
        labels = self.elements // (self.shape[2] if self.sparse else 1)
        inputs = labels * true + self.elements * pred
        return inputs if not gradient else 2 * inputs + self.elements * pred


CASES = [
    RegionCase(loss, y_true, y_pred, shape, sparse)
    for shape in ((4, 96**3, 14), (16, 512**2, 19))
    for loss, sparse, y_true in (
        ("dice+crossentropy", True, torch.uint8),
        ("dice+crossentropy", True, torch.int32),
        ("dice", False, torch.uint8),
    )
    for y_pred in (torch.float32, torch.bfloat16)
]


def inputs_of(case: RegionCase, count: int) -> list[tuple[Tensor, Tensor]]:
    images, positions, classes = case.shape
    made = []
    for _ in range(count):
        label = torch.randint(0, classes, (images, positions), device="cuda")
        x = torch.randn(case.shape, device="cuda")
        if case.sparse:
            made.append((label.to(case.y_true), x.to(case.y_pred)))
        else:
            made.append((one_hot(label, classes).to(case.y_true), x.softmax(2).to(case.y_pred)))
    return made


def of_fastloss(
    library: Library, case: RegionCase, sets: list[tuple[Tensor, Tensor]], gradient: bool
) -> Callable[[int], None]:
    options = Regions(2 if case.sparse else 0, per_outer=True, per_class=True, sparse=case.sparse)
    fused_terms = [Term("sparse_categorical_crossentropy_from_logits")] if case.sparse else []
    images, positions, classes = case.shape
    calls = [
        overlap(
            Term("dice", (SMOOTH, SMOOTH)),
            t,
            p.view(images, positions, classes, 1),
            options,
            MEAN,
            fused_terms=fused_terms,
        )
        for t, p in sets
    ]
    slopes = [torch.empty_like(p) if gradient else None for _, p in sets]
    loss = torch.empty((), device="cuda")
    scratch = torch.empty(
        library.scratch_bytes("overlap", calls[0]), dtype=torch.uint8, device="cuda"
    )

    def call(turn: int) -> None:
        at = turn % len(sets)
        library.forward("overlap", calls[at], loss, None, slopes[at], scratch=scratch)

    return call


def formula(case: RegionCase) -> Formula:
    classes = case.shape[2]

    def loss_of(t: Tensor, x: Tensor) -> Tensor:
        x = x.float()
        p = x.softmax(2) if case.sparse else x
        hot = one_hot(t.long(), classes).float() if case.sparse else t.float()
        hit, sizes = (hot * p).sum(1), (hot + p).sum(1)
        dice = (1 - (2 * hit + SMOOTH) / (sizes + SMOOTH)).mean()
        if not case.sparse:
            return dice
        return dice + cross_entropy(x.view(-1, classes), t.view(-1).long())

    return loss_of


def contenders(
    library: Library, case: RegionCase, sets: list[tuple[Tensor, Tensor]], gradient: bool
) -> Iterator[tuple[str, Callable[[int], None]]]:
    yield "fastloss", of_fastloss(library, case, sets, gradient)
    yield "torch eager", of_torch(formula(case), sets, gradient)
    yield "torch.compile", of_torch(torch.compile(formula(case)), sets, gradient)
