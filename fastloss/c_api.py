"""The C library without TensorFlow: `csrc/api/fastloss.h` through ctypes.

It serves tests, benchmarks and `fastloss doctor`; losses go through TensorFlow's ops.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LIBRARY = Path(__file__).parent / "lib" / "libfastloss.so"

_DTYPES = {np.dtype(np.float32): 1, np.dtype(np.float64): 2}


@cache
def library() -> ctypes.CDLL:
    """The loaded library; an OSError names the file where it cannot be loaded."""
    lib = ctypes.CDLL(str(LIBRARY))
    for name in ("isa", "isas", "error", "version"):
        getattr(lib, f"fastloss_{name}").restype = ctypes.c_char_p
    for pattern in ("box", "elementwise", "overlap", "rowwise"):
        getattr(lib, f"fastloss_{pattern}_losses").restype = ctypes.c_char_p
    lib.fastloss_trim.restype = ctypes.c_int64
    return lib


def _check(result: int) -> None:
    if result:
        raise ValueError(library().fastloss_error().decode())


def _pointer(array: np.ndarray | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def version() -> str:
    """Version of the library."""
    return library().fastloss_version().decode()


def isa() -> str:
    """The instruction set in use: "baseline", "avx2" or "avx512"."""
    return library().fastloss_isa().decode()


def isas() -> list[str]:
    """The instruction sets that this CPU runs, best last."""
    return library().fastloss_isas().decode().split()


def set_isa(name: str = "") -> None:
    """Choose an instruction set; "" is the best that this CPU has.

    Raises:
        ValueError: If this CPU does not run it.
    """
    _check(library().fastloss_set_isa(name.encode()))


def threads() -> int:
    """Threads of the library's own pool, which serves where TensorFlow's is out of reach."""
    return library().fastloss_threads()


def set_threads(count: int) -> None:
    """Size the library's own pool; 0 is as many threads as the CPU has."""
    library().fastloss_set_threads(ctypes.c_int32(count))


def trim() -> int:
    """Give idle gradient buffers back to the system; returns how many bytes that were."""
    return library().fastloss_trim()


class LossFacts(NamedTuple):
    """What the library says of one of its losses, in the names of `fastloss.registry.Kernel`."""

    parameters: tuple[str, ...]
    row_reduction: str = "mean"
    needs_all_labels: bool = False
    sparse: bool = False
    has_dense_form: bool = True
    couples_classes: bool = False
    fuses_with_overlap: bool = False


_FLAGS: dict[str, tuple[str, Any]] = {
    "sum": ("row_reduction", "sum"),
    "needs_all_labels": ("needs_all_labels", True),
    "sparse": ("sparse", True),
    "no_dense_form": ("has_dense_form", False),
    "couples_classes": ("couples_classes", True),
    "fuses_with_overlap": ("fuses_with_overlap", True),
}


def _facts(text: bytes) -> dict[str, LossFacts]:
    """Of entries as "kl_divergence(epsilon):sum:fuses_with_overlap"."""
    losses = {}
    for entry in text.decode().split():
        signature, *flags = entry.split(":")
        name, _, parameters = signature.rstrip(")").partition("(")
        losses[name] = LossFacts(
            tuple(filter(None, parameters.split(","))), **dict(_FLAGS[flag] for flag in flags)
        )
    return losses


def elementwise_losses() -> dict[str, LossFacts]:
    """The elementwise losses of the library."""
    return _facts(library().fastloss_elementwise_losses())


def rowwise_losses() -> dict[str, LossFacts]:
    """The rowwise losses of the library."""
    return _facts(library().fastloss_rowwise_losses())


def overlap_losses() -> dict[str, LossFacts]:
    """The overlap losses of the library."""
    return _facts(library().fastloss_overlap_losses())


def box_losses() -> dict[str, LossFacts]:
    """The losses between boxes of the library."""
    return _facts(library().fastloss_box_losses())


def scalar(function: str, x: np.ndarray, y: np.ndarray | None = None, isa: str = "") -> np.ndarray:
    """Apply one function of `csrc/losses/scalar.h` to an array.

    Args:
        function: Its name, as "exp".
        x: Float32 or float64.
        y: Second argument, of x's dtype and shape, for "pow" and "atan2".
        isa: Instruction set; "" is the best that this CPU has.
    """
    x = np.ascontiguousarray(x)
    y = None if y is None else np.ascontiguousarray(y, x.dtype)
    out = np.empty_like(x)
    _check(
        library().fastloss_scalar(
            function.encode(),
            isa.encode(),
            ctypes.c_int32(_DTYPES.get(x.dtype, 0)),
            _pointer(x),
            _pointer(y),
            _pointer(out),
            ctypes.c_int64(x.size),
        )
    )
    return out


def copy(source: np.ndarray, target: np.ndarray) -> None:
    """Copy an array with the threads and stores of the losses: their bandwidth roof."""
    if not (source.flags.c_contiguous and target.flags.c_contiguous):
        raise ValueError("copy takes contiguous arrays")
    if source.nbytes != target.nbytes:
        raise ValueError(f"source has {source.nbytes} bytes and target {target.nbytes}")
    _check(
        library().fastloss_copy(
            ctypes.c_int64(target.nbytes), _pointer(source), _pointer(target), None, None
        )
    )


class Term(ctypes.Structure):
    """`struct fastloss_term` of `csrc/api/fastloss.h`."""

    _fields_ = [
        ("loss", ctypes.c_char_p),
        ("parameters", ctypes.POINTER(ctypes.c_double)),
        ("parameter_count", ctypes.c_int32),
        ("factor", ctypes.c_double),
    ]


class ElementwiseCall(ctypes.Structure):
    """`struct fastloss_elementwise` of `csrc/api/fastloss.h`."""

    _fields_ = [
        ("terms", ctypes.POINTER(Term)),
        ("term_count", ctypes.c_int32),
        ("reduction", ctypes.c_int32),
        ("replicas", ctypes.c_int32),
        ("y_true_dtype", ctypes.c_int32),
        ("y_pred_dtype", ctypes.c_int32),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("y_true", ctypes.c_void_p),
        ("y_pred", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("weight_count", ctypes.c_int64),
        ("weight_repeat", ctypes.c_int64),
        ("weight_expansion", ctypes.c_int64),
        ("column_weight", ctypes.c_void_p),
        ("column_weight_count", ctypes.c_int64),
        ("parallel_for", ctypes.c_void_p),
        ("parallel_context", ctypes.c_void_p),
    ]


class Task(ctypes.Structure):
    """`struct fastloss_task` of `csrc/api/fastloss.h`."""

    _fields_ = [
        ("term", Term),
        ("first_true", ctypes.c_int64),
        ("first_pred", ctypes.c_int64),
        ("columns", ctypes.c_int64),
    ]


class ColumnsCall(ctypes.Structure):
    """`struct fastloss_columns` of `csrc/api/fastloss.h`."""

    _fields_ = [
        ("tasks", ctypes.POINTER(Task)),
        ("task_count", ctypes.c_int32),
        ("reduction", ctypes.c_int32),
        ("replicas", ctypes.c_int32),
        ("y_true_dtype", ctypes.c_int32),
        ("y_pred_dtype", ctypes.c_int32),
        ("rows", ctypes.c_int64),
        ("true_columns", ctypes.c_int64),
        ("pred_columns", ctypes.c_int64),
        ("y_true", ctypes.c_void_p),
        ("y_pred", ctypes.c_void_p),
        ("factor", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("weight_count", ctypes.c_int64),
        ("weight_repeat", ctypes.c_int64),
        ("weight_expansion", ctypes.c_int64),
        ("parallel_for", ctypes.c_void_p),
        ("parallel_context", ctypes.c_void_p),
    ]


class RowwiseCall(ctypes.Structure):
    """`struct fastloss_rowwise` of `csrc/api/fastloss.h`."""

    _fields_ = [
        ("loss", ctypes.c_char_p),
        ("parameters", ctypes.POINTER(ctypes.c_double)),
        ("parameter_count", ctypes.c_int32),
        ("reduction", ctypes.c_int32),
        ("replicas", ctypes.c_int32),
        ("y_true_dtype", ctypes.c_int32),
        ("y_pred_dtype", ctypes.c_int32),
        ("outer", ctypes.c_int64),
        ("classes", ctypes.c_int64),
        ("inner", ctypes.c_int64),
        ("y_true", ctypes.c_void_p),
        ("y_pred", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("weight_count", ctypes.c_int64),
        ("weight_repeat", ctypes.c_int64),
        ("weight_expansion", ctypes.c_int64),
        ("class_weight", ctypes.c_void_p),
        ("label_smoothing", ctypes.c_double),
        ("temperature", ctypes.c_double),
        ("logit_softcap", ctypes.c_double),
        ("z_loss", ctypes.c_double),
        ("has_ignore_class", ctypes.c_int32),
        ("ignore_class", ctypes.c_int64),
        ("parallel_for", ctypes.c_void_p),
        ("parallel_context", ctypes.c_void_p),
    ]


class OverlapCall(ctypes.Structure):
    """`struct fastloss_overlap` of `csrc/api/fastloss.h`."""

    _fields_ = [
        ("loss", ctypes.c_char_p),
        ("parameters", ctypes.POINTER(ctypes.c_double)),
        ("parameter_count", ctypes.c_int32),
        ("reduction", ctypes.c_int32),
        ("replicas", ctypes.c_int32),
        ("y_true_dtype", ctypes.c_int32),
        ("y_pred_dtype", ctypes.c_int32),
        ("outer", ctypes.c_int64),
        ("above", ctypes.c_int64),
        ("classes", ctypes.c_int64),
        ("inner", ctypes.c_int64),
        ("y_true", ctypes.c_void_p),
        ("y_pred", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("weight_count", ctypes.c_int64),
        ("weight_repeat", ctypes.c_int64),
        ("weight_expansion", ctypes.c_int64),
        ("class_weight", ctypes.c_void_p),
        ("activation", ctypes.c_int32),
        ("per_outer", ctypes.c_int32),
        ("per_class", ctypes.c_int32),
        ("sparse", ctypes.c_int32),
        ("squared", ctypes.c_int32),
        ("skip_background", ctypes.c_int32),
        ("has_ignore_class", ctypes.c_int32),
        ("ignore_class", ctypes.c_int64),
        ("fused_terms", ctypes.POINTER(Term)),
        ("fused_term_count", ctypes.c_int32),
        ("factor", ctypes.c_double),
        ("parallel_for", ctypes.c_void_p),
        ("parallel_context", ctypes.c_void_p),
    ]


class BoxesCall(ctypes.Structure):
    """`struct fastloss_boxes` of `csrc/api/fastloss.h`."""

    _fields_ = [
        ("loss", ctypes.c_char_p),
        ("parameters", ctypes.POINTER(ctypes.c_double)),
        ("parameter_count", ctypes.c_int32),
        ("reduction", ctypes.c_int32),
        ("replicas", ctypes.c_int32),
        ("y_true_dtype", ctypes.c_int32),
        ("y_pred_dtype", ctypes.c_int32),
        ("box_format", ctypes.c_int32),
        ("boxes", ctypes.c_int64),
        ("y_true", ctypes.c_void_p),
        ("y_pred", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("weight_count", ctypes.c_int64),
        ("weight_repeat", ctypes.c_int64),
        ("weight_expansion", ctypes.c_int64),
        ("parallel_for", ctypes.c_void_p),
        ("parallel_context", ctypes.c_void_p),
    ]
