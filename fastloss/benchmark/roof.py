"""The roof: the same number of bytes, moved by threads that compute nothing to speak of.

The floor of a loss is its memory traffic, so the yardstick is the fastest traffic of the same mix:
two arrays read and one written (`out = x + y` with stores that bypass the cache), with as many
bytes in total as the loss's byte formula. That is stricter than a `memcpy`, whose stores first
read the lines that they overwrite and so move half as much again. All buffers are warm. Without
the compiled library a `memcpy` in threads stands in, and the report says so.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fastloss import core


@dataclass(frozen=True)
class Roof:
    """A yardstick, ready to be called.

    Attributes:
        kind: `triad` or `memcpy`.
        move: Moves the bytes once.
    """

    kind: str
    move: Callable[[], object]


def default_threads() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _warm(count: int) -> np.ndarray:
    return np.ones(max(1, count), np.float32)


def _copy(total_bytes: int, threads: int) -> Callable[[], object]:
    # Each byte is read and written: half of the traffic is the source.
    count = total_bytes // 2 // 4
    source, target = _warm(count), _warm(count)
    bounds = [count * index // threads for index in range(threads + 1)]
    pool = ThreadPoolExecutor(threads)

    def piece(index: int) -> None:
        start, stop = bounds[index], bounds[index + 1]
        ctypes.memmove(
            target.ctypes.data + 4 * start, source.ctypes.data + 4 * start, 4 * (stop - start)
        )

    return lambda: list(pool.map(piece, range(threads)))


def _triad(total_bytes: int, threads: int) -> Callable[[], object] | None:
    try:
        core.library()
    except OSError:
        return None
    core.set_threads(threads)
    count = max(1, total_bytes // 3 // 4)
    x, y, out = _warm(count), _warm(count), _warm(count)
    return lambda: core.triad(x, y, out)


def make_roof(total_bytes: int, threads: int) -> Roof:
    """Prepares the yardstick for a case.

    Args:
        total_bytes: Bytes read plus bytes written.
        threads: How many threads share the work.

    Returns:
        The triad of the compiled library where there is one, else a copy.
    """
    triad = _triad(total_bytes, threads)
    if triad is not None:
        return Roof("triad", triad)
    return Roof("memcpy", _copy(total_bytes, threads))
