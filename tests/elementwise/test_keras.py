"""Against Keras, which computes in float64 on the same numbers: every argument, every way in."""

from __future__ import annotations

import itertools
import textwrap
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import (
    BFLOAT16,
    CASES,
    CORE,
    CORE_IDS,
    IDS,
    LABEL_DTYPES,
    LOSS_BOUNDS,
    PREDICTION_DTYPES,
    REDUCTIONS,
    Findings,
    assert_close,
    assert_same,
    draw,
    find,
    float64,
    in_keras,
    numpy_dtype,
    pinball_in_keras,
    run_python,
    value_and_gradient,
    weighted_crossentropy_in_keras,
)

import fastloss as fl

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)
core_cases = pytest.mark.parametrize("case", CORE, ids=CORE_IDS)
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)

REFUSALS = (ValueError, tf.errors.InvalidArgumentError, IndexError)


def outcome(function, *arguments, **options):
    """The result, or the exception class if the input is refused."""
    try:
        return function(*arguments, **options)
    except REFUSALS:
        return "refused"


def assert_same_outcome(case, y_true, y_pred, *weight, dtype="float32", what="", **options):
    """Ours equals Keras's, or both refuse the input."""
    theirs = outcome(in_keras, case, y_true, y_pred, *weight, **options)
    ours = outcome(value_and_gradient, case.ours(**options), y_true, y_pred, *weight)
    compare(ours, theirs, dtype, what)


def compare(ours, theirs, dtype="float32", what=""):
    if theirs == "refused":
        assert ours == "refused", f"{what}: Keras refuses it, ours gives shape {ours[0].shape}"
    else:
        assert ours != "refused", f"{what}: ours refuses it, Keras gives {theirs[0].shape}"
        assert_same(ours, theirs, dtype, what)


# Arguments, dtypes, shapes


@every_case
@every_reduction
def test_loss_and_gradient_equal_keras(case, reduction):
    y_true, y_pred = case.data((4, 3, 5))
    weight = np.random.default_rng(1).uniform(0, 2, (4, 3)).astype(np.float32)
    assert_same_outcome(case, y_true, y_pred, reduction=reduction)
    assert_same_outcome(case, y_true, y_pred, weight, reduction=reduction, what="weighted")


@every_case
def test_every_label_and_prediction_dtype(case):
    for label_dtype, dtype in itertools.product(LABEL_DTYPES, PREDICTION_DTYPES):
        y_true, y_pred = case.data((6, 7), dtype, label_dtype)
        what = f"{label_dtype} labels, {dtype} predictions"
        loss, gradient = value_and_gradient(case.ours(), y_true, y_pred)
        assert gradient.dtype.name == dtype, what
        assert loss.dtype == tf.float32, what
        expected = in_keras(case, y_true, y_pred)
        assert_close(loss, expected[0], max(LOSS_BOUNDS[dtype], 1e-7), what)
        assert_same((expected[0], gradient), expected, dtype, what)


@every_case
def test_float64_loss_is_computed_in_float64(case):
    for label_dtype in ("float64", "int32"):
        y_true, y_pred = case.data((6, 7), "float64", label_dtype)
        ours = value_and_gradient(case.ours(dtype="float64"), y_true, y_pred)
        assert ours[0].dtype == tf.float64
        assert_same(ours, in_keras(case, y_true, y_pred), "float64", label_dtype)
    y_true, y_pred = case.data((6, 7), "float32")
    ours = value_and_gradient(case.ours(dtype="float64"), y_true, y_pred)
    assert ours[0].dtype == tf.float64
    assert ours[1].dtype == tf.float32
    assert_close(ours[0], in_keras(case, y_true, y_pred)[0], 1e-12)


@every_case
def test_half_precision_loss_dtype_casts_the_result_only(case):
    y_true, y_pred = case.data((6, 7), "bfloat16")
    loss, gradient = value_and_gradient(case.ours(dtype="bfloat16"), y_true, y_pred)
    assert loss.dtype == tf.bfloat16
    expected = in_keras(case, y_true, y_pred)
    assert_close(loss, expected[0], 2**-8)
    assert_same((expected[0], gradient), expected, "bfloat16")


@core_cases
@pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
def test_every_prediction_dtype_with_weights_and_reductions(case, dtype):
    y_true, y_pred = case.data((4, 3, 5), dtype, "float32")
    weight = np.random.default_rng(1).uniform(0, 2, (4, 1)).astype(np.float32)
    with Findings() as findings:
        for reduction, extra in itertools.product(REDUCTIONS, ([], [weight])):
            loss = case.ours(reduction=reduction)
            theirs = in_keras(case, y_true, y_pred, *extra, reduction=reduction)
            with findings.of(f"{reduction} {len(extra)} weights"):
                ours = value_and_gradient(loss, y_true, y_pred, *extra)
                # The dtype of the loss is float32, whatever that of the predictions.
                assert_same((theirs[0], ours[1]), theirs, dtype)
                assert_close(ours[0], theirs[0], 4e-6, tiny=1e-6)


def test_labels_of_another_float_dtype_than_the_predictions():
    case = find("Huber")
    for label_dtype, dtype in itertools.permutations(PREDICTION_DTYPES, 2):
        y_true, y_pred = case.data((5, 4), dtype, label_dtype)
        ours = value_and_gradient(case.ours(reduction="sum"), y_true, y_pred)
        expected = in_keras(case, y_true, y_pred, reduction="sum")
        share = 1e-6 if dtype != "float64" or label_dtype != "float64" else 1e-12
        assert_close(ours[0], expected[0], share, f"{label_dtype} {dtype}")


def test_large_integer_labels_keep_their_value():
    y_true = np.array([[2049, 4097], [65537, 16777217]], np.int64)
    y_pred = y_true + np.array([[0.5, -0.25], [1, 2]])
    loss = fl.MeanAbsoluteError(dtype="float64")(y_true, y_pred)
    np.testing.assert_allclose(loss, 3.75 / 4, rtol=1e-15)


SHAPES = [
    *[(1,), (5,), (1, 1), (5, 1), (1, 5), (2, 3, 4), (2, 1, 3, 1), (2, 1, 3, 1, 2)],
    (2, 1, 2, 1, 3, 2),
]
EMPTY = [(0,), (0, 3), (3, 0), (0, 0), (0, 1), (2, 0, 3), (2, 3, 0), (0, 2, 3)]


@core_cases
@every_reduction
def test_rank_1_to_6_and_zero_sizes(case, reduction):
    with Findings() as findings:
        for shape in [*SHAPES, *EMPTY]:
            y_true, y_pred = case.data(shape)
            with findings.of(shape):
                assert_same_outcome(case, y_true, y_pred, reduction=reduction)


@core_cases
def test_a_scalar_which_keras_refuses_is_a_row_of_one(case):
    y_true, y_pred = case.data((1,))
    for reduction in REDUCTIONS:
        loss = case.ours(reduction=reduction)
        value, gradient = value_and_gradient(loss, y_true[0], y_pred[0])
        expected = value_and_gradient(loss, y_true, y_pred)
        np.testing.assert_array_equal(value, tf.reshape(expected[0], []))
        np.testing.assert_array_equal(gradient, expected[1][0])


@core_cases
def test_rank_1_with_weights(case):
    with Findings() as findings:
        for shape, weight in itertools.product(
            [(1,), (5,)], [(), (1,), (3,), (5,), (5, 1), (1, 1)]
        ):
            y_true, y_pred = case.data(shape)
            sample_weight = draw("positive", weight, "float32", np.random.default_rng(3))
            for reduction in REDUCTIONS:
                with findings.of((shape, weight, reduction)):
                    assert_same_outcome(case, y_true, y_pred, sample_weight, reduction=reduction)


BROADCASTS = [
    *[((5,), (5, 1)), ((5, 1), (5,)), ((5, 1), (5, 3)), ((5, 3), (5, 1)), ((1, 3), (5, 3))],
    *[((5,), (5, 3)), ((3,), (5, 3)), ((5, 3), (3,)), ((), (5, 3)), ((5, 3), ()), ((5,), (1,))],
    *[((2, 3), (2, 3, 1)), ((2, 3, 1), (2, 3)), ((2, 3), (2, 3, 4)), ((2, 3, 1), (2, 3, 4))],
    *[((1,), (5, 1)), ((5, 1), (1,)), ((5, 1), ()), ((), (5, 1))],
    *[((2, 1, 4), (2, 3, 1)), ((1, 1), (5, 1)), ((4, 1), (5, 1)), ((2, 3), (3, 2)), ((5,), (4,))],
    *[((2, 3, 4, 1), (2, 3, 4)), ((2, 3, 4), (2, 3, 4, 1)), ((0, 1), (0, 3)), ((0,), (0, 1))],
]


@core_cases
def test_broadcasting_and_rank_adjustment(case):
    with Findings() as findings:
        for true_shape, pred_shape in BROADCASTS:
            y_true, y_pred = case.data(true_shape)[0], case.data(pred_shape)[1]
            for reduction in ("sum_over_batch_size", "none"):
                with findings.of(f"labels {true_shape}, predictions {pred_shape}, {reduction}"):
                    assert_same_outcome(case, y_true, y_pred, reduction=reduction)


@pytest.mark.parametrize(
    "public", ["MeanSquaredError", "Poisson", "BinaryCrossentropy", "BinaryFocalCrossentropy"]
)
def test_broadcasting_inside_functions(public):
    case = find(public)
    theirs, ours = getattr(keras.losses, case.function), getattr(fl, case.function)
    with Findings() as findings:
        for true_shape, pred_shape in BROADCASTS:
            y_true, y_pred = case.data(true_shape)[0], case.data(pred_shape)[1]
            expected = outcome(value_and_gradient, theirs, float64(y_true), float64(y_pred))
            with findings.of(f"labels {true_shape}, predictions {pred_shape}"):
                compare(outcome(value_and_gradient, ours, y_true, y_pred), expected)


@pytest.mark.parametrize("public", ["BinaryCrossentropy", "BinaryFocalCrossentropy"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_axis(public, from_logits):
    case = next(
        c for c in CASES if c.public == public and ("from_logits" in c.arguments) == from_logits
    )
    y_true, y_pred = case.data((4, 3, 5))
    random = np.random.default_rng(1)
    axes = [0, 1, 2, -1, -2, -3, None, (0, 1), (1, 2), (0, 1, 2), [1, 2], 3, -4]
    for axis, reduction in itertools.product(axes, REDUCTIONS):
        what = f"axis {axis}, {reduction}"
        assert_same_outcome(case, y_true, y_pred, axis=axis, reduction=reduction, what=what)
        kept = outcome(
            np.mean, np.zeros((4, 3, 5)), axis=tuple(axis) if isinstance(axis, list) else axis
        )
        if not isinstance(kept, str):
            weight = random.uniform(0, 2, np.shape(kept)).astype(np.float32)
            assert_same_outcome(
                case, y_true, y_pred, weight, axis=axis, reduction=reduction, what=what
            )


@pytest.mark.parametrize("from_logits", [False, True])
def test_pos_weight_for_each_class(from_logits):
    case = next(
        c
        for c in CASES
        if c.public == "BinaryCrossentropy" and ("from_logits" in c.arguments) == from_logits
    )
    weights = [0.5, 2.0, 1.0, 7.0]
    with Findings() as findings:
        for shape, axis, smoothing, reduction, dtype in itertools.product(
            [(4,), (5, 4), (1, 4), (0, 4), (3, 2, 4)],
            (-1, 0),
            (0.0, 0.3),
            ("sum_over_batch_size", "none"),
            ("float32", "bfloat16"),
        ):
            y_true, y_pred = case.data(shape, dtype, "int8")
            options = {"axis": axis, "label_smoothing": smoothing, "reduction": reduction}
            options |= {"from_logits": from_logits, "pos_weight": weights}
            theirs = weighted_crossentropy_in_keras(dtype="float64", **options)
            expected = outcome(value_and_gradient, theirs, float64(y_true), float64(y_pred))
            with findings.of(f"{shape} {options} {dtype}"):
                ours = fl.BinaryCrossentropy(**options)
                compare(outcome(value_and_gradient, ours, y_true, y_pred), expected, dtype)


POS_WEIGHTS = {
    "int": 3,
    "float": 3.0,
    "numpy scalar": np.float32(3),
    "0-d array": np.array(3.0),
    "array of one": np.array([3.0]),
    "list": [3.0, 3.0],
    "tuple": (3, 3),
    "array": np.full(2, 3.0, np.float32),
    "tensor": tf.constant([3.0, 3.0]),
    "scalar tensor": tf.constant(3.0),
    "variable": tf.Variable([3.0, 3.0]),
}


@pytest.mark.parametrize("kind", POS_WEIGHTS)
def test_pos_weight_of_every_python_type_computes_and_serialises(kind):
    y_true, y_pred = find("BinaryCrossentropy").data((5, 2))
    expected = fl.BinaryCrossentropy(pos_weight=[3.0, 3.0])(y_true, y_pred)
    loss = fl.BinaryCrossentropy(pos_weight=POS_WEIGHTS[kind])
    assert_close(loss(y_true, y_pred), expected, 1e-6)
    twin = fl.BinaryCrossentropy.from_config(loss.get_config())
    assert_close(twin(y_true, y_pred), expected, 1e-6)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert_close(again(y_true, y_pred), expected, 1e-6)


# Weights and masks


ROWS_AND_WEIGHTS = {
    (4, 5): [(), (1,), (4,), (4, 1), (1, 1), (1, 4), (3, 4), (2, 1, 4), (5,), (4, 5), (0,)],
    (4, 1): [(4,), (4, 1), (1, 4), ()],
    (4, 3, 5): [
        *[(), (1,), (3,), (4,), (1, 1), (4, 1), (1, 3), (4, 3), (4, 3, 1), (1, 3, 1), (4, 1, 1)],
        *[(1, 1, 1), (2, 4, 3), (4, 3, 5), (2, 1, 1, 1), (3, 4)],
    ],
    (4, 1, 5): [(4,), (4, 1), (1,), (4, 1, 1), ()],
    (4, 4, 5): [(4,), (4, 1), (1, 4), (4, 4)],
    (2, 3, 4, 5): [
        *[(2, 1, 4), (1, 3, 1), (1, 3, 4), (2, 1, 1), (2, 3, 1), (3, 1), (4,), (2, 3, 4, 1)],
        *[(2, 3), (3, 4), (1, 4), (2, 3, 4), (1, 1, 4)],
    ],
    (2, 3, 1, 5): [(2, 3), (2, 3, 1), (2, 1), (1, 3), (3, 1), (3,)],
    (2, 3, 2, 4, 5): [(2, 1, 2, 1), (1, 3, 1, 4), (2, 1, 1, 4), (3, 1, 4), (2, 3, 2), (7, 1, 4)],
    (0, 5): [(), (0,), (1,), (0, 1)],
    (2, 0, 5): [(2, 1), (2, 0), (1,)],
}


@pytest.mark.parametrize("shape", ROWS_AND_WEIGHTS, ids=str)
def test_sample_weight_of_every_shape(shape):
    case = find("Huber")
    y_true, y_pred = case.data(shape)
    random = np.random.default_rng(5)
    with Findings() as findings:
        for weight, reduction in itertools.product(ROWS_AND_WEIGHTS[shape], REDUCTIONS):
            sample_weight = np.asarray(random.uniform(0, 2, weight), np.float32)
            with findings.of(f"sample_weight {weight}, {reduction}"):
                assert_same_outcome(case, y_true, y_pred, sample_weight, reduction=reduction)


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 5), (2, 3, 4, 5), (2, 3, 1, 5)], ids=str)
def test_sample_weight_whose_shape_is_unknown_while_tracing(shape):
    case = find("Huber")
    y_true, y_pred = case.data(shape)
    random = np.random.default_rng(5)
    # Which dimensions are 1 decides how ranks meet, in Keras as well: only those of the rank of
    # the losses are sure to meet them.
    weights = [w for w in ROWS_AND_WEIGHTS[shape] if len(w) == len(shape) - 1]
    unknown = [tf.TensorSpec([None] * len(shape), tf.float32)] * 2
    unknown.append(tf.TensorSpec([None] * (len(shape) - 1), tf.float32))
    with Findings() as findings:
        for reduction in REDUCTIONS:
            graph = tf.function(case.ours(reduction=reduction), input_signature=unknown)
            for weight in weights:
                sample_weight = np.asarray(random.uniform(0, 2, weight), np.float32)
                theirs = outcome(in_keras, case, y_true, y_pred, sample_weight, reduction=reduction)
                if theirs != "refused":
                    with findings.of(f"sample_weight {weight}, {reduction}"):
                        ours = value_and_gradient(graph, y_true, y_pred, sample_weight)
                        compare(ours, theirs)


def test_sample_weight_of_every_dtype_and_python_type():
    case = find("MeanSquaredError")
    y_true, y_pred = case.data((4, 3))
    for dtype in LABEL_DTYPES:
        weight = draw("positive", (4,), dtype, np.random.default_rng(0))
        assert_same_outcome(case, y_true, y_pred, weight, what=dtype)
        assert_same_outcome(case, y_true, y_pred, tf.constant(weight), what=dtype)
    assert_same_outcome(case, y_true, y_pred, [1.0, 0.0, 2.0, 0.5])
    assert_same_outcome(case, y_true, y_pred, 3)
    assert_same_outcome(case, y_true, y_pred, np.zeros(4, np.float32))
    lists = (y_true.tolist(), y_pred.tolist())
    assert_close(case.ours()(*lists), case.keras()(*lists), 1e-6)


def masked(y_pred, mask):
    y_pred = tf.identity(y_pred)
    y_pred._keras_mask = mask
    return y_pred


def masked_result(loss, y_true, y_pred, mask, *weight):
    y_pred = masked(y_pred, mask)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred, *weight)
    return value, tape.gradient(value, y_pred)


MASKS = {
    (4, 5): [((4,), None), ((4,), (4,)), ((4,), (4, 1)), ((4, 1), (4,)), ((4,), ())],
    (4, 3, 5): [
        *[
            ((4, 3), None),
            ((4, 3), (4, 3)),
            ((4, 3), (4, 1)),
            ((4, 3), (4, 3, 1)),
            ((4, 1), (1, 3)),
        ],
        *[((1, 3), None), ((4, 3), (3,)), ((4, 3, 1), None), ((4, 3, 1), (4, 3)), ((4, 3), ())],
    ],
}


@every_reduction
def test_keras_masks_with_and_without_weights(reduction):
    random = np.random.default_rng(2)
    combinations = [
        (find(public), shape, *pair, kind)
        for public in ("Huber", "KLDivergence")
        for shape, pairs in MASKS.items()
        for pair in pairs
        for kind in ("some", "none", "all")
    ]
    with Findings() as findings:
        for case, shape, mask_shape, weight_shape, kind in combinations:
            y_true, y_pred = case.data(shape)
            mask = random.random(mask_shape) < 0.6
            mask = {"some": mask, "none": mask & False, "all": mask | True}[kind]
            weight = []
            if weight_shape is not None:
                weight = [np.asarray(random.uniform(0, 2, weight_shape), np.float32)]
            theirs = outcome(
                masked_result,
                case.keras(dtype="float64", reduction=reduction),
                *(float64(y_true), float64(y_pred), mask, *map(float64, weight)),
            )
            ours = outcome(
                masked_result, case.ours(reduction=reduction), y_true, y_pred, mask, *weight
            )
            with findings.of(f"{case.id} y_pred {shape}, {kind} of {mask_shape}, {weight_shape}"):
                compare(ours, theirs)


# Functions and aliases


@every_case
def test_function_equals_keras(case):
    ours = getattr(fl, case.function)
    theirs = getattr(keras.losses, case.function, None)
    for shape, dtype in itertools.product([(5,), (4, 3), (2, 3, 4)], PREDICTION_DTYPES):
        y_true, y_pred = case.data(shape, dtype)
        actual = value_and_gradient(lambda t, p: ours(t, p, **case.arguments), y_true, y_pred)
        assert actual[0].dtype == (tf.float64 if dtype == "float64" else tf.float32)
        if theirs is None or case.public == "LogCosh" or "pos_weight" in case.arguments:
            expected = in_keras(case, y_true, y_pred, reduction="none")
        else:
            expected = value_and_gradient(
                lambda t, p: theirs(t, p, **case.arguments), float64(y_true), float64(y_pred)
            )
        assert_same(actual, expected, dtype, f"{shape} {dtype}")


ALIASES = {
    "mse": "MSE",
    "mae": "MAE",
    "mape": "MAPE",
    "msle": "MSLE",
    "bce": "BCE",
    "kld": "KLD",
}


def test_aliases_of_keras():
    for lower, upper in ALIASES.items():
        assert getattr(fl, lower) is getattr(fl, upper)
        assert getattr(fl, lower).__name__ == keras.losses.get(lower).__name__
    assert fl.logcosh is fl.log_cosh
    assert fl.kullback_leibler_divergence is fl.kl_divergence
    assert fl.Quantile is fl.Pinball
    assert fl.quantile is fl.pinball


# Eager, graph, XLA


@every_case
def test_graph_and_xla_equal_eager(case):
    y_true, y_pred = case.data((4, 3, 5))
    weight = np.random.default_rng(1).uniform(0, 2, (4, 1)).astype(np.float32)
    loss = case.ours()
    expected = in_keras(case, y_true, y_pred, weight)
    for options in ({}, {"jit_compile": True}):
        inside = tf.function(lambda t, p, w: value_and_gradient(loss, t, p, w), **options)
        assert_same(inside(y_true, y_pred, weight), expected, "float32", f"tape inside {options}")
    outside = tf.function(loss)
    assert_same(value_and_gradient(outside, y_true, y_pred, weight), expected, "float32", "outside")


@core_cases
def test_shapes_unknown_while_tracing(case):
    specs = [tf.TensorSpec([None, None, None], tf.float32)] * 2
    for reduction in ("sum_over_batch_size", "none"):
        graph = tf.function(case.ours(reduction=reduction), input_signature=specs)
        for shape in [(4, 3, 5), (1, 1, 1), (0, 3, 2), (2, 0, 3)]:
            y_true, y_pred = case.data(shape)
            expected = in_keras(case, y_true, y_pred, reduction=reduction)
            actual = value_and_gradient(graph, y_true, y_pred)
            assert_same(actual, expected, "float32", f"{shape} {reduction}")


@core_cases
def test_half_types_in_graph_and_xla(case):
    for dtype in ("bfloat16", "float16"):
        y_true, y_pred = case.data((4, 6), dtype, "uint8")
        expected = in_keras(case, y_true, y_pred)
        for options in ({}, {"jit_compile": True}):
            graph = tf.function(value_and_gradient, **options)
            assert_same(graph(case.ours(), y_true, y_pred), expected, dtype, f"{dtype} {options}")


@pytest.mark.slow
def test_strategy_scales_the_means_by_the_replicas():
    program = """
        import keras, numpy as np, tensorflow as tf
        cpus = tf.config.list_physical_devices("CPU")
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpus[0], two)
        import fastloss as fl
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        assert strategy.num_replicas_in_sync == 2
        random = np.random.default_rng(0)
        y_true, y_pred = random.normal(size=(2, 8, 3)).astype(np.float32)
        weight = random.uniform(0, 1, 8).astype(np.float32)
        for reduction in ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none"):
            def both(t, p, w):
                results = []
                for losses in (fl, keras.losses):
                    loss = losses.MeanSquaredError(reduction=reduction)
                    with tf.GradientTape() as tape:
                        tape.watch(p)
                        value = loss(t, p, w)
                    results += [value, tape.gradient(value, p)]
                return results
            data = tf.data.Dataset.from_tensor_slices((y_true, y_pred, weight)).batch(8)
            batch = next(iter(strategy.experimental_distribute_dataset(data)))
            results = strategy.run(tf.function(both), batch)
            for ours, theirs in zip(results[:2], results[2:]):
                for x, y in zip(strategy.experimental_local_results(ours),
                                strategy.experimental_local_results(theirs)):
                    assert x.shape[0:1] != (0,)
                    np.testing.assert_allclose(x, y, rtol=1e-5, err_msg=reduction)
        weights = []
        for losses in (fl, keras.losses):
            keras.utils.set_random_seed(1)
            with strategy.scope():
                model = keras.Sequential([keras.layers.Dense(1)])
                model.compile("sgd", losses.MeanSquaredError())
            model.fit(y_pred[:, :2], y_true[:, :1], 4, epochs=2, shuffle=False, verbose=0)
            weights.append(model.get_weights())
        for x, y in zip(*weights):
            np.testing.assert_allclose(x, y, rtol=1e-5)
        print("same")
    """
    assert "same" in run_python(textwrap.dedent(program))


# Logits behind probabilities


@pytest.mark.parametrize("public", ["BinaryCrossentropy", "BinaryFocalCrossentropy"])
def test_logits_behind_a_sigmoid_are_found(public):
    logits = tf.constant([[40.0, -40.0], [100.0, 0.5]])
    y_true = np.array([[0, 1], [1, 1]], np.float32)
    expected = getattr(fl, public)(from_logits=True)(y_true, logits)
    loss = getattr(fl, public)()
    assert float(expected) > 1
    eager = (keras.ops.sigmoid, keras.activations.sigmoid, keras.layers.Activation("sigmoid"))
    for sigmoid in eager:
        assert_close(loss(y_true, sigmoid(logits)), expected, 1e-6, str(sigmoid))
    for sigmoid in (*eager, tf.sigmoid):
        graph = tf.function(lambda t, x, sigmoid=sigmoid: loss(t, sigmoid(x)))
        assert_close(graph(y_true, logits), expected, 1e-6, f"graph {sigmoid}")
    _, gradient = value_and_gradient(lambda t, x: loss(t, keras.ops.sigmoid(x)), y_true, logits)
    _, expected = value_and_gradient(getattr(fl, public)(from_logits=True), y_true, logits)
    assert_close(gradient, expected, 1e-6)


def test_plain_probabilities_in_eager_stay_probabilities():
    logits = tf.constant([[40.0, -40.0]])
    y_true = np.array([[0, 1]], np.float32)
    y_pred = tf.constant(tf.sigmoid(logits).numpy())
    ours, theirs = fl.BinaryCrossentropy(), keras.losses.BinaryCrossentropy()
    assert_close(ours(y_true, y_pred), theirs(y_true, y_pred), 1e-6)


def test_logits_are_found_in_a_model_that_trains():
    x = np.array([[30.0], [-30.0], [45.0]], np.float32)
    y = np.array([[0.0], [1.0], [1.0]], np.float32)
    weights = []
    for loss in (fl.BinaryCrossentropy(), keras.losses.BinaryCrossentropy()):
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, "sigmoid", kernel_initializer="ones")]
        )
        model.compile("sgd", loss)
        model.fit(x, y, epochs=2, verbose=0, shuffle=False)
        weights.append(model.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert abs(weights[0][0] - 1) > 1e-3


def test_from_logits_on_a_sigmoid_output_warns_as_keras_does():
    logits = tf.constant([[3.0, -2.0]])
    for loss in (fl.BinaryCrossentropy(from_logits=True), keras.losses.BinaryCrossentropy(True)):
        with pytest.warns(UserWarning, match="from_logits=True"):
            value = loss(np.array([[0.0, 1.0]], np.float32), keras.ops.sigmoid(logits))
    assert_close(value, fl.BinaryCrossentropy(True)([[0.0, 1.0]], logits), 1e-6)


# Saving


@every_case
def test_serialisation_round_trip(case):
    loss = case.ours(reduction="sum", name="mine")
    y_true, y_pred = case.data((4, 3))
    expected = loss(y_true, y_pred)
    twin = type(loss).from_config(loss.get_config())
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    generic = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    for copy in (twin, again, generic):
        assert type(copy) is type(loss)
        assert copy.get_config() == loss.get_config()
        assert copy.name == "mine"
        assert copy.reduction == "sum"
        np.testing.assert_array_equal(copy(y_true, y_pred), expected)
    theirs = case.keras(reduction="sum", name="mine")
    if type(theirs).__module__.startswith("keras"):
        assert theirs.get_config().items() <= loss.get_config().items()


@every_case
def test_function_serialises_by_its_registered_name(case):
    function = getattr(fl, case.function)
    config = keras.saving.serialize_keras_object(function)
    assert keras.saving.deserialize_keras_object(config) is function


def small_model(dtype=None):
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, "tanh", dtype=dtype),
            keras.layers.Dense(2, dtype=dtype),
        ]
    )


def small_data(rows=22):
    random = np.random.default_rng(4)
    x = random.normal(size=(rows, 4)).astype(np.float32)
    return x, (x[:, :2] > 0).astype(np.float32)


TRAINING_LOSSES = [
    *[fl.MeanSquaredError, lambda: fl.Huber(0.4), lambda: fl.BinaryCrossentropy(True)],
    lambda: fl.BinaryCrossentropy(True, pos_weight=[1.0, 2.0]),
]


@pytest.mark.parametrize("make", TRAINING_LOSSES)
def test_keras_file_round_trip(make, tmp_path):
    x, y = small_data()
    model = small_model()
    model.compile("sgd", make())
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == model.loss.get_config()
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))
    loaded.fit(x, y, verbose=0)


@pytest.mark.parametrize("make", TRAINING_LOSSES)
def test_saved_model_with_a_loss_and_its_gradient_inside(make, tmp_path):
    loss = make()

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2]), tf.TensorSpec([None, 2])])
        def loss(self, y_true, y_pred):
            return loss(y_true, y_pred)

        @tf.function(input_signature=[tf.TensorSpec([None, 2]), tf.TensorSpec([None, 2])])
        def gradient(self, y_true, y_pred):
            return value_and_gradient(loss, y_true, y_pred)[1]

    module = Module()
    y_true, y_pred = small_data()[1], small_data()[0][:, 2:]
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.loss(y_true, y_pred), module.loss(y_true, y_pred))
    expected = module.gradient(y_true, y_pred)
    np.testing.assert_array_equal(loaded.gradient(y_true, y_pred), expected)
    np.testing.assert_array_equal(value_and_gradient(loaded.loss, y_true, y_pred)[1], expected)


@pytest.mark.slow
def test_saved_model_loads_in_a_fresh_process(tmp_path):
    module = tf.Module()
    spec = tf.TensorSpec([None, 2])
    module.loss = tf.function(fl.MeanSquaredError(), input_signature=[spec, spec])
    tf.saved_model.save(module, str(tmp_path))
    program = (
        "import fastloss, tensorflow as tf\n"
        "fastloss.backend()\n"
        f"loss = tf.saved_model.load({str(tmp_path)!r}).loss\n"
        "print('loss', float(loss(tf.zeros([3, 2]), 2 * tf.ones([3, 2]))))\n"
    )
    assert "loss 4.0" in run_python(program)


# Training


def train(loss, dtype=None, jit_compile=False, ragged=True):
    x, y = small_data()
    model = small_model(dtype)
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=jit_compile)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8, drop_remainder=not ragged)
    history = model.fit(data, epochs=3, verbose=0)
    return history.history["loss"], model.get_weights()


PAIRS = [
    (fl.MeanSquaredError, keras.losses.MeanSquaredError),
    (lambda: fl.BinaryCrossentropy(True, 0.1), lambda: keras.losses.BinaryCrossentropy(True, 0.1)),
    (fl.Hinge, keras.losses.Hinge),
    (lambda: fl.Pinball(0.7), lambda: pinball_in_keras(0.7)),
    (lambda: fl.mse, lambda: "mse"),
]
PAIR_IDS = ["mse", "bce", "hinge", "pinball", "function"]


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_IDS)
def test_training_with_a_ragged_last_batch_gives_the_weights_of_keras(pair):
    (losses, weights), (their_losses, their_weights) = (train(make()) for make in pair)
    np.testing.assert_allclose(losses, their_losses, rtol=1e-5)
    for ours, theirs in zip(weights, their_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pair", PAIRS[:3], ids=PAIR_IDS[:3])
def test_training_compiled_by_xla(pair):
    losses, weights = train(pair[0](), jit_compile=True)
    their_losses, their_weights = train(pair[1]())
    np.testing.assert_allclose(losses, their_losses, rtol=1e-5)
    for ours, theirs in zip(weights, their_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("pair", PAIRS[:2], ids=PAIR_IDS[:2])
def test_training_in_mixed_precision_follows_keras(pair, policy):
    losses, weights = train(pair[0](), policy)
    their_losses, their_weights = train(pair[1](), policy)
    share = 2e-2 if policy == "mixed_bfloat16" else 5e-3
    np.testing.assert_allclose(losses, their_losses, rtol=share)
    for ours, theirs in zip(weights, their_weights, strict=True):
        assert_close(ours, theirs, share)


def test_training_with_masks_weights_and_metrics():
    x = np.array([[1, 2, 0], [3, 0, 0], [1, 3, 2], [2, 0, 0]])
    y = np.eye(4, dtype=np.float32)[x][..., :2]
    histories = []
    for losses in (fl, keras.losses):
        keras.utils.set_random_seed(5)
        model = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Embedding(4, 3, mask_zero=True),
                keras.layers.Dense(2, "sigmoid"),
            ]
        )
        metric = losses.mean_squared_error
        model.compile("sgd", losses.BinaryCrossentropy(), weighted_metrics=[metric])
        history = model.fit(
            x, y, 2, 3, 0, sample_weight=np.array([[1], [2], [0.5], [1]]), shuffle=False
        )
        histories.append(history.history)
    assert histories[0].keys() == histories[1].keys()
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5)


def test_many_outputs_and_loss_weights():
    x, y = small_data()
    results = []
    for losses in (fl, keras.losses):
        keras.utils.set_random_seed(5)
        inputs = keras.Input((4,))
        outputs = {"a": keras.layers.Dense(2)(inputs), "b": keras.layers.Dense(2)(inputs)}
        model = keras.Model(inputs, outputs)
        chosen = {"a": losses.MeanSquaredError(), "b": losses.BinaryCrossentropy(True)}
        model.compile("sgd", chosen, loss_weights={"a": 0.3, "b": 2.0})
        model.fit(x, {"a": y, "b": y}, verbose=0, shuffle=False)
        results.append(model.get_weights())
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


# Subclasses, inputs of other kinds


def test_subclass_with_its_own_call():
    class Doubled(fl.MeanSquaredError):
        def call(self, y_true, y_pred):
            return 2 * super().call(y_true, y_pred)

    y_true, y_pred = find("Huber").data((4, 3))
    ours, theirs = value_and_gradient(Doubled(), y_true, y_pred), None
    theirs = value_and_gradient(keras.losses.MeanSquaredError(), y_true, y_pred)
    assert_close(ours[0], 2 * theirs[0], 1e-6)
    assert_close(ours[1], 2 * theirs[1], 1e-6)


def test_variables_lists_and_integers_as_predictions():
    y_true, y_pred = find("Huber").data((4, 3))
    expected = keras.losses.MeanSquaredError()(y_true, y_pred)
    for wrap in (tf.Variable, keras.Variable, np.ndarray.tolist, tf.constant):
        assert_close(fl.MeanSquaredError()(wrap(y_true), wrap(y_pred)), expected, 1e-6)
        assert_close(
            tf.reduce_mean(fl.mean_squared_error(wrap(y_true), wrap(y_pred))), expected, 1e-6
        )
    variable = tf.Variable(y_pred)
    with tf.GradientTape() as tape:
        loss = fl.MeanSquaredError()(y_true, variable)
    assert_close(tape.gradient(loss, variable), 2 * (y_pred - y_true) / y_pred.size, 1e-6)
    whole = np.arange(6).reshape(2, 3)
    assert_close(fl.MeanSquaredError()(whole + 1, whole), 1.0, 1e-7)


def test_epsilon_follows_the_setting_of_keras():
    y_true, y_pred = np.array([[0.0, 1.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    previous = keras.config.epsilon()
    try:
        keras.config.set_epsilon(1e-3)
        for public in ("BinaryCrossentropy", "KLDivergence", "Poisson"):
            ours, theirs = getattr(fl, public)(), getattr(keras.losses, public)()
            assert_close(ours(y_true, 1 - y_pred), theirs(y_true, 1 - y_pred), 1e-5, public)
    finally:
        keras.config.set_epsilon(previous)


def test_no_warning_on_ordinary_use():
    y_true, y_pred = find("Huber").data((4, 3), "bfloat16")
    assert y_pred.dtype == BFLOAT16 == numpy_dtype("bfloat16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value_and_gradient(fl.Huber(), y_true, y_pred)
        tf.function(lambda t, p: value_and_gradient(fl.Huber(), t, p))(y_true, y_pred)
