"""The oracle itself: its values are the papers' formulas, its derivatives theirs, in mpmath."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf
from oracle import boxes_cases, elementwise_cases, overlap_cases, rowwise_cases
from oracle.boxes import right as right_boxes
from oracle.elementwise import LOSSES as ELEMENTWISE
from oracle.overlap import right as right_overlap
from oracle.point import Array, Point, Wide
from oracle.rowwise import right as right_rows

Vector = Sequence[mpf]
EPSILON = mpf(1e-7)
# The oracle has 64 bits, its clip bounds and shares have 53.
TOLERANCE = 1e-13


@pytest.fixture(autouse=True)
def _digits() -> Any:
    with mp.workdps(40):
        yield


def wide(x: Any) -> Wide:
    return Wide(mpmath.nstr(x, 25))


def close(actual: Any, expected: Any, scale: Any, what: str) -> None:
    actual, expected = np.asarray(actual, Wide), np.asarray(expected, Wide)
    error = abs(actual - expected)
    bound = TOLERANCE * (np.asarray(scale, Wide) + abs(expected)) + 1e-30
    assert (error <= bound).all(), f"{what}: {actual}, expected {expected}"


# Elementwise: formulas of a label and a prediction


def log_cosh(t: mpf, p: mpf) -> mpf:
    return mp.log(mp.cosh(p - t))


def smooth_l1(t: Any, p: Any, beta: float) -> Any:
    size = abs(p - t)
    return size**2 / (2 * mpf(beta)) if size < beta else size - mpf(beta) / 2


def huber(t: mpf, p: mpf, delta: float) -> mpf:
    error = abs(p - t)
    return error**2 / 2 if error <= delta else delta * error - mpf(delta) ** 2 / 2


def bce(t: mpf, p: mpf, label_smoothing: float, epsilon: float = 0, pos_weight: float = 1) -> mpf:
    y = t * (1 - mpf(label_smoothing)) + mpf(label_smoothing) / 2
    return -(mpf(pos_weight) * y * mp.log(p) + (1 - y) * mp.log(1 - p))


def focal(
    t: mpf,
    p: mpf,
    label_smoothing: float,
    gamma: float,
    base: float,
    balance: float,
    epsilon: float = 0,
) -> mpf:
    y = t * (1 - mpf(label_smoothing)) + mpf(label_smoothing) / 2
    right = y * p + (1 - y) * (1 - p)
    return (base + balance * y) * (1 - right) ** gamma * bce(t, p, label_smoothing)


def sigmoid(x: mpf) -> mpf:
    return 1 / (1 + mp.exp(-x))


FORMULAS: dict[str, Callable[..., mpf]] = {
    "mean_squared_error": lambda t, p: (t - p) ** 2,
    "mean_absolute_error": lambda t, p: abs(t - p),
    "mean_absolute_percentage_error": lambda t, p, epsilon: 100 * abs(t - p) / abs(t),
    "mean_squared_logarithmic_error": lambda t, p, epsilon: (mp.log(1 + t) - mp.log(1 + p)) ** 2,
    "huber": huber,
    "smooth_l1": smooth_l1,
    "log_cosh": log_cosh,
    "pinball": lambda t, p, tau: max(mpf(tau) * (t - p), (mpf(tau) - 1) * (t - p)),
    "poisson": lambda t, p, epsilon: p - t * mp.log(p + mpf(epsilon)),
    "hinge": lambda t, p, binary: max(1 - (2 * t - 1 if binary else t) * p, 0),
    "squared_hinge": lambda t, p, binary: max(1 - (2 * t - 1 if binary else t) * p, 0) ** 2,
    "kl_divergence": lambda t, p, epsilon: t * mp.log(t / p),
    "binary_crossentropy": bce,
    "binary_crossentropy_from_logits": lambda t, x, **rest: bce(t, sigmoid(x), **rest),
    "binary_focal_crossentropy": focal,
    "binary_focal_crossentropy_from_logits": lambda t, x, **rest: focal(t, sigmoid(x), **rest),
}


def elementwise_points(case: Any, random: np.random.Generator) -> Array:
    count = 12
    if case.predictions == "real":
        prediction = random.normal(0, 3, count)
    else:
        prediction = random.uniform(0.02, 0.98, count)
    if "binary" in case.kernel or "hinge" in case.kernel:
        label = random.choice([x for x in case.labels if x == x and 0 <= abs(x) <= 1], count)
    else:
        label = random.uniform(0.05, 2 if case.predictions != "probability" else 1, count)
    return np.stack([label, prediction])


@pytest.mark.parametrize("loss", ELEMENTWISE)
def test_elementwise(loss: str) -> None:
    random = np.random.default_rng(3)
    for case in elementwise_cases.CASES:
        if case.kernel != loss:
            continue
        label, prediction = elementwise_points(case, random)
        right = ELEMENTWISE[loss](Wide(label), Wide(prediction), np.float64, **case.parameters)
        for i, (t, p) in enumerate(zip(label, prediction, strict=True)):

            def formula(x, t=t, case=case):
                return FORMULAS[loss](mpf(t), x, **case.parameters)

            for kind, order in (("value", 0), ("slope", 1), ("curvature", 2)):
                expected = wide(mp.diff(formula, mpf(p), order))
                scale = right.terms(kind)[i]
                close(getattr(right, kind)[i], expected, scale, f"{case.id} {kind} at {t}, {p}")


# Rowwise: formulas of a row of labels and a row of predictions


def softmax(x: Vector) -> list[mpf]:
    powers = [mp.exp(v) for v in x]
    return [v / sum(powers) for v in powers]


def cross_entropy(y: Vector, p: Vector) -> mpf:
    return -sum(t * mp.log(q) for t, q in zip(y, p, strict=True))


def categorical_focal(y: Vector, p: Vector, alpha: float, gamma: float, **_: float) -> mpf:
    return -sum(mpf(alpha) * t * (1 - q) ** gamma * mp.log(q) for t, q in zip(y, p, strict=True))


def generalized(y: Vector, p: Vector, q: float) -> mpf:
    return sum(t * (1 - v ** mpf(q)) / mpf(q) for t, v in zip(y, p, strict=True))


def categorical_hinge(y: Vector, x: Vector) -> mpf:
    rest = max((1 - t) * v for t, v in zip(y, x, strict=True))
    return max(rest - sum(t * v for t, v in zip(y, x, strict=True)) + 1, 0)


def cosine(y: Vector, x: Vector, epsilon: float) -> mpf:
    lengths = [mp.sqrt(sum(v * v for v in vector)) for vector in (y, x)]
    return -sum(t * v for t, v in zip(y, x, strict=True)) / (lengths[0] * lengths[1])


def divergence(p: Vector, q: Vector) -> mpf:
    return sum(a * mp.log(a / b) for a, b in zip(p, q, strict=True))


def jensen_shannon(y: Vector, x: Vector, beta: float) -> mpf:
    p, q, beta = softmax(y), softmax(x), mpf(beta)
    m = [beta * a + (1 - beta) * b for a, b in zip(p, q, strict=True)]
    return beta * divergence(p, m) + (1 - beta) * divergence(q, m)


def normalized(x: Vector) -> list[mpf]:
    return [v / sum(x) for v in x]


ROWS: dict[str, Callable[..., mpf]] = {
    "categorical_crossentropy": lambda y, x, epsilon: cross_entropy(y, normalized(x)),
    "categorical_crossentropy_from_logits": lambda y, x: cross_entropy(y, softmax(x)),
    "categorical_focal_crossentropy": lambda y, x, **k: categorical_focal(y, normalized(x), **k),
    "categorical_focal_crossentropy_from_logits": lambda y, x, **k: categorical_focal(
        y, softmax(x), **k
    ),
    "categorical_generalized_cross_entropy": generalized,
    "categorical_generalized_cross_entropy_from_logits": lambda y, x, q: generalized(
        y, softmax(x), q
    ),
    "categorical_hinge": categorical_hinge,
    "cosine_similarity": cosine,
    "kl_divergence_from_logits": lambda y, x: divergence(softmax(y), softmax(x)),
    "reverse_kl_divergence_from_logits": lambda y, x: divergence(softmax(x), softmax(y)),
    "jensen_shannon_divergence_from_logits": jensen_shannon,
}


def row_formula(case: Any, y: Vector, x: Vector) -> mpf:
    options = case.options
    log_sum = mpf(0)
    y = [t * (1 - mpf(options.label_smoothing)) + mpf(options.label_smoothing) / len(y) for t in y]
    if options.class_weights is not None:
        y = [t * w for t, w in zip(y, options.class_weights, strict=True)]
    if options.logit_softcap is not None:
        x = [options.logit_softcap * mp.tanh(v / options.logit_softcap) for v in x]
    x = [v / mpf(options.temperature) for v in x]
    if options.z_loss:
        log_sum = mp.log(sum(mp.exp(v) for v in x))
    value = ROWS[case.kernel.removeprefix("sparse_")](y, x, **case.parameters)
    return value + mpf(options.z_loss) * log_sum**2


@pytest.mark.parametrize("loss", sorted({case.kernel for case in rowwise_cases.CASES}))
def test_rowwise(loss: str) -> None:
    random = np.random.default_rng(4)
    for case in rowwise_cases.CASES:
        if case.kernel != loss or case.classes != 3:
            continue
        for _ in range(2):
            x = random.normal(0, 2, 3)
            if case.predictions == "probabilities":
                x = random.uniform(0.1, 0.8, 3)
            y = np.eye(3)[random.integers(3)] if case.is_sparse else random.uniform(0.1, 1, 3)
            right = right_rows(
                loss, Wide(y[None]), Wide(x[None]), np.float64, case.options, **case.parameters
            )
            check_gradient(
                right,
                lambda v, case=case, y=y: row_formula(case, [mpf(t) for t in y], v),
                x,
                f"{loss} {case.id}",
            )


def check_gradient(right: Point, formula: Callable[[Vector], mpf], x: Array, what: str) -> None:
    """The value and each derivative of a formula of a flat vector of predictions."""
    at = [mpf(v) for v in x.ravel()]
    close(right.value[0], wide(formula(at)), right.value_terms[0], f"{what} value")
    for i, slope in enumerate(right.slope[0].ravel()):

        def moved(v, i=i):
            return formula([v if j == i else u for j, u in enumerate(at)])

        scale = right.slope_terms[0].ravel()[i]
        close(slope, wide(mp.diff(moved, at[i])), scale, f"{what} slope {i}")


# Overlap: formulas of masks


def score(loss: str, t: Vector, p: Vector, squared: bool, **k: float) -> mpf:
    power = 2 if squared else 1
    both = sum(a * b for a, b in zip(t, p, strict=True))
    predicted, labelled = (sum(v**power for v in x) for x in (p, t))
    top, bottom = mpf(k["smooth_numerator"]), mpf(k["smooth_denominator"])
    if loss in ("dice", "log_cosh_dice"):
        dice = 1 - (2 * both + top) / (predicted + labelled + bottom)
        return dice if loss == "dice" else mp.log(mp.cosh(dice))
    if loss == "jaccard":
        return 1 - (both + top) / (predicted + labelled - both + bottom)
    alpha, beta = mpf(k["alpha"]), mpf(k["beta"])
    whole = both + alpha * (labelled - both) + beta * (predicted - both)
    return (1 - (both + top) / (whole + bottom)) ** k.get("gamma", 1)


def generalized_dice(t: Any, p: Any, squared: bool, power: float, **k: float) -> mpf:
    """Of two classes, `(positions, classes)`."""
    exponent, top, bottom = 2 if squared else 1, mpf(0), mpf(0)
    for c in range(2):
        labels, shares = [row[c] for row in t], [row[c] for row in p]
        size = sum(v**exponent for v in labels)
        top += 2 * size**-power * sum(a * b for a, b in zip(labels, shares, strict=True))
        bottom += size**-power * (size + sum(v**exponent for v in shares))
    return 1 - (top + k["smooth_numerator"]) / (bottom + k["smooth_denominator"])


def mask_formula(case: Any, t: Array, x: Vector) -> mpf:
    p = list(x)
    if case.activation == "sigmoid":
        p = [sigmoid(v) for v in p]
    elif case.activation == "softmax":
        p = [*softmax(p[:2]), *softmax(p[2:])]
    labels = [mpf(v) for v in t.ravel()]
    if case.kernel != "generalized_dice":
        return score(case.kernel, labels, p, case.squared, **case.parameters)
    rows = [(v[:2], v[2:]) for v in (labels, p)]
    return generalized_dice(*rows, case.squared, **case.parameters)


@pytest.mark.parametrize("loss", sorted({case.kernel for case in overlap_cases.CASES}))
def test_overlap(loss: str) -> None:
    random = np.random.default_rng(5)
    for case in overlap_cases.CASES:
        if case.kernel != loss or case.positions != 4:
            continue
        t = random.uniform(0.1, 1, (1, 2, 2))
        x = random.uniform(0.1, 0.9, (1, 2, 2))
        if case.activation != "none":
            x = random.normal(0, 2, x.shape)
        right = right_overlap(
            loss, Wide(t), Wide(x), case.activation, case.squared, **case.parameters
        )
        check_gradient(right, lambda v, c=case, t=t: mask_formula(c, t, v), x, case.id)


# Boxes: formulas of corners, in the papers' words


def box_formula(loss: str, box_format: str, t: Vector, p: Vector, alpha: mpf | None = None) -> mpf:
    if box_format == "cxcywh":
        t, p = (
            [v[0] - v[2] / 2, v[1] - v[3] / 2, v[0] + v[2] / 2, v[1] + v[3] / 2] for v in (t, p)
        )
    if box_format == "yxyx":
        t, p = ([v[1], v[0], v[3], v[2]] for v in (t, p))
    both, hull = mpf(1), []
    for i in (0, 1):
        both *= max(min(t[i + 2], p[i + 2]) - max(t[i], p[i]), 0)
        hull.append(max(t[i + 2], p[i + 2]) - min(t[i], p[i]))
    sides = [(v[2] - v[0], v[3] - v[1]) for v in (t, p)]
    union = sum(w * h for w, h in sides) - both
    value = 1 - both / union
    if loss == "generalized_box_iou":
        value += (hull[0] * hull[1] - union) / (hull[0] * hull[1])
    if loss in ("distance_box_iou", "complete_box_iou"):
        shift = [(p[i] + p[i + 2] - t[i] - t[i + 2]) / 2 for i in (0, 1)]
        value += (shift[0] ** 2 + shift[1] ** 2) / (hull[0] ** 2 + hull[1] ** 2)
    if loss == "complete_box_iou":
        v = (
            4
            / mp.pi**2
            * (mp.atan(sides[0][0] / sides[0][1]) - mp.atan(sides[1][0] / sides[1][1])) ** 2
        )
        value += (v / (1 - both / union + v) if alpha is None else alpha) * v
    return value


def trade_off(t: Vector, p: Vector, box_format: str) -> mpf:
    """Alpha of the complete IoU, a constant to its gradient."""
    distance, complete = (
        box_formula(loss, box_format, t, p) for loss in ("distance_box_iou", "complete_box_iou")
    )
    with_one = box_formula("complete_box_iou", box_format, t, p, mpf(1))
    return (complete - distance) / (with_one - distance)


@pytest.mark.parametrize("loss", sorted({case.kernel for case in boxes_cases.CASES}))
def test_boxes(loss: str) -> None:
    random = np.random.default_rng(6)
    for case in boxes_cases.CASES:
        if case.kernel != loss:
            continue
        for _ in range(4):
            t, p = random.uniform(0, 2, (2, 4))
            if case.box_format != "cxcywh":
                t, p = (np.concatenate([v[:2], v[:2] + 0.5 + v[2:]]) for v in (t, p))
            label = [mpf(v) for v in t]
            alpha = trade_off(label, [mpf(v) for v in p], case.box_format)
            right = right_boxes(loss, Wide(t[None]), Wide(p[None]), case.box_format, 1e-7)
            check_gradient(
                right,
                lambda v, c=case, t=label, a=alpha: box_formula(c.kernel, c.box_format, t, v, a),
                p,
                case.id,
            )
