"""Sums in which an overlap loss shares its pass with other losses."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import value_and_gradient

import fastloss as fl

SHAPE = (3, 7, 6, 5)


def data(labels: str, dtype: str = "float32") -> tuple[tf.Tensor, tf.Tensor]:
    random = np.random.default_rng(0)
    y_pred = tf.constant(random.normal(0, 2, SHAPE), dtype)
    classes = random.integers(0, SHAPE[-1], SHAPE[:-1])
    if labels == "class":
        return tf.constant(classes, tf.uint8), y_pred
    if labels == "one-hot":
        return tf.one_hot(classes, SHAPE[-1], dtype=dtype), y_pred
    return tf.constant(random.uniform(0, 1, SHAPE) > 0.5), y_pred


# What shares the pass of the overlap loss, and what the labels are.
SHARED = {
    "dice and crossentropy": lambda: (
        fl.Dice(sparse=True, from_logits=True) + fl.SparseCategoricalCrossentropy(from_logits=True),
        "class",
    ),
    "crossentropy first, both weighed": lambda: (
        0.3 * fl.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
        - 2 * fl.GeneralizedDice(sparse=True, from_logits=True, per_image=True, reduction="sum"),
        "class",
    ),
    "ignored class": lambda: (
        fl.Tversky(sparse=True, from_logits=True, ignore_class=2, include_background=False)
        + fl.SparseCategoricalFocalCrossentropy(from_logits=True, ignore_class=2),
        "class",
    ),
    "rows of labels": lambda: (
        fl.Jaccard(from_logits=True, activation="softmax", per_image=True)
        + fl.CategoricalCrossentropy(from_logits=True)
        + 0.5 * fl.CategoricalFocalCrossentropy(from_logits=True),
        "one-hot",
    ),
    "sigmoid": lambda: (
        fl.Dice(from_logits=True)
        + 0.5 * fl.BinaryFocalCrossentropy(from_logits=True)
        + 0.1 * fl.MeanSquaredError(),
        "mask",
    ),
    "axis": lambda: (
        fl.Dice(from_logits=True, axis=(1, 2)) + fl.BinaryCrossentropy(from_logits=True),
        "mask",
    ),
    "groups that are turned to the front": lambda: (
        fl.Dice(from_logits=True, axis=(0, 2)) + fl.BinaryCrossentropy(from_logits=True),
        "mask",
    ),
}
# What does not: other arguments, other inputs, other ways to add up.
APART = {
    "class weights of the crossentropy": lambda: (
        fl.Dice(sparse=True, from_logits=True)
        + fl.SparseCategoricalCrossentropy(from_logits=True, class_weights=[1, 2, 3, 4, 5]),
        "class",
    ),
    "another ignored class": lambda: (
        fl.Dice(sparse=True, from_logits=True, ignore_class=1)
        + fl.SparseCategoricalCrossentropy(from_logits=True),
        "class",
    ),
    "hinge looks at all labels first": lambda: (
        fl.Dice(from_logits=True) + fl.Hinge(),
        "mask",
    ),
    "pos_weight": lambda: (
        fl.Dice(from_logits=True) + fl.BinaryCrossentropy(from_logits=True, pos_weight=3.0),
        "mask",
    ),
    "a sum over rows of means": lambda: (
        fl.Dice(from_logits=True, reduction="sum") + fl.Huber(reduction="sum"),
        "mask",
    ),
    "reductions that differ": lambda: (
        fl.Dice(from_logits=True, reduction="sum") + fl.Huber(),
        "mask",
    ),
}
CASES = {**SHARED, **APART}


def one_by_one(loss: fl.WeightedSum, y_true: tf.Tensor, y_pred: tf.Tensor, weight=None):
    """The same from a call of each term."""

    def added(labels, predictions):
        terms = [term(labels, predictions, weight) for term in loss.losses]
        return tf.add_n([f * term for f, term in zip(loss.factors, terms, strict=True)])

    return value_and_gradient(added, y_true, y_pred)


def test_explain_says_what_shares_a_pass():
    for name, case in SHARED.items():
        loss, _ = case()
        assert "in 1 pass\n" in loss.explain(), name
        assert loss.explain().endswith("(overlap)")
    for name, case in APART.items():
        assert "in 2 passes" in case()[0].explain(), name


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mode", ["eager", "graph", "jit"])
def test_a_sum_is_what_its_terms_add_up_to(name, mode, backend):
    loss, labels = CASES[name]()
    y_true, y_pred = data(labels)
    expected = one_by_one(loss, y_true, y_pred)

    def compute(labels, predictions):
        return value_and_gradient(loss, labels, predictions)

    if mode != "eager":
        compute = tf.function(compute, jit_compile=mode == "jit")
    value, gradient = compute(y_true, y_pred)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_terms_are_the_values_of_the_losses_alone(name, backend):
    loss, labels = CASES[name]()
    y_true, y_pred = data(labels)
    for weight in (None, 2.0):
        terms = loss.terms(y_true, y_pred, weight)
        assert list(terms) == loss.term_names
        for value, term in zip(terms.values(), loss.losses, strict=True):
            np.testing.assert_allclose(value, term(y_true, y_pred, weight), rtol=1e-5)


@pytest.mark.parametrize("name", SHARED)
def test_weights_go_to_every_term(name, backend):
    loss, labels = SHARED[name]()
    y_true, y_pred = data(labels)
    value, gradient = value_and_gradient(lambda t, p: loss(t, p, 0.7), y_true, y_pred)
    expected = one_by_one(loss, y_true, y_pred, 0.7)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", SHARED)
def test_every_dtype(name, dtype):
    loss, labels = SHARED[name]()
    y_true, y_pred = data(labels, dtype)
    value, gradient = value_and_gradient(loss, y_true, y_pred)
    expected = one_by_one(loss, y_true, y_pred)
    assert gradient.dtype == y_pred.dtype
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2, "float64": 1e-5}[dtype]
    gradients = (np.asarray(tf.cast(x, tf.float64)) for x in (gradient, expected[1]))
    np.testing.assert_allclose(*gradients, rtol=tolerance, atol=1e-3 * tolerance)


@pytest.mark.parametrize("name", SHARED)
def test_second_order(name):
    loss, labels = SHARED[name]()
    y_true, y_pred = data(labels, "float64")

    def curvature(function):
        with tf.GradientTape() as outer:
            outer.watch(y_pred)
            with tf.GradientTape() as inner:
                inner.watch(y_pred)
                value = function(y_true, y_pred)
            slope = inner.gradient(value, y_pred)
            along = tf.reduce_sum(slope * tf.sin(y_pred))
        return outer.gradient(along, y_pred)

    def added(labels, predictions):
        terms = [term(labels, predictions) for term in loss.losses]
        return tf.add_n([f * term for f, term in zip(loss.factors, terms, strict=True)])

    np.testing.assert_allclose(curvature(loss), curvature(added), rtol=1e-4, atol=1e-9)


def test_training_with_a_sum_is_training_with_its_terms(tmp_path):
    y_true, _ = data("class")
    x = np.random.default_rng(1).normal(0, 1, (*SHAPE[:-1], 2)).astype(np.float32)

    def trained(loss, metrics=()):
        keras.utils.set_random_seed(3)
        model = keras.Sequential(
            [keras.Input(x.shape[1:]), keras.layers.Conv2D(5, 3, padding="same")]
        )
        model.compile("sgd", loss=loss, metrics=list(metrics))
        history = model.fit(x, y_true, epochs=3, batch_size=3, verbose=0, shuffle=False).history
        return model, history

    shared, _ = SHARED["dice and crossentropy"]()
    model, history = trained(shared, shared.metrics())
    dice, crossentropy = shared.losses

    class Added(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return dice(y_true, y_pred) + crossentropy(y_true, y_pred)

    expected = trained(Added())[1]
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    terms = np.add(history["dice"], history["sparse_categorical_crossentropy"])
    np.testing.assert_allclose(terms, history["loss"], rtol=1e-5)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.saving.load_model(path)
    assert again.loss.explain() == shared.explain()
