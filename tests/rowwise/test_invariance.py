"""What must not change the result of a rowwise kernel: company, place, threads, buffers, layout."""

from __future__ import annotations

import hypothesis
import kernels
import numpy as np
import pytest
from cases import GRADIENT_BOUNDS, LOSS_BOUNDS, PREDICTION_DTYPES, assert_close, numpy_dtype
from hypothesis import strategies as st
from kernels import same_bits
from rowwise_calls import LAYOUTS, LIMITS, options_of
from rowwise_truth import (
    BETWEEN_LOGITS,
    OF_LOGITS,
    OF_SHARES,
    Array,
    Options,
    data,
    rows_of,
    worst_units,
)

from fastloss import c_api

LOSSES = tuple(c_api.rowwise_losses())
every_loss = pytest.mark.parametrize("loss", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
every_layout = pytest.mark.parametrize("shape", LAYOUTS.values(), ids=LAYOUTS)


@pytest.fixture(autouse=True)
def _settings_are_put_back():
    yield
    c_api.set_isa("")
    c_api.set_threads(0)


def most_options(loss: str, classes: int) -> dict:
    """All options of a loss at once."""
    return vars(options_of(loss, classes)[-1])


def assert_same(actual: kernels.Rows, expected: kernels.Rows, what: object = "") -> None:
    for name, one, other in zip(kernels.Rows._fields, actual, expected, strict=True):
        if one is not None and other is not None:
            assert same_bits(one, other), f"{name} {what}"


# Threads


@pytest.mark.parametrize("shape", [(701, 97), (300, 289), (2500, 33), (7, 20_011), (3, 300, 57)])
@every_loss
def test_any_number_of_threads_gives_the_same_bits(loss, shape):
    for dtype in ("float32", "bfloat16"):
        y_true, y_pred = data(loss, shape, dtype)
        rows = len(rows_of(y_pred))
        weight = np.random.default_rng(0).uniform(0, 2, rows)
        for reduction in (kernels.NONE, kernels.MEAN_WITH_SAMPLE_WEIGHT):
            results = []
            for threads in (1, 2, 3, 7):
                c_api.set_threads(threads)
                results.append(
                    kernels.rowwise(loss, y_true, y_pred, reduction, weight, metrics=True)
                )
            for threads, result in zip((2, 3, 7), results[1:], strict=True):
                assert_same(result, results[0], f"{dtype} {reduction} {threads}")


@pytest.mark.parametrize("shape", [(701, 97), (300, 289), (2500, 33), (3, 300, 157)])
@every_loss
def test_any_order_of_the_pieces_gives_the_same_bits(loss, shape):
    y_true, y_pred = data(loss, shape)
    options = most_options(loss, shape[1])
    counts = []

    def backwards(pieces, piece):
        counts.append(pieces)
        for index in reversed(range(pieces)):
            piece(index)

    def shuffled(pieces, piece):
        for index in np.random.default_rng(0).permutation(pieces):
            piece(int(index))

    for reduction in (kernels.NONE, kernels.MEAN):
        expected = kernels.rowwise(loss, y_true, y_pred, reduction, metrics=True, **options)
        for order in (backwards, shuffled):
            actual = kernels.rowwise(
                loss, y_true, y_pred, reduction, metrics=True, parallel_for=order, **options
            )
            assert_same(actual, expected, f"{order.__name__} {reduction}")
    assert min(counts) > 1


def test_runs_repeat_to_the_bit():
    c_api.set_threads(4)
    for loss in ("kl_divergence_from_logits", "sparse_categorical_crossentropy_from_logits"):
        y_true, y_pred = data(loss, (900, 301))
        first = kernels.rowwise(loss, y_true, y_pred)
        for _ in range(10):
            assert_same(kernels.rowwise(loss, y_true, y_pred), first)


# Company and place


def part_of(loss: str, y_true: Array, y_pred: Array, rows: Array) -> tuple[Array, Array]:
    return np.ascontiguousarray(y_true[rows]), np.ascontiguousarray(y_pred[rows])


@every_loss
@every_dtype
def test_a_row_has_the_same_bits_alone_and_in_company(loss, dtype):
    for classes in (1, 2, 3, 16, 31, 33, 64, 97, 130, 255, 256, 257, 1000, 2049):
        count = max(3, min(150, 6000 // classes))
        y_true, y_pred = data(loss, (count, classes), dtype)
        options = most_options(loss, classes) if classes % 2 else {}
        upstream = np.random.default_rng(classes).uniform(0.5, 2, count)
        together = kernels.rowwise(
            loss, y_true, y_pred, kernels.NONE, upstream=upstream, metrics=True, **options
        )
        order = np.random.default_rng(1).permutation(count)
        parts = [np.array([row]) for row in {0, 1, count // 2, count - 1}]
        parts += [np.arange(count // 3, count), order, order[: count // 2]]
        for part in parts:
            actual = kernels.rowwise(
                loss,
                *part_of(loss, y_true, y_pred, part),
                kernels.NONE,
                upstream=upstream[part],
                metrics=True,
                **options,
            )
            expected = kernels.Rows(*(x[part] for x in together))
            assert_same(actual, expected, f"rows {part[:3]} of {count} x {classes}")


@every_loss
def test_every_place_of_a_row_gives_the_same_bits(loss):
    """Any lane of a block, any row of a piece, first and last; with classes apart as well."""
    for shape in ((97, 5), (1100, 97), (300, 289), (2, 5, 97), (3, 97, 40)):
        y_true, y_pred = data(loss, (1, shape[1]))
        alone = kernels.rowwise(loss, y_true, y_pred, kernels.NONE, metrics=True)
        rows = np.prod(shape) // shape[1]
        many = np.empty(shape, np.float32)
        many[:] = y_pred.reshape(1, shape[1], *[1] * (len(shape) - 2))
        if kernels.is_sparse(loss):
            labels = np.broadcast_to(y_true[0], rows).copy()
        else:
            labels = np.empty(shape, y_true.dtype)
            labels[:] = y_true.reshape(1, shape[1], *[1] * (len(shape) - 2))
        actual = kernels.rowwise(loss, labels, many, kernels.NONE, metrics=True)
        gradient = rows_of(actual.gradient)
        for name, column in (("loss", actual.loss), ("lse", actual.log_sum_exp)):
            assert len({x.tobytes() for x in column}) == 1, f"{name} {shape}"
        assert len({x.tobytes() for x in gradient}) == 1, f"gradient {shape}"
        if len(shape) == 2 or shape[1] < 96:
            assert same_bits(actual.loss[0], alone.loss[0]), shape
            first = actual.gradient.reshape(shape[0], shape[1], -1)[0, :, 0]
            assert same_bits(np.ascontiguousarray(first), alone.gradient[0]), shape


@every_loss
def test_gradients_of_a_sum_do_not_depend_on_the_other_rows(loss):
    for shape in ((257, 33), (40, 150), (40, 300)):
        y_true, y_pred = data(loss, shape)
        together = kernels.rowwise(loss, y_true, y_pred, kernels.SUM)
        for row in range(0, shape[0], 13):
            part = part_of(loss, y_true, y_pred, np.array([row]))
            alone = kernels.rowwise(loss, *part, kernels.SUM)
            assert same_bits(alone.gradient[0], together.gradient[row])


# Buffers


@every_loss
@every_dtype
def test_gradient_over_its_predictions_has_the_same_bits(loss, dtype):
    for shape in ((70, 33), (20, 301), (3, 2500), (3, 40, 33), (2, 130, 2)):
        y_true, y_pred = data(loss, shape, dtype)
        if kernels.is_sparse(loss):  # every other row is a hit
            y_true.flat[::2] = rows_of(y_pred).argmax(-1)[::2]
        for reduction in (kernels.NONE, kernels.MEAN):
            for options in ({}, most_options(loss, shape[1])):
                expected = kernels.rowwise(loss, y_true, y_pred, reduction, metrics=True, **options)
                actual = kernels.rowwise(
                    loss, y_true, y_pred.copy(), reduction, in_place=True, metrics=True, **options
                )
                assert_same(actual, expected, f"{shape} {reduction}")


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy_from_logits", *BETWEEN_LOGITS])
def test_gradient_over_a_row_whose_exponentials_are_taken_twice(loss):
    y_true, y_pred = data(loss, (1, 2**19 + 2048 + 33))
    expected = kernels.rowwise(loss, y_true, y_pred)
    actual = kernels.rowwise(loss, y_true, y_pred.copy(), in_place=True)
    assert_same(actual, expected)
    assert_same(kernels.rowwise(loss, y_true, y_pred, gradient=False), expected)


@every_loss
@every_dtype
def test_a_large_gradient_has_the_same_bits_as_its_rows(loss, dtype):
    """Large gradients are written past the caches, in whole lines whatever the length of a row."""
    for shape in ((13_000, 701), (13_000, 704), (260_000, 33)):
        y_true, y_pred = data(loss, (50, shape[1]), dtype)
        ignored = int(y_true[7]) if kernels.is_sparse(loss) else None
        many = np.tile(y_pred, (shape[0] // 50, 1))
        labels = np.tile(y_true, (shape[0] // 50, *[1] * (y_true.ndim - 1)))
        expected = kernels.rowwise(loss, y_true, y_pred, kernels.SUM, ignore_class=ignored)
        actual = kernels.rowwise(loss, labels, many, kernels.SUM, ignore_class=ignored)
        bits = actual.gradient.reshape(-1, *y_pred.shape).view(np.uint8)
        assert (bits == expected.gradient.view(np.uint8)).all(), shape


@every_loss
def test_forward_alone_gives_the_same_bits_as_with_the_gradient(loss):
    for dtype in PREDICTION_DTYPES:
        for shape in ((70, 33), (20, 301), (2, 4100), (3, 40, 33)):
            y_true, y_pred = data(loss, shape, dtype)
            for options in ({}, most_options(loss, shape[1])):
                alone = kernels.rowwise(loss, y_true, y_pred, gradient=False, **options)
                both = kernels.rowwise(loss, y_true, y_pred, metrics=True, **options)
                assert_same(alone, both, f"{dtype} {shape}")


# Upstream


@every_loss
@every_layout
def test_the_upstream_gradient_scales(loss, shape):
    y_true, y_pred = data(loss, shape)
    rows = len(rows_of(y_pred))
    once = kernels.rowwise(loss, y_true, y_pred, kernels.NONE).gradient
    four = kernels.rowwise(loss, y_true, y_pred, kernels.NONE, upstream=np.full(rows, 4)).gradient
    # Subnormal numbers are rounded where they are.
    np.testing.assert_array_equal(np.where(abs(once) < 1e-36, 0, 4 * once - four), 0)
    total = kernels.rowwise(loss, y_true, y_pred, kernels.SUM).gradient
    assert same_bits(total, once)
    upstream = np.random.default_rng(0).normal(size=rows)
    upstream[0] = 0
    scaled = kernels.rowwise(loss, y_true, y_pred, kernels.NONE, upstream=upstream).gradient
    expected = rows_of(once) * upstream[:, np.newaxis]
    assert_close(rows_of(scaled), expected, 1e-6)
    assert not rows_of(scaled)[0].any()
    weighed = kernels.rowwise(loss, y_true, y_pred, kernels.SUM, weight=upstream).gradient
    assert same_bits(weighed, scaled)


# Instruction sets


@every_loss
@every_dtype
def test_instruction_sets_agree(loss, dtype):
    for shape in LAYOUTS.values():
        y_true, y_pred = data(loss, shape, dtype)
        options = most_options(loss, shape[1])
        results = {}
        for isa in c_api.isas():
            c_api.set_isa(isa)
            results[isa] = kernels.rowwise(loss, y_true, y_pred, kernels.NONE, **options)
        base = results.pop("baseline")
        for isa, result in results.items():
            assert_close(result.loss, base.loss, LOSS_BOUNDS[dtype], isa, LOSS_BOUNDS[dtype])
            assert_close(result.gradient, base.gradient, GRADIENT_BOUNDS[dtype] * 2, isa)


@every_loss
def test_every_instruction_set_is_accurate(loss):
    for isa in c_api.isas():
        c_api.set_isa(isa)
        for shape in ((33, 17), (5, 2055), (2, 50, 9)):
            for dtype in ("float32", "float64"):
                y_true, y_pred = data(loss, shape, dtype)
                for options in options_of(loss, shape[1]):
                    found = worst_units(loss, y_true, y_pred, options)
                    for error, limit in zip(found, LIMITS[loss], strict=True):
                        assert error <= limit, f"{isa} {shape} {dtype} {options}"


# Layout


@every_loss
@every_dtype
def test_classes_apart_equal_classes_side_by_side(loss, dtype):
    for shape in ((2, 7, 33), (1, 200, 5), (3, 33, 2), (2, 300, 40)):
        y_true, y_pred = data(loss, shape, dtype)
        options = most_options(loss, shape[1])
        rows = np.ascontiguousarray(np.moveaxis(y_pred, 1, -1).reshape(-1, shape[1]))
        labels = y_true.reshape(-1)
        if not kernels.is_sparse(loss):
            labels = np.ascontiguousarray(np.moveaxis(y_true, 1, -1).reshape(-1, shape[1]))
        apart = kernels.rowwise(loss, y_true, y_pred, kernels.NONE, metrics=True, **options)
        beside = kernels.rowwise(loss, labels, rows, kernels.NONE, metrics=True, **options)
        assert_close(apart.loss, beside.loss, LOSS_BOUNDS[dtype], shape, LOSS_BOUNDS[dtype])
        # A small gradient of a divergence is a difference of logarithms, times a share.
        tiny = GRADIENT_BOUNDS[dtype] if loss in BETWEEN_LOGITS else 0.0
        bound = 2 * GRADIENT_BOUNDS[dtype]
        assert_close(rows_of(apart.gradient), rows_of(beside.gradient), bound, shape, tiny)
        assert_close(apart.log_sum_exp, beside.log_sum_exp, LOSS_BOUNDS[dtype])
        assert same_bits(apart.hit, beside.hit)
        if shape[1] < 96:
            # Both have rows as lanes.
            assert same_bits(apart.loss, beside.loss)
            assert same_bits(rows_of(apart.gradient), rows_of(beside.gradient))


@every_loss
def test_permuted_classes_permute_the_gradient(loss):
    for shape in LAYOUTS.values():
        y_true, y_pred = data(loss, shape)
        order = np.random.default_rng(3).permutation(shape[1])
        labels = y_true
        if kernels.is_sparse(loss):
            labels = np.argsort(order).astype(np.int32)[y_true]
        else:
            labels = np.ascontiguousarray(y_true[:, order])
        weight = np.random.default_rng(4).uniform(0, 2, shape[1])
        expected = kernels.rowwise(loss, y_true, y_pred, kernels.NONE, class_weight=weight)
        actual = kernels.rowwise(
            loss,
            labels,
            np.ascontiguousarray(y_pred[:, order]),
            kernels.NONE,
            class_weight=weight[order],
        )
        assert_close(actual.loss, expected.loss, LOSS_BOUNDS["float32"])
        bound = GRADIENT_BOUNDS["float32"]
        tiny = bound if loss in BETWEEN_LOGITS else 0.0
        assert_close(actual.gradient, expected.gradient[:, order], bound, loss, tiny)


@every_layout
@pytest.mark.parametrize("loss", [*OF_LOGITS, *BETWEEN_LOGITS])
def test_a_constant_added_to_the_logits_changes_nothing(loss, shape):
    y_true, y_pred = data(loss, shape)
    # On a grid that the constant does not leave.
    y_pred = np.round(y_pred * 64) / np.float32(64)
    if loss in BETWEEN_LOGITS:
        y_true = np.round(y_true * 64) / np.float32(64)
    expected = kernels.rowwise(loss, y_true, y_pred, kernels.NONE)
    for constant in (1.0, -37.0, 4096.0):
        labels = y_true - np.float32(constant) if loss in BETWEEN_LOGITS else y_true
        actual = kernels.rowwise(loss, labels, y_pred + np.float32(constant), kernels.NONE)
        assert same_bits(actual.loss, expected.loss), constant
        assert same_bits(actual.gradient, expected.gradient), constant


@every_layout
@pytest.mark.parametrize("loss", OF_SHARES)
def test_normalised_probabilities_may_be_scaled(loss, shape):
    if loss == "sparse_categorical_crossentropy":
        pytest.skip("clips before it normalises, as Keras does")
    y_true, y_pred = data(loss, shape)
    expected = kernels.rowwise(loss, y_true, y_pred, kernels.NONE)
    for factor in (4.0, 0.25, 1024.0):
        actual = kernels.rowwise(loss, y_true, y_pred * np.float32(factor), kernels.NONE)
        assert same_bits(actual.loss, expected.loss)
        assert same_bits(actual.gradient, expected.gradient / np.float32(factor))


# Any shape, dtype and options


@st.composite
def calls(draw: st.DrawFn) -> tuple:
    loss = draw(st.sampled_from(LOSSES))
    classes = draw(st.one_of(st.integers(1, 300), st.sampled_from([1023, 2048, 2080, 4097])))
    rows = draw(st.integers(1, 70 if classes <= 300 else 3))
    shape = (rows, classes)
    if draw(st.booleans()):
        shape = (draw(st.integers(1, 3)), classes, rows)
    dtype = draw(st.sampled_from(PREDICTION_DTYPES))
    arguments: dict = {}
    seed = draw(st.integers(0, 2**16))
    labels = loss in (*OF_LOGITS, *OF_SHARES) or "hinge" in loss
    if labels and "generalized" not in loss and draw(st.booleans()):
        arguments["label_smoothing"] = draw(st.sampled_from([0.05, 0.5, 1.0]))
    if loss not in BETWEEN_LOGITS and draw(st.booleans()):
        arguments["class_weight"] = np.random.default_rng(seed).uniform(0, 2, classes)
    if loss in (*OF_LOGITS, *BETWEEN_LOGITS):
        arguments["temperature"] = draw(st.sampled_from([1.0, 0.3, 3.0]))
    if loss in OF_LOGITS:
        arguments["logit_softcap"] = draw(st.sampled_from([0.0, 10.0, 40.0]))
        arguments["z_loss"] = draw(st.sampled_from([0.0, 1e-3]))
    soft = draw(st.sampled_from(["one-hot", "soft"]))
    isa = draw(st.sampled_from(c_api.isas()))
    return loss, shape, dtype, soft, seed, isa, Options(**arguments)


@pytest.mark.slow
@hypothesis.settings(max_examples=400, deadline=None, derandomize=True)
@hypothesis.given(calls())
def test_any_call_equals_the_formula(call):
    loss, shape, dtype, soft, seed, isa, options = call
    c_api.set_isa(isa)
    y_true, y_pred = data(loss, shape, dtype, labels=soft, seed=seed)
    found = worst_units(loss, y_true, y_pred, options)
    for what, error, limit in zip(("loss", "gradient"), found, LIMITS[loss], strict=True):
        more = shape[1] / 256 if len(shape) == 3 else 0
        assert error <= limit + more, f"{error:.3g} units in the {what}"
    again = kernels.rowwise(loss, y_true, y_pred.copy(), in_place=True, **vars(options))
    assert_same(again, kernels.rowwise(loss, y_true, y_pred, **vars(options)))


def test_data_is_what_it_says():
    y_true, y_pred = data("categorical_crossentropy", (3, 4, 5), "float16")
    assert y_pred.dtype == numpy_dtype("float16")
    np.testing.assert_allclose(y_pred.astype(float).sum(1), 1, rtol=1e-2)
    assert (y_true.sum(1) == 1).all()
