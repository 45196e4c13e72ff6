"""Every loss: Keras, fastloss and PyTorch in every mode, the reference, and the roof."""

from __future__ import annotations

from typing import Any

import pytest

from fastloss.tools.bench import memory
from fastloss.tools.bench.cases import Case, LossSpec
from fastloss.tools.bench.contenders import Contender, make_tensors
from fastloss.tools.bench.engine import BANDWIDTH_BOUND_BYTES, ROOF
from fastloss.tools.bench.roof import make_roof
from fastloss.tools.machine import available_cpus


def bench_loss(benchmark: Any, spec: LossSpec, case: Case, contender: Contender) -> None:
    bytes_moved = spec.bytes_moved(case, forward_only=False)
    benchmark.group = f"{spec.label} {case.shape_text} {case.dtype}"
    benchmark.extra_info["bytes"] = bytes_moved
    if contender == ROOF:
        benchmark(make_roof(bytes_moved, available_cpus()).move)
    else:
        try:
            call = contender.make_call(spec, *make_tensors(spec, case), forward_only=False)
        except RuntimeError as error:
            if contender.library != "torch":
                raise
            pytest.skip(str(error))
        benchmark.extra_info["peak_extra_bytes"] = memory.peak_extra_bytes(call, 1)
        benchmark(call)
    if benchmark.stats and bytes_moved >= BANDWIDTH_BOUND_BYTES:
        median = benchmark.stats.stats.median
        benchmark.extra_info["gb_per_s"] = bytes_moved / median / 1e9
    memory.trim()
