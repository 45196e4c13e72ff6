"""Gradients of the rowwise losses: of every input and order, in every way to ask for them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from cases import (
    GRADIENT_BOUNDS,
    LOSS_BOUNDS,
    PREDICTION_DTYPES,
    Findings,
    assert_close,
    float64,
    value_and_gradient,
)
from rowwise_cases import CASES, CORE, CORE_IDS, DISTINCT, IDS, find, weights

import fastloss as fl
from fastloss.testing import check_gradients

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)
core_cases = pytest.mark.parametrize("case", CORE, ids=CORE_IDS)
dense_cases = pytest.mark.parametrize(
    "case",
    [case for case in CASES if not case.is_sparse],
    ids=[case.id for case in CASES if not case.is_sparse],
)
every_dtype = pytest.mark.parametrize("dtype", PREDICTION_DTYPES)

# Of long rows: a difference of losses is rounded as the loss is, and a gradient may be small.
COARSE = {"rtol": 1e-4, "atol": 5e-8, "samples": 2}
# What a user may add to a cross-entropy of logits.
OPTIONS = {"temperature": 1.7, "logit_softcap": 6.0, "z_loss": 0.02}
WITH_OPTIONS = (
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "SparseCategoricalFocalCrossentropy",
)


def soft(case, shape, dtype="float64"):
    """Labels that are not a corner of anything, where labels are rows."""
    y_true, y_pred = case.data(shape, dtype)
    if case.labels == "one-hot":
        y_true = np.random.default_rng(5).uniform(0.1, 1, shape).astype(y_true.dtype)
    return y_true, y_pred


def with_reference(function, *arguments):
    with fl.use_backend("reference"):
        return function(*arguments)


def assert_equals_reference(function, *arguments, share=1e-11, tiny=1e-14):
    """Each result of a function, with the kernels and with the autodiff of the reference."""
    ours, theirs = function(*arguments), with_reference(function, *arguments)
    for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert (one is None) == (other is None), index
        if one is not None:
            assert_close(one, other, share, f"result {index}", tiny)


# check_gradients


@every_case
def test_gradients_equal_reference_and_differences(case):
    y_true, y_pred = soft(case, (3, 2, 4), "float32")
    loss = case.ours(reduction="none")
    check_gradients(loss, y_true, y_pred, weights((3, 2)), samples=3).raise_if_failed()
    label_dtype = "int32" if case.is_sparse else "float32"
    for dtype in ("bfloat16", "float16"):
        y_true, y_pred = case.data((3, 4), dtype, label_dtype)
        check_gradients(case.ours(), y_true, y_pred, samples=1).raise_if_failed()


@core_cases
def test_gradients_of_long_rows_and_of_rows_with_classes_apart(case):
    y_true, y_pred = soft(case, (3, 2100), "float64")
    check_gradients(case.ours(dtype="float64"), y_true, y_pred, **COARSE).raise_if_failed()
    if "axis" in case.ours().get_config():
        y_true, y_pred = soft(case, (2, 3, 150), "float64")
        apart = np.ascontiguousarray(np.moveaxis(y_pred, -1, 1))
        labels = y_true if case.is_sparse else np.ascontiguousarray(np.moveaxis(y_true, -1, 1))
        loss = case.ours(dtype="float64", axis=1)
        check_gradients(loss, labels, apart, **COARSE).raise_if_failed()
        value, gradient = value_and_gradient(loss, labels, apart)
        expected = value_and_gradient(case.ours(dtype="float64"), y_true, y_pred)
        assert_close(value, expected[0], 1e-12)
        assert_close(np.moveaxis(gradient.numpy(), 1, -1), expected[1], 1e-12)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
@pytest.mark.parametrize("public", WITH_OPTIONS)
def test_gradients_with_every_option(public, reduction):
    case = find(
        public,
        **next(c for c in CASES if c.public == public and c.arguments.get("from_logits")).arguments,
    )
    for shape in ((5, 7), (2, 301)):
        y_true, y_pred = soft(case, shape)
        y_pred[0, :2] = 9  # where the softcap bends
        class_weights = np.linspace(0.2, 2, shape[-1]).tolist()
        loss = case.ours(
            **OPTIONS, class_weights=class_weights, reduction=reduction, dtype="float64"
        )
        check_gradients(loss, y_true, y_pred, weights(shape[0]), **COARSE).raise_if_failed()


# Labels and weights


def gradients_of_all(loss, y_true, y_pred, weight):
    inputs = [tf.convert_to_tensor(x) for x in (y_true, y_pred, weight)]
    inputs = [x for x in inputs if x.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        labels = [] if len(inputs) == 3 else [tf.convert_to_tensor(y_true)]
        value = loss(*labels, *inputs)
    return [value, *tape.gradient(value, inputs)]


@every_case
def test_gradients_of_labels_and_weights_equal_the_reference(case):
    y_true, y_pred = soft(case, (3, 2, 5))
    random = np.random.default_rng(8)
    for shape, reduction in zip(((3, 2), (3, 1), (), (3, 2)), DISTINCT, strict=True):
        weight = random.uniform(0.2, 2, shape)
        loss = case.ours(reduction=reduction, dtype="float64")
        assert_equals_reference(gradients_of_all, loss, y_true, y_pred, weight)
    graph = tf.function(lambda *x: gradients_of_all(loss, *x))(y_true, y_pred, weight)
    eager = gradients_of_all(loss, y_true, y_pred, weight)
    for one, other in zip(graph, eager, strict=True):
        assert_close(one, other, 1e-12, tiny=1e-14)


@dense_cases
def test_gradient_of_labels_alone(case):
    y_true, y_pred = soft(case, (4, 5))
    for reduction in ("sum_over_batch_size", "none"):
        loss = case.ours(reduction=reduction, dtype="float64")

        def of_labels(t, loss=loss):
            t = tf.constant(t)
            with tf.GradientTape() as tape:
                tape.watch(t)
                value = loss(t, y_pred)
            return [tape.gradient(value, t)]

        assert_equals_reference(of_labels, y_true)


@pytest.mark.parametrize("public", ["KLDivergence", "JensenShannonDivergence"])
def test_teacher_and_student_learn_at_once(public):
    """Finite differences of the formula in NumPy, by the logits of the labels."""
    case = next(c for c in CASES if c.public == public and c.labels == "real")
    y_true, y_pred = case.data((3, 5), "float64")
    loss = case.ours(reduction="sum", dtype="float64")
    _, by_true, by_pred = gradients_of_all(loss, y_true, y_pred, np.ones(3))[:3]
    step = 1e-6
    for which, gradient in ((0, by_true), (1, by_pred)):
        for place in np.ndindex(3, 5):
            values = []
            for sign in (1, -1):
                moved = [y_true.copy(), y_pred.copy()]
                moved[which][place] += sign * step
                values.append(float(loss(*moved)))
            slope = (values[0] - values[1]) / (2 * step)
            np.testing.assert_allclose(gradient[place], slope, rtol=1e-6, atol=1e-8)


# Second order


def hessian_vector(loss, y_true, y_pred, vector):
    y_pred = tf.convert_to_tensor(y_pred)
    with tf.GradientTape() as outer:
        outer.watch(y_pred)
        with tf.GradientTape() as inner:
            inner.watch(y_pred)
            value = tf.reduce_sum(tf.square(loss(y_true, y_pred)))
        product = tf.reduce_sum(inner.gradient(value, y_pred) * vector)
    return [outer.gradient(product, y_pred)]


@every_case
def test_second_order_equals_the_reference(case):
    y_true, y_pred = soft(case, (3, 4))
    vector = np.random.default_rng(0).normal(size=(3, 4))
    for reduction in ("none", "sum_over_batch_size"):
        loss = case.ours(dtype="float64", reduction=reduction)
        assert_equals_reference(hessian_vector, loss, y_true, y_pred, vector, share=1e-10)
    graph = tf.function(lambda t, p, v: hessian_vector(loss, t, p, v)[0])
    expected = with_reference(hessian_vector, loss, y_true, y_pred, vector)[0]
    assert_close(graph(y_true, y_pred, vector), expected, 1e-10, "graph", 1e-14)


@dense_cases
def test_second_order_through_labels_and_weights(case):
    y_true, y_pred = soft(case, (3, 4))
    weight = np.random.default_rng(8).uniform(0.2, 2, 3)
    for reduction in ("mean_with_sample_weight", "none"):
        loss = case.ours(dtype="float64", reduction=reduction)

        def norms(loss=loss):
            inputs = [tf.constant(x) for x in (y_true, y_pred, weight)]
            with tf.GradientTape() as outer:
                outer.watch(inputs)
                with tf.GradientTape() as inner:
                    inner.watch(inputs)
                    value = loss(*inputs)
                norm = sum(tf.reduce_sum(tf.square(g)) for g in inner.gradient(value, inputs))
            return outer.gradient(norm, inputs)

        assert_equals_reference(norms, share=1e-10)


@core_cases
def test_jacobians(case):
    y_true, y_pred = case.data((3, 4), "float64")

    def jacobians():
        y = tf.constant(y_pred)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(y)
            rows = case.ours(dtype="float64", reduction="none")(y_true, y)
            total = case.ours(dtype="float64")(y_true, y)
        return [
            tape.jacobian(rows, y),
            tape.jacobian(rows, y, experimental_use_pfor=False),
            tape.jacobian(total, y),
        ]

    found = jacobians()
    assert_close(found[0], found[1], 1e-13)
    assert_equals_reference(jacobians)


@core_cases
def test_forward_mode(case):
    y_true, y_pred = case.data((3, 4), "float64")
    tangent = tf.constant(np.random.default_rng(0).normal(size=(3, 4)))

    def along():
        y = tf.constant(y_pred)
        with tf.autodiff.ForwardAccumulator(y, tangent) as accumulator:
            value = case.ours(dtype="float64")(y_true, y)
        return [accumulator.jvp(value)]

    assert along()[0] is not None
    assert_equals_reference(along)


# Tapes, functions


@every_case
def test_persistent_tape_gives_the_same_bits_again(case):
    for reduction in ("sum_over_batch_size", "none"):
        y_true, y_pred = (tf.constant(x) for x in case.data((7, 5)))
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(y_pred)
            loss = case.ours(reduction=reduction)(y_true, y_pred)
            doubled = 2 * loss
        first, second = tape.gradient(loss, y_pred), tape.gradient(loss, y_pred)
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(tape.gradient(doubled, y_pred), 2 * first)
        np.testing.assert_array_equal(tape.gradient(loss, y_pred), first)


@core_cases
@every_dtype
def test_function_gives_the_bits_of_eager_execution(case, dtype):
    y_true, y_pred = case.data((7, 33), dtype)
    for reduction in ("sum_over_batch_size", "none"):
        loss = case.ours(reduction=reduction)
        eager = value_and_gradient(loss, y_true, y_pred)
        graph = tf.function(value_and_gradient)(loss, y_true, y_pred)
        np.testing.assert_array_equal(eager[0], graph[0])
        np.testing.assert_array_equal(float64(eager[1]), float64(graph[1]))


@core_cases
@every_dtype
def test_upstream_scales_the_gradient(case, dtype):
    y_true, y_pred = case.data((4, 5), dtype)
    loss = case.ours(dtype="float64" if dtype == "float64" else "float32")
    wide = case.ours(dtype="float64")
    labels = y_true if case.is_sparse else float64(y_true)
    expected = with_reference(value_and_gradient, wide, labels, float64(y_pred))
    # A stored bfloat16 gradient is rounded once more by the scale.
    share = 8e-3 if dtype == "bfloat16" else GRADIENT_BOUNDS[dtype]
    for factor in (3.0, -0.5, 0.0, 1.0, 1024.0):
        scaled = lambda t, p, f=factor: f * loss(t, p)  # noqa: E731
        for run in (value_and_gradient, tf.function(value_and_gradient)):
            value, gradient = run(scaled, y_true, y_pred)
            assert_close(value, factor * expected[0], LOSS_BOUNDS[dtype], f"factor {factor}")
            assert_close(gradient, factor * expected[1], share, f"factor {factor}", 1e-7)


@every_case
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
def test_float16_gradients_under_a_loss_scale(case, reduction):
    """Divided by the rows they would be lost in float16 before the loss scale."""
    y_true, y_pred = case.data((4096, 8), "float16", None if case.is_sparse else "float32")
    loss, scale = case.ours(reduction=reduction), 2.0**15

    def scaled(t, p, loss=loss, scale=scale):
        value = loss(t, p)
        return scale * (value if reduction != "none" else tf.reduce_mean(value))

    labels = y_true if case.is_sparse else float64(y_true)
    wide = case.ours(dtype="float64", reduction=reduction)
    _, expected = with_reference(
        value_and_gradient, lambda t, p: scaled(t, p, wide, 1.0), labels, float64(y_pred)
    )
    for run in (value_and_gradient, tf.function(value_and_gradient)):
        _, gradient = run(scaled, y_true, y_pred)
        assert gradient.dtype == tf.float16
        assert_close(gradient, scale * expected, GRADIENT_BOUNDS["float16"], case.id, 6e-8)


@core_cases
@every_dtype
def test_a_loss_that_is_not_used_has_no_gradient(case, dtype):
    y_true, y_pred = (tf.constant(x) for x in case.data((4, 5), dtype))
    for reduction in ("sum_over_batch_size", "none"):
        for execute in (lambda f: f, tf.function):

            @execute
            def step(reduction=reduction):
                with tf.GradientTape() as tape:
                    tape.watch(y_pred)
                    unused = case.ours(reduction=reduction)(y_true, y_pred)
                    other = tf.reduce_sum(y_pred)
                return unused, tape.gradient(other, y_pred)

            unused, gradient = step()
            np.testing.assert_array_equal(float64(gradient), 1)
            expected = case.ours(reduction=reduction)(y_true, y_pred)
            np.testing.assert_array_equal(unused, expected)


METRICS = {
    "categorical_crossentropy": {},
    "sparse_categorical_crossentropy": {"ignore_class": 2},
    "categorical_focal_crossentropy": {},
    "sparse_categorical_focal_crossentropy": {"ignore_class": 2},
}


@every_dtype
@pytest.mark.parametrize("name", METRICS)
def test_metrics_carry_no_gradient_and_do_the_loss_no_harm(name, dtype):
    y_pred = tf.constant(np.random.default_rng(0).normal(0, 2, (6, 5)))
    y_pred = tf.cast(y_pred, dtype)
    label = np.arange(6) % 5
    y_true = label if "sparse" in name else np.eye(5, dtype=np.float32)[label]
    arguments = {"from_logits": True, **METRICS[name], **OPTIONS}
    function = getattr(fl, name)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        plain = function(y_true, y_pred, **arguments)
    expected = tape.gradient(plain, y_pred)
    for execute in (lambda f: f, tf.function):

        @execute
        def step():
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(y_pred)
                value, metrics = function(y_true, y_pred, return_metrics=True, **arguments)
                mixed = tf.reduce_sum(value) + tf.cast(
                    tf.reduce_sum(metrics.log_sum_exp), value.dtype
                )
            return (
                value,
                metrics.log_sum_exp,
                tape.gradient(value, y_pred),
                tape.gradient(mixed, y_pred),
                [tape.gradient(metrics.log_sum_exp, y_pred) is None],
            )

        value, log_sum_exp, gradient, of_both, no_gradient = step()
        assert no_gradient == [True]
        np.testing.assert_array_equal(value, plain)
        np.testing.assert_array_equal(float64(gradient), float64(expected))
        np.testing.assert_array_equal(float64(of_both), float64(expected))
        assert log_sum_exp.shape == (6,)

    def second(p):
        with tf.GradientTape() as outer:
            outer.watch(p)
            with tf.GradientTape() as inner:
                inner.watch(p)
                value, _ = function(y_true, p, return_metrics=True, **arguments)
                value = tf.reduce_sum(value)
            norm = tf.reduce_sum(tf.square(inner.gradient(value, p)))
        return [outer.gradient(norm, p)]

    if dtype == "float64":
        assert_equals_reference(second, y_pred, share=1e-10)


@core_cases
def test_looped_and_checkpointed_losses(case):
    y_true, y_pred = case.data((6, 5))
    loss = case.ours()

    @tf.function
    def looped(t, p):
        total = tf.constant(0.0)
        for i in tf.range(3):
            total += tf.cast(i, tf.float32) * loss(t, p)
        return total

    once = value_and_gradient(loss, y_true, y_pred)
    thrice = value_and_gradient(looped, y_true, y_pred)
    assert_close(thrice[0], 3 * once[0], 1e-6)
    assert_close(thrice[1], 3 * once[1], 1e-6)
    again = tf.recompute_grad(lambda p: loss(y_true, p))
    _, gradient = value_and_gradient(lambda t, p: again(p), y_true, y_pred)
    np.testing.assert_array_equal(gradient, once[1])


def test_inputs_are_left_as_they_are():
    with Findings() as findings:
        for case in CASES:
            arrays = case.data((700, 200))
            y_true, y_pred = (tf.constant(x) for x in arrays)
            value_and_gradient(case.ours(), y_true, y_pred)
            tf.function(value_and_gradient)(case.ours(), y_true, y_pred)
            with findings.of(case.id):
                np.testing.assert_array_equal(y_true, arrays[0])
                np.testing.assert_array_equal(y_pred, arrays[1])
