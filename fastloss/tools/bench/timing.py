"""Fair timing: all contenders in one process, in turn, round after round; medians."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

_Name = TypeVar("_Name", bound=Hashable)

_LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Timing:
    """Seconds per call of one contender, one figure for each round.

    Attributes:
        seconds: The mean over the calls of a round, round by round.
        calls: How many calls a round has.
    """

    seconds: tuple[float, ...]
    calls: int

    def quantile(self, share: float) -> float:
        """The seconds that this share of the rounds stayed under."""
        return float(np.quantile(self.seconds, share))

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return self.quantile(0.5)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _seconds(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def interleave(
    contenders: Mapping[_Name, Callable[[], object]],
    *,
    rounds: int,
    budget_seconds: float = math.inf,
    sample_seconds: float = 0.004,
) -> dict[_Name, Timing]:
    """Times contenders against each other.

    Whatever drifts during a run (clock speed, other processes, the state of the allocator) meets
    all contenders alike, because each round lets every one of them run once. The order is rotated
    from round to round, so that none always finds the caches as the same neighbour left them.

    Args:
        contenders: What to call, by name. They must be warm: traced, compiled, called before.
        rounds: How many samples each gets.
        budget_seconds: No further round is begun after this time; there are always three, if
            `rounds` allows.
        sample_seconds: A contender faster than this is called often enough to fill it, and the
            mean over these calls is its sample: a clock cannot see a microsecond.

    Returns:
        The timing of each contender.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}, but must be at least 1.")
    names = list(contenders)
    with _no_garbage_collection():
        calls = {
            name: max(1, math.ceil(sample_seconds / max(_seconds(contenders[name], 1), 1e-7)))
            for name in names
        }
        samples: dict[_Name, list[float]] = {name: [] for name in names}
        start = time.perf_counter()
        for index in range(rounds):
            if index >= _LEAST_ROUNDS and time.perf_counter() - start > budget_seconds:
                break
            turn = index % len(names) if names else 0
            for name in names[turn:] + names[:turn]:
                samples[name].append(_seconds(contenders[name], calls[name]))
    return {name: Timing(tuple(samples[name]), calls[name]) for name in names}
