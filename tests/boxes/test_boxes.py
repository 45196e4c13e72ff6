"""The kernels of the losses between boxes: accuracy, boxes without area, invariance."""

from __future__ import annotations

import pathlib
import re

import boxes_cases
import kernels
import numpy as np
import pytest
from boxes_cases import EPSILON, LOSSES, Array, data, degenerate, truth, worst_units
from cases import GRADIENT_BOUNDS, INTEGERS, LOSS_BOUNDS, PREDICTION_DTYPES, assert_close
from kernels import same_bits

from fastloss import c_api

every_loss = pytest.mark.parametrize("loss", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
every_format = pytest.mark.parametrize("centred", [False, True], ids=["corners", "centre"])

# Of the driver's blocks and pieces.
COUNTS = (1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 100, 16383, 16384, 16385, 40001)


@pytest.fixture(autouse=True)
def _settings_are_put_back():
    yield
    c_api.set_isa("")
    c_api.set_threads(0)


def published() -> dict[str, tuple[float, float]]:
    """The table of docs/numerics.md: most units of the loss and of the gradient."""
    text = (pathlib.Path(__file__).parents[2] / "docs" / "numerics.md").read_text()
    section = text.split("## Losses between boxes: maximum error in units")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+) \| (\d+) \| (\d+) \|$", section, re.MULTILINE)
    return {
        name: (float(value), float(slope))
        for names, value, slope in rows
        for name in re.findall(r"`(\w+)`", names)
    }


LIMITS = published()


def check(loss: str, y_true: Array, y_pred: Array, centred: bool) -> None:
    found = worst_units(loss, y_true, y_pred, centred)
    for what, error, limit in zip(("loss", "gradient"), found, LIMITS[loss], strict=True):
        assert error <= limit, f"{error:.3g} units in the {what}, not {limit}"


def test_every_loss_has_limits():
    assert LIMITS.keys() == set(LOSSES) == set(c_api.box_losses())


# Accuracy


@every_format
@every_dtype
@every_loss
def test_error_is_as_published(loss, dtype, centred):
    for isa in c_api.isas():
        c_api.set_isa(isa)
        for count in COUNTS[:12]:
            check(loss, *data(count, dtype, centred=centred, seed=count), centred)
        for side in (1e-2, 1.0, 700.0):
            check(loss, *data(4000, dtype, centred=centred, side=side), centred)


@every_format
@pytest.mark.parametrize("label_dtype", ["bool", *INTEGERS, *PREDICTION_DTYPES])
@every_loss
def test_labels_are_read_as_they_are(loss, label_dtype, centred):
    y_true, y_pred = data(1000, "float32", label_dtype, centred)
    check(loss, y_true, y_pred, centred)
    actual = kernels.boxes(loss, y_true, y_pred, centred=centred)
    expected = kernels.boxes(loss, y_true.astype(np.float32), y_pred, centred=centred)
    for one, other in zip(actual, expected, strict=True):
        assert same_bits(one, other)


@every_loss
def test_moving_both_boxes_changes_nothing(loss):
    for centred in (False, True):
        # On a grid that the shift does not leave.
        y_true, y_pred = (np.round(x * 64) / np.float32(64) for x in data(500, centred=centred))
        expected = kernels.boxes(loss, y_true, y_pred, kernels.NONE, centred=centred)
        shift = np.array([1024, -4096, 0, 0] if centred else [1024, -4096] * 2, np.float32)
        moved = (y_true + shift, y_pred + shift)
        actual = kernels.boxes(loss, *moved, kernels.NONE, centred=centred)
        for one, other in zip(actual, expected, strict=True):
            assert same_bits(one, other)


@every_loss
def test_axes_count_alike(loss):
    for centred in (False, True):
        pair = data(500, "float64", centred=centred)
        value, slope = kernels.boxes(loss, *pair, kernels.NONE, centred=centred)
        turned = [np.ascontiguousarray(x[:, [1, 0, 3, 2]]) for x in pair]
        other, other_slope = kernels.boxes(loss, *turned, kernels.NONE, centred=centred)
        assert_close(other, value, 1e-14)
        assert_close(other_slope[:, [1, 0, 3, 2]], slope, 1e-14)


@every_loss
def test_scaling_scales_the_gradient(loss):
    y_true, y_pred = data(500)
    value, slope = kernels.boxes(loss, y_true, y_pred, kernels.NONE)
    for factor in (np.float32(0.25), np.float32(1024)):
        pair = (y_true * factor, y_pred * factor)
        other, other_slope = kernels.boxes(loss, *pair, kernels.NONE, epsilon=1e-30)
        assert same_bits(other, value)
        assert same_bits(other_slope * factor, slope)


# Boxes without area


def one(loss: str, y_true: list, y_pred: list, dtype: str = "float64", centred: bool = False):
    boxes = (np.array([x], dtype) for x in (y_true, y_pred))
    value, slope = kernels.boxes(loss, *boxes, kernels.NONE, centred=centred)
    return float(value[0]), slope[0].tolist()


@every_format
@every_dtype
@every_loss
def test_every_pair_of_degenerate_boxes_is_finite_and_right(loss, dtype, centred):
    y_true, y_pred = (x.astype(np.float32).astype(dtype_of(dtype)) for x in degenerate())
    for isa in c_api.isas():
        c_api.set_isa(isa)
        value, slope = kernels.boxes(loss, y_true, y_pred, kernels.NONE, centred=centred)
        assert np.isfinite(value).all()
        assert (value > -1e-6).all()
        if dtype != "float16":
            assert np.isfinite(slope.astype(np.float64)).all()
        expected = truth(loss, y_true, y_pred, centred)
        compute = np.float64 if dtype == "float64" else np.float32
        share = 16 * np.finfo(compute).eps
        np.testing.assert_allclose(value, expected.value.astype(np.float64), share, share)


def dtype_of(name: str):
    return boxes_cases.numpy_dtype(name)


@every_loss
def test_equal_boxes_have_loss_and_gradient_zero(loss):
    for centred in (False, True):
        for dtype in ("float32", "float64"):
            for isa in c_api.isas():
                c_api.set_isa(isa)
                y_true, _ = data(1000, dtype, centred=centred)
                result = kernels.boxes(loss, y_true, y_true.copy(), kernels.NONE, centred=centred)
                for found in result:
                    assert not found.any()


@every_loss
def test_an_edge_in_common_has_the_mean_of_both_slopes(loss):
    y_true, y_pred = [0.0, 0, 4, 4], [1.0, 1, 4, 3]
    _, slope = one(loss, y_true, y_pred)
    sides = [one(loss, y_true, [1.0, 1, 4 + d, 3])[0] for d in (-1e-6, 0.0, 1e-6)]
    if loss == "complete_box_iou":
        pytest.skip("alpha is a constant: the slope is not that of the value")
    left, right = (sides[1] - sides[0]) / 1e-6, (sides[2] - sides[1]) / 1e-6
    assert abs(left - right) > 1e-2
    assert slope[2] == pytest.approx((left + right) / 2, rel=1e-4)


def test_empty_boxes_have_no_iou():
    point, line, inverted, unit = [1.0, 1, 1, 1], [0.0, 1, 3, 1], [2.0, 2, 0, 0], [0.0, 0, 2, 2]
    for y_true, y_pred in ((point, point), (unit, point), (unit, line), (line, line)):
        assert one("box_iou", y_true, y_pred)[0] == 1
    assert one("box_iou", unit, inverted)[0] == 1
    assert one("box_iou", inverted, inverted)[0] == 1
    assert one("generalized_box_iou", point, point)[0] == 1
    assert one("generalized_box_iou", unit, inverted)[0] == pytest.approx(1)
    assert one("distance_box_iou", point, point)[0] == 1
    assert one("complete_box_iou", unit, point)[0] == pytest.approx(1)
    assert one("box_iou", [0.0, 0, 2, 2], [0.0, 0, 2, -2], centred=True)[0] == 1


def test_touching_boxes_do_not_overlap():
    value, slope = one("box_iou", [0.0, 0, 1, 1], [1.0, 0, 2, 1])
    assert (value, slope) == (1, [0, 0, 0, 0])


def descend(loss: str, y_true: list, y_pred: list) -> Array:
    target, box = np.array([y_true]), np.array([y_pred])
    for _ in range(4000):
        _, slope = kernels.boxes(loss, target, box, kernels.SUM)
        box -= 0.01 * slope
    return box


def test_descent_brings_an_inverted_box_back():
    box = descend("generalized_box_iou", [0.0, 0, 1, 1], [-1.0, 0.2, -3, 0.9])
    np.testing.assert_allclose(box, [[0, 0, 1, 1]], atol=0.03)


@pytest.mark.parametrize("loss", ["distance_box_iou", "complete_box_iou"])
def test_descent_moves_an_empty_box_to_its_label(loss):
    box = descend(loss, [0.0, 0, 1, 1], [1.5, 1.5, 1.5, 1.5])
    np.testing.assert_allclose(box[:, :2] + box[:, 2:], [[1, 1]], atol=0.03)


@every_format
@every_loss
def test_a_nan_anywhere_is_nan_everywhere_in_its_box_alone(loss, centred):
    for isa in c_api.isas():
        c_api.set_isa(isa)
        for dtype in PREDICTION_DTYPES:
            clean = data(40, dtype, centred=centred)
            expected = kernels.boxes(loss, *clean, kernels.NONE, centred=centred)
            for which in (0, 1):
                for i in range(4):
                    pair = [x.copy() for x in clean]
                    pair[which][17, i] = np.nan
                    actual = kernels.boxes(loss, *pair, kernels.NONE, centred=centred)
                    for found, right in zip(actual, expected, strict=True):
                        assert np.isnan(found[17].astype(np.float64)).all(), (isa, which, i)
                        rest = np.arange(40) != 17
                        assert same_bits(found[rest], right[rest])


@every_loss
def test_epsilon_bounds_what_is_divided_by(loss):
    """Within boxes that are smaller the gradient does not grow any more."""
    y_true = np.array([[0.0, 0, 1e-9, 1e-9]])
    y_pred = y_true + 3e-10
    for epsilon in (1e-7, 1e-3):
        value, slope = kernels.boxes(loss, y_true, y_pred, kernels.SUM, epsilon=epsilon)
        assert value == pytest.approx(1, abs=1e-6)
        assert np.abs(slope).max() < 1e-8 / epsilon
        expected = truth(loss, y_true, y_pred, epsilon=epsilon)
        np.testing.assert_allclose(slope, expected.slope.astype(np.float64), 1e-9, 1e-18)
    sharp, steep = kernels.boxes(loss, y_true, y_pred, kernels.SUM, epsilon=1e-30)
    assert sharp < 1 and np.abs(steep).max() > 1e7


# Reductions


@every_format
@every_dtype
@every_loss
def test_reductions_weights_and_upstream(loss, dtype, centred):
    y_true, y_pred = data(1003, dtype, centred=centred)
    random = np.random.default_rng(0)
    weight, upstream = random.uniform(0, 2, 1003), random.normal(size=1003)
    values, slopes = kernels.boxes(loss, y_true, y_pred, kernels.NONE, centred=centred)
    slopes = slopes.astype(np.float64)
    bounds = (LOSS_BOUNDS[dtype], 2 * GRADIENT_BOUNDS[dtype])
    options = {"centred": centred, "replicas": 2}
    divisors = {
        kernels.SUM: 1,
        kernels.MEAN: 2 * 1003,
        kernels.MEAN_WITH_SAMPLE_WEIGHT: 2 * weight.sum(),
    }
    # Numbers that float16 rounds to its grid.
    tiny = 2.0**-24 if dtype == "float16" else 0.0
    for reduction, divisor in divisors.items():
        value, slope = kernels.boxes(loss, y_true, y_pred, reduction, weight, **options)
        assert_close(value, (values * weight).sum() / divisor, bounds[0])
        assert_close(slope, slopes * weight[:, None] / divisor, bounds[1], tiny=tiny)
    value, slope = kernels.boxes(
        loss, y_true, y_pred, kernels.NONE, weight, upstream, centred=centred
    )
    assert_close(value, values * weight, bounds[0])
    assert_close(slope, slopes * (weight * upstream)[:, None], bounds[1], tiny=tiny)
    value, slope = kernels.boxes(loss, y_true, y_pred, kernels.MEAN_WITH_SAMPLE_WEIGHT, weight * 0)
    assert value == 0 and not slope.any()


@every_loss
def test_no_boxes(loss):
    empty = np.zeros((0, 4), np.float32)
    for reduction in (kernels.NONE, kernels.SUM, kernels.MEAN):
        value, slope = kernels.boxes(loss, empty, empty, reduction)
        assert not value.any() and slope.shape == (0, 4)


# What must change no bit


def assert_same(actual: tuple, expected: tuple, what: object = "") -> None:
    for name, found, right in zip(("loss", "gradient"), actual, expected, strict=True):
        if found is not None and right is not None:
            assert same_bits(found, right), f"{name} {what}"


@every_dtype
@every_loss
def test_threads_and_the_order_of_pieces_change_no_bit(loss, dtype):
    y_true, y_pred = data(16384 * 5 + 77, dtype)
    weight = np.random.default_rng(0).uniform(0, 2, len(y_pred))
    counts = []

    def backwards(pieces, piece):
        counts.append(pieces)
        for index in reversed(range(pieces)):
            piece(index)

    for reduction in (kernels.NONE, kernels.MEAN_WITH_SAMPLE_WEIGHT):
        c_api.set_threads(1)
        expected = kernels.boxes(loss, y_true, y_pred, reduction, weight)
        for threads in (2, 3, 7):
            c_api.set_threads(threads)
            for _ in range(3):
                assert_same(kernels.boxes(loss, y_true, y_pred, reduction, weight), expected)
        actual = kernels.boxes(loss, y_true, y_pred, reduction, weight, parallel_for=backwards)
        assert_same(actual, expected)
    assert counts == [6] * len(counts) and counts


@every_format
@every_dtype
@every_loss
def test_a_box_has_the_same_bits_alone_and_in_company(loss, dtype, centred):
    for count in COUNTS[1:-2]:
        y_true, y_pred = data(count, dtype, centred=centred)
        together = kernels.boxes(loss, y_true, y_pred, kernels.NONE, centred=centred)
        places = {0, 1, count // 3, count // 2, count - 1}
        parts = [np.array([place]) for place in places] + [np.arange(count // 3, count)]
        for part in parts:
            alone = kernels.boxes(loss, y_true[part], y_pred[part], kernels.NONE, centred=centred)
            assert_same(alone, tuple(x[part] for x in together), f"{part[:3]} of {count}")


@every_dtype
@every_loss
def test_every_place_gives_the_same_bits(loss, dtype):
    y_true, y_pred = (np.repeat(x[:1], 16384 + 33, 0) for x in data(1, dtype))
    value, slope = kernels.boxes(loss, y_true, y_pred, kernels.NONE)
    assert len(np.unique(value)) == 1
    assert len({row.tobytes() for row in slope}) == 1


@every_format
@every_dtype
@every_loss
def test_buffers_and_outputs_change_no_bit(loss, dtype, centred):
    for count in (5, 33, 1000):
        y_true, y_pred = data(count, dtype, centred=centred)
        for reduction in (kernels.NONE, kernels.MEAN):
            expected = kernels.boxes(loss, y_true, y_pred, reduction, centred=centred)
            in_place = kernels.boxes(
                loss, y_true, y_pred.copy(), reduction, centred=centred, in_place=True
            )
            assert_same(in_place, expected)
            alone = kernels.boxes(loss, y_true, y_pred, reduction, centred=centred, gradient=False)
            assert_same(alone, expected)


@every_dtype
@every_loss
def test_a_large_gradient_has_the_same_bits_as_its_boxes(loss, dtype):
    """Large gradients are written past the caches."""
    y_true, y_pred = data(1000, dtype)
    times = (16 << 20) // (4 * y_pred.itemsize * 1000) + 2
    many = (np.tile(x, (times, 1)) for x in (y_true, y_pred))
    _, expected = kernels.boxes(loss, y_true, y_pred, kernels.SUM)
    _, actual = kernels.boxes(loss, *many, kernels.SUM)
    parts = actual.reshape(times, *y_pred.shape)
    assert (parts.view(np.uint8) == expected.view(np.uint8)).all()


@every_format
@every_dtype
@every_loss
def test_instruction_sets_agree(loss, dtype, centred):
    y_true, y_pred = data(1000, dtype, centred=centred)
    results = {}
    for isa in c_api.isas():
        c_api.set_isa(isa)
        results[isa] = kernels.boxes(loss, y_true, y_pred, kernels.NONE, centred=centred)
    base = results.pop("baseline")
    for isa, result in results.items():
        assert_close(result[0], base[0], LOSS_BOUNDS[dtype], isa)
        assert_close(result[1], base[1], 2 * GRADIENT_BOUNDS[dtype], isa)


def test_data_is_what_it_says():
    y_true, y_pred = data(4000)
    assert ((y_true[:, 2:] > y_true[:, :2]) & (y_pred[:, 2:] > y_pred[:, :2])).all()
    value, _ = kernels.boxes("box_iou", y_true, y_pred, kernels.NONE)
    assert (value == 1).sum() > 400 and (value < 0.2).sum() > 400
    assert kernels.PARAMETERS["epsilon"] == EPSILON
