"""Losses of several tasks: columns of one output, named outputs, learned weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import assert_close, value_and_gradient

import fastloss as fl

ROWS = 32


def data():
    random = np.random.default_rng(0)
    y_true = random.standard_normal((ROWS, 5)).astype("float32")
    y_true[:, 3:] = random.integers(0, 2, (ROWS, 2))
    return y_true, random.standard_normal((ROWS, 5)).astype("float32")


def losses():
    return fl.Huber(), fl.BinaryCrossentropy(from_logits=True)


def expected_of(y_true, y_pred, weights, *sample_weight):
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    huber = keras.losses.Huber()
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    return weights[0] * huber(y_true[:, :3], y_pred[:, :3], *sample_weight) + weights[1] * entropy(
        y_true[:, 3:], y_pred[:, 3:], *sample_weight
    )


def keys():
    return [
        ((0, 3), (3, 5)),
        ((None, 3), (3, None)),
        (slice(3), slice(3, None)),
        (slice(0, 3), (-2, None)),
        (((0, 3), (0, 3)), (slice(3, 5), slice(3, 5))),
    ]


@pytest.mark.parametrize("tasks", keys(), ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_columns(mode, weighted, tasks, backend):
    y_true, y_pred = data()
    weight = (np.random.default_rng(1).uniform(0, 2, ROWS).astype("float32"),) * weighted
    loss = fl.MultiTask(zip(tasks, losses(), strict=True), weights=[2.0, 0.5])

    def run(*inputs):
        return value_and_gradient(loss, *inputs)

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla")
    actual = run(*map(tf.constant, (y_true, y_pred, *weight)))
    expected = value_and_gradient(
        lambda *inputs: expected_of(inputs[0], inputs[1], (2.0, 0.5), *inputs[2:]),
        y_true,
        y_pred,
        *weight,
    )
    assert_close(actual[0], expected[0], 4e-6)
    assert_close(actual[1], expected[1], 4e-6)


def test_one_column_and_columns_that_differ(backend):
    y_true, y_pred = data()
    loss = fl.MultiTask({4: fl.BinaryCrossentropy(from_logits=True)})
    expected = keras.losses.BinaryCrossentropy(from_logits=True)(y_true[:, 4:], y_pred[:, 4:])
    assert_close(loss(y_true, y_pred), expected, 4e-6)
    assert_close(fl.MultiTask({-1: loss.losses[0]})(y_true, y_pred), expected, 4e-6)
    classes = np.random.default_rng(2).integers(0, 4, (ROWS, 1))
    loss = fl.MultiTask({((0, 1), (1, 5)): fl.SparseCategoricalCrossentropy(from_logits=True)})
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(classes, y_pred[:, 1:])
    assert_close(loss(classes, y_pred), expected, 4e-6)


def test_mask_reaches_every_task(backend):
    y_true, y_pred = data()
    kept = np.arange(ROWS) % 3 != 1
    masked = tf.constant(y_pred)
    masked._keras_mask = tf.constant(kept)
    loss = fl.MultiTask(zip(((0, 3), (3, 5)), losses(), strict=True))
    assert_close(loss(y_true, masked), expected_of(y_true[kept], y_pred[kept], (1, 1)), 4e-6)


def test_it_is_part_of_the_algebra(backend):
    y_true, y_pred = data()
    tasks = fl.MultiTask(zip(((0, 3), (3, 5)), losses(), strict=True))
    expected = 2 * expected_of(y_true, y_pred, (1, 1)) + keras.losses.MeanSquaredError()(
        y_true, y_pred
    )
    assert_close((2 * tasks + fl.MeanSquaredError())(y_true, y_pred), expected, 4e-6)


@pytest.mark.parametrize(
    ("tasks", "weights", "message"),
    [
        ({}, None, "tasks is empty"),
        ({"a": fl.Huber(), 0: fl.Huber()}, None, "expected either"),
        ([(0, fl.Huber()), ((0, 1), fl.Huber())], None, "same key twice"),
        ({0.5: fl.Huber()}, None, "0.5 is no task"),
        ([(slice(0, 4, 2), fl.Huber())], None, "is no task"),
        ({0: fl.Huber(reduction="none")}, None, "reduction to a scalar"),
        ({0: fl.Huber()}, [1.0, 2.0], "each of the 1 tasks"),
        ({0: fl.Huber()}, "certainty", "or 'uncertainty'"),
        ({"a": fl.Huber()}, {"b": 1.0}, "each of the 1 tasks"),
    ],
)
def test_wrong_arguments_are_refused(tasks, weights, message):
    with pytest.raises(ValueError, match=message):
        fl.MultiTask(tasks, weights)
    with pytest.raises(TypeError, match="no Keras loss"):
        fl.MultiTask({0: "mse"})


def test_what_does_not_go_together_is_refused():
    fixed, learned = (fl.MultiTask({(0, 3): fl.Huber()}, w) for w in (None, "uncertainty"))
    with pytest.raises(ValueError, match="the weights are fixed"):
        fixed.layer()
    with pytest.raises(ValueError, match="columns of one output"):
        fixed.by_output()
    with pytest.raises(ValueError, match=r"loss.attach\(model\)"):
        learned(*data())
    with pytest.raises(ValueError, match="expected at least 1"):
        fl.layers.TaskUncertainty(0)


def model_of(loss, names=False, as_list=False):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    if names:
        outputs = {k: keras.layers.Dense(n, name=k)(inputs) for k, n in (("a", 3), ("b", 2))}
        model = keras.Model(inputs, list(outputs.values()) if as_list else outputs)
    else:
        model = keras.Model(inputs, keras.layers.Dense(5)(inputs))
    return loss.attach(model) if loss.is_learned else model


def x_data():
    return np.random.default_rng(3).standard_normal((ROWS, 4)).astype("float32")


def optimum(model, x, y_true):
    """The log-variances at which the loss is least for the model's own predictions: log(2 L)."""
    y_pred = model(x)
    if isinstance(y_pred, dict):
        y_pred = np.concatenate([y_pred["a"], y_pred["b"]], axis=-1)
    first = keras.losses.Huber()(y_true[:, :3], y_pred[:, :3])
    second = keras.losses.BinaryCrossentropy(from_logits=True)(y_true[:, 3:], y_pred[:, 3:])
    return np.log(2 * np.array([float(first), float(second)]))


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"jit_compile": False}, {"jit_compile": True}], ids=str)
def test_uncertainty_is_learned_and_saved(how, tmp_path, backend):
    loss = fl.MultiTask(zip(((0, 3), (3, 5)), losses(), strict=True), "uncertainty")
    model = model_of(loss)
    variances = model.layers[-1].log_variances
    assert any(variances is w for w in model.trainable_variables)
    x, y_true = x_data(), data()[0]
    assert_close(loss(y_true, model(x)), expected_of(y_true, model(x), (1, 1)), 4e-6)
    model.compile(keras.optimizers.Adam(0.1), loss, **how)
    before = model.evaluate(x, y_true, verbose=0)
    steps = [np.tile(array, (150, 1)) for array in (x, y_true)]
    model.fit(*steps, batch_size=ROWS, shuffle=False, verbose=0)
    assert model.evaluate(x, y_true, verbose=0) < before
    # At the end each task is weighed by 1 / (2 L).
    np.testing.assert_allclose(variances.numpy(), optimum(model, x, y_true), atol=0.02)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_close(again.layers[-1].log_variances.numpy(), variances.numpy(), 0)
    assert_close(again.evaluate(x, y_true, verbose=0), model.evaluate(x, y_true, verbose=0), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("as_list", [False, True], ids=["dictionary", "list"])
@pytest.mark.parametrize("weights", ["uncertainty", {"b": 0.5, "a": 2.0}], ids=["learned", "fixed"])
def test_named_outputs(weights, as_list, tmp_path, backend):
    loss = fl.MultiTask(zip("ab", losses(), strict=True), weights)
    model = model_of(loss, names=True, as_list=as_list)
    x, y_true = x_data(), data()[0]
    labels = {"a": y_true[:, :3], "b": y_true[:, 3:]}
    model.compile(keras.optimizers.Adam(0.1), loss.by_output())
    model.fit(x, labels, batch_size=ROWS, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, again):
        total, *_ = one.evaluate(x, labels, verbose=0)
        if weights != "uncertainty":
            outputs = one(x) if not as_list else dict(zip("ab", one(x), strict=True))
            whole = np.concatenate([outputs["a"], outputs["b"]], axis=-1)
            assert_close(total, expected_of(y_true, whole, (2.0, 0.5)), 4e-6)
            assert_close(loss(labels, outputs), total, 4e-6)
        else:
            assert one.layers[-1].log_variances.numpy().all()
            assert_close(loss(labels, one(x)), total, 4e-6)


def test_gradients_of_the_log_variances(backend):
    loss = fl.MultiTask(zip(((0, 3), (3, 5)), losses(), strict=True), "uncertainty")
    layer = loss.layer()
    layer.log_variances.assign([0.3, -0.7])
    y_true, y_pred = data()
    with tf.GradientTape() as tape:
        value = loss(y_true, layer(y_pred))
    actual = tape.gradient(value, layer.log_variances.value)
    values = [
        float(x(y_true[:, a:b], y_pred[:, a:b]))
        for x, (a, b) in zip(losses(), ((0, 3), (3, 5)), strict=True)
    ]
    s = np.array([0.3, -0.7])
    assert_close(value, (np.exp(-s) * values + s / 2).sum(), 1e-6)
    assert_close(tf.convert_to_tensor(actual), -np.exp(-s) * values + 0.5, 1e-6)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0], "uncertainty"])
@pytest.mark.parametrize("tasks", [((0, 3), (slice(2, 3), slice(3))), ("a", "b")], ids=str)
def test_config_round_trip(tasks, weights):
    loss = fl.MultiTask(zip(tasks, losses(), strict=True), weights)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, fl.MultiTask)
    assert again.get_config() == loss.get_config()
    assert again.keys == loss.keys
