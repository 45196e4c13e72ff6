"""The rowwise losses in graphs, under XLA and tf.distribute, in models that train and are saved."""

from __future__ import annotations

import textwrap
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import assert_close, assert_same, run_python, value_and_gradient
from rowwise_cases import CASES, CORE, CORE_IDS, IDS, find, in_keras, weights

import fastloss as fl

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)
core_cases = pytest.mark.parametrize("case", CORE, ids=CORE_IDS)


# Eager, graph, XLA


def check_graph(case, **options):
    y_true, y_pred = case.data((4, 3, 5))
    loss, weight = case.ours(), weights((4, 1))
    expected = in_keras(case, y_true, y_pred, weight)
    inside = tf.function(lambda t, p, w: value_and_gradient(loss, t, p, w), **options)
    assert_same(inside(y_true, y_pred, weight), expected, "float32", str(options))


@every_case
def test_graph_equals_eager(case, backend):
    check_graph(case)


@every_case
def test_xla_equals_eager(case):
    check_graph(case, jit_compile=True)


@core_cases
def test_shapes_unknown_while_tracing(case, backend):
    label = [None] * (2 if case.is_sparse else 3)
    specs = [
        tf.TensorSpec(label, tf.int32 if case.is_sparse else tf.float32),
        tf.TensorSpec([None, None, None], tf.float32),
    ]
    for reduction in ("sum_over_batch_size", "mean_with_sample_weight", "none"):
        graph = tf.function(case.ours(reduction=reduction), input_signature=specs)
        for shape in [(4, 3, 5), (1, 1, 2), (0, 3, 2)]:
            y_true, y_pred = case.data(shape)
            expected = in_keras(case, y_true, y_pred, reduction=reduction)
            actual = value_and_gradient(graph, y_true, y_pred)
            assert_same(actual, expected, "float32", f"{shape} {reduction}")


def test_reference_makes_no_matrix_of_integer_labels():
    y_true, y_pred = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 1000], tf.float32)

    @tf.function
    def gradient(y_true, y_pred):
        loss = fl.SparseCategoricalCrossentropy(True, class_weights=[1.0] * 1000, ignore_class=-1)
        with fl.use_backend("reference"), tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, y_pred)
        return tape.gradient(value, y_pred)

    operations = {
        x.type for x in gradient.get_concrete_function(y_true, y_pred).graph.get_operations()
    }
    assert "SparseSoftmaxCrossEntropyWithLogits" in operations
    assert "OneHot" not in operations


@pytest.mark.slow
def test_strategy_scales_the_means_by_the_replicas():
    program = """
        import keras, numpy as np, tensorflow as tf
        cpus = tf.config.list_physical_devices("CPU")
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpus[0], two)
        import fastloss as fl
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        random = np.random.default_rng(0)
        y_pred = random.normal(size=(8, 3)).astype(np.float32)
        y_true, weight = random.integers(0, 3, 8), random.uniform(0, 1, 8).astype(np.float32)
        for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight", "none"):
            for ignored in (None, 1):
                def both(t, p, w):
                    results = []
                    for losses in (fl, keras.losses):
                        loss = losses.SparseCategoricalCrossentropy(True, ignored, reduction)
                        masked = tf.identity(p)
                        masked._keras_mask = w > 0.3
                        results += [loss(t, p, w), loss(t, masked, w)]
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


@pytest.mark.parametrize("public", ["CategoricalCrossentropy", "SparseCategoricalCrossentropy"])
def test_logits_behind_a_softmax_are_found(public, backend):
    logits = tf.constant([[60.0, -60.0, 0.0], [100.0, 0.5, 3.0]])
    y_true = np.array([1, 2]) if "Sparse" in public else np.eye(3, dtype=np.float32)[[1, 2]]
    expected = getattr(fl, public)(from_logits=True)(y_true, logits)
    assert float(expected) > 100
    loss = getattr(fl, public)()
    eager = (keras.ops.softmax, keras.activations.softmax, keras.layers.Activation("softmax"))
    for softmax in eager[1:]:
        assert_close(loss(y_true, softmax(logits)), expected, 1e-6, str(softmax))
    for softmax in (*eager, tf.nn.softmax):
        graph = tf.function(lambda t, x, softmax=softmax: loss(t, softmax(x)))
        assert_close(graph(y_true, logits), expected, 1e-6, f"graph {softmax}")
    capped = getattr(fl, public)(logit_softcap=5.0, temperature=2.0, z_loss=0.1)
    again = getattr(fl, public)(True, logit_softcap=5.0, temperature=2.0, z_loss=0.1)
    found = capped(y_true, keras.activations.softmax(logits))
    assert_close(found, again(y_true, logits), 1e-6)


def test_focal_loss_takes_probabilities_as_keras_does(backend):
    y_true, logits = np.eye(3, dtype=np.float32)[[1]], tf.constant([[9.0, -9.0, 0.0]])
    y_pred = keras.activations.softmax(logits)
    expected = keras.losses.CategoricalFocalCrossentropy()(y_true, y_pred)
    assert_close(fl.CategoricalFocalCrossentropy()(y_true, y_pred), expected, 1e-5)


def test_from_logits_on_a_softmax_output_warns_as_keras_does():
    logits = tf.constant([[3.0, -2.0]])
    for losses in (fl, keras.losses):
        with pytest.warns(UserWarning, match="from_logits=True"):
            loss = losses.CategoricalCrossentropy(from_logits=True)
            value = loss(np.array([[0.0, 1.0]], np.float32), keras.activations.softmax(logits))
    assert_close(value, fl.CategoricalCrossentropy(True)([[0.0, 1.0]], logits), 1e-6)


# Saving


def check_round_trip(loss, y_true, y_pred):
    expected = loss(y_true, y_pred)
    twin = type(loss).from_config(loss.get_config())
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    for copy in (twin, again):
        assert type(copy) is type(loss)
        assert copy.get_config() == loss.get_config()
        np.testing.assert_array_equal(copy(y_true, y_pred), expected)


@every_case
def test_serialisation_round_trip(case):
    y_true, y_pred = case.data((4, 3))
    loss = case.ours(reduction="sum", name="mine")
    check_round_trip(loss, y_true, y_pred)
    assert (loss.name, loss.reduction) == ("mine", "sum")
    theirs = case.keras(reduction="sum", name="mine")
    if type(theirs).__module__.startswith("keras"):
        assert theirs.get_config().items() <= loss.get_config().items()
    function = getattr(fl, case.function)
    config = keras.saving.serialize_keras_object(function)
    assert keras.saving.deserialize_keras_object(config) is function


@pytest.mark.parametrize("case", [c for c in CASES if "Hinge" not in c.public], ids=lambda c: c.id)
def test_serialisation_keeps_every_argument(case):
    options = {"axis": 0}
    if "Categorical" in case.public:
        options |= {"class_weights": [0.5, 1.0, 2.0, 0.0], "ignore_class": 7}
        if case.predictions == "logit":
            options |= {"temperature": 2.0, "logit_softcap": 3.0}
            if "Generalized" not in case.public:
                options["z_loss"] = 0.01
        if "Focal" in case.public and "alpha" not in case.arguments:
            options["alpha"] = [0.1, 0.2, 0.3, 0.4]
    given = case.arguments | options
    loss = getattr(fl, case.public)(**given)
    config = loss.get_config()
    assert {name: config[name] for name in given} == given
    y_true, y_pred = case.data((3, 4))
    check_round_trip(loss, y_true if case.is_sparse else y_true.T, y_pred.T)


def test_model_file_round_trip(tmp_path):
    x, y = small_data()
    model = small_model()
    loss = fl.SparseCategoricalCrossentropy(True, 2, label_smoothing=0.1, class_weights=[1, 2, 3])
    model.compile("sgd", loss)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.loss) is fl.SparseCategoricalCrossentropy
    assert again.loss.get_config() == loss.get_config()
    np.testing.assert_allclose(again.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0))


# Training


def small_model(activation=None, dtype=None):
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, "tanh", dtype=dtype),
            keras.layers.Dense(3, activation, dtype=dtype),
        ]
    )


def small_data():
    random = np.random.default_rng(4)
    return random.normal(size=(29, 4)).astype(np.float32), random.integers(0, 3, 29)


def train(loss, y=None, jit_compile=False, **model):
    x, classes = small_data()
    model = small_model(**model)
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=jit_compile)
    history = model.fit(x, classes if y is None else y, 8, 3, 0, shuffle=False)
    return history.history["loss"], model.get_weights()


PAIRS = {
    "sparse": lambda losses: losses.SparseCategoricalCrossentropy(True),
    "ignored": lambda losses: losses.SparseCategoricalCrossentropy(True, ignore_class=1),
    "softmax": lambda losses: losses.SparseCategoricalCrossentropy(),
    "function": lambda losses: losses.sparse_categorical_crossentropy,
    "generalized": lambda losses: losses.CategoricalGeneralizedCrossEntropy(),
    "dense": lambda losses: losses.CategoricalCrossentropy(True, 0.1),
    "cosine": lambda losses: losses.CosineSimilarity(),
    "hinge": lambda losses: losses.CategoricalHinge(),
}


@pytest.mark.parametrize("name", PAIRS)
def test_training_gives_the_weights_of_keras(name):
    softmax = name in ("softmax", "function", "generalized")
    dense = name in ("dense", "cosine", "hinge")
    y = np.eye(3, dtype=np.float32)[small_data()[1]] if dense else None
    options = {"y": y, "activation": "softmax" if softmax else None}
    losses, ours = train(PAIRS[name](fl), **options)
    their_losses, theirs = train(PAIRS[name](keras.losses), **options)
    np.testing.assert_allclose(losses, their_losses, rtol=1e-5)
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_training_compiled_by_xla():
    for name in ("sparse", "ignored"):
        losses, _ = train(PAIRS[name](fl), jit_compile=True)
        their_losses, _ = train(PAIRS[name](keras.losses))
        np.testing.assert_allclose(losses, their_losses, rtol=1e-5)


def test_training_in_mixed_precision_follows_keras():
    losses, ours = train(PAIRS["sparse"](fl), dtype="mixed_bfloat16")
    their_losses, theirs = train(PAIRS["sparse"](keras.losses), dtype="mixed_bfloat16")
    np.testing.assert_allclose(losses, their_losses, rtol=2e-2)
    for x, y in zip(ours, theirs, strict=True):
        assert_close(x, y, 2e-2)


def test_no_warning_on_ordinary_use():
    y_true, y_pred = find("SparseCategoricalHinge").data((4, 3), "bfloat16")
    loss = fl.SparseCategoricalCrossentropy(True, ignore_class=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value_and_gradient(loss, y_true, y_pred)
        tf.function(lambda t, p: value_and_gradient(loss, t, p))(y_true, y_pred)
