"""Time of the CUDA kernels on the GPU of this machine, as a share of the bandwidth of a copy.

    python bench/gpu.py --output gpu.csv

Builds the library with nvcc. Times are medians of CUDA events over calls that go round sets of
inputs which together outgrow the L2 cache. Beside the kernels stand the same formulas in PyTorch,
eager and through torch.compile, and in `jax.jit`, where these are installed. No TensorFlow.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "gpu"))

import gpu_overlap
from formulas import SUBJECTS
from library import MEAN, Library, Term, build

CALLS, ROUNDS, WARMUP = 10, 30, 5


class Case(NamedTuple):
    loss: str
    y_true: torch.dtype
    y_pred: torch.dtype
    elements: int

    def bytes(self, gradient: bool) -> int:
        """What must move: inputs once, the gradient once."""
        true, pred = (torch.empty((), dtype=d).element_size() for d in (self.y_true, self.y_pred))
        return self.elements * (true + pred + (pred if gradient else 0))


CASES = [
    Case(loss, y_true, y_pred, elements)
    for elements in (1 << 20, 1 << 26, 1 << 28)
    for loss in (
        "mean_squared_error",
        "huber",
        "binary_crossentropy",
        "binary_crossentropy_from_logits",
        "binary_focal_crossentropy_from_logits",
    )
    for y_true, y_pred in (
        (torch.float32, torch.float32),
        (torch.uint8, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.uint8, torch.bfloat16),
    )
]
COLUMNS = 64


class Inputs(NamedTuple):
    y_true: Tensor
    y_pred: Tensor


def inputs_of(case: Case, count: int) -> list[Inputs]:
    shape = (case.elements // COLUMNS, COLUMNS)
    made = []
    for _ in range(count):
        y_true = torch.randint(0, 2, shape, device="cuda", dtype=torch.uint8).to(case.y_true)
        y_pred = torch.randn(shape, device="cuda", dtype=torch.float32)
        if not case.loss.endswith("logits"):
            y_pred = torch.sigmoid(y_pred)
        made.append(Inputs(y_true, y_pred.to(case.y_pred)))
    return made


def median_ms(call: Callable[[int], Any]) -> float:
    """Milliseconds of one call; `call` is told which set of inputs to take."""
    for i in range(WARMUP):
        call(i)
    times = []
    turn = 0
    for _ in range(ROUNDS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(CALLS):
            call(turn)
            turn += 1
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / CALLS)
    return statistics.median(times)


def copy_bandwidth() -> float:
    """Bytes read and written each millisecond by a copy between arrays of a gigabyte."""
    source = torch.ones(1 << 28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / median_ms(lambda _: target.copy_(source))


def of_fastloss(library: Library, case: Case, sets: list[Inputs], gradient: bool) -> Callable:
    subject = next(s for s in SUBJECTS if s.name == case.loss)
    terms = [Term(subject.name, subject.parameters)]
    slopes = [torch.empty_like(i.y_pred) if gradient else None for i in sets]
    loss = torch.empty((), device="cuda")
    scratch = torch.empty(1 << 20, dtype=torch.uint8, device="cuda")

    def call(turn: int) -> None:
        at = turn % len(sets)
        library.elementwise(terms, *sets[at], MEAN, gradient=slopes[at], loss=loss, scratch=scratch)

    return call


def of_torch(case: Case, sets: list[Inputs], gradient: bool, compiled: bool) -> Callable:
    subject = next(s for s in SUBJECTS if s.name == case.loss)

    def loss_of(t: Tensor, p: Tensor) -> Tensor:
        # As PyTorch's own losses: half types are computed in float32.
        return subject.formula(t.to(torch.float32), p.to(torch.float32), *subject.parameters).mean()

    run = torch.compile(loss_of) if compiled else loss_of

    def call(turn: int) -> None:
        t, p = sets[turn % len(sets)]
        if not gradient:
            with torch.no_grad():
                run(t, p)
            return
        p = p.detach().requires_grad_()
        run(t, p).backward()

    return call


def jax_ms(case: Case, sets: list[Inputs], gradient: bool) -> float | None:
    """Milliseconds through `jax.jit`, by the clock over many calls; None for other formulas."""
    # JAX would take most of the GPU's memory for itself.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax
    import jax.dlpack
    import jax.numpy as jnp

    def crossentropy(t: Any, x: Any) -> Any:
        return t * jax.nn.softplus(-x) + (1 - t) * jax.nn.softplus(x)

    def huber(t: Any, p: Any) -> Any:
        size = abs(p - t)
        return jnp.where(size <= 0.7, size**2 / 2, 0.7 * (size - 0.35))

    formulas = {
        "mean_squared_error": lambda t, p: (p - t) ** 2,
        "huber": huber,
        "binary_crossentropy_from_logits": crossentropy,
    }
    if case.loss not in formulas:
        return None

    def loss_of(p: Any, t: Any) -> Any:
        return formulas[case.loss](t.astype(jnp.float32), p.astype(jnp.float32)).mean()

    run = jax.jit(jax.value_and_grad(loss_of) if gradient else loss_of)
    arrays = [(jax.dlpack.from_dlpack(i.y_pred), jax.dlpack.from_dlpack(i.y_true)) for i in sets]
    times = []
    for round_ in range(ROUNDS + WARMUP):
        begin = time.perf_counter()
        results = [run(*arrays[(round_ + k) % len(arrays)]) for k in range(CALLS)]
        jax.block_until_ready(results)
        times.append((time.perf_counter() - begin) * 1e3 / CALLS)
    return statistics.median(times[WARMUP:])


def contenders(
    library: Library, case: Any, sets: list[Any], gradient: bool
) -> Iterator[tuple[str, float]]:
    if isinstance(case, gpu_overlap.RegionCase):
        for name, call in gpu_overlap.contenders(library, case, sets, gradient):
            yield name, median_ms(call)
        return
    yield "fastloss", median_ms(of_fastloss(library, case, sets, gradient))
    yield "torch eager", median_ms(of_torch(case, sets, gradient, False))
    yield "torch.compile", median_ms(of_torch(case, sets, gradient, True))
    found = jax_ms(case, sets, gradient) if importlib.util.find_spec("jax") else None
    if found is not None:
        yield "jax.jit", found


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("gpu.csv"))
    parser.add_argument("--elements", type=int, help="only cases of so many elements")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("There is no GPU that PyTorch can use here, so nothing was measured.")
    library = Library(build(), "cuda")
    properties = torch.cuda.get_device_properties(0)
    bandwidth = copy_bandwidth()
    print(
        f"{properties.name}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}, "
        f"a copy moves {bandwidth / 1e6:.0f} GB/s"
    )
    header = (
        "loss",
        "y_true",
        "y_pred",
        "elements",
        "gradient",
        "contender",
        "ms",
        "GB/s",
        "share",
    )
    widths = (38, 9, 9, 10, 9, 14, 9, 8, 6)
    print(" ".join(f"{name:<{width}}" for name, width in zip(header, widths, strict=True)))
    with arguments.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((*header, "device"))
        for case in (*CASES, *gpu_overlap.CASES):
            if arguments.elements and case.elements != arguments.elements:
                continue
            one = case.bytes(False)
            make = gpu_overlap.inputs_of if case in gpu_overlap.CASES else inputs_of
            sets = make(case, max(2, -(-3 * properties.L2_cache_size // one)))
            for gradient in (False, True):
                for contender, ms in contenders(library, case, sets, gradient):
                    rate = case.bytes(gradient) / ms
                    row = (
                        *(case.loss, dtype_name(case.y_true), dtype_name(case.y_pred)),
                        *(case.elements, "yes" if gradient else "no", contender),
                        *(f"{ms:.4f}", f"{rate / 1e6:.0f}", f"{rate / bandwidth:.2f}"),
                    )
                    writer.writerow((*row, properties.name))
                    file.flush()
                    cells = zip(row, widths, strict=True)
                    print(" ".join(f"{cell:<{width}}" for cell, width in cells), flush=True)
            del sets
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
