"""What must not change the result: order, company, weights of 1, threads, runs, buffers, ISA."""

from __future__ import annotations

import concurrent.futures
import textwrap

import kernels
import numpy as np
import pytest
import tensorflow as tf
from cases import (
    CASES,
    CORE,
    CORE_IDS,
    GRADIENT_BOUNDS,
    IDS,
    LOSS_BOUNDS,
    PREDICTION_DTYPES,
    assert_close,
    find,
    run_python,
    value_and_gradient,
)
from kernels import same_bits

import fastloss as fl
from fastloss import c_api

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)
core_cases = pytest.mark.parametrize("case", CORE, ids=CORE_IDS)
every_dtype = pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
every_loss = pytest.mark.parametrize("loss", c_api.elementwise_losses())


@pytest.fixture(autouse=True)
def _settings_are_put_back():
    yield
    c_api.set_isa("")
    c_api.set_threads(0)


def data(loss, shape, dtype, seed=0, label_dtype=None):
    """Hinge losses look at all labels first: give them labels that say the same in any company."""
    kind = next(case for case in CASES if case.loss == loss)
    return kind.data(shape, dtype, label_dtype, seed)


# Metamorphic


@every_case
def test_permuted_rows_give_permuted_results(case):
    y_true, y_pred = case.data((37, 11))
    weight = np.random.default_rng(1).uniform(0, 2, 37).astype(np.float32)
    order = np.random.default_rng(2).permutation(37)
    for reduction in ("none", "sum_over_batch_size", "sum", "mean_with_sample_weight"):
        loss = case.ours(reduction=reduction)
        value, gradient = value_and_gradient(loss, y_true, y_pred, weight)
        permuted = value_and_gradient(loss, y_true[order], y_pred[order], weight[order])
        if reduction == "none":
            assert same_bits(permuted[0], value.numpy()[order])
        else:
            assert_close(permuted[0], value, 1e-6)
        if reduction == "mean_with_sample_weight":
            assert_close(permuted[1], gradient.numpy()[order], 1e-6)
        else:
            assert same_bits(permuted[1], gradient.numpy()[order])


@every_case
def test_mask_equals_subset(case):
    y_true, y_pred = case.data((24, 5))
    if case.labels in ("binary", "sign"):
        y_true[:3] = y_true[-3:] = (
            [[0, 1, 1, 0, 1]] if case.labels == "binary" else [[-1, 1, 1, -1, 1]]
        )
    mask = np.arange(24) % 3 != 1
    for reduction in ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight"):
        loss = case.ours(reduction=reduction)
        masked = tf.constant(y_pred)
        masked._keras_mask = tf.constant(mask)
        with tf.GradientTape() as tape:
            tape.watch(masked)
            value = loss(y_true, masked)
        gradient = tape.gradient(value, masked).numpy()
        subset = value_and_gradient(loss, y_true[mask], y_pred[mask])
        assert_close(value, subset[0], 2e-6, reduction)
        assert_close(gradient[mask], subset[1], 2e-6, reduction)
        assert not gradient[~mask].any()


@every_case
def test_loss_is_linear_in_the_weights(case):
    y_true, y_pred = case.data((24, 5))
    random = np.random.default_rng(3)
    first, second = random.uniform(0, 2, (2, 24)).astype(np.float32)
    for reduction in ("none", "sum_over_batch_size", "sum"):
        loss = case.ours(reduction=reduction)
        parts = [
            value_and_gradient(loss, y_true, y_pred, w) for w in (first, second, first + second)
        ]
        for one, two, both in zip(*parts, strict=True):
            assert_close(both, one + two, 2e-6, reduction)
        four = value_and_gradient(loss, y_true, y_pred, 4 * first)
        assert same_bits(four[0], (4 * parts[0][0]).numpy())
        assert same_bits(four[1], (4 * parts[0][1]).numpy())
    plain, ones = (value_and_gradient(case.ours(), y_true, y_pred, *w) for w in ([], [np.ones(24)]))
    assert same_bits(plain[0], ones[0])
    assert same_bits(plain[1], ones[1])
    zeros = value_and_gradient(case.ours(), y_true, y_pred, np.zeros(24, np.float32))
    assert float(zeros[0]) == 0
    assert not zeros[1].numpy().any()


@every_case
def test_reductions_agree(case):
    y_true, y_pred = case.data((24, 5))
    rows, gradient = value_and_gradient(case.ours(reduction="none"), y_true, y_pred)
    total, total_gradient = value_and_gradient(case.ours(reduction="sum"), y_true, y_pred)
    mean, mean_gradient = value_and_gradient(case.ours(), y_true, y_pred)
    assert_close(total, tf.reduce_sum(rows), 2e-6)
    assert_close(mean, tf.reduce_mean(rows), 2e-6)
    assert_close(total_gradient, gradient, 1e-6)
    assert_close(mean_gradient, gradient / 24, 1e-6)


# A row does not depend on its company


def mixed_data(loss, shape, dtype, seed):
    """Of the losses of binary labels, some rows have hard labels and some have soft ones."""
    y_true, y_pred = data(loss, shape, dtype, seed)
    if loss.startswith("binary"):
        random = np.random.default_rng(seed)
        soft = random.uniform(0, 1, shape).astype(y_true.dtype)
        y_true = np.where(random.random((shape[0], 1)) < 0.3, soft, y_true)
    return y_true, y_pred


def assert_part_has_the_same_bits(loss, y_true, y_pred, upstream, part, expected, what):
    value, slope = kernels.elementwise(
        loss, y_true[part], y_pred[part], kernels.NONE, upstream=upstream[part]
    )
    assert same_bits(value, expected[0][part]), f"losses, {what}"
    assert same_bits(slope, expected[1][part]), f"gradient, {what}"


@every_loss
@every_dtype
def test_a_row_has_the_same_bits_alone_and_in_company(loss, dtype):
    for columns in (1, 2, 3, 7, 16, 63, 64, 65, 129, 1000, 1023, 1024, 1025, 2500):
        rows = max(5, min(150, 3000 // columns))
        y_true, y_pred = mixed_data(loss, (rows, columns), dtype, columns)
        upstream = np.random.default_rng(columns).uniform(0.5, 2, rows)
        together = kernels.elementwise(loss, y_true, y_pred, kernels.NONE, upstream=upstream)
        parts = [slice(row, row + 1) for row in {0, 1, 2, 3, rows // 2, rows - 2, rows - 1}]
        for part in (*parts, slice(rows // 3, None)):
            what = f"rows {part.start} to {part.stop} of {rows} x {columns}"
            assert_part_has_the_same_bits(loss, y_true, y_pred, upstream, part, together, what)


@every_loss
def test_gradients_of_a_reduced_loss_do_not_depend_on_the_other_rows(loss):
    y_true, y_pred = mixed_data(loss, (257, 33), "float32", 1)
    _, together = kernels.elementwise(loss, y_true, y_pred, kernels.SUM)
    for row in range(0, 257, 16):
        part = slice(row, row + 1)
        _, alone = kernels.elementwise(loss, y_true[part], y_pred[part], kernels.SUM)
        assert same_bits(alone, together[part]), row


@every_dtype
def test_rows_longer_than_a_piece_have_the_same_bits_alone(dtype):
    y_true, y_pred = data("huber", (3, 70001), dtype)
    values, slopes = kernels.elementwise("huber", y_true, y_pred, kernels.NONE)
    for row in range(3):
        part = slice(row, row + 1)
        value, slope = kernels.elementwise("huber", y_true[part], y_pred[part], kernels.NONE)
        assert same_bits(value, values[part])
        assert same_bits(slope, slopes[part])


@core_cases
def test_a_row_has_the_same_bits_in_any_batch_of_a_model(case):
    y_true, y_pred = case.data((33, 19))
    if case.labels == "binary":
        y_true[:, :2] = [0, 1]
    loss = case.ours(reduction="none")
    values, gradients = value_and_gradient(loss, y_true, y_pred)
    for size in (1, 2, 7, 32):
        value, gradient = value_and_gradient(loss, y_true[:size], y_pred[:size])
        assert same_bits(value, values[:size])
        assert same_bits(gradient, gradients[:size])


@every_loss
def test_integer_and_float_labels_give_the_same_bits(loss):
    y_true, y_pred = data(loss, (70, 33), "float32", label_dtype="uint8")
    expected = kernels.elementwise(loss, y_true, y_pred)
    for dtype in ("int8", "uint16", "int32", "int64", "uint64", "float64", "float32", "float16"):
        result = kernels.elementwise(loss, y_true.astype(dtype), y_pred)
        assert same_bits(result[0], expected[0]), dtype
        assert same_bits(result[1], expected[1]), dtype


# Threads, runs


@every_loss
def test_any_number_of_threads_gives_the_same_bits(loss):
    for dtype, shape in (("float32", (2111, 301)), ("bfloat16", (7, 100_003))):
        y_true, y_pred = data(loss, shape, dtype)
        weight = np.random.default_rng(0).uniform(0, 2, shape[0])
        for reduction in (kernels.NONE, kernels.MEAN, kernels.MEAN_WITH_SAMPLE_WEIGHT):
            results = []
            for threads in (1, 2, 3, 8):
                c_api.set_threads(threads)
                results.append(kernels.elementwise(loss, y_true, y_pred, reduction, weight))
            for value, gradient in results[1:]:
                assert same_bits(value, results[0][0])
                assert same_bits(gradient, results[0][1])


def test_runs_repeat_to_the_bit():
    y_true, y_pred = data("log_cosh", (1500, 333), "float32")
    c_api.set_threads(4)
    first = kernels.elementwise("log_cosh", y_true, y_pred)
    for _ in range(20):
        again = kernels.elementwise("log_cosh", y_true, y_pred)
        assert same_bits(again[0], first[0])
        assert same_bits(again[1], first[1])


DIGEST = """
    import hashlib
    import numpy as np, tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    import fastloss as fl
    random = np.random.default_rng(0)
    y_true = tf.constant(random.normal(size=(1801, 333)).astype(np.float32))
    # Subnormal gradients: threads that flush them to zero must not differ from those that do not.
    tiny = tf.constant((random.normal(size=(1801, 333)) * 1e-34).astype(np.float32))
    y_pred = y_true + 1
    digest = hashlib.sha256()
    def run(loss, t, p):
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = loss(t, p)
        return value, tape.gradient(value, p)
    graph = tf.function(run)
    for loss in (fl.LogCosh(), fl.MeanSquaredError(), fl.Huber(reduction="none"), fl.Hinge()):
        for execute in (run, graph):
            for t, p in ((y_true, y_pred), (tiny * 0, tiny)):
                for _ in range(3):
                    for tensor in execute(loss, t, p):
                        digest.update(tensor.numpy().tobytes())
    print("digest", digest.hexdigest())
"""


@pytest.mark.slow
def test_threads_of_tensorflow_do_not_change_the_bits():
    outputs = {
        run_python(textwrap.dedent(DIGEST).replace("THREADS", str(threads)))
        .split("digest")[1]
        .split()[0]
        for threads in (1, 3)
    }
    assert len(outputs) == 1


def test_repeated_calls_in_tensorflow_give_the_same_bits_for_subnormal_gradients():
    tiny = (np.random.default_rng(0).normal(size=(3001, 333)) * 1e-33).astype(np.float32)
    for run in (value_and_gradient, tf.function(value_and_gradient)):
        results = {
            run(fl.MeanSquaredError(), tiny * 0, tiny)[1].numpy().tobytes() for _ in range(15)
        }
        assert len(results) == 1


@every_dtype
def test_calls_from_many_threads_at_once_do_not_disturb_each_other(dtype):
    losses = [case.ours() for case in CASES]
    inputs = [case.data((400, 400), dtype) for case in CASES]
    expected = [value_and_gradient(loss, *x) for loss, x in zip(losses, inputs, strict=True)]

    def work(shift):
        order = np.roll(np.arange(len(losses)), shift)
        return [(i, value_and_gradient(losses[i], *inputs[i])) for i in order]

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for results in pool.map(work, range(6)):
            for i, (value, gradient) in results:
                assert same_bits(value, expected[i][0])
                assert same_bits(gradient, expected[i][1])


# Buffers


@core_cases
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_temporary_prediction_gives_the_same_bits_as_a_kept_one(case, dtype):
    y_true, y_pred = case.data((700, 901), dtype)

    @tf.function
    def temporary(t, p):
        return value_and_gradient(case.ours(), t, tf.reverse(p, [0]))

    @tf.function
    def kept(t, p):
        p = tf.reverse(p, [0])
        return (*value_and_gradient(case.ours(), t, p), p)

    backwards = y_pred[::-1].copy()
    expected = value_and_gradient(case.ours(), y_true, y_pred)
    for _ in range(3):
        for result in (temporary(y_true, backwards), kept(y_true, backwards)):
            assert same_bits(result[0], expected[0])
            assert same_bits(result[1], expected[1])
        assert same_bits(kept(y_true, backwards)[2], y_pred)


@every_loss
def test_gradient_over_its_predictions_has_the_same_bits(loss):
    in_place = not c_api.elementwise_losses()[loss].needs_all_labels
    for dtype in PREDICTION_DTYPES:
        y_true, y_pred = data(loss, (300, 301), dtype)
        for reduction in (kernels.NONE, kernels.MEAN):
            expected = kernels.elementwise(loss, y_true, y_pred, reduction)
            arguments = (loss, y_true, y_pred.copy(), reduction)
            if in_place:
                value, gradient = kernels.elementwise(*arguments, in_place=True)
                assert same_bits(value, expected[0])
                assert same_bits(gradient, expected[1])
            else:
                with pytest.raises(ValueError, match="second pass"):
                    kernels.elementwise(*arguments, in_place=True)


@every_loss
def test_forward_alone_gives_the_same_bits_as_with_the_gradient(loss):
    for dtype in PREDICTION_DTYPES:
        y_true, y_pred = data(loss, (300, 301), dtype)
        value, _ = kernels.elementwise(loss, y_true, y_pred, gradient=False)
        assert same_bits(value, kernels.elementwise(loss, y_true, y_pred)[0])


# A late label that is neither 0 nor 1


@pytest.mark.parametrize("public", ["Hinge", "SquaredHinge"])
@pytest.mark.parametrize("position", [(0, 0), (0, 5), (3, 300), (599, 400)])
def test_one_label_among_many_decides_what_binary_means(public, position):
    case = find(public)
    y_pred = case.data((600, 401))[1]
    y_true = np.random.default_rng(0).integers(0, 2, (600, 401))
    y_true[position] = -1
    for reduction in ("sum_over_batch_size", "none"):
        ours = value_and_gradient(case.ours(reduction=reduction), y_true, y_pred)
        theirs = value_and_gradient(
            case.keras(reduction=reduction), y_true.astype(np.float32), y_pred
        )
        assert_close(ours[0], theirs[0], 1e-5)
        assert_close(ours[1], theirs[1], 1e-5)


# Instruction sets


@every_loss
@every_dtype
def test_instruction_sets_agree(loss, dtype):
    y_true, y_pred = data(loss, (61, 47), dtype)
    results = {}
    for isa in c_api.isas():
        c_api.set_isa(isa)
        assert c_api.isa() == isa
        results[isa] = kernels.elementwise(loss, y_true, y_pred, kernels.NONE)
    value, gradient = results.pop("baseline")
    for isa, result in results.items():
        assert_close(result[0], value, LOSS_BOUNDS[dtype], isa, LOSS_BOUNDS[dtype] / 4)
        assert_close(result[1], gradient, GRADIENT_BOUNDS[dtype] * 2, isa)


def test_subnormal_numbers_are_kept_outside_of_tensorflow():
    error = np.array([[1e-40], [-3e-42], [1.4e-45]], np.float32)
    zero = np.zeros_like(error)
    for isa in c_api.isas():
        c_api.set_isa(isa)
        value, slope = kernels.elementwise("mean_absolute_error", zero, error, kernels.NONE)
        np.testing.assert_array_equal(value, abs(error)[:, 0])
        np.testing.assert_array_equal(slope, np.sign(error))
        _, slope = kernels.elementwise("huber", zero, error, kernels.NONE)
        np.testing.assert_array_equal(slope, error)
