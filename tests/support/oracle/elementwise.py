"""The elementwise losses: values and derivatives at pairs of a label and a prediction.

Labels and predictions are arrays of wide floats, `t` and `p`, or `t` and `x` for logits; `compute`
is the type whose clip bounds count.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from oracle.point import Array, Point, Wide, bounds, clip, times

LOG_2 = np.log(Wide(2))


def mean_squared_error(t: Array, p: Array, compute: type) -> Point:
    error = p - t
    return Point(error**2, 2 * error, 2 + 0 * error)


def mean_absolute_error(t: Array, p: Array, compute: type) -> Point:
    error = p - t
    return Point(abs(error), np.sign(error), 0 * np.sign(error), kink=error == 0)


def mean_absolute_percentage_error(t: Array, p: Array, compute: type, epsilon: float) -> Point:
    scale = 100 / np.maximum(abs(t), Wide(compute(epsilon)))
    direction = np.sign(p - t)
    return Point(abs(p - t) * scale, direction * scale, 0 * direction * scale, kink=p == t)


def mean_squared_logarithmic_error(t: Array, p: Array, compute: type, epsilon: float) -> Point:
    low = Wide(compute(epsilon))
    x, y = np.maximum(p, low), np.maximum(t, low)
    log_x, log_y = np.log1p(x), np.log1p(y)
    # Of the quotient, so that close numbers keep their difference.
    distance = np.where(np.isposinf(x), x - 0 * y, np.log1p((x - y) / (1 + y)))
    far, flat = np.isposinf(x) & ~np.isnan(y), p < low
    terms = 2 * (1 + log_x + log_y) / (1 + x) ** 2
    return Point(
        distance**2,
        np.where(flat | far, 0, 2 * distance / (1 + x)),
        np.where(flat | far, 0, 2 * (1 - distance) / (1 + x) ** 2),
        curvature_terms=np.where(far, 0, terms),
        kink=p == low,
    )


def huber(t: Array, p: Array, compute: type, delta: float) -> Point:
    error, delta = p - t, Wide(compute(delta))
    size = abs(error)
    inside = size <= delta
    far = delta * (size - delta / 2) if np.isfinite(delta) else size
    return Point(
        np.where(inside, error**2 / 2, far),
        np.clip(error, -delta, delta),
        np.where(np.isnan(error), error, inside * 1.0),
        value_terms=np.where(
            inside, error**2 / 2, far + delta * delta if np.isfinite(delta) else far
        ),
        kink=abs(size - delta) <= np.finfo(compute).eps * (abs(t) + abs(p)),
    )


def smooth_l1(t: Array, p: Array, compute: type, beta: float) -> Point:
    error, beta = p - t, Wide(compute(beta))
    size = abs(error)
    inside = size < beta
    # Nothing is inside of 0.
    width = beta if beta > 0 else Wide(1)
    near, far = error**2 / (2 * width), size - beta / 2
    return Point(
        np.where(inside, near, far),
        np.where(inside, error / width, np.sign(error)),
        np.where(np.isnan(error), error, inside / width),
        value_terms=np.where(inside, near, size + beta / 2),
        kink=abs(size - beta) <= np.finfo(compute).eps * (abs(t) + abs(p)),
    )


def log_cosh(t: Array, p: Array, compute: type) -> Point:
    error = p - t
    size = abs(error)
    near = np.log1p(2 * np.sinh(np.minimum(size, 1) / 2) ** 2)
    far = size + np.log1p(np.exp(-2 * size)) - LOG_2
    square = np.exp(-2 * size)
    return Point(
        np.where(size < 1, near, far),
        np.tanh(error),
        4 * square / (1 + square) ** 2,
        curvature_terms=np.ones_like(error),
    )


def pinball(t: Array, p: Array, compute: type, tau: float) -> Point:
    error, above, below = t - p, Wide(compute(tau)), Wide(compute(tau - 1))
    slope = np.where(np.isnan(error), error, np.where(error < 0, -below, -above))
    return Point(-times(slope, error), slope, 0 * slope, kink=error == 0)


def poisson(t: Array, p: Array, compute: type, epsilon: float) -> Point:
    rate = p + Wide(compute(epsilon))
    logarithm, ratio = times(t, np.log(rate)), t / rate
    value = np.where(np.isposinf(p), p, p - logarithm)
    return Point(
        np.where(rate < 0, np.nan, value),
        1 - np.where((t == 0) & ~np.isnan(rate), 0, ratio),
        ratio / rate,
        value_terms=np.where(np.isposinf(p), p, abs(p) + abs(logarithm) + abs(t)),
        slope_terms=1 + abs(ratio),
        kink=rate == 0,
    )


def hinge(t: Array, p: Array, compute: type, binary: bool) -> Point:
    y = 2 * t - 1 if binary else t
    margin = 1 - y * p
    return Point(
        np.maximum(margin, 0),
        np.where(np.isnan(margin), margin, np.where(margin < 0, 0, -y)),
        0 * y + 0 * np.where(np.isinf(p), 0, p),
        value_terms=np.where(margin < 0, 0, 1 + abs(y * p)),
        kink=margin == 0,
    )


def squared_hinge(t: Array, p: Array, compute: type, binary: bool) -> Point:
    y = 2 * t - 1 if binary else t
    margin = 1 - y * p
    violation = np.maximum(margin, 0)
    terms = np.where(margin < 0, 0, 1 + abs(y * p))
    return Point(
        violation**2,
        times(violation, -2 * y),
        np.where(np.isnan(margin), margin, np.where(margin < 0, 0, 2 * y**2)),
        value_terms=times(violation, terms),
        slope_terms=2 * abs(y) * terms,
        kink=margin == 0,
    )


def kl_divergence(t: Array, p: Array, compute: type, epsilon: float) -> Point:
    low = Wide(compute(epsilon))
    (y, _), (q, flat) = clip(t, low, 1), clip(p, low, 1)
    return Point(
        y * np.log(y / q),
        np.where(flat, 0, -y / q),
        np.where(flat, 0, y / q**2),
        value_terms=y * (1 + abs(np.log(y / q))),
        kink=(p == low) | (p == 1),
    )


def _smooth(t: Array, compute: type, label_smoothing: float) -> Array:
    return t * Wide(compute(1 - label_smoothing)) + Wide(compute(0.5 * label_smoothing))


def _probability(
    y: Array, p: Array, compute: type, epsilon: float, pos_weight: float = 1.0
) -> Point:
    """-(w y log(p) + (1 - y) log(1 - p)) of a clipped p."""
    low, high = bounds(epsilon, compute)
    q, flat = clip(p, low, high)
    hit, miss = pos_weight * y, 1 - y
    return Point(
        -(times(hit, np.log(q)) + times(miss, np.log1p(-q))),
        np.where(flat, 0, miss / (1 - q) - hit / q),
        np.where(flat, 0, miss / (1 - q) ** 2 + hit / q**2),
        # 1 - p is rounded as 1 is.
        abs(times(hit, np.log(q))) + abs(times(miss, np.log1p(-q))) + abs(miss),
        np.where(flat, 0, abs(miss / (1 - q)) + abs(hit / q)),
        np.where(flat, 0, abs(miss / (1 - q) ** 2) + abs(hit / q**2)),
        kink=(p == low) | (p == high),
    )


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


def _sigmoid(x: Array) -> Array:
    small = np.exp(-abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def _logit(y: Array, x: Array, pos_weight: float = 1.0) -> Point:
    """The same of p = sigmoid(x), and its derivatives by x."""
    p, q = _sigmoid(x), _sigmoid(-x)
    hit, miss = pos_weight * y, 1 - y
    return Point(
        times(hit, _softplus(-x)) + times(miss, _softplus(x)),
        times(miss, p) - times(hit, q),
        (hit + miss) * p * q,
        abs(times(hit, _softplus(-x))) + abs(times(miss, _softplus(x))),
        abs(times(miss, p)) + abs(times(hit, q)),
    )


def binary_crossentropy(
    t: Array,
    p: Array,
    compute: type,
    label_smoothing: float,
    epsilon: float,
    pos_weight: float = 1.0,
) -> Point:
    return _probability(_smooth(t, compute, label_smoothing), p, compute, epsilon, pos_weight)


def binary_crossentropy_from_logits(
    t: Array, x: Array, compute: type, label_smoothing: float, pos_weight: float = 1.0
) -> Point:
    return _logit(_smooth(t, compute, label_smoothing), x, pos_weight)


def _power(base: Array, exponent: float) -> Array:
    """base**exponent, of a whole exponent with its sign; else 0 below 0, and at 0 if infinite."""
    if exponent == 0:
        return np.where(np.isnan(base), base, 1)
    if exponent == int(exponent) and exponent > 0:
        return base ** int(exponent)
    return np.where(base <= 0, 0, np.where(base <= 0, 1, base) ** exponent)


def _focal(
    miss: Point, entropy: Point, weight: Array, gamma: float, done: Array, eps: float
) -> Point:
    """Weight * miss**gamma * entropy; with a gamma below 1 nothing is left to learn where `done`.

    `eps` is how far off the rounded miss may be.
    """
    factor, slope, curvature = _power(miss.value, gamma), 0 * miss.value, 0 * miss.value
    if gamma:
        slope = gamma * _power(miss.value, gamma - 1)
        slope = np.where(done, 0, slope) if gamma < 1 else slope
        curvature = times(miss.curvature, slope)
    if gamma not in (0, 1):
        power = gamma * (gamma - 1) * _power(miss.value, gamma - 2)
        # The derivative first: its square may underflow where the power of a small miss is large.
        curvature = curvature + times(miss.slope, times(miss.slope, power))
    slope = times(miss.slope, slope)
    rounding = 1 + gamma, gamma, gamma * abs(gamma - 1)
    if eps:
        near = np.maximum(abs(miss.value), eps)
        rounding = [x * near ** (gamma - k) for k, x in enumerate(rounding)]
        rounding[0] = rounding[0] + rounding[1]
    else:
        rounding = [x * abs(factor) for x in rounding]
    terms = (
        times(abs(factor), entropy.value_terms) + times(rounding[0], entropy.value_terms),
        times(abs(slope), entropy.value_terms)
        + times(abs(factor), entropy.slope_terms)
        + times(rounding[1], entropy.slope_terms)
        + (times(rounding[2], entropy.value_terms) if eps else 0),
        # The derivative of a sigmoid is rounded as 1 is.
        abs(factor)
        + times(abs(factor), entropy.value_terms + entropy.terms("curvature"))
        + times(abs(slope), 2 * entropy.slope_terms)
        + times(abs(curvature), entropy.value_terms),
    )
    return Point(
        weight * times(factor, entropy.value),
        weight * (times(slope, entropy.value) + times(factor, entropy.slope)),
        weight
        * (
            times(curvature, entropy.value)
            + 2 * times(slope, entropy.slope)
            + times(factor, entropy.curvature)
        ),
        *(abs(weight) * (1 + gamma) ** k * x for k, x in enumerate(terms)),
        kink=entropy.kink | (np.asarray(done) & (gamma != int(gamma))),
    )


def binary_focal_crossentropy(
    t: Array,
    p: Array,
    compute: type,
    label_smoothing: float,
    gamma: float,
    base: float,
    balance: float,
    epsilon: float,
) -> Point:
    # As in Keras the focal factor sees the prediction as it came; only the logarithm sees it
    # clipped.
    y = _smooth(t, compute, label_smoothing)
    miss = Point(y * (1 - p) + (1 - y) * p, 1 - 2 * y + 0 * p, 0 * p)
    low, high = bounds(epsilon, compute)
    done = ((p < low) | (p > high)) & (miss.value < np.maximum(low, 1 - high))
    entropy = _probability(y, p, compute, epsilon)
    # 1 - p is rounded as 1 is.
    return _focal(miss, entropy, base + balance * y, gamma, done, np.finfo(compute).eps)


def binary_focal_crossentropy_from_logits(
    t: Array,
    x: Array,
    compute: type,
    label_smoothing: float,
    gamma: float,
    base: float,
    balance: float,
) -> Point:
    y = _smooth(t, compute, label_smoothing)
    p, q = _sigmoid(x), _sigmoid(-x)
    tilt = (1 - 2 * y) * p * q
    miss = Point(times(y, q) + times(1 - y, p), tilt, tilt * (q - p))
    return _focal(miss, _logit(y, x), base + balance * y, gamma, miss.value == 0, 0)


LOSSES: dict[str, Callable[..., Point]] = {
    loss.__name__: loss
    for loss in (
        mean_squared_error,
        mean_absolute_error,
        mean_absolute_percentage_error,
        mean_squared_logarithmic_error,
        huber,
        smooth_l1,
        log_cosh,
        pinball,
        poisson,
        hinge,
        squared_hinge,
        binary_crossentropy,
        binary_crossentropy_from_logits,
        binary_focal_crossentropy,
        binary_focal_crossentropy_from_logits,
        kl_divergence,
    )
}
