"""Which terms of a sum read their inputs together.

A kind of shared walk says which term may lead it, which others may join that one, and computes all
of them at once. What no walk takes is computed alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastloss.sums.elementwise_pass import ElementwiseWalk
from fastloss.sums.overlap_pass import OverlapWalk
from fastloss.sums.shared_pass import Part, SharedWalk

# In the order in which they take parts: what leads an earlier walk may be joined by parts that a
# later one could take too.
WALKS: tuple[SharedWalk, ...] = (OverlapWalk(), ElementwiseWalk())


def plan(parts: Sequence[Part | None]) -> list[tuple[SharedWalk | None, list[int]]]:
    """The passes over the inputs, each as its walk and the indices of its parts.

    A part that is None, or that nothing joins, has a pass of its own and no walk.
    """
    left = dict(enumerate(parts))
    passes: list[tuple[SharedWalk | None, list[int]]] = []
    for walk in WALKS:
        for index, lead in enumerate(parts):
            if index not in left or lead is None or not walk.leads(lead):
                continue
            together = [i for i, part in left.items() if part and walk.joins(lead, part)]
            together = sorted({index, *together})
            if len(together) > 1:
                passes.append((walk, together))
                left = {i: part for i, part in left.items() if i not in together}
    alone: list[tuple[SharedWalk | None, list[int]]] = [(None, [index]) for index in left]
    return sorted([*passes, *alone], key=lambda shared: shared[1][0])
