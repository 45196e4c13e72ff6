"""The rowwise losses in NumPy, in a wider format, with what their rounding may amount to.

The error of a number is measured in units of the rounding of the numbers that it is made of, as in
`test_accuracy`. The logarithm of a share is a difference of logits, whose rounding is that of the
distance: `reach` is how many units the logarithm of a share may be off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import kernels
import numpy as np
import tensorflow as tf
from cases import numpy_dtype

from fastloss import c_api

Array = np.ndarray

# The format that the truth about a computing type is computed in.
WIDER = {np.float32: np.float64, np.float64: np.longdouble}
UNIT = {np.dtype(wide): np.finfo(compute).eps for compute, wide in WIDER.items()}


@dataclass(frozen=True)
class Options:
    """As `kernels.rowwise` takes them."""

    label_smoothing: float = 0.0
    class_weight: Any = None
    temperature: float = 1.0
    logit_softcap: float = 0.0
    z_loss: float = 0.0


class Truth(NamedTuple):
    """A loss per row and its derivative, each with the sum of its absolute terms."""

    value: Array
    slope: Array
    value_terms: Array
    slope_terms: Array


class Logits(NamedTuple):
    """What the softmax makes of rows, and the derivative of the logits that it sees."""

    log: Array
    p: Array
    reach: Array
    log_sum_exp: Array
    bend: Array


def total(x: Array) -> Array:
    return x.sum(-1, keepdims=True)


def weighed(y: Array, x: Array) -> Array:
    return np.where(y == 0, 0, y * np.where(y == 0, 0, x))


def softmax(x: Array, options: Options) -> Logits:
    z, bend, rounding = x, np.ones_like(x), np.zeros_like(x)
    if options.logit_softcap:
        t = np.tanh(x / options.logit_softcap)
        z, bend = options.logit_softcap * t, 1 - t * t
    z, bend = z / options.temperature, bend / options.temperature
    if options.logit_softcap or options.temperature != 1:
        rounding = 3 * abs(z)
    largest = z.max(-1, keepdims=True)
    log_sum = np.log(total(np.exp(z - largest)))
    log = (z - largest) - log_sum
    reach = 1 + abs(log) + rounding + rounding.max(-1, keepdims=True)
    reach = np.where(np.isfinite(log), reach, 1)
    return Logits(log, np.exp(log), reach, largest + log_sum, bend)


def crossentropy_logits(y: Array, x: Logits) -> Truth:
    everything = total(abs(y))
    return Truth(
        -weighed(y, x.log).sum(-1),
        total(y) * x.p - y,
        (abs(y) * x.reach).sum(-1),
        everything * x.p * x.reach + abs(y),
    )


def focal(log: Array, p: Array, miss: Array, reach: Array, alpha: Any, gamma: Any) -> Truth:
    """The loss of each class, alpha (1 - p)^gamma (-log p), and its derivative by log p."""
    # 1 - p is rounded as 1 is.
    near = np.maximum(miss, UNIT[p.dtype] * reach)
    tilt = weighed(p, gamma * near ** (gamma - 1) * log) if gamma else 0 * p
    value, slope = -(miss**gamma * log), tilt - miss**gamma
    terms = abs(slope) + abs(tilt) + near**gamma + gamma * near ** (gamma - 1) * p
    twice = gamma * abs(gamma - 1) * near ** (gamma - 2) * weighed(p * p, abs(log))
    return Truth(
        alpha * value,
        alpha * slope,
        alpha * (abs(value) + terms * reach),
        alpha * (terms + twice) * reach,
    )


def focal_logits(y: Array, x: Logits, alpha: Any, gamma: Any) -> Truth:
    f = focal(x.log, x.p, -np.expm1(x.log), x.reach, alpha, gamma)
    along, terms = weighed(y, f.slope), weighed(abs(y), f.slope_terms)
    return Truth(
        weighed(y, f.value).sum(-1),
        along - x.p * total(along),
        weighed(abs(y), f.value_terms).sum(-1),
        terms + x.p * x.reach * total(abs(along)) + x.p * total(terms),
    )


def clipped(p: Array, epsilon: Any, high: Any) -> tuple[Array, Array]:
    # NaN is not outside.
    return np.clip(p, epsilon, high), (p < epsilon) | (p > high)


def crossentropy(y: Array, x: Array, epsilon: Any, high: Any) -> Truth:
    everything = total(x)
    p, outside = clipped(x / everything, epsilon, high)
    by_log = np.where(outside, 0, -y)
    by_share = by_log / p
    return Truth(
        -(y * np.log(p)).sum(-1),
        (by_share - total(by_log)) / everything,
        (abs(y) * (1 + abs(np.log(p)))).sum(-1),
        (abs(by_share) + total(abs(by_log))) / abs(everything),
    )


def focal_crossentropy(
    y: Array, x: Array, alpha: Any, gamma: Any, epsilon: Any, high: Any
) -> Truth:
    everything = total(x)
    p, outside = clipped(x / everything, epsilon, high)
    f = focal(np.log(p), p, 1 - p, np.ones_like(p), alpha, gamma)
    by_log = np.where(outside, 0, y * f.slope)
    terms = np.where(outside, 0, abs(y) * f.slope_terms)
    return Truth(
        (y * f.value).sum(-1),
        (by_log / p - total(by_log)) / everything,
        (abs(y) * f.value_terms).sum(-1),
        (terms / p + total(terms)) / abs(everything),
    )


def clipped_crossentropy(y: Array, x: Array, epsilon: Any, high: Any) -> Truth:
    q, outside = clipped(x, epsilon, high)
    everything = total(q)
    log = np.log(q / everything)
    own, all_of_them = y / q, total(y) / everything
    return Truth(
        -(y * log).sum(-1),
        np.where(outside, 0, all_of_them - own),
        (abs(y) * (1 + abs(log))).sum(-1),
        np.where(outside, 0, abs(all_of_them) + abs(own)),
    )


def generalized(y: Array, x: Array, q: Any) -> Truth:
    p = np.where(y == 0, 1, x)
    power, slope = p**q, p ** (q - 1)
    return Truth(
        (y * (1 - power) / q).sum(-1),
        -y * slope,
        (y * (1 + power) / q).sum(-1),
        y * slope,
    )


def generalized_logits(y: Array, x: Logits, q: Any) -> Truth:
    value, slope = -weighed(y, np.expm1(q * x.log)) / q, -weighed(y, np.exp(q * x.log))
    terms = abs(slope) * x.reach
    return Truth(
        value.sum(-1),
        slope - x.p * total(slope),
        (abs(value) + terms).sum(-1),
        terms + x.p * x.reach * total(abs(slope)) + x.p * total(terms),
    )


def hinge(y: Array, x: Array) -> Truth:
    rest = (1 - y) * x
    largest = rest.max(-1, keepdims=True)
    margin = largest - total(y * x) + 1
    chosen = rest == largest
    slope = np.where(margin < 0, 0, np.where(chosen, (1 - y) / total(chosen), 0) - y)
    terms = total(abs(y * x)) + abs(largest) + 1
    return Truth(np.maximum(margin, 0)[..., 0], slope, terms[..., 0], 1 + abs(y))


def cosine(y: Array, x: Array, epsilon: Any) -> Truth:
    length, label_length = (np.sqrt(total(v * v)) for v in (x, y))
    short = length <= epsilon
    inverse, label_inverse = (1 / np.maximum(v, epsilon) for v in (length, label_length))
    both = inverse * label_inverse
    value, terms = total(x * y) * both, total(abs(x * y)) * both
    turn = np.where(short, 0, inverse * inverse * x)
    return Truth(
        -value[..., 0], turn * value - y * both, terms[..., 0], abs(turn) * terms + abs(y) * both
    )


def kl(y: Logits, x: Logits) -> Truth:
    difference = np.where(y.p == 0, 0, y.log - x.log)
    terms = y.p * (y.reach + x.reach + y.reach * abs(difference))
    return Truth(
        (y.p * difference).sum(-1), x.p - y.p, terms.sum(-1), x.p * x.reach + y.p * y.reach
    )


def reverse_kl(y: Logits, x: Logits) -> Truth:
    difference = np.where(x.p == 0, 0, x.log - y.log)
    terms = x.p * (y.reach + x.reach + x.reach * abs(difference))
    value = total(x.p * difference)
    return Truth(
        value[..., 0],
        x.p * (difference - value),
        terms.sum(-1),
        terms + x.p * (x.reach * abs(value) + total(terms)),
    )


def jensen_shannon(y: Logits, x: Logits, beta: Any) -> Truth:
    rest = 1 - beta
    mixture = beta * y.p + rest * x.p
    log = np.log(np.where(mixture == 0, 1, mixture))
    y_difference = np.where(y.p == 0, 0, y.log - log)
    x_difference = np.where(x.p == 0, 0, x.log - log)
    y_value, x_value = total(y.p * y_difference), total(x.p * x_difference)
    blur = (beta * y.p * y.reach + rest * x.p * x.reach) / np.where(mixture == 0, 1, mixture) + 1
    blur = blur + abs(log)
    y_terms = y.p * (y.reach + blur + y.reach * abs(y_difference))
    x_terms = x.p * (x.reach + blur + x.reach * abs(x_difference))
    return Truth(
        (beta * y_value + rest * x_value)[..., 0],
        rest * x.p * (x_difference - x_value),
        (beta * y_terms + rest * x_terms).sum(-1),
        rest * (x_terms + x.p * (x.reach * abs(x_value) + total(x_terms))),
    )


OF_LOGITS: dict[str, Callable[..., Truth]] = {
    "categorical_crossentropy_from_logits": crossentropy_logits,
    "sparse_categorical_crossentropy_from_logits": crossentropy_logits,
    "categorical_focal_crossentropy_from_logits": focal_logits,
    "sparse_categorical_focal_crossentropy_from_logits": focal_logits,
    "categorical_generalized_cross_entropy_from_logits": generalized_logits,
}
BETWEEN_LOGITS: dict[str, Callable[..., Truth]] = {
    "kl_divergence_from_logits": kl,
    "reverse_kl_divergence_from_logits": reverse_kl,
    "jensen_shannon_divergence_from_logits": jensen_shannon,
}
OF_SHARES: dict[str, Callable[..., Truth]] = {
    "categorical_crossentropy": crossentropy,
    "sparse_categorical_crossentropy": clipped_crossentropy,
    "categorical_focal_crossentropy": focal_crossentropy,
    "sparse_categorical_focal_crossentropy": focal_crossentropy,
}
OF_VALUES: dict[str, Callable[..., Truth]] = {
    "categorical_generalized_cross_entropy": generalized,
    "categorical_hinge": hinge,
    "sparse_categorical_hinge": hinge,
    "cosine_similarity": cosine,
}


def truth(
    loss: str,
    y_true: Array,
    y_pred: Array,
    parameters: tuple[float, ...],
    options: Options,
    compute: type,
) -> Truth:
    """The right answer for these very rows, classes last, in the wide format that they are in.

    Parameters are those of the computing type.
    """
    wide = y_pred.dtype.type
    values = [wide(compute(value)) for value in parameters]
    with np.errstate(all="ignore"):
        if loss in BETWEEN_LOGITS:
            only = Options(temperature=options.temperature)
            x = softmax(y_pred, options)
            result = BETWEEN_LOGITS[loss](softmax(y_true, only), x, *values)
            return _through(result, x, options)
        smoothing = wide(options.label_smoothing)
        y = y_true * (1 - smoothing) + smoothing / y_true.shape[-1]
        if options.class_weight is not None:
            y = y * np.asarray(options.class_weight).astype(wide)
        if loss in OF_VALUES:
            return OF_VALUES[loss](y, y_pred, *values)
        if loss in OF_SHARES:
            high = wide(compute(1) - compute(parameters[-1]))
            return OF_SHARES[loss](y, y_pred, *values, high)
        x = softmax(y_pred, options)
        return _through(OF_LOGITS[loss](y, x, *values), x, options)


def _through(result: Truth, x: Logits, options: Options) -> Truth:
    """The z-loss added, and the derivative by the logits as they came."""
    value, slope, value_terms, slope_terms = result
    if options.z_loss:
        size = abs(x.log_sum_exp)
        blur = 1 + 4 * size + x.reach.max(-1, keepdims=True)
        value = value + options.z_loss * x.log_sum_exp[..., 0] ** 2
        slope = slope + 2 * options.z_loss * x.log_sum_exp * x.p
        value_terms = value_terms + options.z_loss * (size * blur * 2)[..., 0]
        slope_terms = slope_terms + 2 * options.z_loss * x.p * (size * x.reach + blur)
    # 1 - tanh^2 is rounded as 1 is.
    flat = 3 / options.temperature if options.logit_softcap else 0
    return Truth(value, slope * x.bend, value_terms, slope_terms * x.bend + abs(slope) * flat)


OF_PROBABILITIES = frozenset({*OF_SHARES, "categorical_generalized_cross_entropy"})
assert {*OF_LOGITS, *BETWEEN_LOGITS, *OF_SHARES, *OF_VALUES} == set(c_api.rowwise_losses())


def computing(dtype: str) -> type:
    return np.float64 if dtype == "float64" else np.float32


def data(
    loss: str,
    shape: tuple[int, ...],
    dtype: str = "float32",
    label_dtype: str | None = None,
    labels: str = "one-hot",
    seed: int = 0,
) -> tuple[Array, Array]:
    """Labels and predictions of shape (rows, classes) or (outer, classes, inner).

    `labels` are "one-hot" or "soft", which do not sum to one, where they are rows; some logits are
    far from the others.
    """
    random = np.random.default_rng(seed)
    classes = shape[1]
    rows = (shape[0], *shape[2:])

    def logits() -> Array:
        x = random.normal(0, 3, shape)
        return x + np.where(random.random(shape) < 0.03, random.uniform(-110, 20, shape), 0)

    y_pred = logits()
    if loss in OF_PROBABILITIES:
        y_pred = random.uniform(0.05, 1, shape)
        y_pred /= y_pred.sum(1, keepdims=True)
    label = random.integers(0, classes, rows)
    if kernels.is_sparse(loss):
        y_true, label_dtype = label, label_dtype or "int32"
    elif loss in BETWEEN_LOGITS:
        y_true = logits()
    elif loss == "cosine_similarity":
        y_true = random.normal(0, 2, shape)
    elif labels == "soft":
        y_true = random.uniform(0, 1, shape)
    else:
        y_true = np.expand_dims(label, 1) == np.arange(classes).reshape(-1, *[1] * (len(shape) - 2))
    return y_true.astype(numpy_dtype(label_dtype or dtype)), y_pred.astype(numpy_dtype(dtype))


def rows_of(x: Array) -> Array:
    """(outer, classes, inner) as (rows, classes), in float64."""
    # By NumPy: TensorFlow's casts flush subnormal numbers.
    return np.moveaxis(x.astype(np.float64), 1, -1).reshape(-1, x.shape[1])


def label_rows(loss: str, y_true: Array, y_pred: Array) -> Array:
    if not kernels.is_sparse(loss):
        return rows_of(y_true)
    return y_true.astype(np.int64).reshape(-1, 1) == np.arange(y_pred.shape[1])


def units(actual: Array, expected: Array, terms: Array, compute: type, stored: str) -> Array:
    """Errors in units; a stored half type is rounded once more, and the smallest shares are 0."""
    half = stored in ("bfloat16", "float16")
    largest = float(tf.as_dtype(stored).max)
    eps = 2.0 ** {"bfloat16": -7, "float16": -10}[stored] if half else 0.0
    smallest = 2.0 ** {"bfloat16": -133, "float16": -24}[stored] if half else 0.0
    info = np.finfo(compute)
    with np.errstate(all="ignore"):
        error = abs(actual - expected) - 0.501 * np.maximum(eps * abs(expected), smallest)
        result = np.maximum(error, 0) / (info.eps * terms + 128 * info.tiny)
        right = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        overflow = (actual == np.copysign(np.inf, expected)) & (abs(expected) > largest * (1 - eps))
    result = np.where(right | overflow, 0, result)
    return np.where(np.isnan(result), np.inf, result).astype(np.float64)


def worst_units(
    loss: str, y_true: Array, y_pred: Array, options: Options | None = None, **arguments: Any
) -> tuple[float, float]:
    """The largest error of the kernel's loss and gradient by rows, in units."""
    options = options or Options()
    dtype = tf.as_dtype(y_pred.dtype).name
    compute = computing(dtype)
    parameters = arguments.setdefault("parameters", kernels.parameters_of(loss))
    actual = kernels.rowwise(loss, y_true, y_pred, kernels.NONE, **vars(options), **arguments)
    wide = WIDER[compute]
    expected = truth(
        loss,
        label_rows(loss, y_true, y_pred).astype(wide),
        rows_of(y_pred).astype(wide),
        parameters,
        options,
        compute,
    )
    value = units(actual.loss, expected.value, expected.value_terms, compute, compute.__name__)
    slope = units(rows_of(actual.gradient), expected.slope, expected.slope_terms, compute, dtype)
    return value.max(), slope.max()
