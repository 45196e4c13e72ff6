"""The roof: a copy of the same number of bytes by the same number of threads.

The floor of a loss is its memory traffic, so the yardstick is a copy that reads and writes as many
bytes in total as the loss's byte formula, between warm buffers. The library's own copy is used,
whose stores bypass the cache, where it is at least as fast as `memcpy` on this machine; the faster
of the two is the roof. A loss that reads two arrays and writes one may exceed it: reading is
cheaper than writing.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fastloss import c_api


@dataclass(frozen=True)
class Roof:
    """A yardstick, ready to be called.

    Attributes:
        kind: `copy` or `memcpy`.
        move: Moves the bytes once.
    """

    kind: str
    move: Callable[[], object]


def _memcpy(source: np.ndarray, target: np.ndarray, threads: int) -> Callable[[], object]:
    bounds = [source.size * index // threads for index in range(threads + 1)]
    pool = ThreadPoolExecutor(threads)

    def piece(index: int) -> None:
        start, stop = bounds[index], bounds[index + 1]
        ctypes.memmove(
            target.ctypes.data + 4 * start, source.ctypes.data + 4 * start, 4 * (stop - start)
        )

    return lambda: list(pool.map(piece, range(threads)))


def _median(move: Callable[[], object], rounds: int = 5) -> float:
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        move()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def make_roof(total_bytes: int, threads: int) -> Roof:
    """The faster of the library's copy, where it is there, and `memcpy`.

    `total_bytes` counts what is read and what is written; `threads` share the work.
    """
    # Each byte is read and written: half of the traffic is the source.
    count = max(1, total_bytes // 2 // 4)
    source, target = np.ones(count, np.float32), np.ones(count, np.float32)
    roofs = [Roof("memcpy", _memcpy(source, target, threads))]
    try:
        c_api.library()
    except OSError:
        return roofs[0]
    c_api.set_threads(threads)
    roofs.append(Roof("copy", lambda: c_api.copy(source, target)))
    return min(roofs, key=lambda roof: _median(roof.move))
