"""What Keras does not have, against its formula in NumPy and float64; the ends of the ranges."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import Findings, assert_close, value_and_gradient
from rowwise_cases import CASES, IDS, weights

import fastloss as fl
from fastloss.testing import check_gradients

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)
CLASS_WEIGHTS = [0.5, 2.0, 0.0, 1.5, 1.0]


# Formulas


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def log_sum_exp(z):
    return z[..., 0] - log_softmax(z)[..., 0]


def transformed(z, temperature=1.0, logit_softcap=None):
    """Logits after softcap and temperature, and their derivative."""
    if logit_softcap is None:
        return z / temperature, np.full(z.shape, 1 / temperature)
    t = np.tanh(z / logit_softcap)
    return logit_softcap * t / temperature, (1 - t * t) / temperature


def crossentropy(
    rows,
    logits,
    label_smoothing=0.0,
    class_weights=None,
    temperature=1.0,
    logit_softcap=None,
    z_loss=0.0,
    alpha=1.0,
    gamma=0.0,
):
    """Loss and gradient of each row; the focal loss with `alpha` and `gamma`."""
    z, slope = transformed(logits, temperature, logit_softcap)
    y = rows * (1 - label_smoothing) + label_smoothing / z.shape[-1]
    y = y if class_weights is None else y * class_weights
    y = y * alpha
    log, total = log_softmax(z), log_sum_exp(z)
    p = np.exp(log)
    # Powers of 0 are infinite or NaN; they matter where there is a label.
    miss = np.where(y == 0, 1, 1 - p)
    by_log = -y * (miss**gamma - gamma * miss ** (gamma - 1) * p * log)
    gradient = by_log - p * by_log.sum(-1, keepdims=True)
    gradient = gradient + 2 * z_loss * total[..., np.newaxis] * p
    return -(y * miss**gamma * log).sum(-1) + z_loss * total**2, gradient * slope


def classes_and_rows(shape=(6, 5), seed=0):
    random = np.random.default_rng(seed)
    y_pred = random.normal(0, 2, shape)
    label = random.integers(0, shape[-1], shape[:-1])
    return label, np.eye(shape[-1])[label], y_pred


OPTIONS = [
    {
        name: value
        for name, value in zip(
            ("label_smoothing", "class_weights", "temperature", "logit_softcap", "z_loss"),
            values,
            strict=True,
        )
        if value is not None
    }
    for values in itertools.product(
        (None, 0.2), (None, CLASS_WEIGHTS), (None, 2.5), (None, 3.0), (None, 0.05)
    )
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("public", "focus"),
    [
        ("SparseCategoricalCrossentropy", {}),
        ("CategoricalCrossentropy", {}),
        ("SparseCategoricalFocalCrossentropy", {"alpha": 0.3, "gamma": 1.5}),
        ("CategoricalFocalCrossentropy", {"alpha": [0.1, 0.2, 0.3, 0.4, 0.5], "gamma": 2.0}),
    ],
)
def test_options_in_every_combination(public, focus, dtype, backend):
    label, rows, y_pred = classes_and_rows()
    share = 1e-12 if dtype == "float64" else 4e-6
    with Findings() as findings:
        for options in OPTIONS:
            loss = getattr(fl, public)(
                **focus, **options, from_logits=True, reduction="none", dtype=dtype
            )
            value, gradient = value_and_gradient(
                loss, label if "Sparse" in public else rows.astype(dtype), y_pred.astype(dtype)
            )
            expected = crossentropy(rows, y_pred, **options, **focus)
            with findings.of(options):
                assert_close(value, expected[0], share)
                assert_close(gradient, expected[1], share)


@pytest.mark.parametrize("public", ["CategoricalCrossentropy", "CategoricalFocalCrossentropy"])
def test_soft_labels_with_every_option(public, backend):
    _, _, y_pred = classes_and_rows((4, 3, 5))
    y_true = np.random.default_rng(3).uniform(0, 1, y_pred.shape)  # not normalised
    focus = {"alpha": 0.7, "gamma": 3.0} if "Focal" in public else {}
    loss = getattr(fl, public)(
        **OPTIONS[-1], **focus, from_logits=True, reduction="none", dtype="float64"
    )
    value, gradient = value_and_gradient(loss, y_true, y_pred)
    expected = crossentropy(y_true, y_pred, **OPTIONS[-1], **focus)
    assert_close(value, expected[0], 1e-12)
    assert_close(gradient, expected[1], 1e-12)


def test_class_weights_and_smoothing_are_those_of_pytorch(backend):
    """torch.nn.functional.cross_entropy(..., reduction="none"), as its documentation writes it."""
    label, _, y_pred = classes_and_rows()
    w, smoothing = np.array(CLASS_WEIGHTS), 0.3
    log = log_softmax(y_pred)
    hard = -w[label] * log[np.arange(6), label]
    expected = (1 - smoothing) * hard + smoothing / 5 * -(w * log).sum(-1)
    options = {"label_smoothing": smoothing, "class_weights": CLASS_WEIGHTS}
    actual = fl.sparse_categorical_crossentropy(label, y_pred, True, **options)
    assert_close(actual, expected, 1e-12)


@pytest.mark.parametrize(
    "public",
    [
        *("SparseCategoricalCrossentropy", "CategoricalCrossentropy"),
        *("SparseCategoricalFocalCrossentropy", "CategoricalFocalCrossentropy"),
    ],
)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_and_smoothing_of_probabilities(public, smoothing, backend):
    label, rows, logits = classes_and_rows()
    shares = np.exp(log_softmax(logits)) * 0.7  # a sum that is not 1
    p = shares / shares.sum(-1, keepdims=True)
    y = (rows * (1 - smoothing) + smoothing / 5) * CLASS_WEIGHTS
    factor = 0.25 * (1 - p) ** 2 if "Focal" in public else 1
    loss = getattr(fl, public)(
        label_smoothing=smoothing, class_weights=CLASS_WEIGHTS, reduction="none", dtype="float64"
    )
    actual = loss(label if "Sparse" in public else rows, shares)
    assert_close(actual, -(factor * y * np.log(p)).sum(-1), 1e-12)


def test_sparse_probabilities_are_clipped_before_they_are_divided(backend):
    epsilon = keras.config.epsilon()
    y_pred = np.array([[0.0, 1.0, 1.0], [0.5, 0.0, 0.0]])
    clipped = np.clip(y_pred, epsilon, 1 - epsilon)
    log = np.log(clipped / clipped.sum(-1, keepdims=True))
    y = np.eye(3)[[0, 1]] * 0.7 + 0.1
    actual = fl.sparse_categorical_crossentropy([0, 1], y_pred, label_smoothing=0.3)
    assert_close(actual, -(y * log).sum(-1), 1e-12)


@pytest.mark.parametrize("from_logits", [False, True])
def test_generalized_crossentropy(from_logits, backend):
    label, rows, y_pred = classes_and_rows()
    q, options = 0.6, {"class_weights": CLASS_WEIGHTS}
    if from_logits:
        extra = {"temperature": 2.0, "logit_softcap": 3.0}
        z, slope = transformed(y_pred, **extra)
        p = np.exp(log_softmax(z))
        options |= {"from_logits": True, **extra}
    else:
        p = y_pred = np.random.default_rng(1).uniform(0.1, 1, y_pred.shape)
    w, own = np.array(CLASS_WEIGHTS)[label], (p * rows).sum(-1)
    loss = fl.CategoricalGeneralizedCrossEntropy(q, "none", dtype="float64", **options)
    value, gradient = value_and_gradient(loss, label, y_pred)
    assert_close(value, w * (1 - own**q) / q, 1e-12)
    if from_logits:
        expected = -(w * own**q)[:, np.newaxis] * (rows - p) * slope
    else:
        expected = -(w * own ** (q - 1))[:, np.newaxis] * rows
    assert_close(gradient, expected, 1e-12)


# Weights, means, ignored rows


def test_class_weights_do_not_enter_the_divisor(backend):
    label, rows, y_pred = classes_and_rows()
    weight = weights(6).astype(float)
    row, _ = crossentropy(rows, y_pred, class_weights=CLASS_WEIGHTS)
    for reduction, expected in (
        ("sum_over_batch_size", (row * weight).mean()),
        ("mean_with_sample_weight", (row * weight).sum() / weight.sum()),
        ("sum", (row * weight).sum()),
    ):
        loss = fl.SparseCategoricalCrossentropy(
            True, reduction=reduction, class_weights=CLASS_WEIGHTS, dtype="float64"
        )
        assert_close(loss(label, y_pred, weight), expected, 1e-12, reduction)


def test_class_weights_of_every_python_type(backend):
    label, _, y_pred = classes_and_rows()
    expected = fl.SparseCategoricalCrossentropy(True, class_weights=CLASS_WEIGHTS)(label, y_pred)
    for weight in (
        tuple(CLASS_WEIGHTS),
        np.array(CLASS_WEIGHTS),
        tf.constant(CLASS_WEIGHTS),
        tf.Variable(CLASS_WEIGHTS),
        tf.constant(CLASS_WEIGHTS, tf.float64),
    ):
        loss = fl.SparseCategoricalCrossentropy(True, class_weights=weight)
        assert_close(loss(label, y_pred), expected, 1e-6)
        twin = fl.SparseCategoricalCrossentropy.from_config(loss.get_config())
        assert_close(twin(label, y_pred), expected, 1e-6)


def test_class_weights_have_a_gradient(backend):
    label, rows, y_pred = classes_and_rows()
    variable = tf.Variable(CLASS_WEIGHTS, dtype=tf.float64)
    with tf.GradientTape() as tape:
        loss = fl.SparseCategoricalCrossentropy(
            True, reduction="sum", class_weights=variable, dtype="float64"
        )(label, y_pred)
    assert_close(tape.gradient(loss, variable), -(rows * log_softmax(y_pred)).sum(0), 1e-12)


def test_alpha_per_class_times_class_weights(backend):
    label, rows, y_pred = classes_and_rows()
    alpha = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    given = {"gamma": 2.0, "from_logits": True, "class_weights": CLASS_WEIGHTS}
    expected, _ = crossentropy(rows, y_pred, class_weights=CLASS_WEIGHTS, alpha=alpha, gamma=2.0)
    for kind in (list, tuple, np.array, tf.constant):
        actual = fl.sparse_categorical_focal_crossentropy(label, y_pred, kind(alpha), **given)
        assert_close(actual, expected, 1e-12)
    one = fl.sparse_categorical_focal_crossentropy(label, y_pred, [0.3], **given)
    assert_close(one, fl.sparse_categorical_focal_crossentropy(label, y_pred, 0.3, **given), 1e-12)


IGNORING = [
    ("SparseCategoricalCrossentropy", {"from_logits": True}),
    ("SparseCategoricalCrossentropy", {}),
    ("SparseCategoricalFocalCrossentropy", {"from_logits": True}),
    ("SparseCategoricalFocalCrossentropy", {}),
    ("CategoricalGeneralizedCrossEntropy", {"from_logits": True}),
    ("CategoricalGeneralizedCrossEntropy", {}),
    ("SparseCategoricalHinge", {}),
    ("CategoricalCrossentropy", {"from_logits": True}),
    ("CategoricalCrossentropy", {}),
    ("CategoricalFocalCrossentropy", {"from_logits": True}),
    ("CategoricalFocalCrossentropy", {}),
]


@pytest.mark.parametrize(("public", "arguments"), IGNORING, ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_ignored_rows_may_hold_anything(public, arguments, bad, backend):
    dense = public.startswith("Categorical") and "Generalized" not in public
    label, y_pred = np.array([0, 1, 2, 1]), np.full((4, 3), 0.25, np.float32)
    y_pred[:, 0] = 0.5
    y_pred[1::2] = bad
    y_true = np.eye(3, dtype=np.float32)[label] if dense else label
    if "Hinge" not in public:
        arguments = arguments | {"class_weights": [1.0, 2.0, 3.0]}
    if arguments.get("from_logits") and "Generalized" not in public:
        arguments = arguments | {"z_loss": 0.1, "label_smoothing": 0.1}
    for weight in ([], [np.float32([1, 2, 3, 4])]):
        for reduction in ("sum_over_batch_size", "mean_with_sample_weight", "sum", "none"):
            loss = getattr(fl, public)(ignore_class=1, reduction=reduction, **arguments)
            value, gradient = value_and_gradient(loss, y_true, y_pred, *weight)
            rows = [weight[0][::2]] if weight else []
            part = value_and_gradient(loss, y_true[::2], y_pred[::2], *rows)
            if reduction == "none":
                np.testing.assert_array_equal(value.numpy()[1::2], 0)
                value = value[::2]
            assert_close(value, part[0], 1e-6, reduction)
            assert_close(gradient.numpy()[::2], part[1], 1e-6, reduction)
            np.testing.assert_array_equal(gradient.numpy()[1::2], 0)


def test_rows_of_zeros_are_ignored_under_any_ignored_class(backend):
    _, rows, y_pred = classes_and_rows()
    rows[2], rows[4] = 0, np.eye(5)[3]
    for void in (-1, 3, 255):
        kept = rows.any(-1) & (rows.argmax(-1) != void)
        expected = crossentropy(rows, y_pred)[0][kept].mean()
        loss = fl.CategoricalCrossentropy(True, ignore_class=void, dtype="float64")
        assert_close(loss(rows, y_pred), expected, 1e-12)
        assert_close(loss(rows.astype(bool), y_pred), expected, 1e-12)
    assert_close(
        fl.CategoricalCrossentropy(True, dtype="float64")(rows, y_pred),
        crossentropy(rows, y_pred)[0].mean(),
        1e-12,
    )


def test_label_that_is_no_class_is_nan_in_the_reference():
    y_pred = np.random.default_rng(0).uniform(0.1, 1, (3, 4)).astype(np.float32)
    for public, arguments in IGNORING[:7]:
        for label in (-1, 4, 2**40):
            loss = getattr(fl, public)(reduction="none", **arguments)
            with fl.use_backend("reference"):
                value, gradient = value_and_gradient(loss, np.array([0, label, 3]), y_pred)
            for x in (value.numpy(), gradient.numpy()):
                assert np.isnan(x[1]).all(), public
                assert np.isfinite(x[::2]).all(), public


# Metrics of the rows


@pytest.mark.parametrize("focal", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_metrics_of_rows(sparse, focal, backend):
    label, rows, y_pred = classes_and_rows((4, 3, 5))
    extra = {"temperature": 2.0, "logit_softcap": 3.0, "class_weights": CLASS_WEIGHTS}
    name = f"{'sparse_' if sparse else ''}categorical_{'focal_' if focal else ''}crossentropy"
    y_true, void = (label, 1) if sparse else (rows, 1)
    arguments = {"from_logits": True, "ignore_class": void, **extra}
    expected = getattr(fl, name)(y_true, y_pred, **arguments)
    variable = tf.Variable(y_pred)
    with tf.GradientTape(persistent=True) as tape:
        loss, metrics = getattr(fl, name)(y_true, variable, return_metrics=True, **arguments)
    assert isinstance(metrics, fl.RowMetrics)
    assert_close(loss, expected, 1e-12)
    z, _ = transformed(y_pred, 2.0, 3.0)
    kept = label != void
    assert_close(metrics.log_sum_exp, np.where(kept, log_sum_exp(z), 0), 1e-12)
    assert metrics.hit.dtype == tf.bool
    np.testing.assert_array_equal(metrics.hit, kept & (y_pred.argmax(-1) == label))
    assert tape.gradient(metrics.log_sum_exp, variable) is None
    assert tape.gradient(loss, variable) is not None


def test_first_of_equal_logits_is_the_largest(backend):
    y_pred = np.zeros((3, 4), np.float32)
    _, metrics = fl.sparse_categorical_crossentropy(
        [0, 1, 3], y_pred, from_logits=True, return_metrics=True
    )
    np.testing.assert_array_equal(metrics.hit, [True, False, False])


def test_metrics_along_another_axis(backend):
    label, _, y_pred = classes_and_rows((4, 3, 5))
    expected = fl.sparse_categorical_crossentropy(label, y_pred, True, return_metrics=True)
    actual = fl.sparse_categorical_crossentropy(
        label, np.moveaxis(y_pred, -1, 1), True, axis=1, return_metrics=True
    )
    assert_close(actual[0], expected[0], 1e-12)
    assert_close(actual[1].log_sum_exp, expected[1].log_sum_exp, 1e-12)
    np.testing.assert_array_equal(actual[1].hit, expected[1].hit)


# The ends of the ranges


@pytest.mark.parametrize("margin", [17.0, 50.0, 200.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_learns_from_a_certain_mistake(margin, gamma, backend):
    y_pred = np.array([[0, margin, -1.0]], np.float32)
    expected = crossentropy(np.eye(3)[[0]], y_pred.astype(float), alpha=0.25, gamma=gamma)
    for loss, label in (
        (fl.SparseCategoricalFocalCrossentropy(gamma=gamma, from_logits=True), [0]),
        (fl.CategoricalFocalCrossentropy(gamma=gamma, from_logits=True), np.float32([[1, 0, 0]])),
    ):
        value, gradient = value_and_gradient(loss, label, y_pred)
        assert_close(value, expected[0][0], 4e-6)
        assert_close(gradient, expected[1], 4e-6)
        assert abs(gradient.numpy()).max() > 0.2


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_focal_loss_of_a_certain_hit_has_a_finite_gradient(gamma, backend):
    y_pred = np.array([[200, 0, 0], [30, 0, -np.inf]], np.float32)
    for y_true in (np.array([0, 0]), np.float32([[1, 0, 0], [1, 0, 0]])):
        public = f"{'Sparse' if y_true.ndim == 1 else ''}CategoricalFocalCrossentropy"
        loss = getattr(fl, public)(gamma=gamma, from_logits=True)
        value, gradient = value_and_gradient(loss, y_true, y_pred)
        assert_close(value, 0.0, 0, tiny=1e-6)
        assert_close(gradient, np.zeros((2, 3)), 0, tiny=1e-6)


def test_gradient_of_labels_that_do_not_sum_to_one(backend):
    _, _, y_pred = classes_and_rows()
    y_true = np.random.default_rng(0).uniform(0, 2, y_pred.shape)
    loss = fl.CategoricalCrossentropy(True, reduction="sum", dtype="float64")
    _, gradient = value_and_gradient(loss, y_true, y_pred)
    p = np.exp(log_softmax(y_pred))
    assert_close(gradient, y_true.sum(-1, keepdims=True) * p - y_true, 1e-12)


def test_a_masked_class_adds_nothing(backend):
    y_pred = np.array([[1.0, 2.0, -np.inf]], np.float32)
    for y_true, public in (([1], "Sparse"), (np.float32([[0, 1, 0]]), "")):
        loss = getattr(fl, f"{public}CategoricalCrossentropy")(True, z_loss=0.1)
        value, gradient = value_and_gradient(loss, y_true, y_pred)
        part = value_and_gradient(loss, [1] if public else [[0.0, 1.0]], y_pred[:, :2])
        assert_close(value, part[0], 1e-6)
        assert_close(gradient[:, :2], part[1], 1e-6)
        assert gradient[0, 2] == 0


def test_infinite_loss_at_a_masked_label(backend):
    y_pred = np.array([[1.0, 2.0, -np.inf]], np.float32)
    value, gradient = value_and_gradient(fl.SparseCategoricalCrossentropy(True), [2], y_pred)
    assert value == np.inf
    assert_close(gradient, [[0.26894142, 0.7310586, -1]], 1e-6)


def test_large_logits_neither_overflow_nor_lose_their_differences(backend):
    y_pred = np.array([[1e4, 1e4 + 1, -1e4], [-3e38, 3e38, 0]], np.float32)
    value, gradient = value_and_gradient(
        fl.SparseCategoricalCrossentropy(True, reduction="none"), [0, 1], y_pred
    )
    assert_close(value, [np.log1p(np.e), 0], 1e-6)
    assert np.isfinite(gradient).all()
    capped = fl.SparseCategoricalCrossentropy(True, logit_softcap=30.0, reduction="none")
    value, gradient = value_and_gradient(capped, [0, 1], y_pred)
    assert_close(value, [np.log(2), 0], 1e-6)
    assert_close(gradient, np.zeros((2, 3)), 0, tiny=1e-12)


def test_generalized_crossentropy_of_an_impossible_label(backend):
    y_pred = np.array([[0.0, 0.4, 0.6]], np.float32)
    loss = fl.CategoricalGeneralizedCrossEntropy(0.5)
    value, gradient = value_and_gradient(loss, [0], y_pred)
    assert value == 2
    np.testing.assert_array_equal(gradient, [[-np.inf, 0, 0]])


def test_cosine_similarity_of_nothing(backend):
    epsilon = keras.config.epsilon()
    y_true = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    y_pred = np.array([[0.0, 0.0], [3.0, 4.0]], np.float32)
    loss = fl.CosineSimilarity(reduction="none")
    value, gradient = value_and_gradient(loss, y_true, y_pred)
    np.testing.assert_array_equal(value, [0, 0])
    assert_close(gradient, [[-0.6 / epsilon, -0.8 / epsilon], [0, 0]], 1e-6)


# Divergences


def divergences(y_true, y_pred, beta, temperature):
    log_p, log_q = log_softmax(y_true / temperature), log_softmax(y_pred / temperature)
    p, q = np.exp(log_p), np.exp(log_q)
    m = beta * p + (1 - beta) * q
    forward, backward = (p * (log_p - log_q)).sum(-1), (q * (log_q - log_p)).sum(-1)
    to_m = (q * (log_q - np.log(m))).sum(-1)
    mixed = beta * (p * (log_p - np.log(m))).sum(-1) + (1 - beta) * to_m
    column = backward[..., np.newaxis]
    slopes = (
        q - p,
        q * (log_q - log_p - column),
        (1 - beta) * q * (log_q - np.log(m) - to_m[..., np.newaxis]),
    )
    return (forward, backward, mixed), [slope / temperature for slope in slopes]


@pytest.mark.parametrize(("beta", "temperature"), [(0.5, 1.0), (0.1, 3.0), (0.9, 0.5)])
def test_divergences_between_logits(beta, temperature, backend):
    random = np.random.default_rng(0)
    y_true, y_pred = random.normal(0, 2, (2, 4, 3, 5))
    values, slopes = divergences(y_true, y_pred, beta, temperature)
    both = {"temperature": temperature, "reduction": "none", "dtype": "float64"}
    for loss, value, slope in zip(
        (
            fl.KLDivergence(from_logits=True, **both),
            fl.KLDivergence(from_logits=True, reverse=True, **both),
            fl.JensenShannonDivergence(beta, **both),
        ),
        values,
        slopes,
        strict=True,
    ):
        actual = value_and_gradient(loss, y_true, y_pred)
        assert_close(actual[0], value, 1e-12)
        assert_close(actual[1], slope, 1e-12)


def test_divergences_of_distributions_with_zeros(backend):
    inf = np.inf
    y_true, y_pred = np.float32([[0, 0, -inf], [0, 0, -inf]]), np.float32([[0, 1, -inf], [0, 1, 2]])
    values, slopes = divergences(y_true[:1, :2].astype(float), y_pred[:1, :2].astype(float), 0.5, 1)
    for loss, value, slope in zip(
        (
            fl.KLDivergence(from_logits=True, reduction="none"),
            fl.KLDivergence(from_logits=True, reverse=True, reduction="none"),
            fl.JensenShannonDivergence(reduction="none"),
        ),
        values,
        slopes,
        strict=True,
    ):
        actual, gradient = value_and_gradient(loss, y_true, y_pred)
        assert_close(actual[:1], value, 1e-5)
        assert_close(gradient[:1, :2], slope, 1e-5)
        assert gradient[0, 2] == 0
        assert np.isinf(actual[1]) or np.isfinite(gradient[1]).all(), loss.name


def test_jensen_shannon_is_symmetric_and_bounded(backend):
    random = np.random.default_rng(0)
    y_true, y_pred = random.normal(0, 30, (2, 50, 8)).astype(np.float32)
    ours = fl.jensen_shannon_divergence(y_true, y_pred)
    assert_close(ours, fl.jensen_shannon_divergence(y_pred, y_true), 1e-6)
    assert ((ours > -1e-6) & (ours < np.log(2) + 1e-6)).numpy().all()
    np.testing.assert_allclose(fl.jensen_shannon_divergence(y_true, y_true), 0, atol=1e-6)


# Gradients of everything, by differences


@every_case
def test_gradients_equal_differences(case, backend):
    y_true, y_pred = case.data((3, 2, 4))
    for reduction in ("sum_over_batch_size", "none"):
        loss = case.ours(reduction=reduction)
        check_gradients(loss, y_true, y_pred, weights((3, 2)) + 0.1, samples=3).raise_if_failed()


@pytest.mark.parametrize(
    ("public", "focus"),
    [("SparseCategoricalCrossentropy", {}), ("SparseCategoricalFocalCrossentropy", {"gamma": 1.5})],
)
def test_second_gradient_equals_differences(public, focus, backend):
    label, _, y_pred = classes_and_rows((2, 5))
    options = {**OPTIONS[-1], **focus}
    loss = getattr(fl, public)(from_logits=True, reduction="sum", dtype="float64", **options)
    with tf.GradientTape() as outer:
        x = tf.constant(y_pred)
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = loss(label, x)
        gradient = inner.gradient(value, x)
    hessian = outer.jacobian(gradient, x).numpy()
    step = 1e-5
    for i, j in itertools.product(range(2), range(5)):
        moved = np.zeros_like(y_pred)
        moved[i, j] = step
        above, below = (
            value_and_gradient(loss, label, y_pred + sign * moved)[1] for sign in (1, -1)
        )
        assert_close(hessian[:, :, i, j], (above - below) / (2 * step), 1e-6)


def test_second_gradient_is_finite_at_certain_predictions():
    y_pred = tf.constant([[200.0, 0.0, 0.0]])
    for public in ("SparseCategoricalCrossentropy", "SparseCategoricalFocalCrossentropy"):
        loss = getattr(fl, public)(from_logits=True)
        with tf.GradientTape() as outer:
            outer.watch(y_pred)
            with tf.GradientTape() as inner:
                inner.watch(y_pred)
                value = loss([0], y_pred)
            gradient = inner.gradient(value, y_pred)
        assert np.isfinite(outer.gradient(gradient, y_pred)).all(), public


def test_keras_refuses_none_of_the_extras_by_name():
    """The extras are keyword-only: what comes after Keras's arguments cannot be given by place."""
    with pytest.raises(TypeError):
        fl.CategoricalCrossentropy(False, 0.0, -1, "sum", "name", None, 1)
