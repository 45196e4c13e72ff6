"""The ops as they run on a GPU, on the host: kernels, scratch, weights, outputs and gradients.

`fastloss_tensorflow_gpu_on_host` of `tests/cuda_host` registers what the package registers for GPUs
for the CPU, with a library that stands in for CUDA. It takes the place of the package's library for
a whole run of pytest:

    cmake --preset test && cmake --build --preset test --target fastloss_tensorflow_gpu_on_host
    FASTLOSS_GPU_ON_HOST=$PWD/build/test/tests/cuda_host/libfastloss_tensorflow_gpu_on_host.so \
        pytest tests/library/test_gpu_ops.py
"""

from __future__ import annotations

import os
from typing import Any

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import assert_close, assert_same, float64, value_and_gradient
from subjects import ONE_EACH, SUBJECTS, Subject

import fastloss as fl
from fastloss import c_api
from fastloss.ops import library

pytestmark = pytest.mark.skipif(
    "FASTLOSS_GPU_ON_HOST" not in os.environ,
    reason="FASTLOSS_GPU_ON_HOST names no library; how to build it is said above",
)

every_loss = pytest.mark.parametrize("subject", SUBJECTS, ids=[x.id for x in SUBJECTS])
one_each = pytest.mark.parametrize("subject", ONE_EACH, ids=[x.pattern for x in ONE_EACH])


def expected(call: Any, *inputs: Any) -> tuple[Any, Any]:
    """Value and gradient from the reference."""
    with fl.use_backend("reference"):
        return value_and_gradient(call, *inputs)


def test_every_op_has_a_kernel() -> None:
    assert library.why_not_on_gpu() == ""
    assert fl.backend() == "fused"


@every_loss
def test_every_weight_in_eager(subject: Subject) -> None:
    y_true, y_pred = subject.data()
    for weight in subject.weights:
        for reduction in ("none", "mean_with_sample_weight"):
            loss = subject.loss(reduction=reduction)
            actual = value_and_gradient(loss, y_true, y_pred, weight)
            what = f"{weight.shape} {reduction}"
            assert_same(actual, expected(loss, y_true, y_pred, weight), "float32", what)


@every_loss
def test_graph(subject: Subject) -> None:
    y_true, y_pred = subject.data()
    loss = subject.loss()

    @tf.function
    def twice(y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # The predictions are nobody else's, so that the gradient may overwrite them.
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, 0.5 * (y_pred + y_pred)) + loss(y_true, y_pred)
        return value, tape.gradient(value, y_pred)

    value, gradient = expected(loss, y_true, y_pred)
    # Loss and gradient of both, where an upstream of 1 leaves the second as it is.
    assert_same(twice(y_true, y_pred), (2 * value, 2 * gradient), "float32")


@one_each
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_dtypes(subject: Subject, dtype: str) -> None:
    y_true, y_pred = subject.data(dtype)
    for reduction in ("sum", "none"):
        loss = subject.loss(
            reduction=reduction, dtype="float64" if dtype == "float64" else "float32"
        )
        # A loss per row and float16 make their gradients in the backward pass.
        actual = value_and_gradient(loss, y_true, y_pred)
        wide = subject.loss(reduction=reduction, dtype="float64")
        truth = y_true if y_true.dtype.kind in "iu" else float64(y_true)
        assert_same(actual, expected(wide, truth, float64(y_pred)), dtype, reduction)


@one_each
@pytest.mark.parametrize("upstream", [1.0, -3.0])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_upstream_of_the_scalar(subject: Subject, upstream: float, graph: bool) -> None:
    y_true, y_pred = subject.data()
    loss = subject.loss()

    def call(y_true: Any, y_pred: Any) -> tf.Tensor:
        return upstream * loss(y_true, y_pred)

    def both(*inputs: Any) -> Any:
        return value_and_gradient(call, *inputs)

    actual = (tf.function(both) if graph else both)(y_true, y_pred)
    assert_same(actual, expected(call, y_true, y_pred), "float32")


@one_each
def test_gradient_keeps_what_is_still_needed(subject: Subject) -> None:
    y_true, y_pred = map(tf.constant, subject.data())
    before = y_pred.numpy()
    first = value_and_gradient(subject.loss(), y_true, y_pred)[1].numpy()
    tf.function(lambda p: value_and_gradient(subject.loss(), y_true, p))(y_pred)
    np.testing.assert_array_equal(y_pred, before)
    np.testing.assert_array_equal(value_and_gradient(subject.loss(), y_true, y_pred)[1], first)


@one_each
def test_gradients_of_weights_and_second_order(subject: Subject) -> None:
    y_true, y_pred = subject.data()
    weight = list(subject.weights)[-1]
    loss = subject.loss(reduction="sum")

    def second(y_true: Any, y_pred: Any) -> Any:
        weights = tf.constant(weight)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            tape.watch(y_pred)
            value = loss(y_true, y_pred, weights)
        slopes = tape.gradient(value, [y_pred, weights])
        return tf.reduce_sum(slopes[0] ** 2) + tf.reduce_sum(slopes[1] ** 2)

    for call in (second, tf.function(second)):
        actual = value_and_gradient(call, y_true, y_pred)
        truth = expected(second, y_true, y_pred)
        assert_close(actual[0], truth[0], 2e-5)
        assert_close(actual[1], truth[1], 2e-5)


@one_each
def test_nothing_but_shape_is_empty(subject: Subject) -> None:
    y_true, y_pred = subject.data()
    for reduction in ("sum", "none"):
        loss = subject.loss(reduction=reduction)
        actual = value_and_gradient(loss, y_true[:0], y_pred[:0])
        assert_same(actual, expected(loss, y_true[:0], y_pred[:0]), "float32", reduction)


@one_each
def test_a_weight_that_does_not_broadcast_is_refused(subject: Subject) -> None:
    y_true, y_pred = subject.data()
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        subject.loss()(y_true, y_pred, np.ones(5, np.float32))


@pytest.mark.parametrize("subject", ONE_EACH[1:3], ids=["rowwise", "overlap"])
def test_a_label_out_of_range_is_nan(subject: Subject) -> None:
    y_true, y_pred = subject.data()
    y_true.flat[5] = 7
    value, gradient = value_and_gradient(subject.loss(), y_true, y_pred)
    assert np.isnan(value)
    assert np.isnan(gradient).any()


@pytest.mark.parametrize("terms", [2, len(c_api.elementwise_losses()) + 3])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_sums(terms: int, graph: bool) -> None:
    y_true, y_pred = cases.find("Huber").data((5, 4))
    loss = sum((fl.Huber(0.1 + 0.2 * k) * (1 + k) for k in range(1, terms)), fl.LogCosh())
    both = tf.function(value_and_gradient) if graph else value_and_gradient
    assert_same(both(loss, y_true, y_pred), expected(loss, y_true, y_pred), "float32")


@pytest.mark.parametrize("subject", ONE_EACH[2:3], ids=["overlap"])
def test_sum_of_regions_and_rows(subject: Subject) -> None:
    y_true, y_pred = subject.data()
    loss = subject.loss() + 0.5 * fl.SparseCategoricalCrossentropy(from_logits=True)
    actual = value_and_gradient(loss, y_true, y_pred)
    assert_same(actual, expected(loss, y_true, y_pred), "float32")


class Columns:
    pattern = "columns"


@pytest.mark.parametrize("subject", [Columns()], ids=["columns"])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_columns_and_learned_weights(subject: Columns, graph: bool) -> None:
    y_true, y_pred = cases.find("Huber").data((6, 5))
    weight = np.linspace(0.5, 2, 6, dtype=np.float32)
    tasks = list(zip(((0, 3), (2, 5)), (fl.Huber(), fl.MeanAbsoluteError()), strict=True))
    fixed = fl.MultiTask(tasks, [2.0, 0.5])
    both = tf.function(value_and_gradient) if graph else value_and_gradient
    actual = both(fixed, y_true, y_pred, weight)
    assert_same(actual, expected(fixed, y_true, y_pred, weight), "float32")

    learning = fl.MultiTask(tasks, "uncertainty")
    layer = learning.layer()
    layer.log_variances.assign([0.3, -0.7])

    def learned() -> list[tf.Tensor]:
        predictions = tf.constant(y_pred)
        with tf.GradientTape() as tape:
            tape.watch(predictions)
            value = learning(y_true, layer(predictions))
        return [value, *tape.gradient(value, [predictions, layer.log_variances.value])]

    results = (tf.function(learned) if graph else learned)()
    with fl.use_backend("reference"):
        truth = learned()
    for x, y in zip(results, truth, strict=True):
        assert_close(tf.convert_to_tensor(x), tf.convert_to_tensor(y), 1e-5)


class Rows:
    pattern = "rowwise"


@pytest.mark.parametrize("subject", [Rows()], ids=["rowwise"])
def test_a_head_adds_up_the_gradient_of_its_kernel(subject: Rows) -> None:
    random = np.random.default_rng(2)
    hidden, kernel = (random.normal(size=s).astype("float32") for s in ((40, 6), (6, 9)))
    y_true = random.integers(0, 9, 40)

    def gradients() -> list[tf.Tensor]:
        inputs = [tf.constant(hidden), tf.constant(kernel)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            # Several chunks of tokens, and of the rows of the kernel.
            value = fl.linear_sparse_categorical_crossentropy(y_true, *inputs, memory_budget=256)
        return [value, *tape.gradient(value, inputs)]

    actual = tf.function(gradients)()
    with fl.use_backend("reference"):
        truth = gradients()
    for x, y in zip(actual, truth, strict=True):
        assert_close(x, y, 1e-5)


@one_each
def test_fit(subject: Subject) -> None:
    y_true, y_pred = subject.data()
    histories = []
    for backend in ("fused", "reference"):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [keras.layers.Dense(y_pred.shape[-1], kernel_initializer=keras.initializers.Identity())]
        )
        if subject.pattern == "overlap":
            y_true, y_pred = y_true[:2], y_pred[:2]
        model.compile(keras.optimizers.SGD(0.05), subject.loss(), jit_compile=False)
        with fl.use_backend(backend):
            histories.append(
                model.fit(y_pred, y_true, batch_size=1, epochs=2, verbose=0).history["loss"]
            )
    assert histories[0][1] != histories[0][0]
    np.testing.assert_allclose(*histories, rtol=1e-4)


def test_the_same_bits_every_time() -> None:
    y_true, y_pred = cases.find("Huber").data((3, 5000))
    results = {
        b"".join(x.numpy().tobytes() for x in value_and_gradient(fl.Huber(), y_true, y_pred))
        for _ in range(3)
    }
    assert len(results) == 1
