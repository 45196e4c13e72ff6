"""Runs cases against contenders and gives measurements back."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from fastloss.tools.bench.cases import Case, LossSpec
from fastloss.tools.bench.contenders import Contender, contenders_of, make_tensors
from fastloss.tools.bench.memory import peak_extra_bytes, trim
from fastloss.tools.bench.roof import Roof, make_roof
from fastloss.tools.bench.selection import Pair
from fastloss.tools.bench.timing import Timing, interleave
from fastloss.tools.machine import available_cpus

ROOF = Contender("roof", "roof", "roof", "copy")

# Below this, the time of a call is its overhead and a bandwidth would only mislead.
BANDWIDTH_BOUND_BYTES = 1 << 20

# A call that takes as long has a peak far above the noise of one measurement.
_MEMORY_SECONDS = 1.0


@dataclass(frozen=True)
class Measurement:
    """One contender on one loss and case.

    Attributes:
        spec: The loss.
        case: Shape and dtype.
        forward_only: Whether the gradient was left out.
        contender: Who, or `ROOF`.
        timing: Seconds per call.
        bytes_moved: By the formula of `LossSpec.bytes_moved`, the same for every contender.
        roof_seconds: Median of the roof, measured in the same rounds.
        roof_kind: Which roof it was.
        peak_extra_bytes: Memory beyond the inputs; None where it was not measured.
    """

    spec: LossSpec
    case: Case
    forward_only: bool
    contender: Contender
    timing: Timing
    bytes_moved: int
    roof_seconds: float
    roof_kind: str
    peak_extra_bytes: int | None

    @property
    def bytes_per_second(self) -> float:
        """The bytes that must move over the time it took."""
        return self.bytes_moved / self.timing.median

    @property
    def roof_share(self) -> float:
        """Share of the roof's bandwidth."""
        return self.roof_seconds / self.timing.median

    @property
    def is_bandwidth_bound(self) -> bool:
        """Whether bytes per second say anything about this case."""
        return self.bytes_moved >= BANDWIDTH_BOUND_BYTES


@dataclass(frozen=True)
class Plan:
    """What to measure and how thoroughly.

    Attributes:
        pairs: The losses, each with a shape and dtype.
        forward_only: Whether the gradient is left out.
        rounds: At most so many rounds for each loss and case.
        budget_seconds: No further round once those of a loss and case took so long.
        deadline_seconds: No further loss and case is begun after this time.
        memory_repeats: How often memory is measured; 0 leaves it out.
        threads: Threads of the roof; TensorFlow's are set by the caller, before it starts.
        contenders_of: Who can run a loss, in the order of reports.
    """

    pairs: Sequence[Pair]
    forward_only: bool = False
    rounds: int = 11
    budget_seconds: float = 8.0
    deadline_seconds: float = math.inf
    memory_repeats: int = 3
    threads: int = field(default_factory=available_cpus)
    contenders_of: Callable[[LossSpec], Sequence[Contender]] = contenders_of

    def quick(self) -> Plan:
        """The same in under a minute."""
        return replace(self, rounds=5, budget_seconds=1.0, deadline_seconds=35.0, memory_repeats=1)


@dataclass(frozen=True)
class Failure:
    """A contender that could not run, and why."""

    spec: LossSpec
    case: Case
    contender: Contender
    reason: str


@dataclass
class Result:
    """All measurements, and what could not be measured."""

    measurements: list[Measurement] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left_out: list[Pair] = field(default_factory=list)


def run(plan: Plan, on_pair: Callable[[LossSpec, Case], None] | None = None) -> Result:
    """Measures."""
    # With TensorFlow's many objects each of the frequent collections would visit them all.
    gc.freeze()
    try:
        return _run(plan, on_pair)
    finally:
        gc.unfreeze()


def _run(plan: Plan, on_pair: Callable[[LossSpec, Case], None] | None) -> Result:
    result = Result()
    start = time.perf_counter()
    roof, roof_bytes = None, 0
    for spec, case in plan.pairs:
        if time.perf_counter() - start > plan.deadline_seconds:
            result.left_out.append((spec, case))
            continue
        if on_pair is not None:
            on_pair(spec, case)
        bytes_moved = spec.bytes_moved(case, forward_only=plan.forward_only)
        if roof is None or bytes_moved != roof_bytes:
            roof, roof_bytes = make_roof(bytes_moved, plan.threads), bytes_moved
        _measure(plan, spec, case, roof, bytes_moved, result)
        trim()
    return result


def _measure(
    plan: Plan, spec: LossSpec, case: Case, roof: Roof, bytes_moved: int, result: Result
) -> None:
    y_true, y_pred = make_tensors(spec, case)
    calls: dict[Contender, Callable[[], object]] = {}
    for contender in plan.contenders_of(spec):
        try:
            calls[contender] = contender.make_call(
                spec, y_true, y_pred, forward_only=plan.forward_only
            )
        except Exception as error:  # One broken mode must not cost the whole table.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            result.failures.append(Failure(spec, case, contender, reason))
    peaks = {
        contender: peak_extra_bytes(call, plan.memory_repeats, _MEMORY_SECONDS)
        if plan.memory_repeats
        else None
        for contender, call in calls.items()
    }
    roof.move()
    timings = interleave(
        {**calls, ROOF: roof.move}, rounds=plan.rounds, budget_seconds=plan.budget_seconds
    )
    result.measurements += [
        Measurement(
            spec=spec,
            case=case,
            forward_only=plan.forward_only,
            contender=contender,
            timing=timing,
            bytes_moved=bytes_moved,
            roof_seconds=timings[ROOF].median,
            roof_kind=roof.kind,
            peak_extra_bytes=peaks.get(contender),
        )
        for contender, timing in timings.items()
    ]


def by_pair(
    measurements: Iterable[Measurement],
) -> dict[Pair, dict[str, Measurement]]:
    """Groups measurements by loss and case, then by the name of the contender."""
    grouped: dict[Pair, dict[str, Measurement]] = {}
    for found in measurements:
        grouped.setdefault((found.spec, found.case), {})[found.contender.name] = found
    return grouped
