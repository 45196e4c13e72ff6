"""The rowwise kernels against formulas in a wider format: shapes, dtypes, options, extremes."""

from __future__ import annotations

import itertools

import kernels
import numpy as np
import pytest
import tensorflow as tf
from cases import INTEGERS, PREDICTION_DTYPES, Findings, numpy_dtype
from kernels import same_bits
from rowwise_calls import (
    FROM_LOGITS,
    LAYOUTS,
    LIMITS,
    LOSSES,
    every_dtype,
    every_layout,
    every_loss,
    options_of,
)
from rowwise_truth import (
    BETWEEN_LOGITS,
    OF_LOGITS,
    OF_SHARES,
    WIDER,
    Array,
    Options,
    computing,
    data,
    label_rows,
    rows_of,
    softmax,
    truth,
    units,
    worst_units,
)


def limits(loss: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Sums over the classes of rows that are lanes are sums of float32, 64 classes at a time."""
    value, slope = LIMITS[loss]
    more = shape[1] / 256 if len(shape) == 3 else 0.0
    return value + more, slope + more


def check(loss: str, y_true: Array, y_pred: Array, options: Options | None = None) -> None:
    found = worst_units(loss, y_true, y_pred, options)
    for what, units_found, limit in zip(
        ("loss", "gradient"), found, limits(loss, y_pred.shape), strict=True
    ):
        assert units_found <= limit, f"{units_found:.3g} units in the {what}, not {limit}"


def in_place_of(rows: Array, shape: tuple[int, ...]) -> Array:
    """(rows, classes) in the shape of the predictions."""
    return np.ascontiguousarray(np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1))


def is_label(loss: str, y_true: Array, y_pred: Array) -> Array:
    """Where the label is, in the shape of the predictions."""
    best = label_rows(loss, y_true, y_pred).argmax(-1)
    return in_place_of(best[:, np.newaxis] == np.arange(y_pred.shape[1]), y_pred.shape)


# Shapes, dtypes, options

CLASSES = (1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 95, 96, 97, 127, 128, 129)
MORE_CLASSES = (223, 224, 225, 255, 256, 257, 287, 288, 289)
ROWS = (1, 31, 32, 33, 100)
LONG = ((3, 2047), (3, 2048), (3, 2049), (2, 2048 * 3 + 5), (1, 50257))
INNER = (2, 7, 31, 32, 33, 100)
APART = ((1, 2049, 31), (2, 2048, 2), (1, 20011, 3))


@every_dtype
@every_loss
def test_every_boundary_of_the_driver(loss, dtype):
    shapes = list(itertools.product(ROWS, CLASSES))
    shapes += itertools.product((1, 32, 33), MORE_CLASSES)
    shapes += [
        (outer, classes, inner)
        for outer, inner in itertools.product((1, 2, 3), INNER)
        for classes in (1, 3, 96, 130)
    ]
    if dtype != "float32":
        # The computing type and the shape meet; the stored types only differ at the ends.
        shapes = shapes[PREDICTION_DTYPES.index(dtype) :: 4]
    with Findings() as findings:
        for shape in (*shapes, *LONG, *APART):
            with findings.of(shape):
                check(loss, *data(loss, shape, dtype, seed=len(shapes)))


@every_dtype
@every_loss
def test_every_option(loss, dtype):
    with Findings() as findings:
        for shape in ((33, 7), (5, 129), (3, 289), (2, 40, 9), (1, 2055)):
            for labels in ("one-hot", "soft"):
                y_true, y_pred = data(loss, shape, dtype, labels=labels)
                for options in options_of(loss, shape[1]):
                    with findings.of(f"{shape} {labels} {options}"):
                        check(loss, y_true, y_pred, options)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        ("sparse_categorical_crossentropy_from_logits", Options()),
        ("categorical_crossentropy_from_logits", Options(logit_softcap=30.0, z_loss=0.01)),
        ("kl_divergence_from_logits", Options(temperature=2.0)),
        ("categorical_hinge", Options()),
    ],
)
def test_rows_whose_exponentials_are_taken_twice(loss, options):
    check(loss, *data(loss, (1, 2**19 + 2048 + 33)), options)


FOCAL = [loss for loss in LOSSES if "focal" in loss]


@every_dtype
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("loss", FOCAL)
def test_powers_of_the_focal_losses(loss, gamma, dtype):
    parameters = (0.6, gamma) if loss.endswith("logits") else (0.6, gamma, 1e-7)
    for shape in LAYOUTS.values():
        for labels in ("one-hot", "soft"):
            y_true, y_pred = data(loss, shape, dtype, labels=labels)
            found = worst_units(loss, y_true, y_pred, parameters=parameters)
            assert max(found) <= max(LIMITS[loss]), f"{found} {shape} {labels}"


@pytest.mark.parametrize(
    ("loss", "values"),
    [
        ("categorical_generalized_cross_entropy", (0.1, 0.5, 1.0)),
        ("categorical_generalized_cross_entropy_from_logits", (0.1, 0.5, 1.0)),
        ("jensen_shannon_divergence_from_logits", (0.01, 0.5, 0.9)),
    ],
)
def test_parameters(loss, values):
    for value, shape in itertools.product(values, LAYOUTS.values()):
        found = worst_units(loss, *data(loss, shape), parameters=(value,))
        assert max(found) <= max(LIMITS[loss]), f"{found} {value} {shape}"


@every_layout
@every_loss
def test_labels_of_every_dtype_give_the_same_bits(loss, shape):
    y_true, y_pred = data(loss, shape, label_dtype="int32")
    if not kernels.is_sparse(loss):
        y_true = y_true & 1
    y_true = np.minimum(y_true, 127)
    expected = kernels.rowwise(loss, y_true, y_pred)
    for dtype in (*INTEGERS, "float16", "float32", "float64", "bfloat16"):
        actual = kernels.rowwise(loss, y_true.astype(numpy_dtype(dtype)), y_pred)
        assert same_bits(actual.loss, expected.loss), dtype
        assert same_bits(actual.gradient, expected.gradient), dtype
    flags = (y_true & 1).astype(bool)
    expected = kernels.rowwise(loss, flags.astype(np.int32), y_pred)
    actual = kernels.rowwise(loss, flags, y_pred)
    assert same_bits(actual.loss, expected.loss)
    assert same_bits(actual.gradient, expected.gradient)


@every_dtype
@every_layout
@every_loss
def test_reductions_weights_and_metrics(loss, shape, dtype):
    y_true, y_pred = data(loss, shape, dtype)
    compute = computing(dtype)
    wide = WIDER[compute]
    x = rows_of(y_pred).astype(wide)
    rows, labels = len(x), label_rows(loss, y_true, y_pred).astype(wide)
    weight = np.random.default_rng(1).uniform(0, 2, rows).astype(compute)
    t = truth(loss, labels, x, kernels.parameters_of(loss), Options(), compute)
    divisors = {kernels.SUM: 1, kernels.MEAN: 2 * rows}
    divisors[kernels.MEAN_WITH_SAMPLE_WEIGHT] = 2 * weight.astype(wide).sum()
    for reduction, divisor in divisors.items():
        actual = kernels.rowwise(loss, y_true, y_pred, reduction, weight, replicas=2, metrics=True)
        value, terms = ((side * weight).sum() / divisor for side in (t.value, t.value_terms))
        error = units(actual.loss, value, terms, compute, compute.__name__)
        assert error <= LIMITS[loss][0]
        scale = (weight / divisor)[:, np.newaxis]
        slope = rows_of(actual.gradient)
        error = units(slope, t.slope * scale, t.slope_terms * scale, compute, dtype)
        assert error.max() <= LIMITS[loss][1]
        if loss in FROM_LOGITS:
            expected = softmax(x, Options()).log_sum_exp[:, 0]
            np.testing.assert_allclose(
                actual.log_sum_exp, expected, rtol=0, atol=16 * abs(x).max() * np.finfo(compute).eps
            )
        hit = x.argmax(-1) == (labels if loss not in BETWEEN_LOGITS else rows_of(y_true)).argmax(-1)
        np.testing.assert_array_equal(actual.hit, hit)


# Ignored rows


@every_layout
@every_loss
def test_ignored_rows_are_not_there(loss, shape):
    y_true, y_pred = data(loss, shape, labels="one-hot", label_dtype="int32")
    y_pred = y_pred.copy()
    rows = rows_of(y_pred)
    if loss in BETWEEN_LOGITS or loss == "cosine_similarity":
        pytest.skip("rows of real labels are not ignored")
    label = label_rows(loss, y_true, y_pred).argmax(-1)
    kept = label != 3
    assert kept.any()
    label[0], kept[0] = 3, False
    labels = label if kernels.is_sparse(loss) else np.eye(shape[1], dtype=np.int32)[label]
    rows[0, 1] = np.nan
    contiguous = rows.astype(np.float32)
    weight = np.random.default_rng(1).uniform(0, 2, len(rows))
    for reduction in (kernels.NONE, kernels.SUM, kernels.MEAN, kernels.MEAN_WITH_SAMPLE_WEIGHT):
        some = kernels.rowwise(
            loss, labels.copy(), contiguous, reduction, weight, ignore_class=3, metrics=True
        )
        subset = kernels.rowwise(
            loss, labels[kept].copy(), contiguous[kept], reduction, weight[kept], metrics=True
        )
        value = some.loss[kept] if reduction == kernels.NONE else some.loss
        if reduction == kernels.NONE:
            assert same_bits(value, subset.loss)
            assert not some.loss[~kept].any()
        np.testing.assert_allclose(value, subset.loss, rtol=2e-6)
        np.testing.assert_allclose(some.gradient[kept], subset.gradient, rtol=2e-6, atol=1e-30)
        assert not some.gradient[~kept].any()
        assert same_bits(some.hit[kept], subset.hit)
        assert not some.hit[~kept].any()
        assert not some.log_sum_exp[~kept].any()
        everything = kernels.rowwise(
            loss,
            np.full_like(labels, 3) if kernels.is_sparse(loss) else np.eye(shape[1])[3 + 0 * label],
            contiguous,
            reduction,
            weight,
            ignore_class=3,
        )
        assert not np.any(everything.loss)
        assert not everything.gradient.any()


# Extremes


@every_layout
@pytest.mark.parametrize("loss", FROM_LOGITS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_offset_costs_no_accuracy(loss, dtype, shape):
    y_true, y_pred = data(loss, shape, dtype)
    for offset in (1e5, -1e5, 3e6):
        shifted = y_true
        if loss in BETWEEN_LOGITS:
            shifted = (y_true - offset).astype(dtype)
        check(loss, shifted, (y_pred + offset).astype(dtype))


@every_layout
@every_loss
@pytest.mark.parametrize("special", [np.nan, np.inf])
@every_dtype
def test_what_is_not_a_number_stays_in_its_row(loss, shape, special, dtype):
    if special == np.inf and loss not in FROM_LOGITS:
        pytest.skip("infinity means something there")
    y_true, y_pred = data(loss, shape, dtype)
    expected = kernels.rowwise(loss, y_true, y_pred, kernels.NONE)
    labels = label_rows(loss, y_true, y_pred)
    for row in (0, 5, len(labels) - 1):
        spoiled = y_pred.copy()
        inner = shape[2] if len(shape) == 3 else 1
        place = (row // inner, labels[row].argmax(), *((row % inner,) if len(shape) == 3 else ()))
        spoiled[place] = special
        actual = kernels.rowwise(loss, y_true, spoiled, kernels.NONE)
        assert np.isnan(actual.loss[row])
        assert np.isnan(np.float64(actual.gradient[place]))
        others = np.arange(len(labels)) != row
        assert same_bits(actual.loss[others], expected.loss[others])
        now, before = rows_of(actual.gradient), rows_of(expected.gradient)
        assert same_bits(now[others], before[others])


def minus_infinity(loss: str, shape: tuple[int, ...], dtype: str) -> tuple[Array, Array]:
    """A third of the classes at -infinity, not those of the labels."""
    y_true, y_pred = data(loss, shape, dtype)
    y_pred = y_pred.copy()
    gone = np.random.default_rng(4).random(shape) < 0.33
    gone &= ~is_label(loss, y_true, y_pred)
    y_pred[gone] = -np.inf
    if loss in BETWEEN_LOGITS:
        y_true = y_true.copy()
        y_true[gone] = -np.inf
    return y_true, y_pred


@every_layout
@every_dtype
@pytest.mark.parametrize("loss", FROM_LOGITS)
def test_classes_at_minus_infinity_have_no_share_and_no_gradient(loss, shape, dtype):
    y_true, y_pred = minus_infinity(loss, shape, dtype)
    check(loss, y_true, y_pred)
    gradient = kernels.rowwise(loss, y_true, y_pred).gradient
    assert not gradient[y_pred == -np.inf].any()


@every_layout
@every_dtype
@pytest.mark.parametrize("loss", FROM_LOGITS)
def test_rows_of_minus_infinity(loss, shape, dtype):
    """All of them: NaN, as the softmax is 0 / 0. All but the label: certain."""
    y_true, y_pred = data(loss, shape, dtype)
    nothing = np.full_like(y_pred, -np.inf)
    actual = kernels.rowwise(loss, y_true, nothing, kernels.NONE)
    assert np.isnan(actual.loss).all()
    assert np.isnan(actual.gradient.astype(np.float32)).all()
    hot = is_label(loss, y_true, y_pred)
    certain = np.where(hot, y_pred, nothing)
    labels = np.where(hot, y_true, nothing) if loss in BETWEEN_LOGITS else y_true
    actual = kernels.rowwise(loss, labels, certain, kernels.NONE)
    assert not actual.loss.any()
    assert not actual.gradient.astype(np.float32).any()


@every_layout
@every_dtype
@pytest.mark.parametrize("loss", OF_LOGITS)
def test_a_label_at_minus_infinity_has_a_finite_gradient(loss, shape, dtype):
    y_true, y_pred = data(loss, shape, dtype)
    hot = is_label(loss, y_true, y_pred)
    y_pred = np.where(hot, -np.inf, y_pred.astype(np.float64)).astype(numpy_dtype(dtype))
    actual = kernels.rowwise(loss, y_true, y_pred, kernels.NONE)
    p = softmax(rows_of(y_pred), Options()).p
    # The share of the label is 0: what is left of the focal loss is alpha times cross-entropy.
    factor = 0.25 if "focal" in loss else 0.0 if "generalized" in loss else 1.0
    np.testing.assert_allclose(actual.loss, np.inf if factor else 1 / 0.7, rtol=1e-6)
    slope = rows_of(actual.gradient)
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(slope, factor * (p - rows_of(hot)), rtol=1e-2, atol=1e-6)


@every_layout
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [loss for loss in OF_LOGITS if "generalized" not in loss])
def test_the_hardest_examples_have_the_gradient_of_crossentropy(loss, dtype, shape):
    """The focal factor is 1 there, up to (1 - p)^2 and the logarithm times p."""
    y_true, y_pred = data(loss, shape, dtype)
    label = is_label(loss, y_true, y_pred)
    other = np.roll(label, 1, axis=1)
    alpha = 0.25 if "focal" in loss else 1.0
    for margin in (17.0, 50.0, 200.0, 1e4):
        hard = np.where(other, margin, np.where(label, 0, -300.0)).astype(dtype)
        actual = kernels.rowwise(loss, y_true, hard, kernels.NONE)
        np.testing.assert_allclose(actual.loss, alpha * margin, rtol=1e-5)
        np.testing.assert_allclose(actual.gradient[label], -alpha, rtol=1e-5)
        np.testing.assert_allclose(actual.gradient[other], alpha, rtol=1e-5)


@every_layout
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("q", [0.3, 0.7])
def test_the_generalized_loss_keeps_the_small_gradient_of_hard_examples(q, dtype, shape):
    loss = "categorical_generalized_cross_entropy_from_logits"
    y_true, y_pred = data(loss, shape, dtype)
    label = is_label(loss, y_true, y_pred)
    other = np.roll(label, 1, axis=1)
    for margin in (17.0, 50.0, 80.0):
        hard = np.where(other, margin, np.where(label, 0, -300.0)).astype(dtype)
        gradient = kernels.rowwise(loss, y_true, hard, kernels.NONE, parameters=(q,)).gradient
        np.testing.assert_allclose(gradient[label], -np.exp(-q * margin), rtol=3e-5)


@every_layout
@pytest.mark.parametrize("loss", FOCAL)
def test_easy_examples_have_no_negative_loss(loss, shape):
    y_true, y_pred = data(loss, shape)
    label = is_label(loss, y_true, y_pred)
    for margin in (17.0, 50.0, 200.0):
        easy = np.where(label, margin, 0.0).astype(np.float32)
        if not loss.endswith("logits"):
            easy = label.astype(np.float32)
        for gamma in (0.5, 1.0, 2.0, 2.5):
            parameters = (0.25, gamma) + (() if loss.endswith("logits") else (1e-7,))
            found = kernels.rowwise(loss, y_true, easy, kernels.NONE, parameters=parameters)
            assert (found.loss >= 0).all()
            assert (found.loss < 1e-2).all()
            assert np.isfinite(found.gradient).all()


@every_dtype
@every_layout
@pytest.mark.parametrize("loss", [*OF_SHARES, "categorical_generalized_cross_entropy"])
def test_probabilities_of_0_and_1(loss, shape, dtype):
    y_true, y_pred = data(loss, shape, dtype)
    random = np.random.default_rng(0)
    sure = np.arange(shape[1]).reshape(-1, *[1] * (len(shape) - 2)) == random.integers(
        0, shape[1], (shape[0], 1, *shape[2:])
    )
    some = np.where(random.random(shape) < 0.3, 0, y_pred.astype(np.float64))
    some[:, 0] = 0.5
    with Findings() as findings:
        for name, y in (("one-hot", sure), ("zeros", some)):
            y = y.astype(numpy_dtype(dtype))
            with findings.of(name):
                check(loss, y_true, y)
                nothing = kernels.rowwise(loss, y_true, y, kernels.NONE)
                if "generalized" not in loss:
                    assert np.isfinite(nothing.loss).all()
                    assert np.isfinite(nothing.gradient.astype(np.float64)).all()


@every_layout
@every_loss
def test_huge_and_tiny_predictions(loss, shape):
    if loss in OF_SHARES or loss == "categorical_generalized_cross_entropy":
        pytest.skip("of probabilities")
    y_true, y_pred = data(loss, shape)
    with Findings() as findings:
        for factor in (1e30, 1e15, 1e-30, 1e-40):
            if loss == "cosine_similarity" and factor > 1e15:
                continue  # the squares overflow, as they do in Keras
            with findings.of(factor):
                scaled = (y_pred.astype(np.float64) * factor).astype(np.float32)
                labels = y_true
                if loss in BETWEEN_LOGITS:
                    labels = (y_true.astype(np.float64) * factor).astype(np.float32)
                if loss == "cosine_similarity" and factor < 1:
                    found = kernels.rowwise(loss, labels, scaled, kernels.NONE)
                    assert np.isfinite(found.loss).all()
                    assert np.isfinite(found.gradient).all()
                    continue
                check(loss, labels, scaled)


@every_layout
@pytest.mark.parametrize("loss", FROM_LOGITS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shares_at_the_end_of_the_format(loss, shape, dtype):
    """Between exp(-80) and exp(-110), or exp(-700) and exp(-760), shares are subnormal or 0."""
    y_true, _ = data(loss, shape, dtype)
    low, high = (-110, -80) if dtype == "float32" else (-760, -700)
    random = np.random.default_rng(6)

    def far() -> Array:
        x = random.uniform(low, high, shape).astype(dtype)
        x[:, :2] = random.uniform(-1, 0, (shape[0], 2, *shape[2:]))
        return x

    check(loss, far() if loss in BETWEEN_LOGITS else y_true, far())


@every_layout
@pytest.mark.parametrize("beta", [1e-3, 1 - 1e-3, 0.5, 1 - 2.0**-30])
def test_mixtures_of_the_smallest_shares_are_finite(beta, shape):
    loss = "jensen_shannon_divergence_from_logits"
    far = np.linspace(-85, -88, shape[1]).reshape(-1, *[1] * (len(shape) - 2))
    for scale in (1, 0):
        x = np.broadcast_to(far * scale, shape).astype(np.float32).copy()
        x[:, 0] = 0
        other = np.full(shape, -300, np.float32)
        other[:, 0] = 0
        for pair in ((x, other), (other, x)):
            found = kernels.rowwise(loss, *pair, kernels.NONE, parameters=(beta,))
            assert np.isfinite(found.loss).all()
            assert np.isfinite(found.gradient).all()


@pytest.mark.parametrize("beta", [1e-3, 0.999])
def test_mixtures_of_the_smallest_shares_of_many_classes_are_finite(beta):
    loss = "jensen_shannon_divergence_from_logits"
    small, none = np.zeros((2, 1, 50257), np.float32)
    small[0, 0], none[0, 0] = -87, -300
    for pair in ((small, none), (none, small)):
        found = kernels.rowwise(loss, *pair, kernels.NONE, parameters=(beta,))
        assert np.isfinite(found.loss).all()
        assert np.isfinite(found.gradient).all()


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if kernels.is_sparse(loss)])
@every_layout
@pytest.mark.parametrize("label", [-1, 10**6])
def test_a_label_out_of_range_is_named(loss, shape, label):
    y_true, y_pred = data(loss, shape)
    row = y_true.size - 2
    y_true.ravel()[[row, row + 1]] = label
    message = rf"{loss}: the label of row {row} is {label}; expected 0 to {shape[1] - 1}"
    for reduction in (kernels.NONE, kernels.SUM):
        with pytest.raises(ValueError, match=message):
            kernels.rowwise(loss, y_true, y_pred, reduction)
    y_true.ravel()[[row, row + 1]] = 0
    assert np.isfinite(kernels.rowwise(loss, y_true, y_pred, ignore_class=label).loss)


def test_units_see_what_is_wrong():
    x = np.array([1.0])
    assert units(x * (1 + 2e-6), x, x, np.float32, "float32") > 10
    assert units(x * np.nan, x, x, np.float32, "float32") == np.inf
    assert units(x * (1 + 2**-9), x, x, np.float32, "bfloat16") == 0
    assert units(x * (1 + 2**-7), x, x, np.float32, "bfloat16") > 10
    assert tf.as_dtype("bfloat16").max > 3e38
