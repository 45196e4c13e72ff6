"""Time of the CUDA kernels on the GPU of this machine, as a share of the bandwidth of a copy.

    python bench/gpu.py --output gpu.csv

Builds the library with nvcc. Times are medians of CUDA events over calls that go round sets of
inputs which together outgrow the L2 cache. Beside the kernels stand the same formulas in PyTorch,
eager and through torch.compile, in `jax.jit` and in Liger-Kernel, where these are installed and
have them. Where TensorFlow is installed too, the ops follow (`bench/gpu_tensorflow.py`), into a
file beside the first; `--kernels` leaves them out.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "gpu"))

import gpu_elementwise
import gpu_overlap
import gpu_rowwise
from library import Library, build

PATTERNS = (gpu_elementwise, gpu_overlap, gpu_rowwise)
CALLS, ROUNDS, WARMUP = 10, 30, 5


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


def jax_ms(loss_of: Callable[[Any, Any], Any], sets: list[Any], gradient: bool) -> float:
    """Milliseconds through `jax.jit`, by the clock over many calls."""
    import jax
    import jax.dlpack

    run = jax.jit(jax.value_and_grad(loss_of) if gradient else loss_of)
    # JAX has no int64 unless it is told so.
    narrow = ((p, t.int() if t.dtype == torch.int64 else t) for t, p in sets)
    arrays = [tuple(jax.dlpack.from_dlpack(x) for x in pair) for pair in narrow]
    times = []
    for round_ in range(ROUNDS + WARMUP):
        begin = time.perf_counter()
        # The GPU does one after another, so that the last is done when all are.
        for k in range(CALLS):
            result = run(*arrays[(round_ + k) % len(arrays)])
        jax.block_until_ready(result)
        times.append((time.perf_counter() - begin) * 1e3 / CALLS)
    return statistics.median(times[WARMUP:])


def contenders(
    pattern: Any, library: Library, case: Any, sets: list[Any], gradient: bool
) -> Iterator[tuple[str, float]]:
    """Milliseconds of each."""
    for name, call in pattern.contenders(library, case, sets, gradient):
        yield name, median_ms(call)
    if not importlib.util.find_spec("jax") or not hasattr(pattern, "jax_formula"):
        return
    # JAX would take most of the GPU's memory for itself.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    loss_of = pattern.jax_formula(case)
    if loss_of is not None:
        torch.cuda.empty_cache()
        yield "jax.jit", jax_ms(loss_of, sets, gradient)


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("gpu.csv"))
    parser.add_argument("--elements", type=int, help="only cases of so many elements")
    parser.add_argument("--kernels", action="store_true", help="without TensorFlow")
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
        "shape",
        "gradient",
        "contender",
        "ms",
        "GB/s",
        "share",
    )
    widths = (40, 9, 9, 14, 9, 14, 9, 8, 6)
    print(" ".join(f"{name:<{width}}" for name, width in zip(header, widths, strict=True)))
    with arguments.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((*header, "device"))
        for pattern, case in ((p, case) for p in PATTERNS for case in p.CASES):
            if arguments.elements and case.elements != arguments.elements:
                continue
            one = case.bytes(False)
            sets = pattern.inputs_of(case, max(2, -(-3 * properties.L2_cache_size // one)))
            for gradient in (False, True):
                for contender, ms in contenders(pattern, library, case, sets, gradient):
                    rate = case.bytes(gradient) / ms
                    row = (
                        *(case.loss, dtype_name(case.y_true), dtype_name(case.y_pred)),
                        *("x".join(map(str, case.shape)), "yes" if gradient else "no", contender),
                        *(f"{ms:.4f}", f"{rate / 1e6:.0f}", f"{rate / bandwidth:.2f}"),
                    )
                    writer.writerow((*row, properties.name))
                    file.flush()
                    cells = zip(row, widths, strict=True)
                    print(" ".join(f"{cell:<{width}}" for cell, width in cells), flush=True)
            del sets
            torch.cuda.empty_cache()
    if not arguments.kernels and importlib.util.find_spec("tensorflow"):
        # A process of its own, for all of the GPU's memory.
        script = Path(__file__).with_name("gpu_tensorflow.py")
        output = arguments.output.with_stem(f"{arguments.output.stem}_tensorflow")
        sys.exit(subprocess.run([sys.executable, script, "--output", output]).returncode)


if __name__ == "__main__":
    main()
