"""Bad input to a rowwise loss is refused with a message that names it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from cases import value_and_gradient
from rowwise_cases import CASES, IDS, REFUSALS, find

import fastloss as fl

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)

CROSSENTROPIES = (
    "SparseCategoricalCrossentropy",
    "CategoricalCrossentropy",
    "SparseCategoricalFocalCrossentropy",
    "CategoricalFocalCrossentropy",
)
WITH_LOGITS = (*CROSSENTROPIES, "CategoricalGeneralizedCrossEntropy")
NOT_POSITIVE = (0, -1, float("nan"), float("inf"), "a")

BAD_ARGUMENTS = [
    *[(public, "label_smoothing", x) for public in CROSSENTROPIES for x in (-0.1, 1.1, None, "a")],
    *[(public, "z_loss", x) for public in CROSSENTROPIES for x in (-1, float("nan"), None, "a")],
    *[(public, "temperature", x) for public in WITH_LOGITS for x in (*NOT_POSITIVE, None)],
    *[(public, "logit_softcap", x) for public in WITH_LOGITS for x in NOT_POSITIVE],
    *[
        (public, "class_weights", x)
        for public in WITH_LOGITS
        for x in (2.0, [1.0, -2.0], [[1.0, 2.0]], "a", [float("nan"), 1.0], ["a", "b"])
    ],
    *[
        (public, "ignore_class", x)
        for public in (*WITH_LOGITS, "SparseCategoricalHinge")
        for x in (1.5, "a", True, [1])
    ],
    *[
        (public, "axis", x)
        for public in (*WITH_LOGITS, "CosineSimilarity", "JensenShannonDivergence")
        for x in (True, None, "a", 0.5, (0, 1))
    ],
    *[
        (public, "gamma", x)
        for public in ("SparseCategoricalFocalCrossentropy", "CategoricalFocalCrossentropy")
        for x in (-1, float("nan"), None)
    ],
    *[
        (public, "alpha", x)
        for public in ("SparseCategoricalFocalCrossentropy", "CategoricalFocalCrossentropy")
        for x in (-1, float("nan"), [0.5, -0.5], [[0.5, 0.5]], "a", None)
    ],
    *[("CategoricalGeneralizedCrossEntropy", "q", x) for x in (0, 1, -0.5, 2, float("nan"), None)],
    *[("JensenShannonDivergence", "beta", x) for x in (0, 1, -0.5, float("nan"), None)],
    *[("JensenShannonDivergence", "temperature", x) for x in NOT_POSITIVE],
    *[("KLDivergence", "temperature", x) for x in NOT_POSITIVE],
    *[("KLDivergence", "axis", x) for x in (True, None, "a")],
]


@pytest.mark.parametrize(("public", "argument", "value"), BAD_ARGUMENTS, ids=str)
def test_argument_out_of_range_is_named(public, argument, value):
    case = find(public)
    with pytest.raises(ValueError, match=rf"{argument} is .*expected"):
        getattr(fl, public)(**{argument: value})
    y_true, y_pred = case.data((4, 2))
    given = {"q": 0.5} if public == "CategoricalGeneralizedCrossEntropy" else {}
    with pytest.raises(ValueError, match=rf"{argument} is .*expected"):
        getattr(fl, case.function)(y_true, y_pred, **{**given, argument: value})


NEEDS_LOGITS = {"temperature": 2.0, "logit_softcap": 5.0, "z_loss": 0.1, "return_metrics": True}


@pytest.mark.parametrize("public", WITH_LOGITS)
def test_what_needs_logits_is_refused_without(public, backend):
    case = find(public)
    y_true, y_pred = case.data((4, 3))
    for argument, value in NEEDS_LOGITS.items():
        given = {argument: value}
        if "Generalized" in public:
            if argument in ("z_loss", "return_metrics"):
                continue
            given["q"] = 0.5
        with pytest.raises(ValueError, match=rf"{argument} is .* probabilities; expected logits"):
            getattr(fl, case.function)(y_true, y_pred, **given)
        if argument != "return_metrics":
            loss = getattr(fl, public)(**given)
            for call in (loss, tf.function(loss), loss.call):
                with pytest.raises(ValueError, match=argument):
                    call(y_true, y_pred)


@pytest.mark.parametrize(
    ("argument", "value"), [("reverse", True), ("temperature", 2.0), ("axis", 0)]
)
def test_divergence_of_probabilities_refuses_what_needs_logits(argument, value):
    with pytest.raises(ValueError, match=rf"{argument} is .*from_logits=True"):
        fl.KLDivergence(**{argument: value})
    with pytest.raises(ValueError, match=rf"{argument} is .*from_logits=True"):
        fl.kl_divergence(np.ones((2, 2)), np.ones((2, 2)), **{argument: value})


@pytest.mark.parametrize("public", sorted({case.public for case in CASES}))
def test_unknown_arguments_and_reductions_are_refused(public):
    with pytest.raises(TypeError, match="unknown"):
        getattr(fl, public)(unknown=1)
    with pytest.raises(ValueError, match="reduction"):
        getattr(fl, public)(reduction="median")


@pytest.mark.parametrize("public", WITH_LOGITS)
def test_class_weights_that_do_not_fit_the_classes_are_named(public, backend):
    y_true, y_pred = find(public).data((4, 3))
    for weight in ([1.0, 2.0], [1.0] * 4, [], tf.ones([2]), tf.ones([3, 1]), tf.ones([])):
        if tf.is_tensor(weight):
            with pytest.raises(ValueError, match="class_weights"):
                tf.function(lambda w: getattr(fl, public)(class_weights=w)(y_true, y_pred))(weight)
        else:
            with pytest.raises(ValueError, match=r"class_weights has shape .* 3 classes"):
                getattr(fl, public)(class_weights=weight)(y_true, y_pred)
    if "Focal" in public:
        with pytest.raises(ValueError, match=r"alpha has shape \(3,\) .* shape \(2,\)"):
            getattr(fl, public)(alpha=[1, 2, 3], class_weights=[1, 2])(y_true, y_pred)


# Shapes and dtypes


@every_case
def test_mismatched_shapes_are_named_in_eager_and_while_tracing(case, backend):
    y_true, y_pred = case.data((4, 3))
    others = [y_pred[:3], np.stack([y_pred] * 2), y_pred[0]]
    if not case.is_sparse:
        others.append(y_pred[:, :2])
    for other in others:
        if case.labels != "class" and case.public in ("CategoricalHinge", "CosineSimilarity"):
            try:
                np.broadcast_shapes(y_true.shape, other.shape)
                continue
            except ValueError:
                pass
        for reduction in ("sum_over_batch_size", "none"):
            loss = case.ours(reduction=reduction)
            for call in (loss, tf.function(loss), loss.call):
                with pytest.raises(ValueError) as error:
                    call(y_true, other)
                assert str(tuple(y_true.shape)) in str(error.value)
                assert str(tuple(other.shape)) in str(error.value)


@every_case
def test_a_scalar_has_no_classes(case, backend):
    for call in (case.ours(), case.ours().call):
        with pytest.raises(ValueError):
            call(np.float32(1) if not case.is_sparse else 1, np.float32(1))


@every_case
def test_wrong_dtypes_are_named(case, backend):
    y_true, y_pred = case.data((4, 3))
    for wrong in (np.complex64, str):
        for call in (case.ours(), case.ours().call):
            with pytest.raises(ValueError, match=r"y_pred has dtype (complex64|string)"):
                call(y_true, y_pred.astype(wrong))
            with pytest.raises(ValueError, match=r"y_true has dtype (complex64|string)"):
                call(y_true.astype(wrong), y_pred)


@pytest.mark.parametrize(
    "public", [*WITH_LOGITS, "CosineSimilarity", "KLDivergence", "JensenShannonDivergence"]
)
def test_axis_that_y_pred_does_not_have_is_named(public, backend):
    case = find(public)
    y_true, y_pred = case.data((4, 3))
    extra = {"from_logits": True} if public == "KLDivergence" else {}
    for axis in (2, -3, 7):
        loss = getattr(fl, public)(axis=axis, **extra)
        for call in (loss, loss.call, tf.function(loss)):
            with pytest.raises(ValueError, match=f"axis is {axis}, but y_pred has 2 dimensions"):
                call(y_true, y_pred)


def test_weights_that_do_not_broadcast_are_refused(backend):
    case = find("SparseCategoricalCrossentropy")
    y_true, y_pred = case.data((4, 3, 5))
    for shape in ((5,), (3, 4), (2, 3), (4, 3, 2), (4, 2)):
        weight = np.ones(shape, np.float32)
        for ignored in (None, 1):
            for reduction in ("sum_over_batch_size", "mean_with_sample_weight", "none"):
                loss = fl.SparseCategoricalCrossentropy(ignore_class=ignored, reduction=reduction)
                with pytest.raises(REFUSALS):
                    loss(y_true, y_pred, weight)


def test_weights_of_a_wrong_dtype_are_named(backend):
    case = find("SparseCategoricalCrossentropy")
    y_true, y_pred = case.data((4, 3))
    for weight in (np.full(4, "a"), np.ones(4, np.complex64)):
        with pytest.raises(ValueError, match=r"sample_weight has dtype (complex64|string)"):
            case.ours()(y_true, y_pred, weight)


def test_nan_is_never_hidden(backend):
    for case in CASES:
        y_true, y_pred = case.data((3, 4))
        y_pred[1, :] = np.nan
        value, gradient = value_and_gradient(case.ours(reduction="none"), y_true, y_pred)
        counts = case.arguments.get("ignore_class") is None or y_true[1] != 1
        assert np.isnan(value[1]) == counts, case.id
        assert np.isfinite(value.numpy()[::2]).all(), case.id
        assert np.isfinite(gradient.numpy()[::2]).all(), case.id
