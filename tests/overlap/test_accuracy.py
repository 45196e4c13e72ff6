"""The overlap kernels against formulas in float64: layouts, dtypes, options, extremes."""

from __future__ import annotations

import itertools

import kernels
import numpy as np
import overlap_truth
import pytest
from cases import INTEGERS, PREDICTION_DTYPES, Findings
from overlap_calls import (
    ACTIVATIONS,
    arguments_of,
    call,
    data,
    every_dtype,
    every_loss,
    limits,
)
from overlap_truth import Arguments, Array

from fastloss import c_api

# What a gradient is off by where it is stored in fewer bits: relative to it, and at least.
STORED = {"float16": (2.0**-11, 2.0**-25), "bfloat16": (2.0**-8, 2.0**-133)}


def check(arguments: Arguments, y_true: Array, y_pred: Array) -> None:
    """Loss and gradient of each group within the published bounds."""
    shape = overlap_truth.groups(arguments, y_true, y_pred.astype(np.float64)).shape
    upstream = np.random.default_rng(1).uniform(-1, 1, shape)
    upstream = upstream.astype(kernels.accumulation(y_pred))
    expected = overlap_truth.truth(arguments, y_true, y_pred, upstream)
    found = call(arguments, y_true, y_pred, kernels.NONE, upstream=upstream)
    assert found.loss.shape == expected.loss.shape
    unit = np.finfo(kernels.accumulation(y_pred)).eps
    relative, absolute = STORED.get(y_pred.dtype.name, (0.0, 1e-45))
    stored = np.abs(expected.gradient) * relative + absolute
    loss_error = np.abs(found.loss - expected.loss)
    error = np.abs(found.gradient.astype(overlap_truth.WIDE) - expected.gradient) - stored
    measured = (
        ("loss", loss_error, expected.loss_scale),
        ("gradient", error, expected.gradient_scale),
    )
    for (what, error, scale), limit in zip(measured, limits(arguments), strict=True):
        units = np.where(error <= 0, 0, error / np.where(scale == 0, 1e-300, scale) / unit)
        assert (units <= limit).all(), f"{np.nanmax(units):.3g} units in the {what}, not {limit}"


# Layouts: each group shape with positions in front of the classes, behind them, and on both sides.
SHAPES = (
    *((1, 1, 1, 1), (1, 1, 1, 100), (2, 5, 3, 1), (2, 3, 3, 4), (1, 70, 1, 1), (3, 1, 5, 7)),
    *((2, 40, 4, 1), (1, 33, 19, 1), (1, 2, 33, 5), (5, 1, 2, 1), (1, 140, 8, 1)),
)
LARGE = ((1, 40_000, 3, 1), (2, 1, 5, 20_011), (1, 700, 130, 1), (300, 20, 4, 1), (3, 1, 1, 70_001))


def all_options(loss: str, classes: int):
    """Every combination that the kernel takes, for one loss."""
    weight = np.random.default_rng(classes).uniform(0.5, 2, classes)
    for per_outer, per_class, sparse, squared, background in itertools.product(
        (False, True), (False, True), (False, True), (False, True), (True, False)
    ):
        if loss == "generalized_dice" and per_class:
            continue
        weighed = per_class or loss == "generalized_dice"
        for ignore_class, class_weight in itertools.product((None, 1), (None, weight)):
            if class_weight is not None and not weighed:
                continue
            yield {
                "per_outer": per_outer,
                "per_class": per_class,
                "sparse": sparse,
                "squared": squared,
                "include_background": background,
                "ignore_class": ignore_class,
                "class_weight": class_weight,
            }


@pytest.mark.parametrize("activation", ACTIVATIONS)
@every_loss
def test_every_option_and_layout(loss, activation):
    with Findings() as findings:
        for number, shape in enumerate(SHAPES):
            for index, options in enumerate(all_options(loss, shape[2])):
                # Each option meets each layout; each pair of both some of the time.
                if (index + number) % 9:
                    continue
                arguments = arguments_of(loss, activation, **options)
                for dtype in ("float32", "float64"):
                    with findings.of(f"{shape} {options} {dtype}"):
                        check(arguments, *data(arguments, shape, dtype, seed=index))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@every_dtype
def test_every_dtype(dtype, activation):
    with Findings() as findings:
        for shape in SHAPES[2:8]:
            for sparse, label_dtype in itertools.product(
                (False, True), ("bool", *INTEGERS, *PREDICTION_DTYPES)
            ):
                if label_dtype == "bool" and shape[2] > 2 and sparse:
                    continue
                arguments = arguments_of("dice", activation, sparse=sparse, per_class=True)
                if label_dtype == "bool" and sparse:
                    continue
                with findings.of(f"{shape} {sparse} {label_dtype}"):
                    check(arguments, *data(arguments, shape, dtype, label_dtype))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", LARGE)
def test_many_positions(shape, activation):
    with Findings() as findings:
        for sparse, per_class in itertools.product((False, True), (False, True)):
            for dtype in ("float32", "float16"):
                arguments = arguments_of("dice", activation, sparse=sparse, per_class=per_class)
                with findings.of(f"{sparse} {per_class} {dtype}"):
                    check(arguments, *data(arguments, shape, dtype))


@every_loss
def test_the_gradient_that_it_is_checked_against_is_that_of_single_steps(loss):
    for activation, shape in itertools.product(ACTIVATIONS, ((2, 3, 3, 2), (1, 4, 2, 1))):
        arguments = arguments_of(loss, activation, squared=True)
        y_true, y_pred = data(arguments, shape, "float64")
        upstream = np.ones(())
        stepwise = overlap_truth.stepwise_gradient(arguments, y_true, y_pred, upstream)
        expected = overlap_truth.truth(arguments, y_true, y_pred, upstream).gradient
        np.testing.assert_allclose(expected, stepwise, rtol=1e-12, atol=1e-14)


# Reductions


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_reductions_weights_and_replicas(activation):
    for per_outer, per_class in itertools.product((False, True), (False, True)):
        arguments = arguments_of("dice", activation, per_outer=per_outer, per_class=per_class)
        y_true, y_pred = data(arguments, (3, 50, 4, 2), "float64")
        groups = call(arguments, y_true, y_pred, kernels.NONE).loss
        weight = np.random.default_rng(0).uniform(0, 2, groups.size)
        weighed = groups.ravel() * weight
        for reduction, expected in (
            (kernels.SUM, weighed.sum()),
            (kernels.MEAN, weighed.mean() / 2),
            (kernels.MEAN_WITH_SAMPLE_WEIGHT, weighed.sum() / weight.sum() / 2),
        ):
            found = call(arguments, y_true, y_pred, reduction, weight, replicas=2)
            np.testing.assert_allclose(found.loss, expected, rtol=1e-13)
            upstream = (
                weight
                / {
                    kernels.SUM: 1,
                    kernels.MEAN: 2 * weight.size,
                    kernels.MEAN_WITH_SAMPLE_WEIGHT: 2 * weight.sum(),
                }[reduction]
            )
            expected = overlap_truth.truth(
                arguments, y_true, y_pred, upstream.reshape(groups.shape)
            ).gradient
            np.testing.assert_allclose(found.gradient, expected, rtol=1e-11, atol=1e-17)


# Fused terms


def sparse_crossentropy(y_true: Array, y_pred: Array) -> tuple[Array, Array]:
    """Loss of each position, (outer, above, inner), and its gradient."""
    shifted = y_pred - y_pred.max(axis=2, keepdims=True)
    log = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
    hot = y_true[:, :, None] == np.arange(y_pred.shape[2])[:, None]
    return -(log * hot).sum(axis=2), np.exp(log) - hot


@pytest.mark.parametrize("reduction", [kernels.SUM, kernels.MEAN])
@pytest.mark.parametrize("ignore_class", [None, 1])
def test_crossentropy_rides_along_with_dice_of_a_softmax(ignore_class, reduction):
    for shape in SHAPES[2:]:
        arguments = arguments_of(
            "dice", "softmax", sparse=True, per_class=True, ignore_class=ignore_class
        )
        y_true, y_pred = data(arguments, shape, "float64")
        alone = call(arguments, y_true, y_pred, reduction)
        losses, slopes = sparse_crossentropy(y_true.astype(int), y_pred)
        counts = np.ones(y_true.shape, bool) if ignore_class is None else y_true != ignore_class
        divisor = 1 if reduction == kernels.SUM else counts.sum()
        expected = 0.0 if divisor == 0 else (losses * counts).sum() / divisor
        slope = 0.0 if divisor == 0 else slopes * counts[:, :, None] / divisor
        fused_terms = (kernels.Term("sparse_categorical_crossentropy_from_logits", 0.7),)
        for in_place in (False, True):
            found = call(
                arguments,
                y_true,
                y_pred.copy(),
                reduction,
                factor=2.0,
                fused_terms=fused_terms,
                in_place=in_place,
            )
            np.testing.assert_allclose(found.terms, [alone.loss, expected], rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(found.loss, 2 * alone.loss + 0.7 * expected, rtol=1e-12)
            np.testing.assert_allclose(
                found.gradient, 2 * alone.gradient + 0.7 * slope, rtol=1e-10, atol=1e-14
            )


def test_companions_add_up_to_the_kernels_of_their_own():
    """The sum of what each gives alone, elementwise and rowwise, in every layout."""
    for shape, dtype in itertools.product((*SHAPES[2:], *LARGE[:3]), ("float32", "float64")):
        tolerance = {"rtol": 2e-5, "atol": 2e-7} if dtype == "float32" else {"rtol": 1e-10}
        positions, classes = shape[0] * shape[1] * shape[3], shape[2]
        for activation in ("none", "sigmoid", "softmax"):
            arguments = arguments_of("jaccard", activation, per_outer=True)
            y_true, y_pred = data(arguments, shape, dtype)
            if activation == "softmax":
                names = ("categorical_crossentropy_from_logits",)
                names += ("categorical_focal_crossentropy_from_logits",)
            else:
                names = ("mean_squared_error", "huber", "log_cosh")
            fused_terms = tuple(kernels.Term(name, 0.5 + i) for i, name in enumerate(names))
            alone = call(arguments, y_true, y_pred, kernels.MEAN)
            loss, gradient = alone.loss.astype(np.float64), alone.gradient.astype(np.float64)
            terms = [loss]
            for name, factor, _ in fused_terms:
                if activation == "softmax":
                    rows = [
                        np.ascontiguousarray(np.moveaxis(x, 2, 3).reshape(positions, classes))
                        for x in (y_true, y_pred)
                    ]
                    one = kernels.rowwise(name, *rows)
                    slope = one.gradient.reshape(*shape[:2], shape[3], classes)
                    slope = np.moveaxis(slope, 3, 2)
                    value = one.loss
                else:
                    value, slope = kernels.elementwise(
                        name, y_true.reshape(-1, 1), y_pred.reshape(-1, 1)
                    )
                    slope = slope.reshape(shape)
                terms.append(value)
                loss = loss + factor * value
                gradient = gradient + factor * slope
            found = call(arguments, y_true, y_pred, kernels.MEAN, fused_terms=fused_terms)
            np.testing.assert_allclose(found.terms, terms, **tolerance)
            np.testing.assert_allclose(found.loss, loss, **tolerance)
            np.testing.assert_allclose(found.gradient, gradient, **(tolerance | {"atol": 1e-9}))


@pytest.mark.parametrize(
    ("fused_term", "options", "message"),
    [
        ("huber", {"activation": "softmax"}, "expected a rowwise loss from logits with dense"),
        ("hinge", {}, "expected an elementwise loss"),
        ("huber", {"sparse": True}, "expected an elementwise loss"),
        ("categorical_crossentropy", {"activation": "softmax"}, "from logits"),
        (
            "categorical_crossentropy_from_logits",
            {"activation": "softmax", "sparse": True},
            "class",
        ),
        ("nothing", {}, "expected an elementwise loss"),
    ],
)
def test_what_cannot_ride_along_is_refused(fused_term, options, message):
    arguments = arguments_of("dice", **options)
    y_true, y_pred = data(arguments, (2, 3, 4, 1))
    losses = {**c_api.elementwise_losses(), **c_api.rowwise_losses()}
    number = len(losses[fused_term].parameters) if fused_term in losses else 0
    with pytest.raises(ValueError, match=message):
        call(
            arguments, y_true, y_pred, fused_terms=(kernels.Term(fused_term, 1.0, (0.5,) * number),)
        )


# Extremes


@every_loss
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nothing_labelled_nothing_predicted_and_nothing_at_all(loss, activation):
    for sparse in (False, True):
        arguments = arguments_of(loss, activation, sparse=sparse)
        for shape in ((0, 3, 4, 1), (2, 0, 4, 1), (2, 3, 4, 0), (2, 3, 0, 2)):
            y_true, y_pred = data(arguments, shape)
            found = call(arguments, y_true, y_pred)
            assert np.isfinite(found.loss), shape
            assert found.gradient.size == 0
        ignoring = arguments._replace(ignore_class=0)
        y_true, y_pred = data(ignoring, (2, 3, 4, 1))
        found = call(ignoring, y_true * 0, y_pred)
        assert np.isfinite(found.loss)
        assert (found.gradient == 0).all()


def test_a_label_that_is_no_class_is_named():
    arguments = arguments_of("dice", "softmax", sparse=True)
    y_true, y_pred = data(arguments, (2, 40, 4, 1), label_dtype="int32")
    y_true[1, 3] = 7
    y_true[1, 30] = -1
    with pytest.raises(ValueError, match=r"label of position 43 is 7; expected 0 to 3"):
        call(arguments, y_true, y_pred)
    y_true[1, 3] = -1
    call(arguments._replace(ignore_class=-1), y_true, y_pred)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nan_comes_out_as_nan(activation):
    for sparse in (False, True):
        arguments = arguments_of("dice", activation, sparse=sparse, per_outer=True)
        y_true, y_pred = data(arguments, (2, 50, 3, 1))
        y_pred[1, 20, 1] = np.nan
        found = call(arguments, y_true, y_pred, kernels.NONE)
        assert np.isnan(found.loss).tolist() == [False, True]
        assert np.isfinite(found.gradient[0]).all()


def test_a_large_half_precision_mask_does_not_overflow():
    arguments = arguments_of("dice", "sigmoid")
    y_pred = np.full((1, 512 * 512, 1, 1), 3, np.float16)
    y_true = np.ones(y_pred.shape, np.float16)
    p = 1 / (1 + np.exp(-3.0))
    count = 512 * 512
    expected = 1 - (2 * p * count + 0.25) / (p * count + count + 0.5)
    found = call(arguments, y_true, y_pred)
    np.testing.assert_allclose(found.loss, expected, atol=1e-6)
