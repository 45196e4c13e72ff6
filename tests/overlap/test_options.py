"""Every option of the overlap losses against the papers' formulas, in numpy and float64."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import LOSS_BOUNDS, Findings, assert_close, value_and_gradient
from overlap_cases import CASES, IDS, SUMMED, SUMMED_IDS, Case, choices, find, score, truth

import fastloss as fl

SHAPE = (2, 3, 4, 3)
KINDS = (
    {},
    {"from_logits": True},
    {"from_logits": True, "activation": "softmax"},
    {"sparse": True},
    {"from_logits": True, "sparse": True},
    {"from_logits": True, "sparse": True, "activation": "sigmoid"},
)
SMOOTH = ({}, {"smooth_numerator": 1.0, "smooth_denominator": 1.0}, {"smooth_denominator": 0.25})
OWN = {
    "Dice": ({}, *SMOOTH),
    "LogCoshDice": SMOOTH,
    "Tversky": ({"alpha": 0.2, "beta": 0.9}, *SMOOTH),
    "FocalTversky": ({}, {"alpha": 0.4, "beta": 0.5, "gamma": 2.0}, *SMOOTH),
    "Jaccard": ({}, {"smooth": 0.0}, {"smooth": 2.0}),
    "GeneralizedDice": ({}, {"weight": "simple"}, {"weight": "uniform"}, *SMOOTH),
}
WEIGHTS = [0.5, 2.0, 1.25]


def arguments_of(public):
    """Every combination of the shared options, with the loss's own and class_weights in turn."""
    shared = {
        "kind": KINDS,
        "per_class": (None, False, True),
        "per_image": (False, True),
        "include_background": (True, False),
        "squared": (False, True),
        "ignore_class": (None, 1),
    }
    if public == "GeneralizedDice":
        del shared["per_class"]
    for i, chosen in enumerate(choices(**shared)):
        own = OWN[public][i % len(OWN[public])]
        given = {**chosen.pop("kind"), **chosen, **own}
        if i % 2 and given.get("per_class") is not False:
            given["class_weights"] = WEIGHTS
        yield given


def check(public, given, y_true, y_pred, dtype="float32"):
    ours = getattr(fl, public)(reduction="none", **given)(y_true, y_pred)
    expected = truth(public, y_true, y_pred, **given)
    assert_close(ours, expected, LOSS_BOUNDS[dtype], tiny=1e-6)


@pytest.mark.parametrize("public", OWN)
def test_every_option(public, backend):
    with Findings() as findings:
        for given in arguments_of(public):
            case = Case("", public, given)
            with findings.of(given):
                check(public, given, *case.data(SHAPE))


@pytest.mark.parametrize("classes", ["present", "all"])
def test_every_option_of_lovasz_softmax(classes, backend):
    kinds = (KINDS[0], KINDS[1], KINDS[3], KINDS[4])
    with Findings() as findings:
        for chosen in choices(kind=kinds, per_image=(False, True), ignore_class=(None, 1, 7)):
            given = {**chosen.pop("kind"), **chosen, "classes": classes}
            y_true, y_pred = Case("", "LovaszSoftmax", given).data(SHAPE)
            # The second image has no class 2.
            y_true[1] = np.minimum(y_true[1], 1) if given.get("sparse") else y_true[1] * [1, 1, 0]
            with findings.of(given):
                check("LovaszSoftmax", given, y_true, y_pred)


def test_every_option_of_lovasz_hinge(backend):
    for given in choices(per_image=(False, True), ignore_class=(None, 0, 255)):
        y_true, y_pred = Case("", "LovaszHinge").data((3, 4, 5), label_dtype="uint8")
        y_true[0, 1:3] = 255
        if given["ignore_class"] != 255:
            y_true = np.minimum(y_true, 1)
        check("LovaszHinge", given, y_true, y_pred)


# By hand


def test_figures_worked_out_by_hand(backend):
    """Labels 1 1 0 0, predictions 1 .5 .5 0: I = 1.5, P = 2, T = 2."""
    t, p = np.array([[1.0, 1, 0, 0]]), np.array([[1.0, 0.5, 0.5, 0]])
    none = {"smooth_denominator": 0}
    expected = {
        fl.Dice(**none): 1 - 3 / 4,
        fl.Dice(**none, squared=True): 1 - 3 / 3.5,
        fl.Dice(smooth_numerator=1, smooth_denominator=1): 1 - 4 / 5,
        fl.Jaccard(smooth=0): 1 - 1.5 / 2.5,
        fl.Jaccard(smooth=0.5): 1 - 2 / 3,
        fl.Tversky(0.2, 0.6, **none): 1 - 1.5 / (1.5 + 0.2 * 0.5 + 0.6 * 0.5),
        fl.FocalTversky(0.5, 0.5, 2, **none): 0.25**2,
        fl.LogCoshDice(**none): np.log(np.cosh(0.25)),
        # Errors .5 (a label) and .5 (none): the Jaccard loss goes 1/2, 2/3 or 1/3, 2/3.
        fl.LovaszSoftmax(): 0.5 * 2 / 3,
    }
    for loss, value in expected.items():
        got = loss(t[..., np.newaxis], p[..., np.newaxis])
        np.testing.assert_allclose(got, value, rtol=1e-6, err_msg=loss.name)
    # Classes of 3 and 1 labels, hits 2 and 0.5: weights 1/9 and 1.
    t = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    p = np.array([[1.0, 0], [1, 0], [0, 1], [0.5, 0.5]])
    above, below = 2 * (2 / 9 + 0.5), (2.5 + 3) / 9 + (1.5 + 1)
    np.testing.assert_allclose(fl.GeneralizedDice(**none)(t, p), 1 - above / below, rtol=1e-6)


def test_which_mistake_alpha_weighs(backend):
    """As in Keras: what is labelled and missed."""
    t, missed, wrong = np.ones((1, 4)), np.array([[1.0, 1, 1, 0]]), np.array([[1.0, 1, 0, 0]])
    for loss in (fl.tversky, keras.losses.tversky):
        assert float(loss(t, missed, 1.0, 0.0)) > float(loss(t, missed, 0.0, 1.0)) + 0.2
        assert float(loss(wrong, t, 0.0, 1.0)) > float(loss(wrong, t, 1.0, 0.0)) + 0.2
    focal = fl.FocalTversky()
    assert float(focal(t, wrong)) > float(focal(wrong, t))


# Axes


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_classes_may_be_on_any_axis(case, backend):
    if case.public == "LovaszHinge":
        return
    y_true, y_pred = case.data(SHAPE)
    expected = value_and_gradient(case.ours(reduction="none"), y_true, y_pred)
    for axis in (0, 1, -2, -4):
        if axis % 4 == 0 and case.arguments.get("per_image"):
            continue
        moved = y_true if case.is_sparse else np.moveaxis(y_true, -1, axis)
        loss = case.ours(reduction="none", class_axis=axis)
        value, gradient = value_and_gradient(loss, moved, np.moveaxis(y_pred, -1, axis))
        assert_close(value, expected[0], 2e-6)
        assert_close(gradient, np.moveaxis(expected[1], -1, axis), 2e-6)
        if case.is_sparse:
            wide = np.expand_dims(moved, axis)
            assert_close(loss(wide, np.moveaxis(y_pred, -1, axis)), value, 1e-7)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_axis_says_the_same_as_what_is_scored_alone(kind, backend):
    y_true, y_pred = Case("", "Dice", kind).data(SHAPE)
    same = [
        ((1, 2), {"per_image": True, "per_class": True}),
        ((0, 1, 2), {"per_class": True}),
        ((1, 2, 3), {"per_image": True, "per_class": False}),
        ((0, 1, 2, -1), {"per_class": False}),
    ]
    for background in (True, False):
        for axis, given in same:
            pair = [
                value_and_gradient(
                    fl.Dice("none", include_background=background, **kind, **choice), y_true, y_pred
                )
                for choice in ({"axis": axis}, given)
            ]
            for x, y in zip(*pair, strict=True):
                assert_close(x, y, 1e-6, str((axis, background)))


def test_images_of_a_loss_without_classes(backend):
    y_true, y_pred = find("Dice").data((5, 3, 2))
    ours = fl.Dice("none", per_image=True)(y_true, y_pred)
    assert_close(ours, keras.losses.Dice("none", axis=(1, 2))(y_true, y_pred), 1e-6)


def test_masks_of_one_class_without_their_axis(backend):
    y_true, y_pred = find("Dice").data((5, 3, 1))
    for given in ({"per_class": True}, {"per_class": True, "per_image": True}, {"ignore_class": 3}):
        for public in ("Dice", "GeneralizedDice"):
            if public == "GeneralizedDice":
                given.pop("per_class", None)
            loss = getattr(fl, public)("square" if "Gen" in public else "none", **given)
            assert_close(loss(y_true[..., 0], y_pred), loss(y_true, y_pred), 1e-7)


# Weights and reductions


def test_weights_of_images_and_classes(backend):
    case = find("Dice", per_image=True, per_class=True, include_background=False)
    y_true, y_pred = case.data((4, 5, 3))
    groups = case.truth(y_true, y_pred)
    random = np.random.default_rng(0)
    with Findings() as findings:
        for shape in ((), (4, 2), (4, 1), (1, 2), (2,)):
            weight = random.uniform(0, 2, shape).astype(np.float32)
            weighed = groups * weight
            expected = {
                "sum_over_batch_size": weighed.mean(),
                "sum": weighed.sum(),
                "mean_with_sample_weight": weighed.sum() / weight.sum(),
                "none": weighed,
            }
            for reduction, value in expected.items():
                with findings.of((shape, reduction)):
                    ours = case.ours(reduction=reduction)(y_true, y_pred, weight)
                    assert_close(ours, value, 4e-6)


def test_class_weights_do_not_enter_the_divisor(backend):
    y_true, y_pred = find("Dice").data((4, 5, 3))
    groups = truth("Dice", y_true, y_pred, per_class=True)
    ours = fl.Dice(class_weights=WEIGHTS)(y_true, y_pred)
    assert_close(ours, (groups * WEIGHTS).mean(), 4e-6)
    background = fl.Dice(class_weights=WEIGHTS, include_background=False)(y_true, y_pred)
    assert_close(background, (groups * WEIGHTS)[1:].mean(), 4e-6)


# Empty masks and groups, absent classes, ignored positions

EMPTY = [
    # labels, predictions, arguments, Dice, Tversky, Jaccard
    (0.0, 0.0, {}, 1, 1, 0),
    (0.0, 1.0, {}, 1, 1, 1),
    (1.0, 0.0, {}, 1, 1, 1),
    (1.0, 1.0, {}, 0, 0, 0),
    (0.0, 0.0, {"smooth": 1.0}, 0, 0, 0),
    (0.0, 1.0, {"smooth": 1.0}, 1 - 1 / 13, 1 - 1 / 7, 1 - 1 / 13),
    (1.0, 0.0, {"smooth": 1.0}, 1 - 1 / 13, 1 - 1 / 7, 1 - 1 / 13),
]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("label", "predicted", "given", "dice", "tversky", "jaccard"), EMPTY)
def test_empty_masks(label, predicted, given, dice, tversky, jaccard, dtype, backend):
    y_true = tf.fill([2, 3, 2], tf.cast(label, dtype))
    y_pred = tf.fill([2, 3, 2], tf.cast(predicted, dtype))
    both = {f"smooth_{part}": x for x in given.values() for part in ("numerator", "denominator")}
    expected = {
        "Dice": dice,
        "Tversky": tversky,
        "FocalTversky": tversky**0.75,
        "LogCoshDice": np.log(np.cosh(dice)),
        "Jaccard": jaccard,
        "GeneralizedDice": dice if not given else None,
    }
    if label == 0 and predicted == 1 and given:
        # alpha and beta are not the same.
        expected["FocalTversky"] = (1 - 1 / (0.3 * 12 + 1)) ** 0.75
    if label == 1 and predicted == 0 and given:
        expected["FocalTversky"] = (1 - 1 / (0.7 * 12 + 1)) ** 0.75
    for public, value in expected.items():
        loss = getattr(fl, public)(**(given if public == "Jaccard" else both))
        got, gradient = value_and_gradient(loss, y_true, y_pred)
        if value is not None:
            np.testing.assert_allclose(got, value, atol=1e-4 if "Focal" in public else 1e-6)
        assert np.isfinite(tf.cast(gradient, tf.float32)).all() or dtype == "float16", public


@pytest.mark.parametrize("case", SUMMED, ids=SUMMED_IDS)
def test_groups_without_positions(case, backend):
    for shape in [(2, 0, 3), (0, 4, 3)]:
        y_true, y_pred = case.data(shape)
        with np.errstate(invalid="ignore"):
            expected = case.truth(y_true, y_pred)
        value, gradient = value_and_gradient(case.ours(reduction="none"), y_true, y_pred)
        if shape[0] or not case.arguments.get("per_image"):
            assert_close(value, expected, 1e-6)
        assert gradient.shape == shape
        mean = case.ours()(y_true, y_pred)
        assert np.isfinite(mean).all()


ABSENT = [case for case in CASES if case.is_sparse]


@pytest.mark.parametrize("case", ABSENT, ids=lambda case: case.id)
def test_absent_classes_and_ignored_positions(case, backend):
    _, y_pred = case.data((2, 5, 3))
    for label in (0, 1, 2):
        y_true = np.full((2, 5), label)
        value, gradient = value_and_gradient(case.ours(reduction="none"), y_true, y_pred)
        assert_close(value, case.truth(y_true, y_pred), 1e-5, tiny=1e-6)
        assert np.isfinite(gradient).all()
    for ignored, dtype in ((1, "int32"), (-1, "int8"), (255, "uint8"), (-100, "int64")):
        y_true = np.array([[ignored] * 5, [0, ignored, 2, 2, ignored]]).astype(dtype)
        poisoned = y_pred.copy()
        poisoned[y_true == ignored] = np.nan
        for labels in (y_true, np.full((2, 5), ignored, dtype)):
            poisoned[labels == ignored] = np.nan
            loss = case.ours(reduction="none", ignore_class=ignored)
            value, gradient = value_and_gradient(loss, labels, poisoned)
            expected = case.truth(labels, np.nan_to_num(poisoned), ignore_class=ignored)
            assert_close(value, expected, 1e-5, f"{ignored}", tiny=1e-6)
            assert (gradient.numpy()[labels == ignored] == 0).all()


def test_dense_labels_of_an_ignored_class(backend):
    y_true = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 1]]], np.float32)
    y_pred = np.random.default_rng(0).uniform(0.1, 0.9, (1, 5, 3)).astype(np.float32)
    kept = [0, 2, 4]
    for public in ("Dice", "Tversky", "Jaccard", "GeneralizedDice", "LovaszSoftmax"):
        loss = getattr(fl, public)(ignore_class=1)
        plain = getattr(fl, public)()
        value, gradient = value_and_gradient(loss, y_true, y_pred)
        expected = value_and_gradient(plain, y_true[:, kept], y_pred[:, kept])
        assert_close(value, expected[0], 1e-6)
        assert_close(gradient.numpy()[:, kept], expected[1], 1e-6)
        assert (gradient.numpy()[:, [1, 3]] == 0).all()


def test_nan_is_never_hidden(backend):
    for case in CASES:
        y_true, y_pred = case.data((2, 4, 3))
        y_pred[0, 0] = np.nan
        if case.is_sparse:
            y_true[0, 0] = 2
        else:
            y_true[0, 0] = 1
        value = case.ours(reduction="none")(y_true, y_pred).numpy()
        assert np.isnan(value[0] if case.arguments.get("per_image") else value).all(), case.id


def test_label_that_is_no_class_is_nan_in_the_reference():
    with fl.use_backend("reference"):
        for public in (*OWN, "LovaszSoftmax"):
            y_true, y_pred = find("Dice", from_logits=True, sparse=True).data((3, 4, 3))
            loss = getattr(fl, public)(
                from_logits=True, sparse=True, per_image=True, reduction="none"
            )
            for label in (-1, 3, 2**31 - 1):
                y_true[1, 2] = label
                value, gradient = value_and_gradient(loss, y_true, y_pred)
                for x in (value.numpy(), gradient.numpy()):
                    assert np.isnan(x[1]).any(), public
                    assert np.isfinite(x[::2]).all(), public


# Half precision


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_half_precision_image(dtype, backend):
    """512 x 512 predictions: their sum is no float16."""
    y_true, y_pred = find("Dice").data((1, 512, 512, 1), dtype)
    expected = score("Dice", y_true.ravel(), y_pred.ravel())
    if dtype == "float16":
        assert np.isnan(keras.losses.dice(tf.constant(y_true), tf.constant(y_pred)))
        assert float(keras.losses.tversky(tf.constant(y_true), tf.constant(y_pred))) == 1
    # With its own alpha and beta a Tversky loss is the Dice loss.
    for loss in (fl.Dice(), fl.Dice(dtype=dtype), fl.dice, fl.tversky):
        value = loss(tf.constant(y_true), tf.constant(y_pred))
        np.testing.assert_allclose(
            float(value), expected, rtol=1e-6 if value.dtype == tf.float32 else 4e-3
        )
    logits = y_pred.astype(np.float32)
    expected = score("Dice", y_true.ravel(), 1 / (1 + np.exp(-logits.astype(float))).ravel())
    value = fl.Dice(from_logits=True)(y_true, tf.constant(y_pred))
    np.testing.assert_allclose(float(value), expected, rtol=2e-6)


# Lovász


def test_lovasz_of_hard_predictions_is_the_jaccard_loss(backend):
    random = np.random.default_rng(0)
    y_true, y_pred = (random.integers(0, 2, (40, 3)).astype(np.float32) for _ in range(2))
    jaccard = fl.Jaccard("none", per_class=True, smooth=0)(y_true, y_pred)
    assert_close(fl.LovaszSoftmax()(y_true, y_pred), np.mean(jaccard), 1e-6)
    one = fl.LovaszHinge()(y_true[:, 0], (2 * y_pred[:, 0] - 1) * 1.0)
    assert_close(one, 2 * float(jaccard[0]), 1e-6)


def test_lovasz_of_many_positions_is_exact(backend):
    """A running sum of float32 counts would stop at 2**24; differences of it lose digits before."""
    y_true = (np.arange(300_000) % 3 == 0).astype(np.float32)
    y_pred = np.full(300_000, 0.5, np.float32)
    # All errors are one half, so that the last Jaccard loss, 1, is all that counts.
    np.testing.assert_allclose(fl.lovasz_softmax(y_true[:, None], y_pred[:, None]), 0.5, rtol=1e-6)


def test_lovasz_labels_have_no_gradient(backend):
    y_true, y_pred = find("Dice").data((2, 3, 3))
    y_true = tf.constant(y_true)
    with tf.GradientTape() as tape:
        tape.watch(y_true)
        value = fl.LovaszSoftmax()(y_true, y_pred)
    assert tape.gradient(value, y_true) is None
