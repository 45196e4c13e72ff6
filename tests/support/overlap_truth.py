"""The overlap losses in the widest floats of NumPy, from their definitions.

Slopes of the losses are those of complex steps: exact to rounding, and independent of any
derivative written by hand.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
WIDE, COMPLEX = np.longdouble, np.clongdouble
STEP = WIDE(1e-30)


class Arguments(NamedTuple):
    """What a call of the kernel is about; as the arguments of `kernels.overlap`."""

    loss: str
    parameters: tuple[float, ...]
    activation: str = "none"
    per_outer: bool = False
    per_class: bool = False
    sparse: bool = False
    squared: bool = False
    include_background: bool = True
    ignore_class: int | None = None
    class_weight: Array | None = None


def _score(loss: str, parameters: tuple[float, ...], sums: tuple[Any, Any, Any, Any]) -> Any:
    """One loss from the sums of one group, and how many positions it has."""
    both, predicted, expected, count = sums
    if loss == "matthews":
        smooth_numerator, smooth_denominator = parameters
        variances = predicted * (count - predicted) * expected * (count - expected)
        covariance = count * both - predicted * expected
        root = np.sqrt(variances) if variances.real > 0 else 0.0 * variances
        return 1 - (covariance + smooth_numerator) / (root + smooth_denominator)
    if loss in ("dice", "log_cosh_dice"):
        smooth_numerator, smooth_denominator = parameters
        dice = 1 - (2 * both + smooth_numerator) / (predicted + expected + smooth_denominator)
        return dice if loss == "dice" else np.log1p(2 * np.sinh(dice / 2) ** 2)
    if loss == "jaccard":
        smooth_numerator, smooth_denominator = parameters
        union = predicted + expected - both
        return 1 - (both + smooth_numerator) / (union + smooth_denominator)
    alpha, beta, *rest = parameters
    gamma = rest.pop(0) if loss == "focal_tversky" else 1.0
    smooth_numerator, smooth_denominator = rest
    misses, wrong = expected - both, predicted - both
    index = (both + smooth_numerator) / (both + alpha * misses + beta * wrong + smooth_denominator)
    # Smoothing may lift the index above 1.
    return (1 - index) ** gamma if loss == "tversky" or index.real < 1 else 0.0 * index


def _generalized(parameters: tuple[float, ...], sums: list[Any], weights: Array) -> Any:
    power, smooth_numerator, smooth_denominator = parameters
    present = [expected.real**-power for _, _, expected, _ in sums if expected.real > 0]
    rarest = max(present, default=1.0)
    each = [
        (expected.real**-power if expected.real > 0 else rarest) * weight
        for (_, _, expected, _), weight in zip(sums, weights, strict=True)
    ]
    both = sum(w * s[0] for w, s in zip(each, sums, strict=True))
    total = sum(w * (s[1] + s[2]) for w, s in zip(each, sums, strict=True))
    return 1 - (2 * both + smooth_numerator) / (total + smooth_denominator)


def shares(activation: str, y_pred: Array) -> Array:
    """Of predictions (outer, above, classes, inner), real or complex."""
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-y_pred))
    if activation == "softmax":
        exps = np.exp(y_pred - y_pred.real.max(axis=2, keepdims=True))
        return exps / exps.sum(axis=2, keepdims=True)
    return y_pred


def rows_of(arguments: Arguments, y_true: Array, classes: int) -> tuple[Array, Array]:
    """Labels as rows (outer, above, classes, inner), and which positions count."""
    if arguments.sparse:
        labels = y_true.astype(np.int64)
        counts = np.ones(labels.shape, bool)
        if arguments.ignore_class is not None:
            counts = labels != arguments.ignore_class
        rows = (labels[:, :, None] == np.arange(classes)[:, None]).astype(WIDE)
    else:
        rows = y_true.astype(WIDE)
        counts = np.ones((rows.shape[0], rows.shape[1], rows.shape[3]), bool)
        if arguments.ignore_class is not None:
            others = [c for c in range(classes) if c != arguments.ignore_class]
            counts = (rows[:, :, others] != 0).any(axis=2)
    return rows * counts[:, :, None], counts


def tables_of(arguments: Arguments, y_true: Array, p: Array) -> Array:
    """The three sums of each image and class, and its positions, (4, images, classes)."""
    labels, counts = rows_of(arguments, y_true, p.shape[2])
    p = p * counts[:, :, None]
    power = 2 if arguments.squared else 1
    positions = counts[:, :, None] + 0 * p
    summed = (labels * p, p**power, labels**power + 0 * p, positions)
    tables = np.array([x.sum(axis=(1, 3)) for x in summed])
    return tables if arguments.per_outer else tables.sum(axis=1, keepdims=True)


def score(arguments: Arguments, tables: Array) -> Array:
    """One loss per group, of the kernel's shape, from the sums."""
    _, images, classes = tables.shape
    first = 0 if arguments.include_background else 1
    weights = np.ones(classes, WIDE) if arguments.class_weight is None else arguments.class_weight
    values = []
    for image in range(images):
        sums = [tuple(tables[:, image, c]) for c in range(first, classes)]
        if arguments.loss == "generalized_dice":
            values.append([_generalized(arguments.parameters, sums, weights[first:])])
        elif arguments.per_class:
            values.append(
                [
                    weight * _score(arguments.loss, arguments.parameters, s)
                    for s, weight in zip(sums, weights[first:], strict=True)
                ]
            )
        else:
            whole = tuple(sum(s[i] for s in sums) + 0.0 for i in range(4))
            values.append([_score(arguments.loss, arguments.parameters, whole)])
    table = np.array(values).reshape(images, -1)
    if not arguments.per_class:
        table = table[:, 0]
    return table if arguments.per_outer else table[0]


def groups(arguments: Arguments, y_true: Array, y_pred: Array) -> Array:
    """One loss per group; y_pred may be complex."""
    return score(arguments, tables_of(arguments, y_true, shares(arguments.activation, y_pred)))


def stepwise_gradient(arguments: Arguments, y_true: Array, y_pred: Array, upstream: Array) -> Array:
    """Of sum(groups * upstream) by y_pred, by a complex step for each element."""
    slopes = np.empty(y_pred.shape, WIDE)
    for index in np.ndindex(*y_pred.shape):
        moved = y_pred.astype(COMPLEX)
        moved[index] += STEP * 1j
        slopes[index] = (groups(arguments, y_true, moved) * upstream).sum().imag / STEP
    return slopes


class Truth(NamedTuple):
    """What is expected, and the sums of absolute terms that errors are measured by."""

    loss: Array
    loss_scale: Array
    gradient: Array
    gradient_scale: Array


def truth(arguments: Arguments, y_true: Array, y_pred: Array, upstream: Array) -> Truth:
    """Loss and gradient; only the slopes by the sums are taken by complex steps."""
    y_pred = y_pred.astype(WIDE)
    p = shares(arguments.activation, y_pred)
    labels, counts = rows_of(arguments, y_true, p.shape[2])
    counts = counts[:, :, None]
    tables = tables_of(arguments, y_true, p)
    loss = score(arguments, tables)
    loss_scale = np.abs(loss)
    by_sum = np.empty(tables.shape, WIDE)
    for index in np.ndindex(*tables.shape):
        moved = tables.astype(COMPLEX)
        moved[index] += STEP * 1j
        slope = score(arguments, moved).imag / STEP
        loss_scale = loss_scale + np.abs(slope * tables[index])
        by_sum[index] = (slope * upstream).sum()
    both, predicted = by_sum[0][:, None, :, None], by_sum[1][:, None, :, None]
    inner = 2 * p if arguments.squared else np.ones_like(p)
    slope = (both * labels + predicted * inner) * counts
    scale = (np.abs(both) * labels + np.abs(predicted * inner)) * counts
    if arguments.activation == "sigmoid":
        slope, scale = slope * p * (1 - p), scale * p
    elif arguments.activation == "softmax":
        slope, scale = (
            p * (slope - (p * slope).sum(axis=2, keepdims=True)) * counts,
            p * (scale + (p * scale).sum(axis=2, keepdims=True)) * counts,
        )
    return Truth(loss, loss_scale, slope, scale)
