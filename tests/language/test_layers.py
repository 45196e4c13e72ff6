"""The layer with the linear cross-entropy against Dense and the loss of its logits."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import assert_close

import fastloss as fl

CLASSES, FEATURES, TIME = 13, 6, 4
LinearCrossentropy = fl.layers.LinearCrossentropy


def data(seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, CLASSES, (8, TIME)), random.integers(0, CLASSES, (8, TIME))


def backbone(mask_zero=False):
    tokens = keras.Input((TIME,), dtype="int32")
    embedding = keras.layers.Embedding(CLASSES, FEATURES, mask_zero=mask_zero, name="embedding")
    hidden = keras.layers.Dense(FEATURES, activation="tanh", name="middle")(embedding(tokens))
    return tokens, hidden, embedding


def model_of(tied=False, mask_zero=False, **arguments):
    """The model with the loss, the model with the logits and the layer of both."""
    tokens, hidden, embedding = backbone(mask_zero)
    labels = keras.Input((TIME,), dtype="int32")
    arguments = {"name": "head", "tied_to": embedding if tied else None, **arguments}
    head = LinearCrossentropy(CLASSES, **arguments)
    model = keras.Model([tokens, labels], head(hidden, labels))
    return model, keras.Model(tokens, head(hidden)), head


def with_dense(weights, mask_zero=False, **arguments):
    tokens, hidden, _ = backbone(mask_zero)
    model = keras.Model(tokens, keras.layers.Dense(CLASSES, **arguments)(hidden))
    model.set_weights(weights)
    return model


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("mask_zero", [False, True], ids=["whole", "masked"])
def test_fit_equals_dense_step_by_step(mask_zero, jit, backend):
    x, y = data()
    ours, _, _ = model_of(mask_zero=mask_zero)
    theirs = with_dense(ours.get_weights(), mask_zero)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ours.compile(keras.optimizers.SGD(0.5), jit_compile=jit)
    theirs.compile(keras.optimizers.SGD(0.5), loss, jit_compile=jit)
    losses = []
    for _ in range(4):
        losses.append(float(ours.train_on_batch((x, y))))
        assert_close(losses[-1], float(theirs.train_on_batch(x, y)), 1e-5)
    assert losses == sorted(losses, reverse=True)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_close(mine, other, 1e-4)


def test_tied_gradients_add_up(backend):
    x, y = data()
    model, _, head = model_of(tied=True)
    kernel = head.tied_to.embeddings
    assert len(model.trainable_variables) == 4
    with tf.GradientTape() as tape:
        loss = model((x, y))
    actual = tf.convert_to_tensor(tape.gradient(loss, kernel.value))
    middle = model.get_layer("middle")
    with tf.GradientTape() as tape:
        hidden = middle(tf.gather(kernel.value, x))
        logits = tf.matmul(hidden, kernel.value, transpose_b=True) + head.bias
        expected = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
    assert_close(loss, expected, 1e-5)
    assert_close(actual, tf.convert_to_tensor(tape.gradient(expected, kernel.value)), 1e-5)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy, jit):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model, logits, head = model_of(tied=True, mask_zero=True)
        x, y = data()
        model.compile(keras.optimizers.SGD(0.5), jit_compile=jit)
        scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        assert scaled == (policy == "mixed_float16")
        losses = model.fit((x, y), epochs=6, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
        assert model.output.dtype == model((x, y)).dtype.name == "float32"
        assert logits(x).dtype.name == policy.removeprefix("mixed_")
        assert head.bias.dtype == "float32"
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_class_numbers_and_weights_are_not_rounded(policy):
    head = LinearCrossentropy(3000, dtype=policy)
    hidden = tf.random.normal([3, 8])
    weight = tf.constant([1.001, 0.4999, 2.003])
    labels = np.array([257, 1001, 2999])
    expected = head(hidden, labels, sample_weight=tf.cast(weight, tf.float64))
    assert float(head(hidden, labels.astype("float32"), sample_weight=weight)) == float(expected)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_mask_survives_the_cast(policy):
    head = LinearCrossentropy(5, dtype=policy)
    hidden = tf.random.normal([2, 3, 4])
    mask = tf.constant([[True, False, True], [True, False, False]])
    y_true = tf.constant([[1, 2, 3], [4, 0, 1]])
    expected = head(tf.boolean_mask(hidden, mask), tf.boolean_mask(y_true, mask))
    hidden._keras_mask = mask
    assert_close(head(hidden, y_true), expected, 1e-5)


@pytest.mark.parametrize("tied", [False, True], ids=["free", "tied"])
@pytest.mark.parametrize("bias", [False, True])
def test_logits_without_labels(tied, bias):
    x, _ = data()
    model, logits, head = model_of(tied=tied, use_bias=bias)
    hidden = keras.Model(model.inputs[0], model.get_layer("middle").output)(x)
    kernel = tf.transpose(head.tied_to.embeddings) if tied else head.kernel
    expected = tf.tensordot(hidden, tf.convert_to_tensor(kernel), 1)
    assert_close(logits(x), expected + head.bias if bias else expected, 1e-6, "", 1e-7)
    assert logits.output.shape == (None, TIME, CLASSES)
    assert model.output.shape == ()


def test_options_reach_the_loss(backend):
    options = {
        "ignore_class": 2,
        "label_smoothing": 0.1,
        "class_weights": [0.5] * 6 + [1.5] * 7,
        "temperature": 1.5,
        "logit_softcap": 3.0,
        "z_loss": 0.01,
        "reduction": "sum",
    }
    x, y = data()
    model, logits, _ = model_of(**options)
    expected = fl.SparseCategoricalCrossentropy(from_logits=True, **options)(y, logits(x))
    assert_close(model((x, y)), expected, 1e-5)


def test_regularizers():
    layer = LinearCrossentropy(5, kernel_regularizer="l2", bias_regularizer="l1")
    loss = layer(tf.ones([2, 3]), tf.constant([0, 1]))
    assert len(layer.losses) == 3
    assert float(tf.add_n(layer.losses)) > float(loss)


@pytest.mark.parametrize("tied", [False, True], ids=["free", "tied"])
def test_save_and_load(tied, tmp_path):
    x, y = data()
    model, _, _ = model_of(tied=tied, class_weights=range(1, CLASSES + 1), z_loss=0.1)
    model.compile("sgd")
    model.fit((x, y), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert float(loaded.evaluate((x, y), verbose=0)) == float(model.evaluate((x, y), verbose=0))
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    if tied:
        assert loaded.get_layer("head").tied_to is loaded.get_layer("embedding")


def test_config():
    layer = LinearCrossentropy(
        np.int64(3), False, ignore_class=-1, class_weights=np.ones(3), memory_budget=100
    )
    config = layer.get_config()
    assert LinearCrossentropy.from_config(config).get_config() == config
    tied = LinearCrossentropy(3, tied_to=keras.layers.Embedding(3, 2))
    assert LinearCrossentropy.from_config(tied.get_config()).tied_to.output_dim == 2


def test_tied_to_an_embedding_that_is_not_built():
    head = LinearCrossentropy(5, tied_to=keras.layers.Embedding(5, 4))
    assert head(tf.zeros([2, 4]), tf.constant([0, 1])).shape == ()


def test_bad_arguments_are_named():
    embedding = keras.layers.Embedding(5, 4)
    wrong = [
        ("units", {"units": 0}),
        ("units", {"units": 2.5}),
        ("units", {"units": True}),
        ("units", {"units": 6, "tied_to": embedding}),
        ("kernel_regularizer", {"tied_to": embedding, "kernel_regularizer": "l2"}),
        ("reduction", {"reduction": None}),
        ("reduction", {"reduction": "none"}),
        ("reduction", {"reduction": "average"}),
        ("memory_budget", {"memory_budget": 0}),
        ("label_smoothing", {"label_smoothing": 2}),
        ("temperature", {"temperature": 0}),
        ("logit_softcap", {"logit_softcap": -1}),
        ("z_loss", {"z_loss": -1}),
        ("ignore_class", {"ignore_class": 1.5}),
        ("class_weights", {"class_weights": [1.0, 2.0]}),
    ]
    for name, arguments in wrong:
        with pytest.raises(ValueError, match=rf"^{name} (is|has) .*expected"):
            LinearCrossentropy(**{"units": 5, **arguments})
    with pytest.raises(ValueError, match="hidden has 3 features, but tied_to embeds into 4"):
        LinearCrossentropy(5, tied_to=embedding)(tf.zeros([2, 3]))
    with pytest.raises(ValueError, match=r"labels as a second argument: layer\(hidden, y_true\)"):
        LinearCrossentropy(5)([tf.zeros([2, 4]), tf.constant([0, 1])])
