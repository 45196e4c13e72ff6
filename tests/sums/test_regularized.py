"""A loss with a penalty on weights, against the norms in NumPy and Keras's regularizers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import assert_close

import fastloss as fl


def model_of(**arguments):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, activation="relu", **arguments),
            keras.layers.LayerNormalization(),
            keras.layers.Dense(3, **arguments),
        ]
    )


def data():
    random = np.random.default_rng(0)
    return (random.standard_normal((32, n)).astype("float32") for n in (4, 3))


@pytest.mark.parametrize("l1, l2", [(0.01, 0.0), (0.0, 0.1), (0.01, 0.1), (0.0, 0.0)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_penalty_and_its_gradient(dtype, l1, l2, backend):
    random = np.random.default_rng(1)
    arrays = [random.standard_normal(shape) for shape in ((7, 5), (3,), (2, 3, 4))]
    arrays[0][0] = 0
    variables = [tf.Variable(tf.cast(x, dtype)) for x in arrays]
    loss = fl.Regularized(fl.MeanSquaredError(), variables, l1=l1, l2=l2)
    with tf.GradientTape() as tape:
        penalty = loss.penalty()
    wide = [tf.cast(w, tf.float64).numpy() for w in variables]
    assert_close(penalty, sum(l1 * abs(w).sum() + l2 * (w**2).sum() for w in wide), 2e-6)
    gradients = tape.gradient(penalty, variables)
    if not l1 and not l2:
        assert gradients == [None] * 3
        return
    for w, gradient in zip(wide, gradients, strict=True):
        expected = l1 * np.sign(w) + 2 * l2 * w
        assert_close(gradient, expected, 4e-3 if dtype == "bfloat16" else 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [{"jit_compile": False}, {"jit_compile": True}, {"run_eagerly": True}], ids=str
)
def test_fit_equals_keras(how, backend):
    x, y = data()
    ours = model_of()
    theirs = model_of(kernel_regularizer=keras.regularizers.L1L2(0.01, 0.1))
    loss = fl.Regularized(fl.MeanSquaredError(), ours, l1=0.01, l2=0.1)
    ours.compile(keras.optimizers.SGD(0.1), loss, **how)
    theirs.compile(keras.optimizers.SGD(0.1), keras.losses.MeanSquaredError(), **how)
    histories = [
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]
        for model in (ours, theirs)
    ]
    assert_close(histories[0], histories[1], 1e-5)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_close(mine, other, 1e-4, tiny=1e-6)


def test_one_pass_over_each_variable():
    model = model_of()
    loss = fl.Regularized(fl.MeanSquaredError(), model, l1=0.01, l2=0.1)
    graph = tf.function(loss.penalty).get_concrete_function().graph
    names = [op.type for op in graph.get_operations() if op.type.startswith("Fastloss")]
    assert names == ["FastlossElementwiseSum"] * 2


def test_layers_that_are_built_later_count(backend):
    model = keras.Sequential([keras.layers.Dense(3)])
    loss = fl.Regularized(fl.MeanSquaredError(), model, l2=0.1)
    with pytest.raises(ValueError, match="no variables to penalize"):
        loss.penalty()
    model.build((None, 4))
    assert_close(loss.penalty(), 0.1 * (model.layers[0].kernel.numpy() ** 2).sum(), 1e-6)


def test_sample_weights_do_not_scale_the_penalty(backend):
    x, y = data()
    model = model_of()
    loss = fl.Regularized(fl.MeanSquaredError(), model, l2=0.1)
    assert_close(loss(y, model(x), np.zeros(32, "float32")), loss.penalty(), 1e-6)


@pytest.mark.slow
def test_saved_model_asks_for_its_variables(tmp_path):
    x, y = data()
    model = model_of()
    model.compile("sgd", fl.Regularized(fl.Huber(), model, l1=0.01, l2=0.1))
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.loss.get_config() == model.loss.get_config()
    with pytest.raises(ValueError, match=r"after loading by loss.attach\(model\)"):
        again.loss.penalty()
    again.loss.attach(again)
    assert_close(again.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), 1e-6)


def test_it_is_part_of_the_algebra(backend):
    x, y = data()
    model = model_of()
    penalized = fl.Regularized(fl.MeanSquaredError(), model, l2=0.1)
    loss = penalized + 0.5 * fl.Huber()
    y_pred = model(x)
    expected = penalized(y, y_pred) + 0.5 * keras.losses.Huber()(y, y_pred)
    assert_close(loss(y, y_pred), expected, 1e-6)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="l1 is -1"):
        fl.Regularized(fl.Huber(), [], l1=-1)
    with pytest.raises(ValueError, match="l2 is inf"):
        fl.Regularized(fl.Huber(), [], l2=float("inf"))
    with pytest.raises(ValueError, match="reduction to a scalar"):
        fl.Regularized(fl.Huber(reduction="none"), [])
    with pytest.raises(TypeError, match="no Keras loss"):
        fl.Regularized(keras.losses.mean_squared_error, [])
