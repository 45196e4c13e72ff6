"""Which terms of a sum read their inputs together.

A kind of shared pass says which term may lead it, which others may join that one, and computes all
of them at once. What no pass takes is computed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import keras

from fastloss.calls import Tensor
from fastloss.sums.algebra import Algebra
from fastloss.sums.elementwise_pass import ElementwisePass
from fastloss.sums.overlap_pass import OverlapPass
from fastloss.sums.shared_pass import Part, SharedPass
from fastloss.terms.inputs import label
from fastloss.terms.reduction import REDUCTIONS

# In the order in which they take parts: what leads an earlier pass may be joined by parts that a
# later one could take too.
PASSES: tuple[SharedPass, ...] = (OverlapPass(), ElementwisePass())


class Planned(NamedTuple):
    """A pass over the inputs, or None for a term alone; and the indices of its terms."""

    shared: SharedPass | None
    indices: tuple[int, ...]


class Read(NamedTuple):
    """What the terms of a sum read in one call.

    Attributes:
        parts: The terms, as the planner sees them; None for a loss that is not fused.
        y_pred: The predictions of each part, the logits behind y_pred where a term finds them.
    """

    parts: tuple[Part | None, ...]
    y_pred: list[Tensor]

    @classmethod
    def of(cls, losses: Sequence[keras.losses.Loss], y_true: Tensor, y_pred: Tensor) -> Read:
        """The terms with what each of them reads."""
        # The same tensor for all terms that want the same, by which a pass knows that they do.
        converted: dict[bool, Tensor] = {}
        labels: Tensor | None = None
        sources: list[Tensor] = []
        parts: list[Part | None] = []
        read = []
        for loss in losses:
            if not (isinstance(loss, Algebra) and loss.is_fused()):
                parts.append(None)
                read.append(y_pred)
                continue
            dtype = loss.dtype
            wide = dtype == "float64"
            if wide not in converted:
                converted[wide] = loss.prediction(y_pred)
            term, seen = loss._term(converted[wide])
            kind = REDUCTIONS.get(loss.reduction or "none", "none")
            if labels is None:
                labels = label(y_true)
            source = _position(seen, sources)
            parts.append(Part(term, kind, dtype, labels.shape, seen.shape, source))
            read.append(seen)
        return cls(tuple(parts), read)


def _position(tensor: Tensor, among: list[Tensor]) -> int:
    for position, other in enumerate(among):
        if other is tensor:
            return position
    among.append(tensor)
    return len(among) - 1


def plan(parts: tuple[Part | None, ...]) -> tuple[Planned, ...]:
    """The passes over the inputs; those of the same parts are planned once.

    A part that is None, or that nothing joins, has a pass of its own.
    """
    try:
        return _plan(parts)
    except TypeError:
        # A term with weights that are tensors has no hash.
        return _plan.__wrapped__(parts)


@lru_cache(maxsize=256)
def _plan(parts: tuple[Part | None, ...]) -> tuple[Planned, ...]:
    left = dict(enumerate(parts))
    passes: list[Planned] = []
    for shared in PASSES:
        for index, lead in enumerate(parts):
            if index not in left or lead is None or not shared.leads(lead):
                continue
            joining = [i for i, part in left.items() if part and shared.joins(lead, part)]
            together = tuple(sorted({index, *joining}))
            if len(together) > 1:
                passes.append(Planned(shared, together))
                left = {i: part for i, part in left.items() if i not in together}
    alone = [Planned(None, (index,)) for index in left]
    return tuple(sorted([*passes, *alone], key=lambda one: one.indices[0]))
