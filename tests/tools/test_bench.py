"""The benchmark's engine: formulas, fairness of the turns, records. No timing decides a test."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import fastloss as fl
from fastloss.tools.bench import memory
from fastloss.tools.bench.cases import ELEMENTWISE, LOSSES, QUICK_LOSSES, Case, LossSpec
from fastloss.tools.bench.contenders import CONTENDERS, Contender, contenders_of, make_tensors
from fastloss.tools.bench.engine import ROOF, Failure, Plan, run
from fastloss.tools.bench.environment import Environment, describe
from fastloss.tools.bench.roof import make_roof
from fastloss.tools.bench.selection import parse_shape, section, select_losses, select_pairs
from fastloss.tools.bench.timing import Timing, interleave
from fastloss.tools.inputs import DOMAINS, make_inputs

# As many columns as a box has.
TINY = Case((3, 4), "float32")


ROWWISE = select_losses(["rowwise"])
CROSSENTROPIES = ("sparse_categorical_crossentropy", "categorical_crossentropy")


def find(label: str) -> LossSpec:
    return next(loss for loss in LOSSES if loss.label == label)


SPARSE = find("sparse_categorical_crossentropy(from_logits=True)")
DENSE = find("categorical_crossentropy(from_logits=True)")


@pytest.mark.parametrize(
    ("spec", "case", "with_gradient", "forward_only"),
    [
        (find("huber"), Case((16384, 1024), "float32"), 3 * 2**24 * 4, 2 * 2**24 * 4),
        (find("huber"), Case((16384, 1024), "bfloat16"), 3 * 2**24 * 2, 2 * 2**24 * 2),
        (find("hinge"), Case((32, 10), "float64"), 3 * 320 * 8, 2 * 320 * 8),
        (find("poisson"), Case((7,), "float16"), 3 * 7 * 2, 2 * 7 * 2),
        (DENSE, Case((64, 100), "float32"), 3 * 6400 * 4, 2 * 6400 * 4),
        (SPARSE, Case((64, 100), "float32"), 2 * 6400 * 4 + 64 * 4, 6400 * 4 + 64 * 4),
        (SPARSE, Case((64, 100), "bfloat16"), 2 * 6400 * 2 + 64 * 4, 6400 * 2 + 64 * 4),
        (SPARSE, Case((4, 16, 100), "float64"), 2 * 6400 * 8 + 64 * 4, 6400 * 8 + 64 * 4),
    ],
)
def test_byte_formula(spec: LossSpec, case: Case, with_gradient: int, forward_only: int) -> None:
    assert spec.bytes_moved(case, forward_only=False) == with_gradient
    assert spec.bytes_moved(case, forward_only=True) == forward_only


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("spec", LOSSES, ids=lambda spec: spec.label)
def test_bytes_are_those_of_the_tensors(spec: LossSpec, dtype: str) -> None:
    case = Case((6, 4), dtype)
    sizes = [found.shape.num_elements() * found.dtype.size for found in make_tensors(spec, case)]
    assert spec.bytes_moved(case, forward_only=True) == sum(sizes)
    assert spec.bytes_moved(case, forward_only=False) == sum(sizes) + sizes[1]


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
    assert {loss.family for loss in select_losses(["rowwise"])} == {"rowwise"}
    assert [loss.domain for loss in select_losses(["kl_divergence"])] == [
        "distributions",
        "logits twice",
    ]
    with pytest.raises(ValueError, match=r"loss is 'nothing'.*rowwise.*huber"):
        select_losses(["nothing"])


def cases_of(spec: LossSpec, *arguments: list[str], quick: bool = False) -> tuple[Case, ...]:
    return tuple(case for _, case in select_pairs([spec], *arguments, quick=quick))


def test_cases_belong_to_the_loss() -> None:
    for spec in LOSSES:
        assert cases_of(spec) == spec.cases.full
        assert cases_of(spec, quick=True) == spec.cases.quick
    single = select_losses(["regression", "classification", "distribution"])
    assert {loss.cases for loss in single} == {ELEMENTWISE}
    large = {loss.name for loss in ROWWISE if Case((2048, 32000), "bfloat16") in loss.cases.full}
    assert large == set(CROSSENTROPIES)
    assert set(QUICK_LOSSES) <= set(LOSSES)
    assert {loss.family for loss in QUICK_LOSSES} == {loss.family for loss in LOSSES}


@pytest.mark.parametrize("spec", [find("huber"), SPARSE], ids=lambda spec: spec.label)
def test_cases_can_be_chosen(spec: LossSpec) -> None:
    assert cases_of(spec, ["2x3"], []) == (Case((2, 3), "float32"),)
    assert cases_of(spec, ["2x3"], ["float16", "float64"]) == (
        Case((2, 3), "float16"),
        Case((2, 3), "float64"),
    )
    shapes = list(dict.fromkeys(case.shape for case in spec.cases.full))
    assert cases_of(spec, [], ["bfloat16"]) == tuple(Case(shape, "bfloat16") for shape in shapes)
    with pytest.raises(ValueError, match="dtype is 'int8'"):
        cases_of(spec, [], ["int8"])


def test_pairs_come_section_by_section() -> None:
    pairs = select_pairs(LOSSES)
    sections = [section(*pair) for pair in pairs]
    assert sections == sorted(sections, key=sections.index)
    assert set(pairs) == {(spec, case) for spec in LOSSES for case in spec.cases.full}
    # The same shape, but means are not taken over both kinds of losses.
    assert {"32x10 float32", "32x10 float32, rowwise"} <= set(sections)


@pytest.mark.parametrize("domain", DOMAINS)
def test_inputs_lie_in_their_domain(domain: str) -> None:
    y_true, y_pred = make_inputs(domain, (64, 4), seed=3)
    assert y_pred.shape == (64, 4)
    assert y_pred.dtype == np.float32
    if domain.startswith("classes"):
        assert y_true.shape == (64,)
        assert y_true.dtype == np.int32
        assert set(np.unique(y_true)) == set(range(4))
    else:
        assert y_true.shape == (64, 4)
        assert y_true.dtype == np.float32
    assert np.isfinite(y_true).all() and np.isfinite(y_pred).all()
    if domain == "signs":
        assert set(np.unique(y_true)) == {-1.0, 1.0}
    if domain in ("probabilities", "logits") or domain.startswith("one-hot"):
        assert set(np.unique(y_true)) == {0.0, 1.0}
    if domain.startswith("one-hot"):
        np.testing.assert_array_equal(y_true.sum(-1), 1)
    if domain == "probabilities":
        assert y_pred.min() > 0 and y_pred.max() < 1
    if domain == "boxes":
        for boxes in (y_true, y_pred):
            assert (boxes[:, 2:] > boxes[:, :2]).all()
    if domain == "positive":
        assert y_true.min() > 0 and y_pred.min() > 0
    if domain == "distributions":
        np.testing.assert_allclose(y_true.sum(-1), 1, rtol=1e-6)
    if domain in ("distributions", "classes and probabilities", "one-hot and probabilities"):
        np.testing.assert_allclose(y_pred.sum(-1), 1, rtol=1e-6)


def test_keras_is_left_out_where_it_lacks_the_loss() -> None:
    assert contenders_of(find("huber")) == contenders_of(find("pinball(tau=0.9)")) == CONTENDERS
    lacking = replace(find("huber"), name="log_cosh_dice")
    assert {one.library for one in contenders_of(lacking)} == {"fastloss", "reference"}


def test_unknown_domain_is_named() -> None:
    with pytest.raises(ValueError, match=r"domain is 'nothing'.*classes and logits"):
        make_inputs("nothing", (2, 3))


def test_class_numbers_keep_their_type() -> None:
    y_true, y_pred = make_tensors(SPARSE, Case((4, 3), "bfloat16"))
    assert (y_true.dtype, y_pred.dtype) == (tf.int32, tf.bfloat16)
    assert y_true.shape == (4,)
    y_true, y_pred = make_tensors(DENSE, Case((4, 3), "bfloat16"))
    assert y_true.dtype == y_pred.dtype == tf.bfloat16


@pytest.mark.parametrize("spec", LOSSES, ids=lambda spec: spec.label)
def test_contenders_compute_the_same(spec: LossSpec) -> None:
    y_true, y_pred = make_tensors(spec, TINY)
    right, *others = contenders_of(spec)
    step = right.make_step(spec, forward_only=False)
    expected_value, expected_gradient = step(y_true, y_pred)
    for contender in others:
        if contender.mode == "xla":
            continue
        call = contender.make_call(spec, y_true, y_pred, forward_only=False)
        assert call() == pytest.approx(float(expected_value), rel=1e-5), contender.name
        backend = "reference" if contender.library == "reference" else fl.backend()
        with fl.use_backend(backend):
            _, gradient = contender.make_step(spec, forward_only=False)(y_true, y_pred)
        np.testing.assert_allclose(
            gradient, expected_gradient, rtol=1e-4, atol=1e-6, err_msg=contender.name
        )


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


@pytest.mark.skipif(not memory.can_measure(), reason="the peak cannot be reset here")
def test_peak_memory_counts_what_tensorflow_allocates() -> None:
    """Also what comes from a pool that never gives memory back."""
    megabytes = 64
    values = tf.fill([megabytes * 2**18], 0.5)
    call = tf.function(lambda x: tf.reduce_sum(tf.exp(x)))
    call(values)
    peak = memory.peak_extra_bytes(lambda: call(values))
    assert peak is not None
    assert 0.9 * megabytes <= peak / 2**20 <= 2 * megabytes
    nothing = memory.peak_extra_bytes(lambda: values)
    assert nothing is not None
    assert nothing <= 2 * memory.RESOLUTION_BYTES


@pytest.mark.skipif(not memory.can_measure(), reason="the peak cannot be reset here")
def test_peak_memory_is_not_repeated_after_its_budget() -> None:
    calls: list[None] = []
    assert memory.peak_extra_bytes(lambda: calls.append(None), 5, budget_seconds=0.0) is not None
    assert len(calls) == 1


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
    # The longest names, of every kind.
    names = [
        "mean_absolute_percentage_error",
        "binary_focal_crossentropy",
        "sparse_categorical_focal_crossentropy",
        "categorical_generalized_cross_entropy",
    ]
    return Plan(
        pairs=select_pairs(select_losses(names), ["512x512", "4x3"]),
        rounds=1,
        memory_repeats=1,
        threads=2,
    )


def test_report(plan: Plan, environment: Environment, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    console_module = pytest.importorskip("rich.console")
    from fastloss.tools.bench.picture import write_picture
    from fastloss.tools.bench.record import COLUMNS, write_csv
    from fastloss.tools.bench.report import print_report

    result = run(plan)
    assert not result.failures
    assert not result.left_out
    assert len(result.measurements) == len(plan.pairs) * (len(CONTENDERS) + 1)

    write_csv(tmp_path / "new" / "record.csv", result.measurements, environment)
    with (tmp_path / "new" / "record.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        assert tuple(reader.fieldnames or ()) == COLUMNS
    assert len(rows) == len(result.measurements)
    for row in rows:
        bound = row["shape"] == "512x512"
        assert bool(row["gb_per_s"]) == bool(row["roof_share"]) == bound
        if bound:
            rate = int(row["bytes"]) / float(row["ms_median"]) / 1e6
            assert float(row["gb_per_s"]) == pytest.approx(rate, rel=1e-3)
        if row["contender"] == ROOF.name and bound:
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
        assert "GB/s: the bytes that must move" in text


def test_report_shows_other_contenders(environment: Environment, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    console_module = pytest.importorskip("rich.console")
    from fastloss.tools.bench.picture import write_picture
    from fastloss.tools.bench.report import print_report

    pairs = [(spec, TINY) for spec in select_losses(["hinge", "squared_hinge"])]
    measured = run(Plan(pairs=pairs, rounds=1, memory_repeats=0, threads=2)).measurements
    others = [
        Contender("torch_eager", "PyTorch, eager", "torch", "eager"),
        Contender("torch_compile", "PyTorch, compiled", "torch", "compile"),
    ]
    measured += [
        replace(found, contender=contender)
        for contender in others
        for found in measured
        if found.contender.name == "keras_graph"
    ]
    failure = Failure(*pairs[0], others[1], "torch.compile failed: no compiler")
    console = console_module.Console(width=100)
    for chosen in (measured, [found for found in measured if found.spec.name == "hinge"]):
        with console.capture() as capture:
            print_report(console, chosen, [failure], replace(environment, torch="9.9"))
        text = " ".join(capture.get().split())
        assert "torch: 9.9" in text
        assert "PyTorch, compiled could not run hinge on 3x4 float32: torch.compile failed" in text
        assert "graph against PyTorch eager" in text or "PyTorch, eager" in text
    write_picture(tmp_path / "record.png", measured, environment)


def test_deadline_leaves_out_and_says_so(plan: Plan) -> None:
    result = run(replace(plan, deadline_seconds=-1.0))
    assert not result.measurements
    assert result.left_out == list(plan.pairs)


def test_forward_only(plan: Plan) -> None:
    only = replace(plan, pairs=((find("huber"), TINY),), forward_only=True)
    result = run(only)
    assert not result.failures
    assert {found.bytes_moved for found in result.measurements} == {2 * 12 * 4}
