"""Builds the CUDA library, and checks it on the GPU of this machine. Needs nvcc, CMake and PyTorch.

python tests/gpu/run.py                 all checks; those of the ops too, where TensorFlow is there
python tests/gpu/run.py --kernels       without TensorFlow
python tests/gpu/run.py --small         small sizes
python tests/gpu/run.py --sanitizer     small sizes under each tool of compute-sanitizer
python tests/gpu/run.py --host LIBRARY  small sizes with libcuda_on_host.so of tests/cuda_host,
                                        which tries these checks, not a GPU
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import traceback
from importlib.util import find_spec
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

import array_checks
import boxes_checks
import columns_checks
import elementwise_checks
import overlap_checks
import rowwise_checks
from checks import FULL, SMALL, Size, SkippedError
from library import Library, build

CHECKS = (
    *elementwise_checks.CHECKS,
    *array_checks.CHECKS,
    *boxes_checks.CHECKS,
    *columns_checks.CHECKS,
    *overlap_checks.CHECKS,
    *rowwise_checks.CHECKS,
)
TOOLS = ("memcheck", "initcheck", "synccheck", "racecheck")


def check(library: Library, size: Size) -> int:
    """Runs all checks; returns how many failed."""
    failed = 0
    for each in CHECKS:
        torch.manual_seed(7)
        start = time.perf_counter()
        try:
            each(library, size)
            if library.device != "cpu":
                torch.cuda.synchronize()
            outcome = "passed"
        except SkippedError as reason:
            outcome = f"skipped: {reason}"
        except Exception:
            failed += 1
            outcome = "FAILED\n" + traceback.format_exc()
        print(f"{each.__name__:32} {time.perf_counter() - start:7.1f} s  {outcome}", flush=True)
    return failed


def sanitize() -> int:
    # Without PyTorch's own memory pool the sanitizer knows where each array ends.
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    failed = 0
    for tool in TOOLS:
        print(f"==== {tool}", flush=True)
        command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "1"]
        command += [sys.executable, __file__, "--small", "--built"]
        failed += subprocess.run(command, env=environment).returncode != 0
    return failed


def check_in_tensorflow() -> int:
    if not find_spec("tensorflow"):
        print("TensorFlow is not installed here, so the ops were not checked.")
        return 0
    print("==== in TensorFlow", flush=True)
    script = Path(__file__).with_name("tensorflow_run.py")
    return subprocess.run([sys.executable, script]).returncode


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--sanitizer", action="store_true")
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--built", action="store_true", help="the library is up to date")
    parser.add_argument("--host", type=Path, metavar="LIBRARY")
    arguments = parser.parse_args()
    if arguments.host:
        sys.exit(check(Library(arguments.host, "cpu"), SMALL) != 0)
    if not torch.cuda.is_available():
        sys.exit("There is no GPU that PyTorch can use here, so nothing was checked.")
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}", flush=True)
    path = Path(__file__).parents[2] / "build" / "gpu" / "libfastloss_cuda.so"
    if not arguments.built:
        path = build()
    if arguments.sanitizer:
        sys.exit(sanitize())
    failed = check(Library(path, "cuda"), SMALL if arguments.small else FULL)
    if not (arguments.small or arguments.kernels):
        failed += check_in_tensorflow()
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
