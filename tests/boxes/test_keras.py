"""The losses between boxes as Keras losses: gradients, reductions, graphs, saving, errors."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from boxes_cases import CASES, EPSILON, FORMATS, IDS, LOSSES, PUBLIC, degenerate, truth
from cases import (
    GRADIENT_BOUNDS,
    LOSS_BOUNDS,
    PREDICTION_DTYPES,
    REDUCTIONS,
    assert_close,
    assert_same,
    float64,
    in_keras,
    value_and_gradient,
)

import fastloss as fl
from fastloss.testing import check_gradients

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)
# What all losses share is tested of two: corners and centre.
core_cases = pytest.mark.parametrize("case", [CASES[0], CASES[-1]], ids=[IDS[0], IDS[-1]])
every_dtype = pytest.mark.parametrize("dtype", PREDICTION_DTYPES)


def weights(shape, seed=1):
    return np.random.default_rng(seed).uniform(0, 2, shape).astype(np.float32)


def with_reference(function, *arguments):
    with fl.use_backend("reference"):
        return function(*arguments)


# Values


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("box_format", FORMATS)
def test_functions_give_one_loss_per_box(loss, box_format, backend):
    case = next(case for case in CASES if case.loss == loss)
    y_true, y_pred = case.data((3, 5), "float64")
    expected = truth(loss, y_true.reshape(-1, 4), y_pred.reshape(-1, 4)).value
    boxes = [y_true, y_pred]
    if box_format == "yxyx":
        boxes = [b[..., [1, 0, 3, 2]] for b in boxes]
    if box_format == "cxcywh":
        low, high = ([b[..., :2] for b in boxes], [b[..., 2:] for b in boxes])
        boxes = [np.concatenate([(a + b) / 2, b - a], -1) for a, b in zip(low, high, strict=True)]
    value = getattr(fl, loss)(*boxes, box_format=box_format)
    assert value.dtype == tf.float64
    assert_close(value, expected.reshape(3, 5).astype(np.float64), 1e-12)


def torch_loss(torch, loss, y_true, y_pred, epsilon=1e-7):
    """As torchvision has it, which adds epsilon to what it divides by."""
    t, p = y_true.unbind(-1), y_pred.unbind(-1)
    low = [torch.max(t[i], p[i]) for i in (0, 1)]
    high = [torch.min(t[i], p[i]) for i in (2, 3)]
    meets = (high[0] > low[0]) & (high[1] > low[1])
    both = torch.where(meets, (high[0] - low[0]) * (high[1] - low[1]), 0)
    area = (p[2] - p[0]) * (p[3] - p[1]) + (t[2] - t[0]) * (t[3] - t[1]) - both
    iou = both / (area + epsilon)
    sides = [torch.max(t[i + 2], p[i + 2]) - torch.min(t[i], p[i]) for i in (0, 1)]
    if loss == "box_iou":
        return 1 - iou
    if loss == "generalized_box_iou":
        hull = sides[0] * sides[1]
        return 1 - (iou - (hull - area) / (hull + epsilon))
    shift = [(p[i] + p[i + 2] - t[i] - t[i + 2]) / 2 for i in (0, 1)]
    distance = (shift[0] ** 2 + shift[1] ** 2) / (sides[0] ** 2 + sides[1] ** 2 + epsilon)
    if loss == "distance_box_iou":
        return 1 - iou + distance
    angles = [torch.atan((b[2] - b[0]) / (b[3] - b[1])) for b in (t, p)]
    v = 4 / torch.pi**2 * (angles[0] - angles[1]) ** 2
    with torch.no_grad():
        alpha = v / (1 - iou + v + epsilon)
    return 1 - iou + distance + alpha * v


@pytest.mark.parametrize("case", CASES[:4], ids=IDS[:4])
def test_values_and_gradients_are_those_of_pytorch(case):
    torch = pytest.importorskip("torch")
    y_true, y_pred = case.data((4000,), "float64", seed=3)
    value, gradient = value_and_gradient(
        case.ours(reduction="none", dtype="float64"), y_true, y_pred
    )
    predictions = torch.tensor(y_pred, requires_grad=True)
    expected = torch_loss(torch, case.loss, torch.tensor(y_true), predictions)
    expected.sum().backward()
    # What adding epsilon makes of areas of a few units.
    assert_close(value, expected.detach().numpy(), 1e-7)
    assert_close(gradient, predictions.grad.numpy(), 1e-7)


# Gradients


@every_case
def test_gradients_equal_reference_and_differences(case):
    y_true, y_pred = case.data((3, 2), "float64")
    weight = weights((3, 2)).astype(np.float64)
    loss = case.ours(reduction="none", dtype="float64")
    report = check_gradients(loss, y_true, y_pred, weight)
    of_alpha = "CompleteBoxIoU" in case.public
    for found in report.comparisons:
        constant = of_alpha and found.source != "sample_weight" and "diff" in found.against
        assert found.passed != constant, report
    for dtype in ("float32", "bfloat16", "float16"):
        y_true, y_pred = case.data((3, 2), dtype, side=8.0)
        if not of_alpha:
            loss = case.ours(reduction="none")
            check_gradients(loss, y_true, y_pred, samples=2).raise_if_failed()


def gradients_of_all(loss, y_true, y_pred, weight):
    inputs = [tf.convert_to_tensor(x) for x in (y_true, y_pred, weight)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(*inputs)
    return [value, *tape.gradient(value, inputs)]


def assert_equals_reference(function, *arguments, share=1e-11):
    ours, theirs = function(*arguments), with_reference(function, *arguments)
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other, share, tiny=1e-14)


@every_case
def test_gradients_of_labels_and_weights_equal_the_reference(case):
    y_true, y_pred = case.data((3, 2), "float64")
    for shape, reduction in (
        ((3, 2), "sum_over_batch_size"),
        ((3, 1), "sum"),
        ((), "mean_with_sample_weight"),
        ((3, 2), "none"),
    ):
        weight = weights(shape).astype(np.float64)
        loss = case.ours(reduction=reduction, dtype="float64")
        assert_equals_reference(gradients_of_all, loss, y_true, y_pred, weight)
        graph = tf.function(lambda *x, loss=loss: gradients_of_all(loss, *x))
        eager = gradients_of_all(loss, y_true, y_pred, weight)
        for one, other in zip(graph(y_true, y_pred, weight), eager, strict=True):
            assert_close(one, other, 1e-12, tiny=1e-14)


@every_case
def test_second_order_equals_the_reference(case):
    y_true, y_pred = case.data((3,), "float64")
    vector = np.random.default_rng(0).normal(size=y_pred.shape)

    def hessian_vector(loss):
        y = tf.constant(y_pred)
        with tf.GradientTape() as outer:
            outer.watch(y)
            with tf.GradientTape() as inner:
                inner.watch(y)
                value = tf.reduce_sum(tf.square(loss(y_true, y)))
            product = tf.reduce_sum(inner.gradient(value, y) * vector)
        return [outer.gradient(product, y)]

    for reduction in ("none", "sum_over_batch_size"):
        loss = case.ours(reduction=reduction, dtype="float64")
        assert_equals_reference(hessian_vector, loss, share=1e-10)
        graph = tf.function(lambda loss=loss: hessian_vector(loss)[0])
        assert_close(graph(), with_reference(hessian_vector, loss)[0], 1e-10, tiny=1e-14)


@every_case
@every_dtype
def test_boxes_without_area_equal_the_reference(case, dtype):
    y_true, y_pred = (tf.cast(x.astype(np.float32), dtype) for x in degenerate())
    loss = case.ours(reduction="none", dtype="float64" if dtype == "float64" else "float32")
    found = value_and_gradient(loss, y_true, y_pred)
    expected = with_reference(value_and_gradient, loss, y_true, y_pred)
    assert_close(found[0], expected[0], LOSS_BOUNDS[dtype])
    if dtype == "float64":
        # Ties are decided by the last bit, and of halves only float64 has all.
        assert np.isfinite(expected[1]).all()
        if not case.centred:
            scale = np.maximum(1, abs(expected[1].numpy()))
            np.testing.assert_allclose(found[1] / scale, expected[1] / scale, 0, 1e-9)


@every_case
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "none"])
def test_float16_gradients_under_a_loss_scale(case, reduction):
    """Divided by the boxes they would be lost in float16 before the loss scale."""
    y_true, y_pred = case.data((4096,), "float16")
    scale = 2.0**12

    def scaled(t, p, loss, scale):
        value = loss(t, p)
        return scale * (value if reduction != "none" else tf.reduce_mean(value))

    wide = case.ours(dtype="float64", reduction=reduction)
    expected = value_and_gradient(
        lambda t, p: scaled(t, p, wide, 1.0), float64(y_true), float64(y_pred)
    )[1]
    loss = case.ours(reduction=reduction)
    for run in (value_and_gradient, tf.function(value_and_gradient)):
        _, gradient = run(lambda t, p: scaled(t, p, loss, scale), y_true, y_pred)
        assert gradient.dtype == tf.float16
        assert_close(gradient, scale * expected, GRADIENT_BOUNDS["float16"], case.id, 6e-8)


# Reductions, weights, masks


@core_cases
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_reductions_and_weights_are_those_of_keras(case, reduction, backend):
    loss = case.ours(reduction=reduction)
    for shape in ((6,), (4, 3), (2, 3, 2)):
        y_true, y_pred = case.data(shape)
        for weight_shape in (None, (), shape, (*shape[:-1], 1)):
            weight = () if weight_shape is None else (weights(weight_shape),)
            expected = in_keras(case, y_true, y_pred, *weight, reduction=reduction)
            actual = value_and_gradient(loss, y_true, y_pred, *weight)
            assert_same(actual, expected, "float32", f"{shape} {weight_shape}")


@core_cases
def test_masked_boxes_do_not_count(case, backend):
    y_true, y_pred = case.data((4, 3))
    mask = np.arange(12).reshape(4, 3) % 3 != 1
    for reduction in REDUCTIONS:
        results = []
        for loss, cast in ((case.ours, np.float32), (case.keras, np.float64)):
            predictions = tf.constant(y_pred.astype(cast))
            predictions._keras_mask = tf.constant(mask)
            instance = loss(reduction=reduction, dtype=np.dtype(cast).name)
            results.append(instance(y_true.astype(cast), predictions, weights((4, 3))))
        assert_close(*results, LOSS_BOUNDS["float32"], str(reduction))


@every_case
@every_dtype
def test_every_dtype(case, dtype, backend):
    y_true, y_pred = case.data((50,), dtype)
    epsilon = case.arguments.get("epsilon", EPSILON)
    expected = truth(case.loss, y_true, y_pred, case.centred, epsilon)
    value, gradient = value_and_gradient(case.ours(), y_true, y_pred)
    assert value.dtype == tf.float32
    assert gradient.dtype == tf.as_dtype(dtype)
    assert_close(value, expected.value.astype(np.float64).mean(), LOSS_BOUNDS["float32"])
    slope = expected.slope.astype(np.float64) / 50
    assert_close(gradient, slope, 2 * GRADIENT_BOUNDS[dtype], tiny=1e-7)


def test_one_box_is_a_scalar(backend):
    assert float(fl.box_iou([0, 0, 2, 2], [0.0, 0, 2, 1])) == 0.5
    assert float(fl.BoxIoU()([0, 0, 2, 2], [0.0, 0, 2, 1])) == 0.5
    assert float(fl.BoxIoU()([0, 0, 2, 2], [0.0, 0, 2, 1], 3.0)) == 1.5


def test_labels_may_be_integers(backend):
    y_pred = np.array([[0.5, 0, 2, 2]], np.float32)
    for dtype in (np.int32, np.int64, np.uint8, np.float64):
        assert float(fl.BoxIoU()(np.array([[0, 0, 2, 2]], dtype), y_pred)) == 0.25


# Graphs


@every_case
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_graph_and_xla_equal_eager(case, jit_compile):
    y_true, y_pred = case.data((4, 3))
    weight = weights((4, 3))
    for reduction in ("sum_over_batch_size", "none"):
        loss = case.ours(reduction=reduction)
        expected = in_keras(case, y_true, y_pred, weight, reduction=reduction)
        inside = tf.function(
            lambda t, p, w, loss=loss: value_and_gradient(loss, t, p, w), jit_compile=jit_compile
        )
        assert_same(inside(y_true, y_pred, weight), expected, "float32", reduction)


@core_cases
def test_shapes_unknown_while_tracing(case, backend):
    for last, reduction in ((4, "sum_over_batch_size"), (4, "none"), (None, "none")):
        spec = tf.TensorSpec([None, None, last], tf.float32)
        graph = tf.function(case.ours(reduction=reduction), input_signature=[spec, spec])
        for shape in ((4, 3), (1, 1), (0, 3)):
            y_true, y_pred = case.data(shape)
            expected = in_keras(case, y_true, y_pred, reduction=reduction)
            actual = value_and_gradient(graph, y_true, y_pred)
            assert_same(actual, expected, "float32", f"{shape} {last} {reduction}")


@pytest.mark.slow
@core_cases
def test_a_model_learns_boxes(case):
    keras.utils.set_random_seed(3)
    y_true, x = case.data((64,), side=1.0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.layers[0].set_weights([np.eye(4), np.zeros(4)])
    model.compile(keras.optimizers.SGD(0.02), case.ours())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses = model.fit(x, y_true, 16, 20, 0, shuffle=False).history["loss"]
    assert losses[-1] < losses[0]


# Saving


@every_case
def test_serialisation_round_trip(case):
    loss = case.ours(reduction="sum", name="mine")
    y_true, y_pred = case.data((4,))
    twin = type(loss).from_config(loss.get_config())
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    for copy in (twin, again):
        assert type(copy) is type(loss)
        assert copy.get_config() == loss.get_config()
        np.testing.assert_array_equal(copy(y_true, y_pred), loss(y_true, y_pred))
    config = loss.get_config()
    assert {name: config[name] for name in case.arguments} == case.arguments
    assert (config["name"], config["reduction"]) == ("mine", "sum")
    assert case.ours().name == case.loss
    function = getattr(fl, case.function)
    config = keras.saving.serialize_keras_object(function)
    assert keras.saving.deserialize_keras_object(config) is function


# Errors


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *[("box_format", x) for x in ("xywh", "XYXY", None, 1, "")],
        *[("epsilon", x) for x in (0, -1, 1e-40, float("nan"), float("inf"), None, "a")],
    ],
    ids=str,
)
@pytest.mark.parametrize("public", PUBLIC)
def test_argument_out_of_range_is_named(public, argument, value):
    y_true, y_pred = CASES[0].data((4,))
    loss = LOSSES[PUBLIC.index(public)]
    with pytest.raises(ValueError, match=rf"{argument} is .*expected"):
        getattr(fl, public)(**{argument: value})
    with pytest.raises(ValueError, match=rf"{argument} is .*expected"):
        getattr(fl, loss)(y_true, y_pred, **{argument: value})


@every_case
def test_shapes_that_are_no_boxes_are_named(case, backend):
    y_true, y_pred = case.data((4, 3))
    loss = case.ours()
    for call in (loss, tf.function(loss), loss.call):
        for bad in (y_pred[..., :3], y_pred[..., 0]):
            with pytest.raises(ValueError, match=rf"{case.loss}: y_pred .*last dimension is 4"):
                call(bad, bad)
        for other in (y_true[:2], y_true[0], y_true[..., :3], y_true[:, :1]):
            with pytest.raises(ValueError, match=rf"{case.loss}: .*expected the same shape"):
                call(other, y_pred)
        with pytest.raises(ValueError, match=r"y_pred has shape \(\)"):
            call(np.float32(1), np.float32(1))


@every_case
def test_shapes_found_wrong_at_run_time_are_named(case):
    loose = [tf.TensorSpec(None, tf.float32)] * 2
    ranked = [tf.TensorSpec([None, None], tf.float32)] * 2
    y_true, y_pred = case.data((4,))
    graph = tf.function(case.ours(), input_signature=ranked)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected boxes, whose last"):
        graph(y_true[:, :3], y_pred[:, :3])
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected the same shape"):
        graph(y_true[:3], y_pred)
    with pytest.raises(ValueError):
        tf.function(case.ours(), input_signature=loose)(y_true, y_pred)


@every_case
def test_wrong_dtypes_are_named(case, backend):
    y_true, y_pred = case.data((4,))
    for wrong in (np.complex64, str):
        with pytest.raises(ValueError, match=r"y_pred has dtype (complex64|string)"):
            case.ours()(y_true, y_pred.astype(wrong))
        with pytest.raises(ValueError, match=r"y_true has dtype (complex64|string)"):
            case.ours()(y_true.astype(wrong), y_pred)


@every_case
def test_nan_is_never_hidden(case, backend):
    for which in (0, 1):
        for i in range(4):
            pair = case.data((3,))
            pair[which][1, i] = np.nan
            value, gradient = value_and_gradient(case.ours(reduction="none"), *pair)
            assert np.isnan(value[1])
            # In the reference it may be lost to the ends that a maximum does not choose.
            assert (np.all if backend == "fused" else np.any)(np.isnan(gradient[1]))
            assert np.isfinite(value.numpy()[::2]).all()
            assert np.isfinite(gradient.numpy()[::2]).all()
