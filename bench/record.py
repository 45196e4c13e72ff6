"""The benchmark of record: `fastloss bench` with PyTorch, MONAI and losses of users besides.

    python bench/record.py --loss rowwise --output bench/results/cpu_rowwise

PyTorch and MONAI are measured where they are installed and have the loss.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
from collections.abc import Sequence
from pathlib import Path

import custom_losses
import pytorch

from fastloss.tools.bench import cases, contenders
from fastloss.tools.bench.cases import LossSpec
from fastloss.tools.bench.contenders import Contender
from fastloss.tools.bench.engine import Plan
from fastloss.tools.bench.environment import describe
from fastloss.tools.bench.selection import select_losses, select_pairs
from fastloss.tools.bench.show import measure_and_show
from fastloss.tools.cli.start import make_console, start_tensorflow
from fastloss.tools.machine import available_cpus

LOSSES: tuple[LossSpec, ...] = (*cases.LOSSES, *custom_losses.LOSSES)


def contenders_of(spec: LossSpec) -> tuple[Contender, ...]:
    """Who can run a loss, in the order of reports."""
    ours = contenders.contenders_of(spec)
    if spec in custom_losses.LOSSES:
        # No kernel of ours is in them, so that the reference is the same.
        return tuple(one for one in ours if one.library != "reference")
    return ours + pytorch.contenders_of(spec)


def torch_version(specs: Sequence[LossSpec]) -> str:
    """The version of PyTorch, if it has one of the losses."""
    if not any(spec.label in pytorch.LOSSES for spec in specs):
        return ""
    return pytorch.version() or "not installed"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smaller shapes, few rounds")
    parser.add_argument("--loss", action="append", default=[], help="a loss, or family")
    parser.add_argument("--shape", action="append", default=[], help="as in 16384x1024")
    parser.add_argument("--dtype", action="append", default=[], help="as in bfloat16")
    parser.add_argument("--forward-only", action="store_true", help="without the gradient")
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("--output", type=Path, default=Path("fastloss-bench"))
    arguments = parser.parse_args()
    try:
        specs = select_losses(arguments.loss, LOSSES)
        pairs = select_pairs(specs, arguments.shape, arguments.dtype, quick=arguments.quick)
    except ValueError as error:
        parser.error(str(error))
    start_tensorflow(arguments.threads)
    plan = Plan(
        pairs=pairs,
        forward_only=arguments.forward_only,
        threads=arguments.threads,
        contenders_of=contenders_of,
    )
    measure_and_show(
        make_console(),
        plan.quick() if arguments.quick else plan,
        describe(arguments.threads, torch=torch_version(specs)),
        arguments.output,
    )


if __name__ == "__main__":
    main()
