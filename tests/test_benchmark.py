"""The benchmark's engine: formulas, fairness of the turns, records. No timing decides a test."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fastloss.benchmark import memory
from fastloss.benchmark.cases import (
    DEFAULT_CASES,
    LOSSES,
    QUICK_LOSSES,
    Case,
    make_inputs,
    parse_shape,
    select_cases,
    select_losses,
)
from fastloss.benchmark.contenders import CONTENDERS, make_call, make_tensors
from fastloss.benchmark.engine import ROOF, Plan, run
from fastloss.benchmark.environment import Environment, describe
from fastloss.benchmark.roof import make_roof
from fastloss.benchmark.timing import Timing, interleave

TINY = Case((4, 3), "float32")


@pytest.mark.parametrize(
    ("case", "with_gradient", "forward_only"),
    [
        (Case((16384, 1024), "float32"), 3 * 2**24 * 4, 2 * 2**24 * 4),
        (Case((16384, 1024), "bfloat16"), 3 * 2**24 * 2, 2 * 2**24 * 2),
        (Case((32, 10), "float64"), 3 * 320 * 8, 2 * 320 * 8),
        (Case((7,), "float16"), 3 * 7 * 2, 2 * 7 * 2),
    ],
)
def test_byte_formula(case: Case, with_gradient: int, forward_only: int) -> None:
    assert case.bytes_moved(forward_only=False) == with_gradient
    assert case.bytes_moved(forward_only=True) == forward_only


def test_bandwidth_is_not_claimed_for_small_cases() -> None:
    assert Case((16384, 1024), "bfloat16").is_bandwidth_bound(forward_only=True)
    assert not Case((32, 10), "float32").is_bandwidth_bound(forward_only=False)


@pytest.mark.parametrize("text", ["16384x1024", "16384,1024", "[16384, 1024]", "16384X1024"])
def test_shapes_are_read(text: str) -> None:
    assert parse_shape(text) == (16384, 1024)
    assert Case(parse_shape(text), "float32").shape_text == "16384x1024"


@pytest.mark.parametrize("text", ["", "x", "3x", "0x4", "-1x4", "3.5", "axb"])
def test_bad_shapes_are_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"shape is .*16384x1024"):
        parse_shape(text)


def test_selection() -> None:
    assert select_losses([]) == LOSSES
    assert [spec.argument_text for spec in select_losses(["binary_crossentropy"])] == [
        "",
        "from_logits=True",
    ]
    assert select_cases([], []) == DEFAULT_CASES
    assert select_cases(["2x3"], []) == (Case((2, 3), "float32"),)
    assert select_cases(["2x3"], ["float16", "float64"]) == (
        Case((2, 3), "float16"),
        Case((2, 3), "float64"),
    )
    assert {case.dtype for case in select_cases([], ["bfloat16"])} == {"bfloat16"}
    assert set(QUICK_LOSSES) <= set(LOSSES)
    with pytest.raises(ValueError, match="dtype is 'int8'"):
        select_cases([], ["int8"])
    with pytest.raises(ValueError, match=r"loss is 'nothing'.*huber"):
        select_losses(["nothing"])


@pytest.mark.parametrize("domain", sorted({spec.domain for spec in LOSSES}))
def test_inputs_lie_in_their_domain(domain: str) -> None:
    y_true, y_pred = make_inputs(domain, (64, 8), seed=3)
    assert y_true.shape == y_pred.shape == (64, 8)
    assert y_true.dtype == y_pred.dtype == np.float32
    assert np.isfinite(y_true).all() and np.isfinite(y_pred).all()
    if domain == "signs":
        assert set(np.unique(y_true)) == {-1.0, 1.0}
    if domain in ("probabilities", "logits"):
        assert set(np.unique(y_true)) == {0.0, 1.0}
    if domain == "probabilities":
        assert y_pred.min() > 0 and y_pred.max() < 1
    if domain == "positive":
        assert y_true.min() > 0 and y_pred.min() > 0
    if domain == "distributions":
        np.testing.assert_allclose(y_true.sum(-1), 1, rtol=1e-6)
        np.testing.assert_allclose(y_pred.sum(-1), 1, rtol=1e-6)


def test_every_contender_computes_the_same_loss() -> None:
    for spec in LOSSES:
        y_true, y_pred = make_tensors(spec, TINY)
        values = {
            contender.name: make_call(contender, spec, y_true, y_pred, forward_only=False)()
            for contender in CONTENDERS
            if contender.mode != "xla"
        }
        expected = values["keras_eager"]
        for name, value in values.items():
            assert value == pytest.approx(expected, rel=1e-5), (spec.label, name)


def test_contenders_take_turns() -> None:
    order: list[str] = []
    names = ("a", "b", "c")
    timings = interleave(
        {name: lambda name=name: order.append(name) for name in names},
        rounds=4,
        sample_seconds=0.0,
    )
    assert order[:3] == list(names)
    turns = [order[3 + 3 * index : 6 + 3 * index] for index in range(4)]
    assert turns == [list("abc"), list("bca"), list("cab"), list("abc")]
    assert {len(timing.seconds) for timing in timings.values()} == {4}
    assert {timing.calls for timing in timings.values()} == {1}


def test_a_spent_budget_ends_the_rounds_after_three() -> None:
    calls = itertools.count()
    timings = interleave({"a": lambda: next(calls)}, rounds=50, budget_seconds=0.0)
    assert len(timings["a"].seconds) == 3
    with pytest.raises(ValueError, match="rounds is 0"):
        interleave({}, rounds=0)


def test_timing_quantiles() -> None:
    timing = Timing((1.0, 2.0, 3.0, 4.0, 5.0), calls=1)
    assert timing.median == 3.0
    assert timing.quantile(0.2) == pytest.approx(1.8)
    assert timing.quantile(0.8) == pytest.approx(4.2)


@pytest.mark.skipif(not memory.can_measure(), reason="the peak cannot be reset here")
def test_peak_memory_counts_what_a_call_allocates() -> None:
    megabytes = 64

    def allocate() -> None:
        np.ones(megabytes * 2**20, np.uint8)

    peak = memory.peak_extra_bytes(allocate)
    assert peak is not None
    assert peak / 2**20 == pytest.approx(megabytes, abs=4)
    nothing = memory.peak_extra_bytes(lambda: None)
    assert nothing is not None
    assert nothing <= 2 * memory.RESOLUTION_BYTES


@pytest.mark.parametrize("total_bytes", [1, 12, 3 * 2**20 + 4])
@pytest.mark.parametrize("threads", [1, 3])
def test_roof_runs_for_any_size(total_bytes: int, threads: int) -> None:
    roof = make_roof(total_bytes, threads)
    assert roof.kind in ("copy", "memcpy")
    roof.move()


@pytest.fixture(scope="module")
def environment() -> Environment:
    return describe(threads=2)


@pytest.fixture(scope="module")
def plan() -> Plan:
    large = Case((512, 256), "float32")
    return Plan(
        losses=select_losses(["mean_absolute_percentage_error", "binary_focal_crossentropy"]),
        cases=(large, TINY),
        rounds=1,
        memory_repeats=1,
        threads=2,
    )


def test_report(plan: Plan, environment: Environment, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    console_module = pytest.importorskip("rich.console")
    from fastloss.benchmark.report import COLUMNS, print_report, write_csv, write_picture

    result = run(plan)
    assert not result.failures
    assert not result.left_out
    pairs = len(plan.losses) * len(plan.cases)
    assert len(result.measurements) == pairs * (len(CONTENDERS) + 1)

    write_csv(tmp_path / "new" / "record.csv", result.measurements, environment)
    with (tmp_path / "new" / "record.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        assert tuple(reader.fieldnames or ()) == COLUMNS
    assert len(rows) == len(result.measurements)
    for row in rows:
        bound = row["shape"] == "512x256"
        assert bool(row["gb_per_s"]) == bool(row["roof_share"]) == bound
        if bound:
            rate = int(row["bytes"]) / float(row["ms_median"]) / 1e6
            assert float(row["gb_per_s"]) == pytest.approx(rate, rel=1e-3)
        if row["contender"] == ROOF and bound:
            assert float(row["roof_share"]) == 1
        assert float(row["ms_q20"]) <= float(row["ms_median"]) <= float(row["ms_q80"])

    write_picture(tmp_path / "record.png", result.measurements, environment)
    assert (tmp_path / "record.png").read_bytes().startswith(b"\x89PNG")

    for chosen in (result.measurements, result.measurements[: len(CONTENDERS) + 1]):
        console = console_module.Console(width=100, record=True, quiet=False, file=None)
        with console.capture() as capture:
            print_report(console, chosen, result.failures, environment)
        text = capture.get()
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
        # Truncated cells would end in an ellipsis.
        assert "…" not in text
        assert "GB/s: 3 x elements x item size" in text


def test_deadline_leaves_out_and_says_so(plan: Plan) -> None:
    result = run(replace(plan, deadline_seconds=-1.0))
    assert not result.measurements
    assert len(result.left_out) == len(plan.losses) * len(plan.cases)


def test_forward_only(plan: Plan) -> None:
    only = replace(plan, cases=(TINY,), losses=plan.losses[:1], forward_only=True)
    result = run(only)
    assert not result.failures
    assert {found.bytes_moved for found in result.measurements} == {2 * 12 * 4}
