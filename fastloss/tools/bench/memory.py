"""Peak extra memory of a call: what it needs beyond its inputs.

The definition is the same for every contender: caches are emptied (fastloss's idle buffers and
glibc's free lists), the resident size is read with only the inputs alive, the kernel's high-water
mark of this process is reset, the contender runs once, and the mark is read. What a library keeps
for the next call therefore counts as memory it needs. The kernel keeps the mark per CPU in batches
of pages, so figures below about half a megabyte are noise.

Where TensorFlow uses oneDNN it never gives memory back but serves it from a pool of its own, which
no resident size shows. The most that was in use of that pool is added, as the pool counts it: its
blocks may be up to twice as large as what was asked for.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import math
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from fastloss import c_api

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"

RESOLUTION_BYTES = 512 * 1024


def _status_bytes(field: str) -> int:
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {field}.")


@cache
def can_measure() -> bool:
    """Whether this system lets a process reset its own high-water mark.

    `ru_maxrss` is no substitute: it never falls, so whatever ran before would hide a smaller peak.
    """
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
        _status_bytes("VmHWM")
    except OSError:
        return False
    return True


@cache
def _c_library() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("c")
    return ctypes.CDLL(name) if name else None


def _pool() -> dict[str, int] | None:
    """What TensorFlow has in use of its pool, now and at most since the last reset."""
    import tensorflow as tf

    try:
        return tf.config.experimental.get_memory_info("CPU:0")
    except ValueError:
        return None


def can_measure_process() -> bool:
    """Whether the process's own high-water mark shows what TensorFlow needs."""
    return can_measure() and _pool() is None


def trim() -> None:
    """Empties the caches from which freed memory would be served again."""
    gc.collect()
    # Without the compiled library there are no buffers of ours to give back.
    with suppress(OSError):
        c_api.trim()
    library = _c_library()
    if library is not None and hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def resident_bytes() -> int:
    """The resident size of this process."""
    return _status_bytes("VmRSS")


def reset_peak() -> None:
    """Sets the high-water mark to the present resident size."""
    import tensorflow as tf

    _CLEAR_REFS.write_text(_RESET_PEAK)
    if _pool():
        tf.config.experimental.reset_memory_stats("CPU:0")


def peak_bytes() -> int:
    """The high-water mark since the last reset."""
    return _status_bytes("VmHWM")


def peak_extra_bytes(
    call: Callable[[], object], repeats: int = 3, budget_seconds: float = math.inf
) -> int | None:
    """Measures the most memory that a call has on top of what is resident before it.

    Args:
        call: The contender; it must be warm, so that nothing of a first call counts.
        repeats: How often to measure; the median is taken.
        budget_seconds: It is not repeated after this time.

    Returns:
        Bytes, or None where the system cannot tell.
    """
    if not can_measure():
        return None
    peaks: list[int] = []
    start = time.perf_counter()
    for _ in range(repeats):
        if peaks and time.perf_counter() - start > budget_seconds:
            break
        trim()
        before, pool_before = resident_bytes(), _pool()
        reset_peak()
        call()
        extra, pool = max(0, peak_bytes() - before), _pool()
        if pool and pool_before:
            extra += pool["peak"] - pool_before["current"]
        peaks.append(extra)
    return int(statistics.median(peaks))
