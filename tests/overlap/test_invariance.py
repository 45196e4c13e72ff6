"""What must not change the result of an overlap kernel: threads, order, buffers, company."""

from __future__ import annotations

import kernels
import numpy as np
import pytest
from kernels import MEAN, NONE, SUM, Term, same_bits
from overlap_calls import LOSSES, arguments_of, call, data

from fastloss import c_api

ACTIVATIONS = kernels.ACTIVATIONS
every_loss = pytest.mark.parametrize("loss", LOSSES)
every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])

# (outer, above, classes, inner) of several pieces each: classes beside and apart, one class, and
# a group for each of many rows.
SHAPES = ((2, 40_000, 5, 1), (2, 3, 5, 20_011), (1, 150_001, 1, 1), (3000, 20, 4, 1))


@pytest.fixture(autouse=True)
def _settings_are_put_back():
    yield
    c_api.set_isa("")
    c_api.set_threads(0)


def assert_same(actual: kernels.Regions, expected: kernels.Regions, what: object = "") -> None:
    for name, one, other in zip(kernels.Regions._fields, actual, expected, strict=True):
        if one is not None and other is not None:
            assert same_bits(one, other), f"{name} {what}"


def kinds(loss: str, activation: str):
    """Groups over everything, for each image, and for each class of it, with the options each."""
    yield arguments_of(loss, activation, per_outer=loss == "generalized_dice")
    yield arguments_of(loss, activation, per_outer=True, squared=True)
    if loss != "generalized_dice":
        yield arguments_of(
            loss,
            activation,
            per_outer=True,
            per_class=True,
            ignore_class=1,
            include_background=True,
        )
    if activation != "sigmoid":
        yield arguments_of(loss, activation, sparse=True, ignore_class=2, per_outer=True)


def backwards(pieces, piece):
    for index in reversed(range(pieces)):
        piece(index)


@every_loss
@every_activation
@every_dtype
def test_threads_and_order_of_the_pieces(loss, activation, dtype):
    for shape in SHAPES:
        for arguments in kinds(loss, activation):
            y_true, y_pred = data(arguments, shape, dtype)
            for reduction in (NONE, MEAN):
                c_api.set_threads(1)
                expected = call(arguments, y_true, y_pred, reduction)
                for threads in (2, 5):
                    c_api.set_threads(threads)
                    actual = call(arguments, y_true, y_pred, reduction)
                    assert_same(actual, expected, f"{shape} {threads} threads")
                actual = call(arguments, y_true, y_pred, reduction, parallel_for=backwards)
                assert_same(actual, expected, f"{shape} backwards")


@every_loss
@every_activation
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_gradient_over_its_predictions(loss, activation, dtype):
    for shape in ((2, 300, 5, 1), (2, 3, 5, 401), (1, 1501, 1, 1)):
        for arguments in kinds(loss, activation):
            y_true, y_pred = data(arguments, shape, dtype)
            for reduction in (NONE, MEAN):
                expected = call(arguments, y_true, y_pred, reduction)
                actual = call(arguments, y_true, y_pred.copy(), reduction, in_place=True)
                assert_same(actual, expected, f"{shape} {reduction}")


@every_loss
@every_activation
def test_an_image_among_others_is_the_image_alone(loss, activation):
    for shape in ((3, 300, 5, 1), (3, 2, 5, 401), (4, 20_000, 4, 1)):
        for arguments in kinds(loss, activation):
            if not arguments.per_outer:
                continue
            y_true, y_pred = data(arguments, shape)
            together = call(arguments, y_true, y_pred, NONE)
            for image in range(shape[0]):
                part = slice(image, image + 1)
                alone = call(arguments, y_true[part].copy(), y_pred[part].copy(), NONE)
                assert same_bits(alone.loss, together.loss[part]), shape
                assert same_bits(alone.gradient, together.gradient[part]), shape


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@every_dtype
def test_companions_change_no_bit_of_the_loss_beside_them(activation, dtype):
    fused_terms = {
        "sigmoid": [Term("binary_crossentropy_from_logits"), Term("mean_squared_error", -0.5)],
        "softmax": [Term("categorical_crossentropy_from_logits", 0.5)],
    }[activation]
    arguments = arguments_of("dice", activation, per_outer=True)
    for shape in SHAPES:
        y_true, y_pred = data(arguments, shape, dtype)
        alone = call(arguments, y_true, y_pred)
        c_api.set_threads(1)
        expected = call(arguments, y_true, y_pred, fused_terms=fused_terms)
        assert same_bits(expected.terms[:1], alone.terms[:1])
        c_api.set_threads(3)
        assert_same(call(arguments, y_true, y_pred, fused_terms=fused_terms), expected, shape)
        again = call(arguments, y_true, y_pred.copy(), fused_terms=fused_terms, in_place=True)
        assert_same(again, expected, shape)


@every_activation
def test_a_large_gradient_has_the_bits_of_a_small_one(activation):
    """Large gradients are written past the caches."""
    arguments = arguments_of("dice", activation, per_outer=True)
    y_true, y_pred = data(arguments, (6, 180_000, 5, 1))
    assert y_pred.nbytes > 2**24
    upstream = np.linspace(-1, 1, 6)
    whole = call(arguments, y_true, y_pred, NONE, upstream=upstream)
    for image in (0, 5):
        part = slice(image, image + 1)
        alone = call(
            arguments, y_true[part].copy(), y_pred[part].copy(), NONE, upstream=upstream[part]
        )
        assert same_bits(whole.gradient[part], alone.gradient)


@pytest.mark.parametrize("labels", ["hard", "soft", "rarely soft"])
@pytest.mark.parametrize("activation", ["none", "sigmoid"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_labels_that_are_kept_have_the_bits_of_labels_that_are_read_again(
    labels, activation, dtype
):
    """Between its passes, a large tensor's labels are packed as bits wherever all are 0 or 1."""
    images, positions = 6, 360_001 if dtype == "bfloat16" else 180_001
    fused_terms = [Term("binary_crossentropy_from_logits")] if activation == "sigmoid" else []
    for squared in (False, True):
        arguments = arguments_of("dice", activation, per_outer=True, squared=squared)
        y_true, y_pred = data(arguments, (images, positions, 5, 1), dtype)
        assert y_true.nbytes > 2**24
        if labels != "soft":
            y_true = (y_true > 0).astype(y_true.dtype)
        if labels == "rarely soft":
            y_true.reshape(-1)[123_456 :: y_true.size // 7] = [-0.0, 2, -1, 0.5, 1e-30, 0.25, 3]
        whole = call(arguments, y_true, y_pred, SUM, fused_terms=fused_terms)
        for image in range(images):
            part = slice(image, image + 1)
            alone = (y_true[part].copy(), y_pred[part].copy())
            expected = call(arguments, *alone, SUM, fused_terms=fused_terms)
            assert same_bits(whole.gradient[part], expected.gradient)
        again = call(arguments, y_true, y_pred.copy(), SUM, fused_terms=fused_terms, in_place=True)
        assert_same(again, whole)
