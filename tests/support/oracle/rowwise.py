"""The rowwise losses: one value per row of `y` and `x`, `(rows, classes)`, and its gradient.

Labels are rows, one-hot for a sparse loss. A logit of -infinity is a class that cannot be, and adds
nothing unless it is the label; the softmax of a row with a logit of infinity, or without any other
than -infinity, has no value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from oracle.point import Array, Point, Wide, bounds, clip, times


@dataclass(frozen=True)
class Options:
    """What may be asked of any cross-entropy."""

    label_smoothing: float = 0.0
    class_weights: Any = None
    temperature: float = 1.0
    logit_softcap: float | None = None
    z_loss: float = 0.0


@dataclass
class Row:
    """Logarithms of the softmax `p`; `blur` is how many times as roughly as 1 they are rounded."""

    log: Array
    p: Array
    blur: Array


def total(x: Array) -> Array:
    return x.sum(-1, keepdims=True)


def softmax(x: Array) -> Row:
    shifted = x - x.max(-1, keepdims=True)
    log = shifted - np.log(total(np.exp(shifted)))
    return Row(log, np.exp(log), 1 + np.where(np.isinf(log), 0, abs(log)))


def _of_logs(x: Row, y: Array, value: Array, slope: Array, value_blur: Array, blur: Array) -> Point:
    """sum(y value(log p)), with its slope by each log p; each with the sum of absolute terms."""
    by_log, terms = times(y, slope), times(abs(y), blur) * x.blur
    return Point(
        times(y, value).sum(-1),
        by_log - x.p * total(by_log),
        None,
        times(abs(y), value_blur * x.blur).sum(-1),
        terms + x.p * x.blur * total(abs(by_log)) + x.p * total(terms),
    )


def categorical_crossentropy_from_logits(y: Array, x: Array, compute: type) -> Point:
    row = softmax(x)
    one = 1 + 0 * row.p
    return _of_logs(row, y, -row.log, -one, one, one)


def _focus(log: Array, p: Array, alpha: float, gamma: float, compute: type) -> tuple[Array, ...]:
    """Alpha (1 - p)^gamma (-log p), its slope by log p, and the sum of absolute terms of both."""
    miss, size = -np.expm1(log), abs(np.where(p == 0, 0, log))
    power = miss**gamma if gamma else 1 + 0 * miss
    # log(p) / (1 - p) is -1 where p is 1.
    ratio = np.where(miss == 0, -1, times(p, log) / np.where(miss == 0, 1, miss))
    # 1 - p is rounded as 1 is.
    near = np.maximum(miss, np.finfo(compute).eps)
    blur = gamma * near ** (gamma - 1) + gamma * abs(gamma - 1) * near ** (gamma - 2) * size * p
    terms = (1 + gamma) * power * (1 + abs(ratio)) + (1 + size * p) * blur
    return -alpha * times(power, log), alpha * power * (gamma * ratio - 1), alpha * terms


def categorical_focal_crossentropy_from_logits(
    y: Array, x: Array, compute: type, alpha: float, gamma: float
) -> Point:
    row = softmax(x)
    value, slope, terms = _focus(row.log, row.p, Wide(compute(alpha)), gamma, compute)
    return _of_logs(row, y, value, slope, terms, terms)


def categorical_generalized_cross_entropy_from_logits(
    y: Array, x: Array, compute: type, q: float
) -> Point:
    row, q = softmax(x), Wide(compute(q))
    power = np.exp(q * row.log)
    return _of_logs(row, y, -np.expm1(q * row.log) / q, -power, power + 1 / q, power)


def _normalized(y: Array, x: Array, value: Callable[..., Any], epsilon: float, compute: type):
    """sum(y value(p)) of p = x / sum(x), clipped; `value` gives its slope and terms as well."""
    everything = total(x)
    p, flat = clip(x / everything, *bounds(epsilon, compute))
    values, slopes, terms = value(p)
    slopes, blur = (np.where(flat, 0, times(f, g)) for f, g in ((y, slopes), (abs(y), terms / p)))
    return Point(
        times(y, values).sum(-1),
        (slopes - total(slopes * p)) / everything,
        None,
        times(abs(y), abs(values) + terms).sum(-1),
        (blur + total(blur * p)) / abs(everything),
    )


def categorical_crossentropy(y: Array, x: Array, compute: type, epsilon: float) -> Point:
    return _normalized(y, x, lambda p: (-np.log(p), -1 / p, 1 + 0 * p), epsilon, compute)


def categorical_focal_crossentropy(
    y: Array, x: Array, compute: type, alpha: float, gamma: float, epsilon: float
) -> Point:
    def value(p: Array) -> tuple[Array, Array, Array]:
        values, slopes, terms = _focus(np.log(p), p, Wide(compute(alpha)), gamma, compute)
        return values, slopes / p, terms

    return _normalized(y, x, value, epsilon, compute)


def sparse_categorical_crossentropy(y: Array, x: Array, compute: type, epsilon: float) -> Point:
    # As in Keras: clipped first, then divided by the sum.
    q, flat = clip(x, *bounds(epsilon, compute))
    log = np.log(q / total(q))
    all_of_them, own = total(y) / total(q), y / q
    return Point(
        -times(y, log).sum(-1),
        np.where(flat & ~np.isnan(total(q)), 0, all_of_them - own),
        None,
        times(abs(y), 1 + abs(log)).sum(-1),
        np.where(flat, 0, abs(all_of_them) + abs(own)),
    )


def categorical_generalized_cross_entropy(y: Array, x: Array, compute: type, q: float) -> Point:
    q, label = Wide(compute(q)), np.where(y == 0, 1, x)
    slope = np.where(y == 0, 0, -y * label ** (q - 1))
    terms = times(y, 1 + label**q) / q
    return Point((times(y, 1 - label**q) / q).sum(-1), slope, None, terms.sum(-1), abs(slope))


def categorical_hinge(y: Array, x: Array, compute: type) -> Point:
    rest = times(1 - y, x)
    largest, hit = rest.max(-1, keepdims=True), total(times(y, x))
    margin = largest - hit + 1
    # Classes that share the maximum share its gradient.
    chosen = rest == largest
    slope = np.where(chosen, (1 - y) / total(chosen), 0) - y
    slope = np.where(np.isnan(margin), margin, np.where(margin < 0, 0, slope))
    terms = 1 + abs(largest) + total(abs(times(y, x)))
    terms = np.where(margin < 0, 0, terms)
    return Point(np.maximum(margin, 0)[..., 0], slope, None, terms[..., 0], 1 + abs(y))


def cosine_similarity(y: Array, x: Array, compute: type, epsilon: float) -> Point:
    length, label_length = (np.sqrt(total(v * v)) for v in (x, y))
    epsilon = Wide(compute(epsilon))
    inverse, label_inverse = (1 / np.maximum(v, epsilon) for v in (length, label_length))
    cosine = total(x * y) * inverse * label_inverse
    terms = total(abs(x * y)) * inverse * label_inverse
    # Products of tiny components underflow.
    terms = terms + Wide(np.finfo(compute).tiny) / np.finfo(compute).eps * inverse * label_inverse
    turn = np.where(length <= epsilon, 0, inverse * inverse * x)
    straight = y * inverse * label_inverse
    return Point(
        -cosine[..., 0],
        turn * cosine - straight,
        None,
        terms[..., 0],
        abs(turn) * terms + abs(straight),
    )


def _underflow(p: Array, difference: Array, compute: type) -> Array:
    """What a share too small for the computing type may be off: it may be 0."""
    info = np.finfo(compute)
    reach = abs(np.where(p < 2 * info.tiny, difference, 0)) * Wide(info.tiny) / info.eps
    return np.where(p == 0, 0, reach)


def _undefined(value: Array, t: Row, compute: type) -> Array:
    """Rows without a gradient: the loss overflows, or the label is no distribution."""
    return (value > 0.99 * Wide(np.finfo(compute).max)) | np.isnan(t.p).any(-1, keepdims=True)


def kl_divergence_from_logits(y: Array, x: Array, compute: type) -> Point:
    t, p = softmax(y), softmax(x)
    difference = np.where(t.p == 0, 0, t.log - p.log)
    terms = times(t.p, t.blur + p.blur + t.blur * abs(difference))
    terms = terms + _underflow(t.p, difference, compute)
    return Point(
        times(t.p, difference).sum(-1),
        p.p - t.p,
        None,
        terms.sum(-1),
        p.p * p.blur + t.p * t.blur,
        kink=_undefined(np.zeros(()), t, compute),
    )


def reverse_kl_divergence_from_logits(y: Array, x: Array, compute: type) -> Point:
    t, p = softmax(y), softmax(x)
    difference = np.where(p.p == 0, 0, p.log - t.log)
    value = total(times(p.p, difference))
    terms = times(p.p, t.blur + p.blur + p.blur * abs(difference))
    terms = terms + _underflow(p.p, difference, compute)
    return Point(
        value[..., 0],
        times(p.p, difference - value),
        None,
        terms.sum(-1),
        terms
        + p.p * (p.blur * abs(value) + total(terms))
        + _underflow(p.p, difference - value, compute),
        kink=_undefined(value, t, compute),
    )


def jensen_shannon_divergence_from_logits(y: Array, x: Array, compute: type, beta: float) -> Point:
    t, p = softmax(y), softmax(x)
    beta, rest = Wide(compute(beta)), Wide(compute(1 - beta))
    mixture = beta * t.p + rest * p.p
    log = np.log(np.where(mixture == 0, 1, mixture))
    label_difference = np.where(t.p == 0, 0, t.log - log)
    difference = np.where(p.p == 0, 0, p.log - log)
    label_value, value = total(times(t.p, label_difference)), total(times(p.p, difference))
    blur = (beta * t.p * t.blur + rest * p.p * p.blur) / np.where(mixture == 0, 1, mixture)
    blur = 1 + blur + abs(log)
    label_terms = times(t.p, t.blur + blur + t.blur * abs(label_difference))
    terms = times(p.p, p.blur + blur + p.blur * abs(difference))
    return Point(
        (beta * label_value + rest * value)[..., 0],
        rest * times(p.p, difference - value),
        None,
        (beta * label_terms + rest * terms).sum(-1),
        rest * (terms + p.p * (p.blur * abs(value) + total(terms))),
        kink=_undefined(np.zeros(()), t, compute),
    )


LOSSES: dict[str, Callable[..., Point]] = {
    loss.__name__: loss
    for loss in (
        categorical_crossentropy,
        categorical_crossentropy_from_logits,
        sparse_categorical_crossentropy,
        categorical_focal_crossentropy,
        categorical_focal_crossentropy_from_logits,
        categorical_generalized_cross_entropy,
        categorical_generalized_cross_entropy_from_logits,
        categorical_hinge,
        cosine_similarity,
        kl_divergence_from_logits,
        reverse_kl_divergence_from_logits,
        jensen_shannon_divergence_from_logits,
    )
}
# Of class numbers instead of rows.
LOSSES |= {
    "sparse_categorical_crossentropy_from_logits": categorical_crossentropy_from_logits,
    "sparse_categorical_focal_crossentropy": categorical_focal_crossentropy,
    "sparse_categorical_focal_crossentropy_from_logits": categorical_focal_crossentropy_from_logits,
    "sparse_categorical_hinge": categorical_hinge,
}


def right(
    loss: str, y: Array, x: Array, compute: type, options: Options, **parameters: float
) -> Point:
    """A loss with options: labels are smoothed, then weighed; logits capped, then cooled."""
    smoothing = Wide(compute(options.label_smoothing))
    if smoothing:
        y = y * (1 - smoothing) + smoothing / y.shape[-1]
    if options.class_weights is not None:
        y = times(np.broadcast_to(np.asarray(options.class_weights, Wide), y.shape), y)
    bend = 1 / Wide(options.temperature)
    z, cap = x, options.logit_softcap
    if cap is not None:
        z, bend = cap * np.tanh(x / cap), bend * (1 - np.tanh(x / cap) ** 2)
    if "from_logits" in loss:
        z = z / options.temperature
        y = y / options.temperature if "divergence" in loss else y
    point = LOSSES[loss](y, z, compute, **parameters)
    if options.z_loss:
        row, largest = softmax(z), z.max(-1, keepdims=True)
        log_sum = largest + np.log(total(np.exp(z - largest)))
        point.value = point.value + options.z_loss * log_sum[..., 0] ** 2
        point.slope = point.slope + 2 * options.z_loss * log_sum * row.p
        size = options.z_loss * (1 + abs(log_sum))
        point.value_terms = point.value_terms + (size * (1 + abs(log_sum)))[..., 0]
        point.slope_terms = point.slope_terms + 2 * size * row.p * row.blur
    rounding = 0 if cap is None else 4 * abs(point.slope)
    if cap is not None or options.temperature != 1:
        # Logits are rounded once more than they came.
        reach = 1 + abs(np.where(np.isfinite(z), z, 0)).max(-1, keepdims=True)
        point.value_terms, point.slope_terms = (
            point.value_terms * reach[..., 0],
            point.slope_terms * reach,
        )
    point.slope_terms = point.slope_terms * bend + rounding
    point.slope = times(np.broadcast_to(bend, x.shape), point.slope)
    return point
