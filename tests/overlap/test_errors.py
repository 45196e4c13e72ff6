"""Bad input to an overlap loss is refused with a message that names it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from overlap_cases import CASES, IDS, find
from rowwise_cases import REFUSALS

import fastloss as fl

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)

WITH_AXIS = ("Dice", "LogCoshDice", "Tversky", "FocalTversky", "Jaccard")
SUMMED = (*WITH_AXIS, "GeneralizedDice")
SMOOTHED = tuple(public for public in SUMMED if public != "Jaccard")
NAN = float("nan")

BAD_ARGUMENTS = [
    *[(public, "axis", x) for public in WITH_AXIS for x in (0.5, "a", True, (0, 1.5), ("a",))],
    *[
        (public, "class_axis", x)
        for public in (*SUMMED, "LovaszSoftmax")
        for x in (None, "a", (1, 2), 0.5, True)
    ],
    *[
        (public, "ignore_class", x)
        for public in (*SUMMED, "LovaszSoftmax", "LovaszHinge")
        for x in (1.5, "a", True, [1])
    ],
    *[
        (public, "class_weights", x)
        for public in SUMMED
        for x in (2.0, [1.0, -2.0], [[1.0, 2.0]], "a", [NAN, 1.0])
    ],
    *[(public, "smooth_numerator", x) for public in SMOOTHED for x in (-1, NAN, None, "a")],
    *[(public, "smooth_denominator", x) for public in SMOOTHED for x in (-1, NAN, "a")],
    *[("Jaccard", "smooth", x) for x in (-1, NAN, "a")],
    *[
        (public, name, x)
        for public in ("Tversky", "FocalTversky")
        for name in ("alpha", "beta")
        for x in (-1, NAN, None, "a")
    ],
    *[("FocalTversky", "gamma", x) for x in (-1, NAN, None, "a")],
    *[("GeneralizedDice", "weight", x) for x in ("cube", None, 2)],
    *[("LovaszSoftmax", "classes", x) for x in ("none", None, [1])],
]


@pytest.mark.parametrize(("public", "argument", "value"), BAD_ARGUMENTS, ids=str)
def test_argument_out_of_range_is_named(public, argument, value):
    case = find(public)
    for make in (getattr(fl, public), lambda **x: getattr(fl, case.function)(1.0, 1.0, **x)):
        with pytest.raises(ValueError, match=rf"{argument} is .*expected"):
            make(**{argument: value})


CONTRADICTIONS = [
    ({"activation": "softmax"}, r"activation is 'softmax', .* probabilities; expected logits"),
    ({"activation": "relu", "from_logits": True}, r"activation is 'relu'; expected 'sigmoid'"),
    ({"axis": 1, "per_class": True}, r"axis is 1 and per_class is True, .*leave out"),
    ({"axis": (1, 2), "per_class": False}, r"axis is \(1, 2\) and per_class is False"),
    ({"axis": 1, "per_image": True}, r"axis is 1 and per_image is True"),
    (
        {"per_class": False, "class_weights": [1.0]},
        r"per_class is False, .*expected per_class=True",
    ),
]


@pytest.mark.parametrize(("given", "message"), CONTRADICTIONS, ids=str)
@pytest.mark.parametrize("public", WITH_AXIS)
def test_arguments_that_contradict_each_other_are_named(public, given, message):
    for make in (
        getattr(fl, public),
        lambda **x: getattr(fl, find(public).function)(1.0, 1.0, **x),
    ):
        with pytest.raises(ValueError, match=message):
            make(**given)


@pytest.mark.parametrize("public", sorted({case.public for case in CASES}))
def test_unknown_arguments_and_reductions_are_refused(public):
    with pytest.raises(TypeError, match="unknown"):
        getattr(fl, public)(unknown=1)
    with pytest.raises(ValueError, match="reduction"):
        getattr(fl, public)(reduction="median")
    if public == "GeneralizedDice" or "Lovasz" in public:
        with pytest.raises(TypeError, match="axis"):
            getattr(fl, public)(axis=1)


# Axes and shapes, known when the loss is called


def refused(loss, y_true, y_pred, message):
    for call in (loss, loss.call, tf.function(loss)):
        with pytest.raises(ValueError, match=message):
            call(y_true, y_pred)


AXES = [
    ({"axis": 4}, r"axis is 4, but y_pred has 4 dimensions; expected -4 to 3"),
    ({"axis": (1, -5)}, r"axis is -5, but y_pred has 4 dimensions"),
    ({"axis": (1, -3)}, r"axis is \(1, -3\); expected each axis once"),
    ({"per_class": True, "class_axis": 4}, r"class_axis is 4, but y_pred has 4 dimensions"),
    ({"axis": (2,), "ignore_class": 0}, r"axis is \(2,\), which keeps the axes \(0, 1, 3\)"),
    (
        {"axis": (2, 3), "ignore_class": 0},
        r"keeps the axes \(0, 1\) of y_pred; expected .* 0 and 3",
    ),
    ({"axis": (1, 2, 3), "class_weights": [1, 2, 3]}, r"which sums over the classes, axis 3"),
    ({"per_image": True, "per_class": True, "class_axis": 0}, r"per_image is True, but y_pred"),
    ({"class_weights": [1, 2]}, r"class_weights has shape \(2,\); .* the 3 classes"),
]


@pytest.mark.parametrize(("given", "message"), AXES, ids=str)
def test_axes_that_do_not_fit_y_pred_are_named(given, message, backend):
    y_true, y_pred = find("Dice").data((2, 3, 4, 3))
    for public in ("Dice", "Tversky", "Jaccard"):
        refused(getattr(fl, public)(**given), y_true, y_pred, message)


def test_one_class_without_the_background_is_none(backend):
    y_true, y_pred = find("Dice").data((2, 3, 1))
    loss = fl.Dice(include_background=False)
    refused(loss, y_true, y_pred, r"include_background is False, but .* one class on axis 2")


def test_a_scalar_has_no_classes_and_no_images(backend):
    for given in ({"per_class": True}, {"ignore_class": 0}, {"sparse": True}):
        refused(fl.Dice(**given), 1, np.float32(1), r"y_pred has shape \(\)")
    refused(fl.GeneralizedDice(), 1, np.float32(1), r"y_pred has shape \(\)")
    for loss in (fl.Dice(per_image=True), fl.LovaszHinge(per_image=True)):
        refused(loss, 1, np.float32(1), "per_image is True, but y_pred")


@every_case
def test_mismatched_shapes_are_named_in_eager_and_while_tracing(case, backend):
    y_true, y_pred = case.data((4, 3, 3))
    others = [y_pred[:3], np.stack([y_pred] * 2)]
    if not case.is_sparse:
        others += [y_pred[:, :2], y_pred[:, :, :2]]
    for other in others:
        for reduction in ("sum_over_batch_size", "none"):
            loss = case.ours(reduction=reduction)
            for call in (loss, tf.function(loss), loss.call):
                try:
                    np.broadcast_shapes(y_true.shape, other.shape)
                    if case.loss == "tversky":
                        continue
                except ValueError:
                    pass
                with pytest.raises(ValueError) as error:
                    call(y_true, other)
                assert str(tuple(y_true.shape)) in str(error.value)
                assert str(tuple(other.shape)) in str(error.value)


def test_labels_that_would_broadcast_are_refused(backend):
    """Keras's Dice sums them once, but their products many times."""
    y_true, y_pred = np.ones((4, 1), np.float32), np.ones((4, 3), np.float32)
    np.testing.assert_allclose(keras.losses.Dice()(y_true, y_pred), 1 - 2 * 12 / (4 + 12))
    for public in ("Dice", "Jaccard", "LogCoshDice", "FocalTversky"):
        refused(getattr(fl, public)(), y_true, y_pred, r"\(4, 1\) .* \(4, 3\); expected the same")


@every_case
def test_wrong_dtypes_are_named(case, backend):
    y_true, y_pred = case.data((4, 3))
    for wrong in (np.complex64, str):
        for call in (case.ours(), case.ours().call):
            with pytest.raises(ValueError, match=r"y_pred has dtype (complex64|string)"):
                call(y_true, y_pred.astype(wrong))
            with pytest.raises(ValueError, match=r"y_true has dtype (complex64|string)"):
                call(y_true.astype(wrong), y_pred)


def test_weights_that_do_not_broadcast_are_refused(backend):
    y_true, y_pred = find("Dice").data((4, 5, 3))
    for shape in ((4, 4), (5, 3), (2,)):
        for reduction in ("sum_over_batch_size", "mean_with_sample_weight", "none"):
            loss = fl.Dice(reduction, per_image=True, per_class=True)
            with pytest.raises(REFUSALS):
                loss(y_true, y_pred, np.ones(shape, np.float32))


def test_label_that_is_no_class_is_named_by_the_kernels():
    y_true, y_pred = find("Dice", from_logits=True, sparse=True).data((2, 4, 3))
    with fl.use_backend("fused"):
        for label in (-1, 3, 255):
            y_true[1, 2] = label
            for public in SUMMED:
                loss = getattr(fl, public)(from_logits=True, sparse=True)
                with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{label}.*expected 0"):
                    loss(y_true, y_pred)
                loss = getattr(fl, public)(from_logits=True, sparse=True, ignore_class=label)
                assert np.isfinite(loss(y_true, y_pred))
