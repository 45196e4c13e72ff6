"""Loads the ops, and says whether they or the reference serve."""

from __future__ import annotations

import ctypes
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import tensorflow as tf

from fastloss.ops.context import has_gpu, is_compiled_by_xla

LIBRARY = Path(__file__).parent.parent / "lib" / "libfastloss_tensorflow.so"
BACKENDS = ("auto", "fused", "reference")
TESTED_RELEASES = ((2, 16), (2, 21))


def _checked(name: str, source: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"{source} is {name!r}; expected one of {', '.join(map(repr, BACKENDS))}")
    return name


def _from_environment() -> str:
    try:
        return _checked(os.environ.get("FASTLOSS_BACKEND", "auto"), "FASTLOSS_BACKEND")
    except ValueError as error:
        warnings.warn(f"{error}; using 'auto'", stacklevel=2)
        return "auto"


_requested = _from_environment()


class LoadError(RuntimeError):
    """The library could not be loaded; the message names the cause and the cure."""


def _cure() -> str:
    """How to get a library that loads."""
    root = LIBRARY.parents[2]
    if (root / "CMakeLists.txt").exists():
        return (
            "This is a checkout: build it with a C++17 compiler by `pip install "
            f"--force-reinstall --no-deps {root}`, and start Python in another folder, so that "
            "what is installed is found first."
        )
    return (
        "Install fastloss once more, with a C++17 compiler: `pip install --force-reinstall "
        "--no-deps` with the path of a checkout, or of a wheel for this platform."
    )


@cache
def _load() -> Any:
    """The module of ops, or the reason that there is none."""
    if not LIBRARY.exists():
        return LoadError(f"fastloss has no library here: {LIBRARY} is missing. {_cure()}")
    try:
        loaded = tf.load_op_library(str(LIBRARY))
    except (tf.errors.OpError, OSError) as error:
        cause = str(getattr(error, "message", error)).splitlines()[0][:300]
        return LoadError(
            f"fastloss could not load {LIBRARY.name} into TensorFlow {tf.__version__}: {cause}. It "
            "is made for TensorFlow 2.16 to 2.21 on the platform that it was built on. If that is "
            f"what you have: {_cure()}"
        )
    oldest, newest = TESTED_RELEASES
    release = tuple(map(int, tf.__version__.split(".")[:2]))
    tested = int(oldest <= release <= newest)
    _functions().fastloss_use_tensorflow_threads(tested)
    _functions().fastloss_use_tensorflow_gpu(tested)
    return loaded


def _functions() -> ctypes.CDLL:
    """Those beside the ops."""
    functions = ctypes.CDLL(str(LIBRARY))
    functions.fastloss_tensorflow_gpu.restype = ctypes.c_char_p
    return functions


def threads() -> str:
    """Whose threads the kernels run on: "tensorflow" or "fastloss"."""
    kernels()
    return "tensorflow" if _functions().fastloss_tensorflow_threads() else "fastloss"


def why_not_on_gpu() -> str:
    """Empty if every op has a kernel for GPUs, else the reason."""
    kernels()
    return _functions().fastloss_tensorflow_gpu().decode()


def kernels() -> Any:
    """The module of ops.

    Raises:
        LoadError: If the library cannot be loaded.
    """
    loaded = _load()
    if isinstance(loaded, LoadError):
        raise loaded
    return loaded


@cache
def _auto() -> str:
    loaded = _load()
    if isinstance(loaded, LoadError):
        warnings.warn(f"{loaded} Until then the slower reference serves.", stacklevel=2)
        return "reference"
    # With the predictions on a GPU, moving them to a kernel on the CPU costs more.
    return "reference" if has_gpu() and why_not_on_gpu() else "fused"


def backend() -> str:
    """What computes the losses now: "fused" (the kernels) or "reference" (TensorFlow ops).

    `FASTLOSS_BACKEND` or `set_backend` choose it; with "auto", the default, the kernels serve where
    they load, and where a GPU is in use, if they are built for it. Inside
    `tf.function(jit_compile=True)` the reference serves in any case, and XLA compiles it.

    Example:
        >>> with fl.use_backend("reference"):
        ...     print(fl.backend())
        reference

    Raises:
        LoadError: If "fused" was asked for and the library cannot be loaded.
    """
    if _requested == "auto":
        return _auto()
    if _requested == "fused":
        kernels()
    return _requested


def runs_reference() -> bool:
    """Whether the reference computes what is called or traced here."""
    return backend() == "reference" or is_compiled_by_xla()


def set_backend(name: str) -> None:
    """Choose what computes the losses: "auto", "fused" or "reference".

    A `tf.function` keeps what it was traced with.

    Example:
        >>> fl.set_backend("auto")

    Args:
        name: "auto" (the default of the package), "fused" (the kernels) or "reference" (TensorFlow
            ops).

    Raises:
        ValueError: If the name is another.
        LoadError: If "fused" was asked for and the library cannot be loaded.
    """
    global _requested
    name = _checked(name, "backend")
    if name == "fused":
        kernels()
    _requested = name


@lru_cache(maxsize=1024)
def float64_bits(numbers: tuple[float, ...]) -> tuple[int, ...]:
    """The numbers as int64 of the same bits, since a float attribute of TensorFlow has 32 bits."""
    return struct.unpack(f"<{len(numbers)}q", struct.pack(f"<{len(numbers)}d", *numbers))


def float64_of(bits: Sequence[int]) -> tuple[float, ...]:
    """The numbers that `float64_bits` took."""
    return struct.unpack(f"<{len(bits)}d", struct.pack(f"<{len(bits)}q", *bits))


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """`set_backend` for the length of a `with` block.

    Example:
        >>> with fl.use_backend("reference"):
        ...     float(fl.MeanSquaredError()([[0.0]], [[2.0]]))
        4.0

    Args:
        name: "auto", "fused" or "reference".
    """
    previous = _requested
    set_backend(name)
    try:
        yield
    finally:
        set_backend(previous)
