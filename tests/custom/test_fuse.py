"""Losses that `fl.fuse` makes of functions, against the same functions given to Keras."""

from __future__ import annotations

import warnings
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import assert_close

import fastloss as fl
from fastloss.custom import row_blocks
from fastloss.custom import value_and_gradient as machinery
from fastloss.custom.xla import Compiled

ROWS, COLUMNS = 12, 5


# Pages of the documentation have a loss of that name too.
@fl.fuse(package="TestFuse")
def charbonnier(y_true, y_pred, epsilon=0.1):
    """Mean of sqrt(error^2 + epsilon^2)."""
    return tf.reduce_mean(tf.sqrt((y_pred - y_true) ** 2 + epsilon**2), axis=-1)


@fl.fuse
def in_keras_ops(y_true, y_pred, power=2):
    if power == 3:
        return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 3, axis=-1)
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def whole(y_true, y_pred):
    """Rows depend on each other, and the result is a scalar."""
    overlap = tf.reduce_sum(y_true * y_pred)
    return 1 - overlap / (tf.reduce_sum(y_true**2) + tf.reduce_sum(y_pred**2))


def not_for_xla(y_true, y_pred):
    as_text = tf.strings.to_number(tf.strings.as_string(y_pred))
    return tf.reduce_mean((y_true - y_pred) ** 2 + 0 * as_text, axis=-1)


def data(shape=(ROWS, COLUMNS), dtype="float32", seed=0):
    random = np.random.default_rng(seed)
    return [tf.constant(random.uniform(0.1, 1, shape), dtype) for _ in range(2)]


def keras_loss(function, **options):
    """What Keras makes of a function, with a reduction of choice."""

    class Wrapped(keras.losses.MeanSquaredError):
        def __init__(self):
            super().__init__(**options)
            self.fn = function

    return Wrapped()


def value_and_gradients(loss, *inputs, sources=None, mask=None):
    watched = [x for x in inputs if x.dtype.is_floating] if sources is None else sources
    with tf.GradientTape() as tape:
        tape.watch(watched)
        if mask is not None:
            inputs = (inputs[0], tf.identity(inputs[1]), *inputs[2:])
            inputs[1]._keras_mask = mask
        value = loss(*inputs)
    return [value, *tape.gradient(value, watched)]


def assert_same(actual, expected, bound=4e-6):
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        assert_close(ours, theirs, bound)


@pytest.fixture(autouse=True)
def _small_inputs_are_compiled_too(monkeypatch):
    monkeypatch.setattr(machinery, "_WORTH_COMPILING", 0)


@pytest.fixture
def calls(monkeypatch):
    """Names of the functions that are called, compiled or not."""
    names = []
    original = Compiled._call

    def record(self, *arguments):
        names.append(self._function.__name__)
        return original(self, *arguments)

    monkeypatch.setattr(Compiled, "_call", record)
    return names


# Values and gradients


@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", None]
)
def test_equals_the_function_in_keras(reduction):
    inputs = [*data(), tf.random.uniform([ROWS])]
    loss = fl.fuse(charbonnier.function, reduction=reduction)
    expected = value_and_gradients(keras_loss(charbonnier.function, reduction=reduction), *inputs)
    assert_same(value_and_gradients(loss, *inputs), expected)
    if reduction is None:
        graph = tf.function(lambda *x: value_and_gradients(loss, *x))
        assert_same(graph(*inputs), expected)


@pytest.mark.parametrize(
    ("function", "mode"),
    [
        (charbonnier.function, "graph"),
        (charbonnier.function, "unknown batch"),
        (charbonnier.function, "xla"),
        (whole, "graph"),
    ],
)
def test_in_a_graph(function, mode):
    inputs = [*data(), tf.random.uniform([ROWS])]
    expected = value_and_gradients(keras_loss(function), *inputs)
    loss = fl.fuse(function)
    unknown = [tf.TensorSpec([None, *x.shape[1:]]) for x in inputs]
    run = tf.function(
        lambda *x: value_and_gradients(loss, *x),
        jit_compile=mode == "xla",
        input_signature=unknown if mode == "unknown batch" else None,
    )
    assert_same(run(*inputs), expected)


def test_tape_around_a_graph():
    inputs = data()
    graph = tf.function(lambda *x: charbonnier(*x))
    assert_same(
        value_and_gradients(graph, *inputs),
        value_and_gradients(keras_loss(charbonnier.function), *inputs),
    )


def test_mask_of_keras():
    inputs = [*data((4, 6, 3)), tf.random.uniform([4, 6])]
    mask = tf.constant(np.random.default_rng(1).integers(0, 2, (4, 6)), tf.bool)
    theirs = keras_loss(charbonnier.function)
    for some in (inputs[:2], inputs):
        sources = some[:1]
        assert_same(
            value_and_gradients(charbonnier, *some, mask=mask, sources=sources),
            value_and_gradients(theirs, *some, mask=mask, sources=sources),
        )


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_predictions_of_other_dtypes(dtype):
    y_true, y_pred = data(dtype=dtype)
    bound = {"float64": 4e-6, "bfloat16": 8e-3, "float16": 1e-3}[dtype]
    sources = [y_pred]
    theirs = keras_loss(charbonnier.function)
    expected = value_and_gradients(theirs, y_true, y_pred, sources=sources)
    actual = value_and_gradients(charbonnier, y_true, y_pred, sources=sources)
    assert actual[1].dtype == y_pred.dtype and actual[0].dtype == tf.float32
    assert_same(actual, expected, bound)


def test_float16_gradient_survives_a_small_loss_scale():
    y_true, y_pred = data((400, 500), "float16")
    loss = fl.fuse(charbonnier.function, reduction="mean")
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        scaled = loss(y_true, y_pred) * 2.0**15
    gradient = tf.cast(tape.gradient(scaled, y_pred), tf.float64)
    y_true, y_pred = tf.cast(y_true, tf.float32), tf.cast(y_pred, tf.float32)
    expected = value_and_gradients(keras_loss(charbonnier.function), y_true, y_pred)[2]
    assert_close(gradient, tf.cast(expected, tf.float64) * 2.0**15, 1e-3)


def test_dtype_of_the_loss():
    inputs = data(dtype="float64")
    loss = fl.fuse(charbonnier.function, dtype="float64")
    assert_same(
        value_and_gradients(loss, *inputs),
        value_and_gradients(keras_loss(charbonnier.function, dtype="float64"), *inputs),
        1e-13,
    )


def test_ranks_that_differ_by_one_and_integer_labels():
    _, y_pred = data((ROWS, 1))
    labels = tf.constant(np.random.default_rng(2).integers(0, 3, ROWS))
    assert_same(
        value_and_gradients(charbonnier, labels, y_pred),
        value_and_gradients(keras_loss(charbonnier.function), labels, y_pred),
    )


def test_call_gives_rows():
    y_true, y_pred = data()
    assert_close(charbonnier.call(y_true, y_pred), charbonnier.function(y_true, y_pred), 4e-6)


def test_second_gradients():
    inputs = [*data(), tf.random.uniform([ROWS])]

    def second(loss):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            first = value_and_gradients(loss, *inputs)
            norm = tf.add_n([tf.reduce_sum(x**2) for x in first[1:]])
        return tape.gradient(norm, inputs)

    assert_same(second(charbonnier), second(keras_loss(charbonnier.function)))


def test_second_gradient_around_a_graph():
    y_true, y_pred = data()

    def second(first):
        with tf.GradientTape() as tape:
            tape.watch([y_true, y_pred])
            norm = tf.reduce_sum(first(y_true, y_pred) ** 2)
        return tape.gradient(norm, [y_true, y_pred])

    def gradient_of(loss):
        return lambda y_true, y_pred: value_and_gradients(loss, y_true, y_pred, sources=[y_pred])[1]

    expected = second(gradient_of(keras_loss(charbonnier.function)))
    assert_same(second(tf.function(gradient_of(charbonnier))), expected)


def test_persistent_tape_and_upstream():
    y_true, y_pred = data()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(y_pred)
        value = charbonnier(y_true, y_pred)
        scaled = 3 * value
    once, thrice, again = (tape.gradient(x, y_pred) for x in (value, scaled, value))
    np.testing.assert_array_equal(once, again)
    assert_close(thrice, 3 * once, 4e-6)


def test_gradient_check_of_the_package():
    fl.testing.check_gradients(charbonnier, *data((4, 3))).raise_if_failed()


# One call


def test_value_and_gradient_are_one_call(calls):
    y_true, y_pred = data()
    value_and_gradients(charbonnier, y_true, y_pred, sources=[y_pred])
    assert calls == ["_with_slope"]
    calls.clear()
    charbonnier(y_true, y_pred)
    assert calls == ["program"]
    calls.clear()
    value_and_gradients(charbonnier, y_true, y_pred)
    assert calls == ["_with_slope", "gradient"]


def test_gradients_that_nobody_reads_can_be_pruned():
    y_true, y_pred = data()
    graph = tf.function(lambda *x: value_and_gradients(charbonnier, *x, sources=[x[1]]))
    concrete = graph.get_concrete_function(y_true, y_pred)
    called = [op.type for op in concrete.graph.get_operations() if "PartitionedCall" in op.type]
    # A stateless call whose results are not read is not made.
    assert called == ["PartitionedCall"] * 2


def test_is_compiled():
    loss = fl.fuse(charbonnier.function)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value_and_gradients(loss, *data())
    (program,) = loss._programs.values()
    assert program._value_and_slope._supported
    hlo = program._value_and_slope._fused_once.experimental_get_compiler_ir(*data())(stage="hlo")
    assert "sqrt" in hlo


# Parameters


def test_parameters_are_bound():
    y_true, y_pred = data()
    expected = tf.reduce_mean(charbonnier.function(y_true, y_pred, epsilon=0.7))
    bound = partial(charbonnier.function, epsilon=0.7)
    for loss in (charbonnier.with_(epsilon=0.7), fl.fuse(bound)):
        assert loss.parameters == {"epsilon": 0.7}
        assert_close(loss(y_true, y_pred), expected, 4e-6)
    assert charbonnier.parameters == {}


def test_parameter_that_chooses_a_branch():
    y_true, y_pred = data()
    cubed = tf.reduce_mean(tf.abs(y_true - y_pred) ** 3)
    assert_close(in_keras_ops.with_(power=3)(y_true, y_pred), cubed, 4e-6)


@pytest.mark.parametrize("kind", [tf.Variable, keras.Variable])
def test_variable_as_a_parameter(kind, calls):
    y_true, y_pred = data()
    epsilon = kind(0.3)
    loss = charbonnier.with_(epsilon=epsilon)
    source = epsilon if kind is tf.Variable else epsilon.value
    for value in (0.3, 0.6):
        epsilon.assign(value)
        with tf.GradientTape() as tape:
            expected = tf.reduce_mean(charbonnier.function(y_true, y_pred, source))
        gradient = tape.gradient(expected, source)
        assert_same(
            value_and_gradients(loss, y_true, y_pred, sources=[source]), [expected, gradient]
        )
    assert "gradient" in calls


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_variables_that_the_function_reads(mode):
    y_true, y_pred = data()
    scale, shift = tf.Variable(2.0), tf.Variable([0.1] * COLUMNS)
    frozen = tf.Variable(3.0, trainable=False)

    def scaled(y_true, y_pred):
        return frozen * scale * tf.reduce_mean((y_true - y_pred - shift) ** 2, axis=-1)

    loss, sources = fl.fuse(scaled), [scale, shift, y_pred]

    def run():
        return value_and_gradients(loss, y_true, y_pred, sources=sources)

    run = tf.function(run) if mode == "graph" else run
    for value in (2.0, 5.0):
        frozen.assign(value)
        expected = value_and_gradients(keras_loss(scaled), y_true, y_pred, sources=sources)
        assert_same(run(), expected)


# Where XLA cannot help


def test_op_that_xla_does_not_know_is_named_once():
    y_true, y_pred = data()
    loss = fl.fuse(not_for_xla)
    with pytest.warns(UserWarning, match=r"not_for_xla: XLA cannot compile it \(op \w*String\w*\)"):
        first = value_and_gradients(loss, y_true, y_pred, sources=[y_pred])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value_and_gradients(loss, y_true, y_pred)
        graph = tf.function(lambda *x: value_and_gradients(loss, *x, sources=[x[1]]))
        in_graph = graph(y_true, y_pred)
    expected = value_and_gradients(keras_loss(not_for_xla), y_true, y_pred, sources=[y_pred])
    assert_same(first, expected)
    assert_same(in_graph, expected)


def test_op_that_xla_does_not_know_in_fit():
    with pytest.warns(UserWarning, match="not_for_xla: XLA cannot compile it"):
        ours = history(fl.fuse(not_for_xla))
    np.testing.assert_allclose(ours, history(keras_loss(not_for_xla)), rtol=1e-4)


def test_too_many_shapes_run_uncompiled_with_one_warning():
    loss = fl.fuse(charbonnier.function, max_shapes=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for rows in (3, 4, 3, 5, 6, 4):
            inputs = data((rows, COLUMNS))
            sources = inputs[1:]
            expected = value_and_gradients(
                keras_loss(charbonnier.function), *inputs, sources=sources
            )
            assert_same(value_and_gradients(loss, *inputs, sources=sources), expected)
            assert len(caught) == (rows > 4 or len(caught))
    assert "charbonnier: it has been compiled for 2 shapes" in str(caught[0].message)


def test_too_many_shapes_in_a_graph_that_does_not_know_them(capfd):
    loss = fl.fuse(charbonnier.function, max_shapes=2)
    run = tf.function(
        lambda *x: value_and_gradients(loss, *x, sources=[x[1]]),
        input_signature=[tf.TensorSpec([None, COLUMNS])] * 2,
    )
    for rows in (3, 4, 3, 5, 6, 4):
        inputs = data((rows, COLUMNS))
        expected = value_and_gradients(
            keras_loss(charbonnier.function), *inputs, sources=inputs[1:]
        )
        assert_same(run(*inputs), expected)
    assert capfd.readouterr().err.count("it has been compiled for 2 shapes") == 1
    assert run.experimental_get_tracing_count() == 1


def test_batch_sizes_do_not_retrace():
    traced = []

    @fl.fuse(max_shapes=2)
    def counted(y_true, y_pred):
        traced.append(y_pred.shape)
        return tf.reduce_mean(tf.abs(y_true - y_pred), axis=-1)

    counts = []
    with pytest.warns(UserWarning, match="counted: it has been compiled for 2 shapes"):
        for rows in range(3, 13):
            counted(*data((rows, COLUMNS)))
            counts.append(len(traced))
    assert counts[-1] == counts[5]


def test_mistakes_in_the_function_are_the_users_to_see():
    def wrong(y_true, y_pred):
        return tf.matmul(y_true, y_pred)

    with pytest.raises(ValueError, match="Dimensions must be equal"):
        fl.fuse(wrong)(*data((3, 5)))


# In Keras


def history(loss, **options):
    keras.utils.set_random_seed(5)
    random = np.random.default_rng(3)
    x, y = random.normal(size=(20, 4)), random.normal(size=(20, 3))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.1), loss=loss, **options)
    weights = random.uniform(size=20)
    fitted = model.fit(x, y, sample_weight=weights, batch_size=8, verbose=0)
    return [*fitted.history["loss"], *model.get_weights()[0].ravel()]


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}], ids=["graph", "xla"])
def test_fit(options):
    expected = history(keras_loss(charbonnier.function), **options)
    np.testing.assert_allclose(history(charbonnier, **options), expected, rtol=1e-4)


def test_adds_up_with_other_losses():
    y_true, y_pred = data()

    class Own(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return tf.reduce_mean(tf.abs(y_true - y_pred), axis=-1)

    own = Own()
    total = fl.MeanSquaredError() + 0.5 * charbonnier - in_keras_ops + own
    expected = (
        fl.MeanSquaredError()(y_true, y_pred)
        + 0.5 * charbonnier(y_true, y_pred)
        - in_keras_ops(y_true, y_pred)
        + own(y_true, y_pred)
    )
    assert_close(total(y_true, y_pred), expected, 4e-6)
    assert "0.5 * charbonnier" in total.explain()


def test_losses_pass_through():
    class Own(keras.losses.Loss):
        pass

    own = keras.losses.MeanSquaredError()
    assert fl.fuse(Own) is Own and fl.fuse(own) is own and fl.fuse(charbonnier) is charbonnier


def test_saved_by_the_name_of_its_function():
    loss = fl.fuse(charbonnier.function, reduction="sum", name="soft", dtype="float64")
    loss = loss.with_(epsilon=tf.Variable(0.25))
    config = loss.get_config()
    assert config["function"] == "TestFuse>charbonnier"
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(loaded) is fl.FusedFunction and loaded.function is charbonnier.function
    assert loaded.get_config() == config
    assert loaded.parameters == {"epsilon": 0.25}
    assert (loaded.name, loaded.reduction, loaded.dtype) == ("soft", "sum", "float64")


def test_saved_model(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", loss=charbonnier.with_(epsilon=0.2))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.parameters == {"epsilon": 0.2}


def test_package_of_the_name():
    @fl.fuse(package="mine")
    def packaged(y_true, y_pred):
        return y_pred

    assert packaged.get_config()["function"] == "mine>packaged"


def test_documentation_and_name_are_those_of_the_function():
    assert charbonnier.name == "charbonnier"
    assert charbonnier.__doc__.startswith("Mean of sqrt")
    assert fl.fuse(charbonnier.function, name="soft").with_(epsilon=1.0).name == "soft"


# Errors


def test_lambda_works_and_cannot_be_saved():
    y_true, y_pred = data()
    loss = fl.fuse(lambda y_true, y_pred: tf.reduce_mean((y_true - y_pred) ** 2, axis=-1))
    graph = tf.function(loss)
    assert_close(graph(y_true, y_pred), fl.MeanSquaredError()(y_true, y_pred), 4e-6)
    with pytest.raises(ValueError, match="lambda cannot be saved"):
        loss.get_config()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fl.fuse(3), TypeError, r"function is 3; expected a callable"),
        (lambda: fl.fuse(partial(whole, 3)), TypeError, "positional arguments"),
        (lambda: fl.fuse(lambda y_true: y_true), TypeError, "does not take y_true, y_pred"),
        (lambda: charbonnier.with_(epsilom=1), TypeError, "unexpected keyword argument 'epsilom'"),
        (lambda: charbonnier.with_(y_pred=1), TypeError, "does not take y_true, y_pred, y_pred"),
        (lambda: fl.fuse(whole, max_shapes=0), ValueError, "max_shapes is 0"),
        (lambda: fl.FusedFunction("Custom>nobody"), ValueError, "which is not registered"),
        (lambda: fl.fuse(whole, reduction="median"), ValueError, "reduction"),
    ],
)
def test_mistakes_in_the_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_parameter_without_a_value():
    loss = fl.fuse(lambda y_true, y_pred, alpha: alpha * (y_true - y_pred))
    with pytest.raises(TypeError, match="alpha"):
        loss(*data())


@pytest.mark.parametrize("rows", [1 << 8, 1 << 9])
def test_a_graph_of_few_predictions_is_not_compiled(rows, monkeypatch):
    monkeypatch.undo()

    @tf.function
    def step(y_true, y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = charbonnier(y_true, y_pred)
        return value, tape.gradient(value, y_pred)

    spec = tf.TensorSpec((rows, 64))
    graph = step.get_concrete_function(spec, spec).graph
    compiled = any(op.node_def.attr["_XlaMustCompile"].b for op in graph.get_operations())
    assert compiled == (rows != 1 << 8)
    inputs = data((rows, 64))
    expected = keras_loss(charbonnier.function)(*inputs)
    assert_close(step(*inputs)[0], expected, 4e-6)


def test_data_of_an_unknown_batch_are_no_constants_of_the_program():
    """XLA makes constants of tensors whose shape is asked for across a call."""
    loss = fl.fuse(charbonnier.function)
    spec = tf.TensorSpec((None, COLUMNS))
    step = tf.function(
        lambda *x: value_and_gradients(loss, *x, sources=[x[1]]), input_signature=[spec] * 2
    )
    wanted = value_and_gradients(keras_loss(charbonnier.function), *data(), sources=None)
    assert_same(step(*data()), [wanted[0], wanted[2]])
    (program,) = loss._programs.values()
    hlo = program._value_and_slope._fused_once.experimental_get_compiler_ir(*data())(stage="hlo")
    entry = hlo[hlo.index("ENTRY") :]
    assert entry.count(" parameter(") == 2


# Some rows at a time


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 4 rows, from 2 of them on."""
    monkeypatch.setattr(row_blocks, "_BLOCK", 4 * COLUMNS)
    monkeypatch.setattr(row_blocks, "_WORTH_BLOCKS", 2)


def goes_by_blocks(loss):
    (program,) = loss._programs.values()
    return any(program._blocks._traced.values())


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("mode", ["eager", "graph", "unknown batch"])
@pytest.mark.parametrize("rows", [8, 11])
def test_blocks_of_rows(small_blocks, reduction, mode, rows):
    loss = fl.fuse(charbonnier.function, reduction=reduction)
    inputs = [*data((rows, COLUMNS)), tf.random.uniform([rows])]

    def step(*inputs):
        return value_and_gradients(loss, *inputs, sources=[inputs[1]])

    if mode != "eager":
        first = None if mode == "unknown batch" else rows
        specs = [tf.TensorSpec([first, *x.shape[1:]]) for x in inputs]
        step = tf.function(step, input_signature=specs)
    wanted = value_and_gradients(
        keras_loss(charbonnier.function, reduction=reduction), *inputs, sources=[inputs[1]]
    )
    assert_same(step(*inputs), wanted)
    assert goes_by_blocks(loss)


def test_blocks_of_integer_labels_parameters_and_half_types(small_blocks):
    def shifted(y_true, y_pred, shift):
        return tf.reduce_mean(tf.abs(y_true - y_pred + shift), axis=-1)

    y_true = tf.random.uniform((9, COLUMNS), 0, 3, tf.int32)
    y_pred = tf.cast(data((9, COLUMNS))[0], tf.bfloat16)
    shift = tf.constant([0.1, 0.2, 0.3, 0.4, 0.5])
    loss = fl.fuse(shifted).with_(shift=shift)
    value, slope = value_and_gradients(loss, y_true, y_pred, sources=[y_pred])
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        wide = tf.cast(y_pred, tf.float32)
        expected = tf.reduce_mean(shifted(tf.cast(y_true, tf.float32), wide, shift))
    assert goes_by_blocks(loss)
    assert slope.dtype == tf.bfloat16
    assert_close(value, expected, 4e-6)
    assert_close(slope, tape.gradient(expected, y_pred), 4e-3)


@pytest.mark.parametrize(
    "function",
    [
        lambda y, p: tf.reduce_mean(tf.abs(y - p) - tf.reduce_mean(p, axis=0), axis=-1),
        lambda y, p: tf.reduce_mean(tf.abs(y - p[::-1]), axis=-1),
        lambda y, p: tf.reduce_sum(tf.abs(y - p), axis=-1) / tf.cast(tf.shape(p)[0], p.dtype),
        lambda y, p: tf.abs(tf.reduce_mean(y, -1) - p[:, 0]) * tf.range(11.0),
        lambda y, p: tf.reduce_mean((y - p) ** 2 * tf.ones((11, 1)), axis=-1),
        lambda y, p: tf.reduce_mean(tf.abs(y - p)),
    ],
)
def test_rows_that_depend_on_each_other_stay_together(small_blocks, function):
    loss = fl.fuse(function)
    inputs = data((11, COLUMNS))
    wanted = value_and_gradients(keras_loss(function), *inputs, sources=[inputs[1]])
    assert_same(value_and_gradients(loss, *inputs, sources=[inputs[1]]), wanted)
    assert not goes_by_blocks(loss)
