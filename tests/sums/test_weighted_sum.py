"""Arithmetic of losses against the same arithmetic of Keras's results."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import LOSS_BOUNDS, assert_close, run_python, value_and_gradient
from kernels import same_bits

import fastloss as fl
from fastloss import ops

ROWS, COLUMNS = 24, 5


def data(seed=0, shape=(ROWS, COLUMNS)):
    random = np.random.default_rng(seed)
    y_true = random.integers(0, 2, shape).astype("float32")
    return y_true, random.uniform(0.05, 0.95, shape).astype("float32")


def parts(library, **arguments):
    """Losses and factors; two of them differ in whether Keras broadcasts the labels."""
    return [
        (1.0, library.MeanSquaredError(**arguments)),
        (0.5, library.Huber(delta=0.3, **arguments)),
        (-0.25, library.BinaryCrossentropy(label_smoothing=0.1, **arguments)),
        (2.0, library.KLDivergence(**arguments)),
    ]


def ours(**arguments):
    return sum(factor * loss for factor, loss in parts(fl, **arguments))


def theirs(**arguments):
    def total(*inputs):
        return sum(factor * loss(*inputs) for factor, loss in parts(keras.losses, **arguments))

    return total


def ops_in(function, *inputs):
    graph = tf.function(function).get_concrete_function(*inputs).graph
    return [op.type for op in graph.get_operations() if op.type.startswith("Fastloss")]


# Values and gradients


@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None]
)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_sum_equals_keras(mode, weighted, reduction, backend):
    y_true, y_pred = data()
    weight = (np.random.default_rng(1).uniform(0, 2, ROWS).astype("float32"),) * weighted
    expected = value_and_gradient(theirs(reduction=reduction), y_true, y_pred, *weight)
    loss = ours(reduction=reduction)

    def run(*inputs):
        return value_and_gradient(loss, *inputs)

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "xla")
    actual = run(*map(tf.constant, (y_true, y_pred, *weight)))
    assert_close(actual[0], expected[0], 4e-6)
    assert_close(actual[1], expected[1], 8e-6)


@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 1), (ROWS, COLUMNS)], ids=str)
def test_weights_of_every_shape(shape, backend):
    y_true, y_pred = data(shape=(ROWS, COLUMNS, 3))
    weight = np.random.default_rng(1).uniform(0, 2, shape).astype("float32")
    if shape == (ROWS,):
        weight = weight[:, np.newaxis]
    actual = value_and_gradient(ours(), y_true, y_pred, weight)
    expected = value_and_gradient(theirs(), y_true, y_pred, weight)
    assert_close(actual[0], expected[0], 4e-6)
    assert_close(actual[1], expected[1], 8e-6)


def test_mask_equals_keras(backend):
    y_true, y_pred = data()
    results = []
    for loss in (ours(), theirs()):
        masked = tf.constant(y_pred)
        masked._keras_mask = tf.constant(np.arange(ROWS) % 3 != 1)
        with tf.GradientTape() as tape:
            tape.watch(masked)
            value = loss(y_true, masked)
        results.append((value, tape.gradient(value, masked)))
    assert_close(results[0][0], results[1][0], 4e-6)
    assert_close(results[0][1], results[1][1], 8e-6)


@pytest.mark.parametrize("shapes", [((ROWS,), (ROWS, 1)), ((ROWS, 1), (ROWS,)), ((1, 5), (24, 5))])
def test_ranks_and_shapes_meet_as_in_keras(shapes, backend):
    y_true, y_pred = data(shape=shapes[0])[0], data(shape=shapes[1])[1]
    loss = fl.MeanSquaredError() + 2 * fl.Huber()
    keras_losses = keras.losses.MeanSquaredError(), keras.losses.Huber()
    expected = keras_losses[0](y_true, y_pred) + 2 * keras_losses[1](y_true, y_pred)
    assert_close(loss(y_true, y_pred), expected, 4e-6)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_dtypes(dtype, backend):
    y_true, y_pred = data()
    narrow = tf.cast(y_pred, dtype)
    loss = fl.MeanSquaredError() + 0.5 * fl.Huber()
    wide = tf.cast(narrow, tf.float64)
    expected = sum(
        factor * x(dtype="float64")(y_true.astype("float64"), wide)
        for factor, x in ((1, keras.losses.MeanSquaredError), (0.5, keras.losses.Huber))
    )
    value = loss(y_true, narrow)
    assert value.dtype == tf.float32
    assert_close(value, expected, LOSS_BOUNDS["float32"])


def test_float64_terms_make_a_float64_sum(backend):
    loss = fl.MeanSquaredError(dtype="float64") + fl.Huber()
    y_true, y_pred = data()
    assert loss(y_true, y_pred).dtype == tf.float64


# Arithmetic


def test_operators():
    x, y = fl.MeanSquaredError(), fl.Huber()
    for loss, factors in (
        (x + y, (1, 1)),
        (x - y, (1, -1)),
        (-x, (-1,)),
        (x * 3, (3,)),
        (3 * x, (3,)),
        (np.float32(3) * x, (3,)),
        (x / 4, (0.25,)),
        (2 * (x + 0.5 * y) - y / 2, (2, 1, -0.5)),
        (sum([x, y, x]), (1, 1, 1)),
        (0 - x, (-1,)),
    ):
        assert isinstance(loss, fl.WeightedSum)
        assert loss.factors == factors
    assert x + 0 is x
    assert sum([x]) is x


@pytest.mark.parametrize("other", ["a loss", 1, None, True])
def test_what_is_no_loss_cannot_be_added(other):
    with pytest.raises(TypeError, match="unsupported operand"):
        fl.Huber() + other
    with pytest.raises(TypeError, match="unsupported operand"):
        other - fl.Huber()


@pytest.mark.parametrize("factor", [None, True, fl.Huber()])
def test_what_is_no_number_is_no_factor(factor):
    with pytest.raises(TypeError, match="unsupported operand"):
        fl.MeanSquaredError() * factor


def test_wrong_sums_are_refused():
    with pytest.raises(ValueError, match="losses is empty"):
        fl.WeightedSum([])
    with pytest.raises(ValueError, match="one finite number for each of the 1 losses"):
        fl.WeightedSum([fl.Huber()], [1.0, 2.0])
    with pytest.raises(ValueError, match="one finite number"):
        float("nan") * fl.Huber()
    with pytest.raises(TypeError, match="no Keras loss"):
        fl.WeightedSum([keras.losses.mean_squared_error])
    with pytest.raises(ValueError, match="huber_loss has the reduction 'none'"):
        fl.MeanSquaredError() + fl.Huber(reduction="none")


def test_rows_of_different_shapes_are_refused(backend):
    loss = fl.MeanSquaredError(reduction="none") + fl.BinaryCrossentropy(axis=1, reduction="none")
    with pytest.raises(ValueError, match=r"losses per row of shapes \(24,\), \(5,\)"):
        fl.WeightedSum([fl.MeanSquaredError(reduction="none"), _Columns(reduction="none")])(*data())
    y_true, y_pred = data()
    assert loss(y_true, y_pred).shape == (ROWS,)


class _Columns(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(y_true * y_pred, axis=0)


class Own(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 3, axis=-1)


@pytest.mark.parametrize("other", [keras.losses.CosineSimilarity, Own, fl.CosineSimilarity])
def test_losses_of_other_origin(other, backend):
    y_true, y_pred = data()
    weight = np.random.default_rng(1).uniform(0, 2, ROWS).astype("float32")
    expected = other()(y_true, y_pred, weight) + keras.losses.Huber()(y_true, y_pred, weight)
    for loss in (other() + fl.Huber(), fl.Huber() + other()):
        assert_close(loss(y_true, y_pred, weight), expected, 4e-6)
    difference = other() - 2 * fl.Huber()
    assert difference.factors == (1, -2)


def test_call_gives_rows():
    y_true, y_pred = data()
    expected = sum(f * loss.call(y_true, y_pred) for f, loss in parts(keras.losses))
    assert_close(ours().call(y_true, y_pred), expected, 4e-6)


# Which terms share a pass


def test_elementwise_terms_are_one_op():
    y_true, y_pred = map(tf.constant, data())
    assert ops_in(ours(), y_true, y_pred) == ["FastlossElementwiseSum"]
    assert ops_in(ours(reduction="none"), y_true, y_pred) == ["FastlossElementwiseRows"]
    loss = fl.MeanSquaredError() + fl.Huber()
    column = tf.ones([ROWS, 1])
    assert ops_in(loss, tf.ones([ROWS]), column) == ["FastlossElementwiseSum"]


@pytest.mark.parametrize(
    "other",
    [
        lambda: fl.Huber(reduction="sum"),
        lambda: fl.Huber(dtype="float64"),
        lambda: fl.BinaryCrossentropy(axis=0),
        lambda: fl.BinaryCrossentropy(pos_weight=2.0),
        lambda: fl.CosineSimilarity(),
    ],
)
def test_terms_that_do_not_meet_are_ops_of_their_own(other):
    y_true, y_pred = data()
    loss = fl.MeanSquaredError() + other()
    assert len(ops_in(loss, tf.constant(y_true), tf.constant(y_pred))) == 2
    assert_close(
        loss(y_true, y_pred),
        fl.MSE(y_true, y_pred).numpy().mean() + float(other()(y_true, y_pred)),
        4e-6,
    )


def test_logits_behind_a_sigmoid_are_read_by_those_that_want_them():
    @tf.function
    def run(y_true, x):
        return loss(y_true, tf.sigmoid(x))

    y_true, x = tf.constant(data()[0]), tf.constant(data()[1])
    loss = fl.MeanSquaredError() + fl.BinaryCrossentropy() + fl.BinaryFocalCrossentropy()
    expected = sum(part(y_true, tf.sigmoid(x)) for part in loss.losses)
    assert_close(run(y_true, x), expected, 4e-6)
    names = [op.type for op in run.get_concrete_function(y_true, x).graph.get_operations()]
    assert names.count("FastlossElementwiseSum") == 1
    assert names.count("FastlossElementwise") == 1


def test_explain():
    loss = fl.MeanSquaredError() + fl.CosineSimilarity() - 0.5 * fl.Huber() + Own(name="own")
    assert loss.explain().splitlines() == [
        "weighted_sum: 4 losses in 3 passes",
        "  1. 1 * mean_squared_error - 0.5 * huber_loss (elementwise)",
        "  2. 1 * cosine_similarity (alone)",
        "  3. 1 * own (alone)",
    ]
    assert (fl.Huber() * 2).explain().startswith("weighted_sum: 1 losses in 1 pass\n")


# Terms and metrics


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none"])
def test_terms_are_what_the_losses_give_alone(reduction, backend):
    y_true, y_pred = data()
    weight = np.random.default_rng(1).uniform(0, 2, ROWS).astype("float32")
    losses = [fl.MeanSquaredError, fl.Huber, fl.Huber, fl.CosineSimilarity]
    losses = [loss(reduction=reduction) for loss in losses]
    terms = fl.WeightedSum(losses, [3, 2, 1, -1]).terms(y_true, y_pred, weight)
    assert list(terms) == ["mean_squared_error", "huber_loss", "huber_loss_1", "cosine_similarity"]
    for value, loss in zip(terms.values(), losses, strict=True):
        assert same_bits(value, loss(y_true, y_pred, weight))


def test_terms_carry_no_gradient(backend):
    y_true, y_pred = map(tf.constant, data())
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        total = sum((fl.Huber() + fl.CosineSimilarity()).terms(y_true, y_pred).values())
    assert tape.gradient(total, y_pred) is None


def model_and_data(loss, metrics=None, **arguments):
    random = np.random.default_rng(3)
    x = random.standard_normal((50, 4)).astype("float32")
    y = random.uniform(0, 1, (50, COLUMNS)).astype("float32")
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(COLUMNS, activation="softplus")]
    )
    model.compile(keras.optimizers.SGD(0.1), loss=loss, metrics=metrics, **arguments)
    return model, x, y


class KerasSum(keras.losses.Loss):
    def __call__(self, y_true, y_pred, sample_weight=None):
        first = keras.losses.MeanSquaredError()(y_true, y_pred, sample_weight)
        return first + 0.5 * keras.losses.Huber(0.3)(y_true, y_pred, sample_weight)


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [{"jit_compile": False}, {"jit_compile": True}, {"run_eagerly": True}], ids=str
)
def test_fit_and_its_metrics(how, backend):
    loss = fl.MeanSquaredError() + 0.5 * fl.Huber(0.3)
    weight = np.random.default_rng(5).uniform(0, 2, 50).astype("float32")
    model, x, y = model_and_data(loss, loss.metrics(), **how)
    other, _, _ = model_and_data(KerasSum(), **how)
    histories = [
        m.fit(x, y, sample_weight=weight, batch_size=16, epochs=3, shuffle=False, verbose=0).history
        for m in (model, other)
    ]
    assert_close(histories[0]["loss"], histories[1]["loss"], 1e-5)
    assert set(histories[0]) == {"loss", "mean_squared_error", "huber_loss"}
    first, second = (np.array(histories[0][k]) for k in ("mean_squared_error", "huber_loss"))
    assert_close(first + 0.5 * second, histories[0]["loss"], 1e-5)
    _, *values = model.evaluate(x, y, batch_size=50, verbose=0)
    y_pred = model(x)
    expected = [float(term(y, y_pred)) for term in loss.losses]
    assert_close(values, expected, 1e-5)


def test_metrics_read_what_the_loss_computed():
    loss = fl.MeanSquaredError() + 0.5 * fl.Huber() + fl.CosineSimilarity()
    metrics = loss.metrics()

    def step(y_true, y_pred):
        value = loss(y_true, y_pred)
        for metric in metrics:
            metric.update_state(y_true, y_pred)
        return value

    y_true, y_pred = map(tf.constant, data())
    assert sorted(ops_in(step, y_true, y_pred)) == ["FastlossElementwiseSum", "FastlossRowwise"]


def test_a_metric_without_the_loss_computes_its_term(backend):
    y_true, y_pred = data()
    loss = fl.MeanSquaredError() + 0.5 * fl.Huber()
    for metric, term in zip(loss.metrics(), loss.losses, strict=True):
        metric.update_state(y_true, y_pred)
        assert_close(metric.result(), term(y_true, y_pred), 1e-6)
    with pytest.raises(ValueError, match="term is 'hubert'"):
        type(loss.metrics()[0])(loss, "hubert")


def test_values_of_a_graph_are_not_read_outside_of_it():
    y_true, y_pred = map(tf.constant, data())
    loss = fl.MeanSquaredError() + fl.Huber()

    @tf.function
    def run():
        return loss(y_true, y_pred)

    run()
    metric = loss.metrics()[0]
    metric.update_state(y_true, y_pred)
    assert_close(metric.result(), fl.MeanSquaredError()(y_true, y_pred), 1e-6)


# Serialization


def test_config_round_trip():
    loss = fl.MeanSquaredError(reduction="sum") - 0.5 * fl.Huber(0.3, reduction="sum")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, fl.WeightedSum)
    assert again.get_config() == loss.get_config()
    assert again(*data()) == loss(*data())


@pytest.mark.slow
def test_saved_model_keeps_loss_and_metrics(tmp_path):
    loss = fl.MeanSquaredError() + 0.5 * fl.Huber(0.3) + keras.losses.CosineSimilarity()
    model, x, y = model_and_data(loss, loss.metrics())
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.loss.get_config() == loss.get_config()
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    actual = again.evaluate(x, y, verbose=0, return_dict=True)
    assert set(actual) == {"loss", "mean_squared_error", "huber_loss", "cosine_similarity"}
    for name in expected:
        assert_close(actual[name], expected[name], 1e-6)
    again.fit(x, y, verbose=0)


def test_works_without_the_library():
    assert "0.5" in run_python(
        "import fastloss as fl, numpy as np\n"
        "loss = fl.MeanSquaredError() - 0.5 * fl.MeanAbsoluteError()\n"
        "print(float(loss(np.zeros((2, 3)), np.ones((2, 3)))))",
        FASTLOSS_BACKEND="reference",
    )


def test_single_losses_are_what_they_were():
    """A loss by itself is computed by the op of one loss, not by a sum of one."""
    y_true, y_pred = map(tf.constant, data())
    assert ops_in(fl.MeanSquaredError(), y_true, y_pred) == ["FastlossElementwise"]
    assert ops.backend() == "fused"
