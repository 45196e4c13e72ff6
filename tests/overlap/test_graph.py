"""The overlap losses inside graphs, XLA, models and strategies."""

from __future__ import annotations

import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import Findings, assert_close, assert_same, run_python, value_and_gradient
from overlap_cases import CASES, IDS, SUMMED, Case

import fastloss as fl
from fastloss import ops

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)

SHAPE = (4, 6, 5, 3)


def graph_of(loss, *specs, **options):
    def both(y_true, y_pred):
        return value_and_gradient(loss, y_true, y_pred)

    return tf.function(both, input_signature=specs or None, **options)


def specs(case, shape):
    label = tf.int32 if case.is_sparse else tf.float32
    return tf.TensorSpec(shape[:-1] if case.is_sparse else shape, label), tf.TensorSpec(shape)


@every_case
def test_graphs_of_known_and_unknown_shapes(case, backend):
    y_true, y_pred = case.data(SHAPE)
    shapes = (SHAPE, (None, 6, 5, 3), (None,) * 4)
    with Findings() as findings:
        for reduction in ("mean", "none"):
            loss = case.ours(reduction=reduction)
            expected = value_and_gradient(loss, y_true, y_pred)
            for shape in shapes if reduction == "mean" else shapes[2:]:
                graph = graph_of(loss, *specs(case, shape))
                with findings.of((reduction, shape)):
                    assert_same(graph(y_true, y_pred), expected, "float32")


@every_case
def test_xla_equals_eager(case):
    y_true, y_pred = case.data(SHAPE)
    expected = value_and_gradient(case.ours(), y_true, y_pred)
    compiled = graph_of(case.ours(), jit_compile=True)
    assert_same(compiled(tf.constant(y_true), tf.constant(y_pred)), expected, "float32")


@pytest.mark.parametrize("axis", [None, 0, (1, 2), (0, 2), (1, 2, 3)])
def test_axes_in_a_graph_of_unknown_shapes(axis, backend):
    for case in (Case("dice", "Dice"), Case("tversky", "Tversky")):
        y_true, y_pred = case.data(SHAPE)
        loss = case.ours(axis=axis, reduction="none")
        graph = graph_of(loss, *specs(case, (None,) * 4))
        assert_same(graph(y_true, y_pred), value_and_gradient(loss, y_true, y_pred), "float32")


@pytest.mark.parametrize("case", SUMMED[:2], ids=str)
def test_shapes_that_turn_out_to_differ_are_refused(case, backend):
    loss = tf.function(case.ours(), input_signature=specs(case, (None, None)))
    with pytest.raises(tf.errors.InvalidArgumentError):
        loss(np.ones((4, 3), np.float32), np.ones((4, 2), np.float32))


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
        y_true, y_pred = random.uniform(size=(2, 8, 3, 2)).astype(np.float32)
        weight = random.uniform(0, 1, (8, 1)).astype(np.float32)
        for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight", "none"):
            for axis in (None, 1):
                def both(t, p, w):
                    results = []
                    for losses in (fl, keras.losses):
                        loss = losses.Dice(reduction, axis=axis)
                        results += [loss(t, p), loss(t, p, w)]
                    return results
                data = tf.data.Dataset.from_tensor_slices((y_true, y_pred, weight)).batch(8)
                batch = next(iter(strategy.experimental_distribute_dataset(data)))
                results = strategy.run(tf.function(both), batch)
                for ours, theirs in zip(results[:2], results[2:]):
                    for x, y in zip(strategy.experimental_local_results(ours),
                                    strategy.experimental_local_results(theirs)):
                        np.testing.assert_allclose(x, y, rtol=1e-5, err_msg=reduction)
        print("same")
    """
    assert "same" in run_python(textwrap.dedent(program))


# Logits behind probabilities


@pytest.fixture
def activations(monkeypatch):
    """Which activations the op was asked for."""
    seen = []

    def spy(*arguments):
        seen.append(arguments[3].activation)
        return overlap(*arguments)

    overlap = ops.overlap
    monkeypatch.setattr(ops, "overlap", spy)
    return seen


BEHIND = [
    (tf.sigmoid, {}, "sigmoid"),
    (tf.sigmoid, {"per_class": True}, "sigmoid"),
    (tf.nn.softmax, {"per_class": True}, "softmax"),
    (tf.nn.softmax, {"include_background": False}, "softmax"),
    (tf.nn.softmax, {}, "none"),
    (tf.nn.softmax, {"per_class": True, "class_axis": 1}, "none"),
    (keras.activations.softmax, {"per_class": True}, "softmax"),
    (keras.layers.Activation("sigmoid"), {}, "sigmoid"),
    (tf.identity, {}, "none"),
]


@pytest.mark.parametrize(("activation", "given", "found"), BEHIND)
def test_logits_behind_an_activation_are_found(activation, given, found, activations, backend):
    y_true, logits = Case("dice", "Dice", {"from_logits": True}).data((2, 4, 3))
    loss = fl.Dice(**given)

    @tf.function
    def graph(t, x):
        return value_and_gradient(lambda t, x: loss(t, activation(x)), t, x)

    actual = graph(y_true, logits)
    assert set(activations) == {found}
    expected = value_and_gradient(
        lambda t, x: loss(t, tf.identity(activation(x))), tf.constant(y_true), logits
    )
    assert_same(actual, expected, "float32")


def test_an_eager_activation_is_taken_as_it_is(activations, backend):
    """It carries its logits, but not whether it was a sigmoid or a softmax."""
    y_true, logits = Case("dice", "Dice", {"from_logits": True}).data((2, 4, 3))
    for activation in (keras.activations.sigmoid, keras.activations.softmax):
        y_pred = activation(tf.constant(logits))
        assert_close(fl.Dice()(y_true, y_pred), keras.losses.Dice()(y_true, y_pred), 1e-6)
    assert set(activations) == {"none"}


def test_lovasz_of_the_output_of_an_activation(backend):
    y_true, logits = Case("dice", "Dice", {"from_logits": True}).data((2, 4, 3))
    for activation in (tf.sigmoid, tf.nn.softmax):
        expected = fl.LovaszSoftmax()(y_true, activation(tf.constant(logits)))
        graph = tf.function(lambda t, x, f=activation: fl.LovaszSoftmax()(t, f(x)))
        assert_close(graph(y_true, logits), expected, 1e-6)


def test_from_logits_on_an_activation_warns(backend):
    y_true, logits = Case("dice", "Dice", {"from_logits": True}).data((2, 4))
    loss = fl.Dice(from_logits=True)
    with pytest.warns(UserWarning, match=r"from_logits=True.*sigmoid"):
        value = tf.function(lambda t, x: loss(t, tf.sigmoid(x)))(y_true, logits)
    assert_close(value, loss(y_true, logits), 1e-6)


# Models


def model(loss, activation="sigmoid"):
    keras.utils.set_random_seed(3)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.Conv2D(3, 1, activation=activation),
        ]
    )
    network.compile("adam", loss)
    return network


def images(count):
    y_true, _ = Case("dice", "Dice").data((count, 8, 8, 3))
    return y_true.sum(-1, keepdims=True), y_true


@pytest.mark.parametrize(
    ("public", "given"), [("Dice", {"axis": (1, 2)}), ("Tversky", {"alpha": 0.3})]
)
def test_training_equals_keras(public, given, backend):
    x, y_true = images(16)
    histories = [
        model(getattr(losses, public)(**given)).fit(x, y_true, 6, epochs=3, verbose=0)
        for losses in (fl, keras.losses)
    ]
    np.testing.assert_allclose(*(history.history["loss"] for history in histories), rtol=1e-4)


@pytest.mark.parametrize(
    ("public", "given"),
    [
        ("Dice", {"axis": (1, 2), "smooth_numerator": 1.0}),
        ("FocalTversky", {"alpha": 0.3, "axis": [1, 2]}),
        ("Jaccard", {"smooth": 1.0, "class_weights": [1.0, 2.0, 3.0]}),
        ("GeneralizedDice", {"weight": "simple", "per_image": True}),
        ("LovaszSoftmax", {"classes": "all"}),
    ],
)
def test_saved_model_keeps_its_loss(public, given, tmp_path):
    network = model(getattr(fl, public)(**given))
    x, y_true = images(4)
    network.fit(x, y_true, verbose=0)
    path = tmp_path / "model.keras"
    network.save(path)
    again = keras.models.load_model(path)
    assert type(again.loss) is type(network.loss)
    assert again.loss.get_config() == network.loss.get_config()
    losses = [one.evaluate(x, y_true, verbose=0) for one in (network, again)]
    np.testing.assert_array_equal(*losses)


@pytest.mark.parametrize("public", ["Dice", "LovaszSoftmax"])
def test_sparse_labels_train(public, backend):
    x, y_true = images(16)
    network = model(getattr(fl, public)(from_logits=True, sparse=True, ignore_class=-1), None)
    labels = np.where(y_true.any(-1), y_true.argmax(-1), -1)
    losses = network.fit(x, labels, 4, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
