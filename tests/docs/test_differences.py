"""The table of docs/differences.md, row by row."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import fastloss as fl


def value_and_gradient(loss, y_true, y_pred):
    y_pred = tf.convert_to_tensor(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(tf.convert_to_tensor(y_true), y_pred)
    return value.numpy(), tape.gradient(value, y_pred).numpy()


def test_huber_keeps_its_delta() -> None:
    loss = keras.losses.deserialize(keras.losses.serialize(fl.Huber(delta=3.0)))
    assert loss.delta == 3.0
    assert "delta" not in keras.losses.Huber(delta=3.0).get_config()


def test_log_cosh_of_a_small_error() -> None:
    y_true, y_pred = np.zeros((1, 1), np.float32), np.full((1, 1), 1e-4, np.float32)
    assert float(keras.losses.LogCosh()(y_true, y_pred)) == 0
    np.testing.assert_allclose(float(fl.LogCosh()(y_true, y_pred)), 5e-9, rtol=1e-6)


def test_log_cosh_in_float64() -> None:
    y_true, y_pred = np.zeros((1, 1)), np.full((1, 1), 2.0)
    truth = np.log(np.cosh(2.0))
    theirs = float(keras.losses.LogCosh(dtype="float64")(y_true, y_pred))
    assert abs(float(fl.LogCosh(dtype="float64")(y_true, y_pred)) - truth) < 1e-15
    assert 1e-9 < abs(theirs - truth) < 3e-9


def test_squared_logarithmic_error_of_close_numbers() -> None:
    y_true, y_pred = np.full((1, 1), 5, np.float32), np.full((1, 1), 5.001, np.float32)
    truth = np.square(np.log1p(y_pred.astype(float)) - np.log1p(y_true.astype(float))).item()
    ours = float(fl.MeanSquaredLogarithmicError()(y_true, y_pred))
    theirs = float(keras.losses.MeanSquaredLogarithmicError()(y_true, y_pred))
    np.testing.assert_allclose(ours, truth, rtol=1e-6)
    assert abs(theirs - truth) > 1e-4 * truth


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_logits_behind_a_half_precision_sigmoid(dtype: str) -> None:
    y_pred = keras.ops.sigmoid(tf.constant([[40.0, -40.0]], dtype))
    y_true = tf.constant([[0.0, 1.0]])
    np.testing.assert_allclose(float(fl.BinaryCrossentropy()(y_true, y_pred)), 40, rtol=1e-6)
    assert float(keras.losses.BinaryCrossentropy()(y_true, y_pred)) < 17


@pytest.mark.parametrize(
    "name",
    [
        "Hinge",
        "SquaredHinge",
        "BinaryCrossentropy",
        "KLDivergence",
        "MeanSquaredLogarithmicError",
    ],
)
def test_nan_stays_visible_in_the_gradient(name: str) -> None:
    y_true, y_pred = np.float32([[1, 0]]), np.float32([[np.nan, 0.5]])
    value, gradient = value_and_gradient(getattr(fl, name)(), y_true, y_pred)
    assert np.isnan(value)
    assert np.isnan(gradient[0, 0]) and np.isfinite(gradient[0, 1])
    value, gradient = value_and_gradient(getattr(keras.losses, name)(), y_true, y_pred)
    assert np.isnan(value) and gradient[0, 0] == 0


def test_focal_loss_of_gamma_below_one_at_a_certain_prediction() -> None:
    one = np.ones((1, 1), np.float32)
    assert value_and_gradient(fl.BinaryFocalCrossentropy(gamma=0.5), one, one)[1] == -np.inf
    theirs = value_and_gradient(keras.losses.BinaryFocalCrossentropy(gamma=0.5), one, one)[1]
    assert np.isnan(theirs)


def test_float64_predictions_are_not_cast() -> None:
    y_true, y_pred = np.zeros((1, 1)), np.full((1, 1), 1 + 2.0**-40)
    value, gradient = value_and_gradient(fl.MeanSquaredError(), y_true, y_pred)
    assert value.dtype == np.float32
    assert gradient[0, 0] == 2 * y_pred[0, 0]
    assert value_and_gradient(keras.losses.MeanSquaredError(), y_true, y_pred)[1] == 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_functions_on_half_types_give_float32(dtype: str) -> None:
    y_pred = tf.fill([1, 70000], tf.constant(1.5, dtype))
    assert fl.mean_squared_error(tf.zeros_like(y_pred), y_pred).numpy() == np.float32(2.25)
    assert keras.losses.mean_squared_error(tf.zeros_like(y_pred), y_pred).dtype == dtype


def test_half_dtype_of_a_loss_is_only_its_result() -> None:
    y_true, y_pred = np.zeros((1, 2049), np.float32), np.ones((1, 2049), np.float32)
    loss = fl.MeanSquaredError(reduction="sum", dtype="bfloat16")(y_true, y_pred * 2)
    assert loss.dtype == tf.bfloat16
    assert float(loss) == 4
    one_and_a_bit = y_pred + 2.0**-9
    assert value_and_gradient(loss_in("bfloat16"), y_true, one_and_a_bit)[1][0, 0] == np.float32(
        2 * (1 + 2.0**-9) / 2049
    )


def loss_in(dtype: str) -> keras.losses.Loss:
    return fl.MeanSquaredError(dtype=dtype)


def test_shapes_that_differ_only_at_run_time() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None, 3])])
    def step(y_true, y_pred):
        return fl.MeanSquaredError()(y_true, y_pred)

    assert step(tf.ones([4, 3]), tf.zeros([4, 3])) == 1
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[1, 3\].*\[4, 3\]"):
        step(tf.ones([1, 3]), tf.zeros([4, 3]))


def test_a_scalar_is_one_number() -> None:
    assert float(fl.MeanSquaredError()(3.0, 1.0)) == 4
    with pytest.raises(tf.errors.InvalidArgumentError):
        keras.losses.MeanSquaredError()(tf.constant(3.0), tf.constant(1.0))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("BinaryCrossentropy", {"label_smoothing": 1.5}),
        ("BinaryFocalCrossentropy", {"alpha": -0.5}),
        ("BinaryFocalCrossentropy", {"gamma": -1.0}),
        ("Huber", {"delta": -1.0}),
        ("CategoricalCrossentropy", {"label_smoothing": 1.5}),
        ("CategoricalFocalCrossentropy", {"alpha": -0.5}),
        ("CategoricalFocalCrossentropy", {"gamma": -1.0}),
        ("SparseCategoricalCrossentropy", {"ignore_class": 1.5}),
    ],
)
def test_arguments_without_a_meaning(name: str, arguments: dict[str, float]) -> None:
    getattr(keras.losses, name)(**arguments)
    with pytest.raises(ValueError, match=next(iter(arguments))):
        getattr(fl, name)(**arguments)


# Losses over rows of classes


def test_labels_that_do_not_sum_to_one() -> None:
    y_true, y_pred = np.float32([[2, 0]]), np.float32([[0, 0]])
    gradients = [
        value_and_gradient(losses.CategoricalCrossentropy(True), y_true, y_pred)[1]
        for losses in (fl, keras.losses)
    ]
    np.testing.assert_allclose(gradients[0], [[-1, 1]])
    np.testing.assert_allclose(gradients[1], [[-1.5, 0.5]])


def test_a_masked_class_beside_a_one_hot_label() -> None:
    y_true, y_pred = np.float32([[0, 1, 0]]), np.float32([[1, 2, -np.inf]])
    np.testing.assert_allclose(
        fl.CategoricalCrossentropy(True)(y_true, y_pred), np.log1p(np.exp(-1)), rtol=1e-6
    )
    assert np.isnan(keras.losses.CategoricalCrossentropy(True)(y_true, y_pred))


def test_focal_loss_of_a_certain_mistake() -> None:
    y_true, y_pred = np.float32([[1, 0]]), np.float32([[0, 20]])
    ours, theirs = (
        value_and_gradient(losses.CategoricalFocalCrossentropy(from_logits=True), y_true, y_pred)
        for losses in (fl, keras.losses)
    )
    np.testing.assert_allclose(ours[0], 5, rtol=1e-6)
    np.testing.assert_allclose(ours[1], [[-0.25, 0.25]], rtol=1e-6)
    np.testing.assert_allclose(theirs[0], 4.03, rtol=1e-3)
    np.testing.assert_array_equal(theirs[1], [[0, 0]])


def test_generalized_crossentropy_of_a_column_of_labels() -> None:
    y_true, y_pred = np.array([[0], [1], [0]]), np.float32([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    ours = fl.CategoricalGeneralizedCrossEntropy(reduction=None)(y_true, y_pred)
    theirs = keras.losses.CategoricalGeneralizedCrossEntropy(reduction=None)(y_true, y_pred)
    assert (ours.shape, theirs.shape) == ((3,), (3, 3))


def test_generalized_crossentropy_looks_at_the_label_alone() -> None:
    ours, theirs = (losses.CategoricalGeneralizedCrossEntropy() for losses in (fl, keras.losses))
    y_pred = np.float32([[0, 0.4, 0.6]])
    np.testing.assert_array_equal(value_and_gradient(ours, [0], y_pred)[1], [[-np.inf, 0, 0]])
    assert np.isnan(value_and_gradient(theirs, [0], y_pred)[1][0, 1:]).all()
    y_pred = np.float32([[np.nan, 0.25, 0.5]])
    assert value_and_gradient(ours, [1], y_pred)[0] == 1
    assert np.isnan(value_and_gradient(theirs, [1], y_pred)[0])


def test_a_label_that_is_no_class() -> None:
    y_pred = np.float32([[0.25, 0.25, 0.5]])
    assert keras.losses.CategoricalGeneralizedCrossEntropy()(np.array([3]), y_pred) == 2
    with pytest.raises(tf.errors.InvalidArgumentError):
        keras.losses.SparseCategoricalCrossentropy()(np.array([3]), y_pred)
    with fl.use_backend("reference"):
        for loss in (fl.CategoricalGeneralizedCrossEntropy(), fl.SparseCategoricalCrossentropy()):
            value, gradient = value_and_gradient(loss, [3], y_pred)
            assert np.isnan(value) and np.isnan(gradient).all()


def test_class_numbers_are_not_rounded() -> None:
    y_true, y_pred = np.array([257]), np.eye(300, dtype=np.float32)[257:258] * 100
    for losses, expected in ((fl, 0), (keras.losses, 100)):
        loss = losses.SparseCategoricalCrossentropy(True, dtype="bfloat16")
        assert float(loss(y_true, y_pred)) == expected


def test_axis_of_the_classes_may_be_any() -> None:
    y_true, y_pred = np.array([[0, 1]]), np.zeros((1, 3, 2), np.float32)
    loss = fl.SparseCategoricalCrossentropy(True, axis=1)
    np.testing.assert_allclose(loss(y_true, y_pred), np.log(3), rtol=1e-6)
    with pytest.raises(ValueError, match="axis=-1"):
        keras.losses.SparseCategoricalCrossentropy(True, axis=1)(y_true, y_pred)
    y_true = np.ones((1, 3, 2), np.float32) / 3
    loss = fl.CategoricalCrossentropy(True, axis=-2)
    np.testing.assert_allclose(loss(y_true, y_pred), np.log(3), rtol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError):
        keras.losses.CategoricalCrossentropy(True, axis=-2)(y_true, y_pred)


def test_smoothed_labels_sum_to_one_along_any_axis() -> None:
    y_true = np.zeros((1, 2, 4), np.float32)
    y_true[:, 0] = 1
    y_pred = np.full((1, 2, 4), 0.5, np.float32)
    loss = fl.CategoricalCrossentropy(label_smoothing=0.5, axis=1)
    np.testing.assert_allclose(loss(y_true, y_pred), np.log(2), rtol=1e-6)


def test_alpha_per_class_along_another_axis() -> None:
    y_true, y_pred = np.zeros((1, 2, 3), np.float32), np.zeros((1, 2, 3), np.float32)
    y_true[0, [0, 1, 0], [0, 1, 2]] = 1
    arguments = {"alpha": [1.0, 2.0], "gamma": 0.0, "from_logits": True, "axis": 1}
    loss = fl.CategoricalFocalCrossentropy(**arguments, reduction=None)
    np.testing.assert_allclose(loss(y_true, y_pred), np.log(2) * np.array([[1, 2, 1]]), rtol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError):
        keras.losses.CategoricalFocalCrossentropy(**arguments)(y_true, y_pred)


@pytest.mark.parametrize("name", ["SparseCategoricalCrossentropy", "CosineSimilarity"])
def test_axis_is_kept(name: str) -> None:
    assert getattr(fl, name)(axis=1).get_config()["axis"] == 1
    assert "axis" not in getattr(keras.losses, name)(axis=1).get_config()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_logits_behind_a_half_precision_softmax(dtype: str) -> None:
    y_pred = keras.activations.softmax(tf.constant([[40.0, 0.0]], dtype))
    y_true = np.array([1])
    np.testing.assert_allclose(fl.SparseCategoricalCrossentropy()(y_true, y_pred), 40, rtol=1e-6)
    assert float(keras.losses.SparseCategoricalCrossentropy()(y_true, y_pred)) < 17


def test_cosine_similarity_of_zeros_under_xla() -> None:
    y_true, y_pred = np.float32([[3, 4]]), np.zeros((1, 2), np.float32)

    def gradient(losses):
        @tf.function(jit_compile=True)
        def step(p):
            with tf.GradientTape() as tape:
                tape.watch(p)
                value = losses.CosineSimilarity()(y_true, p)
            return tape.gradient(value, p)

        return step(tf.constant(y_pred))

    np.testing.assert_allclose(gradient(fl), [[-6e6, -8e6]], rtol=1e-6)
    assert np.isnan(gradient(keras.losses)).all()


def test_cosine_similarity_broadcast_along_the_vectors() -> None:
    y_true, y_pred = np.float32([[2]]), np.ones((1, 4), np.float32)
    assert float(fl.CosineSimilarity()(y_true, y_pred)) == -1
    assert float(keras.losses.CosineSimilarity()(y_true, y_pred)) == -2


def test_sparse_labels_of_one_class() -> None:
    y_true, y_pred = np.zeros((2, 3), int), np.zeros((2, 3, 1), np.float32)
    assert float(fl.SparseCategoricalCrossentropy(True)(y_true, y_pred)) == 0
    with pytest.raises(ValueError, match="output"):
        keras.losses.SparseCategoricalCrossentropy(True)(y_true, y_pred)
