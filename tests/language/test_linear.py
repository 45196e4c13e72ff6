"""The linear cross-entropy against a dense layer and the cross-entropy of its logits."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import PREDICTION_DTYPES, Findings, assert_close, float64, numpy_dtype

import fastloss as fl
from fastloss.tools.bench.memory import peak_extra_bytes

linear = fl.losses.language.linear_sparse_categorical_crossentropy

CLASSES, FEATURES = 7, 5
LOSS_BOUNDS = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 2e-2, "float16": 3e-3}
GRADIENT_BOUNDS = {"float64": 1e-11, "float32": 2e-5, "bfloat16": 4e-2, "float16": 1e-2}
# Budgets of one token, of three and of all, in bytes of float64 logits.
REDUCTIONS = ("sum_over_batch_size", "sum", "mean_with_sample_weight", "none")
BUDGETS = (1, 3 * CLASSES * 8, 1 << 20)
OPTIONS = (
    {},
    {"ignore_class": 1},
    {"ignore_class": -1},
    {"label_smoothing": 0.2},
    {"class_weights": [0.5, 1.0, 2.0, 0.0, 1.5, 0.3, 1.0]},
    {"temperature": 2.5},
    {"logit_softcap": 1.5},
    {"z_loss": 0.1},
    {
        "ignore_class": 2,
        "label_smoothing": 0.1,
        "class_weights": [0.5, 1.0, 2.0, 0.7, 1.5, 0.3, 1.0],
        "temperature": 0.7,
        "logit_softcap": 4.0,
        "z_loss": 0.01,
    },
)
WEIGHTS = {(7,): [(), (1,), (7,), (7, 1)], (4, 3): [(), (4, 1), (1, 3), (3,), (4, 3), (4, 3, 1)]}


class Data:
    """Labels, hidden, kernel and bias, and how to call the loss on them."""

    def __init__(self, shape=(7,), dtype="float64", tied=False, ignored=None, seed=0):
        random = np.random.default_rng(seed)
        self.tied = tied
        self.y_true = random.integers(0, CLASSES, shape)
        if ignored is not None:
            self.y_true.flat[::3] = ignored
        kernel = random.normal(0, 1, (FEATURES, CLASSES))
        numbers = (
            random.normal(0, 1, (*shape, FEATURES)),
            kernel.T if tied else kernel,
            random.normal(0, 1, CLASSES),
        )
        self.inputs = [tf.constant(x.astype(numpy_dtype(dtype))) for x in numbers]
        self.weight = random.uniform(0.5, 2, shape)

    def ours(self, hidden, kernel, bias=None, weight=None, **arguments):
        return linear(
            self.y_true, hidden, kernel, bias, sample_weight=weight, tied=self.tied, **arguments
        )

    def whole(self, hidden, kernel, bias=None, weight=None, **arguments):
        """The logits at once, in the precision of the inputs."""
        arguments.pop("memory_budget", None)
        logits = tf.matmul(
            hidden if len(hidden.shape) > 1 else hidden[tf.newaxis], kernel, transpose_b=self.tied
        )
        logits = logits if len(hidden.shape) > 1 else logits[0]
        logits = logits if bias is None else logits + bias
        if hasattr(hidden, "_keras_mask"):
            logits._keras_mask = hidden._keras_mask
        loss = fl.SparseCategoricalCrossentropy(
            from_logits=True, dtype=logits.dtype.name, **arguments
        )
        return loss(self.y_true, logits, weight)


def outcome(call, inputs, upstream=None, mask=None, **arguments):
    """The loss, and the gradient by each of the inputs."""
    inputs = [x if x is None or isinstance(x, tf.Variable) else tf.identity(x) for x in inputs]
    if mask is not None:
        inputs[0]._keras_mask = tf.constant(mask)
    sources = [x for x in inputs if x is not None]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        value = call(*inputs, **arguments)
    return [value, *tape.gradient(value, sources, upstream)]


def assert_equal(actual, expected, dtype="float64", tiny=1e-14):
    assert len(actual) == len(expected)
    names = ("loss", "hidden", "kernel", "bias", "sample_weight")
    for name, x, y in zip(names, actual, expected, strict=False):
        bounds = LOSS_BOUNDS if name == "loss" else GRADIENT_BOUNDS
        assert_close(x, y, bounds[dtype], name, tiny)


def compare(data, *weight, upstream=None, mask=None, **arguments):
    inputs = [*data.inputs, *weight]
    ours = outcome(data.ours, inputs, upstream, mask, **arguments)
    arguments.pop("memory_budget", None)
    assert_equal(ours, outcome(data.whole, inputs, upstream, mask, **arguments))


# Against the logits at once


@pytest.mark.parametrize(("budget", "tied"), list(zip(BUDGETS, (False, True, False), strict=True)))
def test_every_option(budget, tied, backend):
    with Findings() as findings:
        for options in OPTIONS:
            data = Data(tied=tied, ignored=options.get("ignore_class"))
            with findings.of(options):
                compare(data, memory_budget=budget, **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_every_reduction_and_weight(reduction, backend):
    with Findings() as findings:
        for shape, ignored in (((7,), None), ((4, 3), 2)):
            data = Data(shape, ignored=ignored)
            arguments = {"reduction": reduction, "ignore_class": ignored}
            with findings.of((shape, ignored)):
                compare(data, **arguments, memory_budget=BUDGETS[1])
            for weights in WEIGHTS[shape]:
                weight = tf.constant(np.random.default_rng(1).uniform(0.5, 2, weights))
                with findings.of((shape, ignored, weights)):
                    compare(data, weight, **arguments, memory_budget=BUDGETS[1])


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_mask(reduction, backend):
    with Findings() as findings:
        for shape, ignored, weighted in (((7,), None, True), ((4, 3), 2, False)):
            data = Data(shape, ignored=ignored)
            mask = np.random.default_rng(3).integers(0, 2, shape).astype(bool)
            weight = [tf.constant(data.weight)] if weighted else []
            with findings.of((shape, ignored, weighted)):
                compare(data, *weight, mask=mask, reduction=reduction, ignore_class=ignored)


@pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
def test_every_dtype(dtype, backend):
    with Findings() as findings:
        for tied, budget, reduction in (
            (False, BUDGETS[1], "sum_over_batch_size"),
            (True, BUDGETS[0], "sum_over_batch_size"),
            (True, BUDGETS[1], "none"),
        ):
            data = Data(dtype=dtype, tied=tied)
            arguments = {"reduction": reduction, "memory_budget": budget}
            with findings.of((tied, budget, reduction)):
                weight = tf.constant(data.weight, "float64" if dtype == "float64" else "float32")
                actual = outcome(data.ours, [*data.inputs, weight], **arguments)
                assert actual[0].dtype == weight.dtype
                assert [x.dtype.name for x in actual[1:4]] == [dtype] * 3
                wide = [tf.constant(float64(x)) for x in (*data.inputs, weight)]
                assert_equal(actual, outcome(data.whole, wide, **arguments), dtype)


@pytest.mark.parametrize("shape", [(), (1,), (6,), (2, 3), (2, 1, 4), (2, 2, 1, 3)])
def test_ranks(shape, backend):
    with Findings() as findings:
        for reduction, bias in (("mean", True), ("none", False)):
            data = Data(shape)
            if not bias:
                data.inputs.pop()
            with findings.of((reduction, bias)):
                compare(data, reduction=reduction, memory_budget=BUDGETS[1])


def test_label_dtypes(backend):
    data = Data()
    expected = float(data.ours(*data.inputs))
    for dtype in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64", "float32"):
        data.y_true = data.y_true.astype(dtype)
        assert float(data.ours(*data.inputs)) == expected


@pytest.mark.parametrize("upstream", [3.0, 0.0, -0.25])
def test_upstream(upstream, backend):
    data = Data(ignored=2)
    weight = tf.constant(data.weight)
    for extra in ([], [weight]):
        compare(data, *extra, upstream=tf.constant(upstream, tf.float64), ignore_class=2)
    rows = tf.constant(np.linspace(-1, 2, 7))
    compare(data, upstream=rows, reduction="none", memory_budget=BUDGETS[1])


def test_float16_upstream_keeps_small_gradients(backend):
    """The loss scale comes before the rounding to float16."""
    data = Data((2, 3), dtype="float16")
    weight = tf.fill((2, 3), 1e-6)
    _, *actual = outcome(data.ours, [*data.inputs, weight], tf.constant(65536.0))
    wide = [tf.cast(x, tf.float64) for x in (*data.inputs, weight)]
    _, *expected = outcome(data.whole, wide, tf.constant(65536.0, tf.float64))
    for x, y in zip(actual, expected, strict=True):
        assert_close(x, y, GRADIENT_BOUNDS["float16"])


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
def test_gradient_of_learned_class_weights(reduction, backend):
    data = Data(ignored=2)
    start = tf.constant(np.linspace(0.5, 2, CLASSES))

    def gradients(call, class_weights):
        with tf.GradientTape() as tape:
            tape.watch([*data.inputs, class_weights])
            value = call(
                *data.inputs,
                class_weights=class_weights,
                ignore_class=2,
                label_smoothing=0.1,
                reduction=reduction,
                **({"memory_budget": BUDGETS[1]} if call == data.ours else {}),
            )
        return tape.gradient(value, [*data.inputs, class_weights])

    expected = gradients(data.whole, start)
    for x, y in zip(gradients(data.ours, start), expected, strict=True):
        assert_close(x, y, 1e-11)
    in_graph = tf.function(lambda weights: gradients(data.ours, weights))
    for x, y in zip(in_graph(start), expected, strict=True):
        assert_close(x, y, 1e-11)

    @tf.function
    def inner(weights):
        return tf.reduce_sum(data.ours(*data.inputs, class_weights=weights))

    with tf.GradientTape() as tape:
        tape.watch(start)
        value = inner(start)
    _, *expected = outcome(lambda w: data.whole(*data.inputs, class_weights=w), [start])
    assert_close(tape.gradient(value, start), expected[0], 1e-11)


# Graphs


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
def test_graph_equals_eager(reduction, jit, backend):
    for shape, tied in (((6,), False), ((4, 3), True)):
        data = Data(shape, tied=tied, ignored=2)
        arguments = {"reduction": reduction, "ignore_class": 2, "memory_budget": BUDGETS[1]}
        inputs = [*data.inputs, tf.constant(data.weight)]

        def call(*x, data=data, arguments=arguments):
            return outcome(data.ours, x, **arguments)

        graph = tf.function(call, jit_compile=jit)
        assert_equal(graph(*inputs), outcome(data.ours, inputs, **arguments))


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_tape_outside_the_graph(jit, backend):
    data = Data()
    inputs = [*data.inputs, tf.constant(data.weight)]
    graph = tf.function(data.ours, jit_compile=jit)
    assert_equal(outcome(graph, inputs), outcome(data.whole, inputs))


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_dynamic_batch(jit, reduction, backend):
    signature = [
        tf.TensorSpec([None, 3], tf.int64),
        tf.TensorSpec([None, 3, FEATURES], tf.float64),
        tf.TensorSpec([FEATURES, CLASSES], tf.float64),
        tf.TensorSpec([CLASSES], tf.float64),
    ]

    @tf.function(input_signature=signature, jit_compile=jit)
    def graph(y_true, *inputs):
        def loss(*inputs):
            return linear(y_true, *inputs, reduction=reduction, memory_budget=BUDGETS[1])

        return outcome(loss, inputs)

    for batch in (1, 2, 5):
        data = Data((batch, 3))
        expected = outcome(data.whole, data.inputs, reduction=reduction)
        assert_equal(graph(data.y_true, *data.inputs), expected)


@pytest.mark.parametrize("budget", [*BUDGETS, 1 << 40])
def test_nothing_known(budget, backend):
    signature = [
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None, None], tf.float64),
        tf.TensorSpec([None, None], tf.float64),
        tf.TensorSpec([None], tf.float64),
    ]

    @tf.function(input_signature=signature)
    def graph(y_true, *inputs):
        return outcome(lambda *x: linear(y_true, *x, memory_budget=budget), inputs)

    data = Data()
    assert_equal(graph(data.y_true, *data.inputs), outcome(data.whole, data.inputs))


def test_calls_of_many_shapes_do_not_disturb_each_other(backend):
    """What is traced for one number of features or classes must not be relaxed to any."""
    random = np.random.default_rng(0)
    for tokens, features, classes in ((6, 8, 11), (7, 8, 11), (7, 4, 9), (9, 5, 13), (2, 4, 9)):
        data = Data()
        data.y_true = random.integers(0, classes, tokens)
        data.inputs = [
            tf.constant(random.normal(0, 1, shape))
            for shape in ((tokens, features), (features, classes), (classes,))
        ]
        for reduction in ("sum", "none"):
            compare(data, reduction=reduction, memory_budget=200)


def test_variables(backend):
    data = Data()
    expected = outcome(data.whole, data.inputs)
    variables = [tf.Variable(x) for x in data.inputs]
    assert_equal(outcome(data.ours, variables), expected)
    kernel, bias = (keras.Variable(x.numpy(), dtype="float64") for x in data.inputs[1:])
    with tf.GradientTape() as tape:
        value = data.ours(data.inputs[0], kernel, bias)
    assert_equal(
        [value, *tape.gradient(value, [kernel.value, bias.value])], [expected[0], *expected[2:]]
    )


def test_kernel_is_cast_to_hidden(backend):
    data = Data(dtype="float32")
    hidden = tf.cast(data.inputs[0], tf.bfloat16)
    value, *gradients = outcome(data.ours, [hidden, *data.inputs[1:]])
    assert value.dtype == tf.float32
    assert [x.dtype for x in gradients] == [tf.bfloat16, tf.float32, tf.float32]
    wide = [tf.cast(x, tf.float64) for x in (hidden, *data.inputs[1:])]
    assert_equal([value, *gradients], outcome(data.whole, wide), "bfloat16")


# Second order


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_second_order(graph, reduction, backend):
    with Findings() as findings:
        for options, tied, weighted in itertools.product((OPTIONS[-1],), (True,), (False, True)):
            data = Data(tied=tied, ignored=options.get("ignore_class"))
            inputs = [*data.inputs, *([tf.constant(data.weight)] if weighted else [])]

            def second(call, inputs=inputs, options=options):
                with tf.GradientTape() as outer:
                    outer.watch(inputs)
                    with tf.GradientTape() as inner:
                        inner.watch(inputs)
                        value = 1.5 * call(*inputs, reduction=reduction, **options)
                    first = inner.gradient(value, inputs)
                    total = tf.add_n([tf.reduce_sum(tf.sin(x)) for x in first])
                return outer.gradient(total, inputs)

            ours = tf.function(second) if graph else second
            with findings.of((bool(options), tied, weighted)):
                for x, y in zip(ours(data.ours), second(data.whole), strict=True):
                    assert_close(x, y, 1e-10)


# Ends of ranges


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_all_ignored(reduction, backend):
    data = Data((2, 3))
    data.y_true[:] = -1
    call = outcome(data.ours, data.inputs, reduction=reduction, ignore_class=-1, memory_budget=1)
    for x in call:
        np.testing.assert_array_equal(x, np.zeros(x.shape))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_no_tokens(shape, reduction, backend):
    compare(Data(shape), reduction=reduction)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_no_tokens_in_a_dynamic_batch(reduction, backend):
    signature = [tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, FEATURES], tf.float64)]
    data = Data((0,))

    @tf.function(input_signature=signature)
    def graph(y_true, hidden):
        inputs = [hidden, *data.inputs[1:]]
        return outcome(lambda *x: linear(y_true, *x, reduction=reduction), inputs)

    for x in graph(data.y_true, data.inputs[0])[1:]:
        np.testing.assert_array_equal(x, np.zeros(x.shape))


@pytest.mark.parametrize("wrong", [CLASSES, -1, 1 << 40])
def test_label_out_of_range(wrong):
    data = Data((3, 4))
    data.y_true[1, 2] = wrong
    told = rf"label of row 6 is {wrong}; expected one from 0 to {CLASSES - 1}"
    for budget, call in itertools.product(BUDGETS, (data.ours, tf.function(data.ours))):
        for reduction in ("sum", "none"):
            with pytest.raises(tf.errors.InvalidArgumentError, match=told):
                call(*data.inputs, memory_budget=budget, reduction=reduction)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{told}, or -7"):
        data.ours(*data.inputs, ignore_class=-7)
    with fl.use_backend("reference"):
        value, hidden, *_ = outcome(data.ours, data.inputs, reduction="none", memory_budget=1)
        found = np.isnan(value)
        assert found[1, 2]
        assert found.sum() == 1
        assert np.isnan(hidden[1, 2]).all()
        assert np.isfinite(hidden[0]).all()


# Errors


def refused(match, **changes):
    arguments = {
        "y_true": np.zeros((2, 3), np.int64),
        "hidden": np.zeros((2, 3, 4), np.float32),
        "kernel": np.zeros((4, 5), np.float32),
    }
    with pytest.raises(ValueError, match=match):
        linear(**{**arguments, **changes})


def test_wrong_dtypes_are_named(backend):
    for name in ("complex64", "string"):
        wrong = tf.cast(tf.zeros([2, 3]), name) if name != "string" else tf.fill([2, 3], "a")
        refused(f"^y_true has dtype {name}; expected", y_true=wrong)
        refused(f"^hidden has dtype {name}; expected", hidden=wrong)
        refused(f"^kernel has dtype {name}; expected", kernel=wrong)
        refused(f"^bias has dtype {name}; expected", bias=wrong)
        refused(f"^sample_weight has dtype {name}; expected", sample_weight=wrong)
    refused("^kernel has dtype int32; expected a float", kernel=np.zeros((4, 5), np.int32))


def test_wrong_shapes_are_named(backend):
    refused(
        r"^y_true has shape \(2, 4\) and hidden has shape \(2, 3, 4\); expected one label",
        y_true=np.zeros((2, 4), int),
    )
    refused(r"^y_true has shape \(2, 3, 1\) and hidden", y_true=np.zeros((2, 3, 1), int))
    refused(r"^y_true has shape \(\) and hidden has shape \(\)", y_true=0, hidden=0.0)
    for shape in ((5, 4), (3, 5), (4,), (1, 4, 5)):
        refused(
            r"^kernel has shape .*expected \(features, classes\) of 4 features",
            kernel=np.zeros(shape, np.float32),
        )
    refused(
        r"^kernel has shape \(4, 5\); expected \(classes, features\)",
        tied=True,
        kernel=np.zeros((4, 5), np.float32),
    )
    refused(
        r"^kernel has shape \(4, 0\); expected at least one class",
        kernel=np.zeros((4, 0), np.float32),
    )
    for shape in ((4,), (), (1, 5)):
        refused(
            r"^bias has shape .*expected one number for each of 5 classes",
            bias=np.zeros(shape, np.float32),
        )
    refused(
        r"^class_weights has shape \(2,\); expected one weight for each of the 5",
        class_weights=[1.0, 2.0],
    )


def test_weights_that_do_not_broadcast_are_refused(backend):
    for shape in ((4,), (2, 4), (2, 3, 2)):
        for reduction in ("sum_over_batch_size", "mean_with_sample_weight", "none"):
            with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
                linear(
                    np.zeros((2, 3), int),
                    np.zeros((2, 3, 4), np.float32),
                    np.zeros((4, 5), np.float32),
                    sample_weight=np.ones(shape, np.float32),
                    reduction=reduction,
                )


def test_arguments_out_of_range_are_named():
    wrong = {
        "reduction": ("average", 1),
        "memory_budget": (0, -1, 1.5, "a", True, None),
        "label_smoothing": (-0.1, 1.1, None, "a"),
        "z_loss": (-1, float("nan"), None),
        "temperature": (0, -1, float("inf"), None),
        "logit_softcap": (0, -1, float("nan")),
        "ignore_class": (1.5, "a", True),
        "class_weights": (2.0, [1.0, -2.0], "a"),
    }
    for name, values in wrong.items():
        for value in values:
            refused(rf"^{name} is .*; expected", **{name: value})


# Size


def test_a_larger_case_in_float32(backend):
    random = np.random.default_rng(0)
    tokens, features, classes = 512, 64, 5003
    data = Data()
    data.y_true = random.integers(0, classes, tokens)
    data.inputs = [
        tf.constant(random.normal(0, scale, shape).astype(np.float32))
        for scale, shape in ((1, (tokens, features)), (0.3, (features, classes)), (1, (classes,)))
    ]
    wide = [tf.cast(x, tf.float64) for x in data.inputs]
    expected = outcome(data.whole, wide)
    for budget in (1 << 20, 1 << 30):
        actual = outcome(data.ours, data.inputs, memory_budget=budget)
        for x, y in zip(actual, expected, strict=True):
            assert_close(x, y, 1e-5)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_logits_never_exist(dtype, reduction):
    tokens, features, classes = 4096, 16, 16384
    random = np.random.default_rng(0)
    y_true = tf.constant(random.integers(0, classes, tokens))
    hidden = tf.constant(random.normal(0, 1, (tokens, features)), dtype)
    kernel = tf.constant(random.normal(0, 0.1, (features, classes)), dtype)

    def call():
        def loss(hidden, kernel):
            return linear(y_true, hidden, kernel, reduction=reduction, memory_budget=4 << 20)

        return outcome(loss, [hidden, kernel])

    call()
    extra = peak_extra_bytes(call)
    if extra is None:
        pytest.skip("this system does not tell the peak of a process")
    # float16 takes more than its chunks: half of the logits was measured with TensorFlow 2.16.
    share = 2 / 3 if dtype == "float16" else 1 / 3
    assert extra < share * tokens * classes * hidden.dtype.size


def test_of_the_gradient_of_the_kernel_there_is_one():
    """And not its parts beside it, which are made and added one after the other."""
    tokens, features, classes = 48, 1024, 16384
    random = np.random.default_rng(0)
    y_true = tf.constant(random.integers(0, classes, tokens))
    hidden = tf.constant(random.normal(0, 1, (tokens, features)), tf.float32)
    kernel = tf.constant(random.normal(0, 0.1, (features, classes)), tf.float32)

    def call():
        return outcome(lambda *x: linear(y_true, *x, memory_budget=2 << 20), [hidden, kernel])

    call()
    extra = peak_extra_bytes(call)
    if extra is None:
        pytest.skip("this system does not tell the peak of a process")
    # Blocks of TensorFlow's pool may be twice as large; out of order there are three.
    assert extra < 2.2 * 4 * features * classes
