"""The CUDA library on tensors of PyTorch; nothing here knows TensorFlow."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

ROOT = Path(__file__).parents[2]
NONE, SUM, MEAN, MEAN_WITH_SAMPLE_WEIGHT = range(4)
DTYPES = {
    **{torch.float32: 1, torch.float64: 2, torch.int32: 3, torch.uint8: 4, torch.int16: 5},
    **{torch.int8: 6, torch.int64: 9, torch.bool: 10, torch.bfloat16: 14, torch.uint16: 17},
    **{torch.float16: 19, torch.uint32: 22, torch.uint64: 23},
}


def _c_api() -> Any:
    """`fastloss/c_api.py` alone: the package around it wants TensorFlow."""
    spec = importlib.util.spec_from_file_location("c_api", ROOT / "fastloss" / "c_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


c_api = _c_api()


class Term(NamedTuple):
    loss: str
    parameters: tuple[float, ...] = ()
    factor: float = 1.0


class Result(NamedTuple):
    loss: Tensor | None
    term_values: Tensor | None
    gradient: Tensor | None


def build() -> Path:
    """Compiles the library for the GPU of this machine; returns where it lies."""
    major, minor = torch.cuda.get_device_capability()
    folder = ROOT / "build" / "gpu"
    configure = ["cmake", "-S", ROOT, "-B", folder, "-DFASTLOSS_CUDA=ON"]
    configure.append(f"-DCMAKE_CUDA_ARCHITECTURES={major}{minor}-real")
    compile_ = ["cmake", "--build", folder, "--target", "fastloss_cuda", "--parallel"]
    for command in (configure, compile_):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return folder / "libfastloss_cuda.so"


def wide(dtype: torch.dtype) -> torch.dtype:
    """What losses of such predictions are computed in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class Library:
    """The functions of `csrc/api/fastloss_cuda.h`."""

    # What stands around every output, and in it before it is written.
    POISON = 0x7B

    def __init__(self, path: Path, device: str) -> None:
        self.device = device
        self._library = ctypes.CDLL(str(path))
        self._library.fastloss_cuda_error.restype = ctypes.c_char_p
        self._library.fastloss_cuda_elementwise_scratch.restype = ctypes.c_int64
        self._guards: list[tuple[Tensor, int, int]] = []

    def output(self, shape: Sequence[int], dtype: torch.dtype, offset: int = 0) -> Tensor:
        """A poisoned array, `offset` elements after a multiple of 16 bytes, between guards."""
        size = torch.empty((), dtype=dtype).element_size()
        count = int(torch.Size(shape).numel())
        begin = 256 + offset * size
        buffer = torch.full(
            (begin + count * size + 256,), self.POISON, dtype=torch.uint8, device=self.device
        )
        self._guards.append((buffer, begin, begin + count * size))
        return buffer[begin : begin + count * size].view(dtype).view(tuple(shape))

    def check_guards(self) -> None:
        """Fails where something was written beside an output."""
        for buffer, begin, end in self._guards:
            beside = torch.cat([buffer[:begin], buffer[end:]])
            assert bool((beside == self.POISON).all()), "a kernel wrote beside its output"
        self._guards.clear()

    def stream(self) -> ctypes.c_void_p:
        if self.device == "cpu":
            return ctypes.c_void_p(None)
        return ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)

    def _check(self, result: int) -> None:
        if result:
            raise RuntimeError(self._library.fastloss_cuda_error().decode())

    def elementwise(
        self,
        terms: Sequence[Term],
        y_true: Tensor,
        y_pred: Tensor,
        reduction: int = MEAN,
        weight: Tensor | None = None,
        weight_repeat: int = 1,
        column_weight: Tensor | None = None,
        upstream: Tensor | None = None,
        gradient: Tensor | None = None,
        replicas: int = 1,
        loss: Tensor | None = None,
        scratch: Tensor | None = None,
    ) -> Result:
        """The loss of (rows, columns), or with an upstream gradient the gradient.

        Without a `loss` to write to, one is allocated, and so are the terms' values; the gradient
        is computed only into one that is passed.
        """
        rows, columns = y_pred.shape
        array = (c_api.Term * len(terms))()
        for c_term, term in zip(array, terms, strict=True):
            c_term.loss = term.loss.encode()
            c_term.parameters = (ctypes.c_double * max(1, len(term.parameters)))(*term.parameters)
            c_term.parameter_count = len(term.parameters)
            c_term.factor = term.factor
        call = c_api.ElementwiseCall(
            terms=array,
            term_count=len(terms),
            reduction=reduction,
            replicas=replicas,
            y_true_dtype=DTYPES[y_true.dtype],
            y_pred_dtype=DTYPES[y_pred.dtype],
            rows=rows,
            columns=columns,
            y_true=y_true.data_ptr(),
            y_pred=y_pred.data_ptr(),
        )
        if weight is not None:
            call.weight, call.weight_count = weight.data_ptr(), weight.numel()
            call.weight_repeat = weight_repeat
        if column_weight is not None:
            call.column_weight = column_weight.data_ptr()
            call.column_weight_count = column_weight.numel()
        bytes_ = self._library.fastloss_cuda_elementwise_scratch(ctypes.byref(call))
        if bytes_ < 0:
            self._check(-1)
        if scratch is None:
            scratch = self.output((bytes_,), torch.uint8)
        assert scratch.numel() >= bytes_
        if upstream is not None:
            self._check(
                self._library.fastloss_cuda_elementwise_backward(
                    ctypes.byref(call),
                    *map(_pointer, (upstream, gradient, scratch)),
                    self.stream(),
                )
            )
            return Result(None, None, gradient)
        values = None
        if loss is None:
            per_row = reduction == NONE
            loss = self.output((rows,) if per_row else (), wide(y_pred.dtype))
            values = None if per_row else self.output((len(terms),), wide(y_pred.dtype))
        self._check(
            self._library.fastloss_cuda_elementwise_forward(
                ctypes.byref(call),
                *map(_pointer, (loss, values, gradient, scratch)),
                self.stream(),
            )
        )
        return Result(loss, values, gradient)

    def forward(
        self, pattern: str, call: Any, *outputs: Tensor | None, scratch: Tensor | None = None
    ) -> None:
        """`fastloss_cuda_<pattern>_forward`."""
        self._launch(f"{pattern}_forward", pattern, call, outputs, scratch)

    def backward(
        self,
        pattern: str,
        call: Any,
        upstream: Tensor,
        gradient: Tensor,
        scratch: Tensor | None = None,
    ) -> None:
        """`fastloss_cuda_<pattern>_backward`."""
        self._launch(f"{pattern}_backward", pattern, call, (upstream, gradient), scratch)

    def scratch_bytes(self, pattern: str, call: Any) -> int:
        """`fastloss_cuda_<pattern>_scratch`."""
        function = getattr(self._library, f"fastloss_cuda_{pattern}_scratch")
        function.restype = ctypes.c_int64
        found = function(ctypes.byref(call))
        self._check(min(found, 0))
        return found

    def _launch(
        self,
        function: str,
        pattern: str,
        call: Any,
        arrays: Sequence[Tensor | None],
        scratch: Tensor | None,
    ) -> None:
        wanted = self.scratch_bytes(pattern, call)
        if scratch is None:
            scratch = self.output((wanted,), torch.uint8)
        assert scratch.numel() >= wanted
        self._check(
            getattr(self._library, f"fastloss_cuda_{function}")(
                ctypes.byref(call), *map(_pointer, (*arrays, scratch)), self.stream()
            )
        )

    def scale(self, gradient: Tensor, upstream: Tensor, scaled: Tensor) -> None:
        self._check(
            self._library.fastloss_cuda_scale(
                ctypes.c_int32(DTYPES[gradient.dtype]),
                ctypes.c_int64(gradient.numel()),
                *map(_pointer, (gradient, upstream, scaled)),
                self.stream(),
            )
        )

    def accumulate(self, part: Tensor, total: Tensor) -> None:
        self._check(
            self._library.fastloss_cuda_accumulate(
                ctypes.c_int32(DTYPES[part.dtype]),
                ctypes.c_int64(part.numel()),
                *map(_pointer, (part, total)),
                self.stream(),
            )
        )

    def scalar(self, function: str, x: Tensor, y: Tensor | None = None) -> Tensor:
        """A function of `csrc/losses/scalar.h` of every element."""
        out = self.output(x.shape, x.dtype)
        self._check(
            self._library.fastloss_cuda_scalar(
                function.encode(),
                ctypes.c_int32(DTYPES[x.dtype]),
                *map(_pointer, (x, y, out)),
                ctypes.c_int64(x.numel()),
                self.stream(),
            )
        )
        return out


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
