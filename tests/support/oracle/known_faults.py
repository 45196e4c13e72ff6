"""What the backends are known to get wrong, in the words of the issues: one list for every lattice.

A fault that no longer shows fails its lattice: whoever mends one takes its line away.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from oracle.lattice import Fault
from oracle.point import Array

KERNELS = ("kernel", "graph")
TENSORFLOW = ("reference", "jit")
ALL = (*KERNELS, *TENSORFLOW)
VALUE, SLOPE, CURVATURE = ("value",), ("slope",), ("curvature",)


# Where faults show: masks of labels and predictions.


def zero(t: Array, x: Array, _: Any) -> Array:
    return abs(x) < 1.2e-38


def infinite(t: Array, x: Array, _: Any) -> Array:
    return np.isinf(x)


def is_nan(t: Array, p: Array, _: Any) -> Array:
    return np.isnan(p)


def certain(t: Array, x: Array, _: Any) -> Array:
    """Logits on the side of their hard label."""
    return ((t == 0) & (x < 0)) | ((t == 1) & (x > 0))


def largest(t: Array, x: Array, _: Any) -> Array:
    return abs(x) > 1e30


def close(t: Array, p: Array, _: Any) -> Array:
    return abs(p - np.maximum(t, 0)) < 0.02 * (1 + abs(t))


def equal_label(t: Array, p: Array, _: Any) -> Array:
    """Probabilities that are their label but for the clip."""
    return abs(t - p) < 1.3e-7


def outside(t: Array, p: Array, _: Any) -> Array:
    return (p < 0) | (p > 1)


def rows(mask: Array) -> Array:
    """Rows of which a class is so."""
    return mask.any(axis=-1, keepdims=True)


def nan_row(y: Array, x: Array, _: Any) -> Array:
    return rows(np.isnan(x))


def no_softmax(y: Array, x: Array, _: Any) -> Array:
    none = np.isneginf(x).all(axis=-1, keepdims=True)
    return rows(np.isnan(x) | np.isposinf(x)) | none


def huge(y: Array, x: Array, _: Any) -> Array:
    """Rows whose squares overflow, or whose differences do."""
    return rows(abs(x) > 1e19) | (rows(abs(y) > 1e19) if y.shape == x.shape else False)


def infinite_row(y: Array, x: Array, _: Any) -> Array:
    return rows(np.isinf(x))


def areas_overflow(t: Array, p: Array, _: Any) -> Array:
    return rows((abs(p) > 1e18) | (abs(t) > 1e18))


_CLIPPED = ("binary_crossentropy", "hinge", "squared_hinge", "kl_divergence", "pinball")
_LOGITS = "binary_*crossentropy_from_logits"
_BCE_LOGITS = "binary_crossentropy_from_logits"
_FOCAL, _FOCAL_LOGITS = "binary_focal_crossentropy", "binary_focal_crossentropy_from_logits"
_CE = ("categorical_crossentropy_from_logits", "sparse_categorical_crossentropy_from_logits")
_DENSE = ("categorical_crossentropy_from_logits", "categorical_focal_crossentropy_from_logits")
_NORMALIZED = (
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "sparse_categorical_focal_crossentropy",
)
_HINGES = ("categorical_hinge", "sparse_categorical_hinge")

ELEMENTWISE = (
    Fault(
        "issue 16, 1.1: a logit of 0 has the slope of one side",
        (_LOGITS,),
        TENSORFLOW,
        SLOPE,
        zero,
    ),
    Fault("issue 16, 1.1: a logit of 0 has no second derivative", (_LOGITS,), ALL, CURVATURE, zero),
    Fault(
        "1.1: (1 - y) x + softplus(-x) cancels: a right answer on the negative side has loss 0",
        (_LOGITS,),
        TENSORFLOW,
        VALUE,
        lambda t, x, _: (x < 0) & (x > -1e30) & (t == 0),
    ),
    Fault(
        "the same, in the focal factor's part of the slope",
        (_FOCAL_LOGITS,),
        TENSORFLOW,
        SLOPE,
        lambda t, x, _: (x < 0) & (x > -1e30) & (t == 0),
        ("bfloat16", "float32", "float64"),
    ),
    Fault(
        "a logit of infinity on the right side: 0 times infinity", (_LOGITS,), ALL, VALUE, infinite
    ),
    Fault(
        "a logit of infinity: 0 times infinity in the focal factor's slope",
        (_FOCAL_LOGITS,),
        ALL,
        SLOPE,
        infinite,
    ),
    Fault(
        "pos_weight: (1 - y) x and its part overflow before they cancel",
        (_BCE_LOGITS,),
        TENSORFLOW,
        VALUE,
        largest,
        ("bfloat16", "float32", "float64"),
    ),
    Fault(
        "issue 16, 1.2: certain right answers of gamma below 1",
        (_FOCAL_LOGITS,),
        ALL,
        SLOPE,
        lambda t, x, parameters: certain(t, x, parameters) & (parameters["gamma"] < 1),
    ),
    Fault(
        "1.2: the second derivative of certain right answers",
        (_FOCAL_LOGITS,),
        ALL,
        CURVATURE,
        certain,
    ),
    Fault(
        "the largest logits: their loss times gamma overflows, times a slope of 0",
        (_FOCAL_LOGITS,),
        TENSORFLOW,
        SLOPE,
        largest,
    ),
    Fault(
        "the largest logits, in the second derivative", (_FOCAL_LOGITS,), ALL, CURVATURE, largest
    ),
    Fault(
        "issue 16, 1.2: probabilities that equal their label, gamma below 1",
        (_FOCAL,),
        ALL,
        SLOPE,
        lambda t, p, parameters: equal_label(t, p, parameters) & (parameters["gamma"] < 1),
    ),
    Fault(
        "issue 16, 1.2: probabilities just outside of [0, 1]",
        (_FOCAL,),
        ALL,
        (*VALUE, *SLOPE),
        outside,
    ),
    Fault(
        "the second derivative of gamma 0 and 1 where a probability equals its label",
        (_FOCAL,),
        ALL,
        CURVATURE,
        lambda t, p, parameters: equal_label(t, p, parameters) & (parameters["gamma"] <= 1),
    ),
    Fault(
        "issue 16, 1.4: delta of infinity",
        ("huber",),
        TENSORFLOW,
        SLOPE,
        lambda t, p, parameters: np.isinf(parameters["delta"]) & np.isfinite(p + t),
    ),
    Fault(
        "the branch not taken overflows: infinity times 0",
        ("huber",),
        TENSORFLOW,
        SLOPE,
        lambda t, p, _: (abs(p) > 1e30) | np.isinf(p),
    ),
    Fault(
        "issue 16, 1.5: errors below 1, where numbers near log(2) cancel",
        ("log_cosh",),
        TENSORFLOW,
        (*VALUE, *SLOPE),
        lambda t, p, _: abs(p - t) < 1,
    ),
    Fault(
        "error + softplus(-2 error): infinity less infinity for large negative errors",
        ("log_cosh",),
        TENSORFLOW,
        VALUE,
        lambda t, p, _: abs(p - t) > 1e30,
    ),
    Fault(
        "a slope where y_pred is NaN hides it",
        (*_CLIPPED, "mean_squared_logarithmic_error"),
        TENSORFLOW,
        SLOPE,
        is_nan,
    ),
    Fault(
        "a difference of two logarithms loses what is close",
        ("mean_squared_logarithmic_error",),
        TENSORFLOW,
        (*VALUE, *SLOPE),
        close,
    ),
    Fault(
        "the slope at infinity: infinity over infinity",
        ("mean_squared_logarithmic_error",),
        ALL,
        SLOPE,
        infinite,
    ),
    Fault(
        "the slope at the largest numbers underflows",
        ("mean_squared_logarithmic_error",),
        TENSORFLOW,
        SLOPE,
        largest,
        ("float64",),
    ),
    Fault(
        "the error overflows where its share of the label does not",
        ("mean_absolute_percentage_error",),
        ALL,
        VALUE,
        largest,
    ),
    Fault("a rate of infinity: infinity less infinity", ("poisson",), ALL, VALUE, infinite),
    Fault(
        "a label of 0 where the rate and epsilon cancel: 0 times the logarithm of 0",
        ("poisson",),
        ALL,
        (*VALUE, *SLOPE),
        lambda t, p, _: (t == 0) & (p < 0) & (abs(p + 1e-7) < 1e-14),
    ),
)


ROWWISE = (
    Fault(
        "issue 17, 5: a weight of 0 times what is no number: loss 0 (its gradient is NaN)",
        _DENSE,
        KERNELS,
        VALUE,
        no_softmax,
    ),
    Fault(
        "a class weight of 0 times an infinite loss",
        ("sparse_categorical_crossentropy_from_logits",),
        ALL,
        VALUE,
        lambda y, x, _: np.isneginf(x[:, :1]) & (y[:, np.newaxis] == 0),
    ),
    Fault(
        "the largest logits: over a temperature below 1, or twice their log-sum-exp, overflow",
        _CE,
        ALL,
        (*VALUE, *SLOPE),
        huge,
    ),
    Fault(
        "a label of 2 times the largest logit overflows before alpha makes it smaller",
        ("categorical_focal_crossentropy_from_logits",),
        TENSORFLOW,
        VALUE,
        lambda y, x, _: rows(y == 2) & rows(x < -1e30),
    ),
    Fault(
        "probabilities of 1e-30: XLA's slope of a quotient divides by the square of the sum",
        _NORMALIZED,
        ("jit",),
        SLOPE,
        lambda y, x, _: rows((x > 0) & (x < 1e-20)),
        ("bfloat16", "float32"),
    ),
    Fault(
        "a slope where y_pred is NaN hides it",
        ("sparse_categorical_crossentropy",),
        TENSORFLOW,
        SLOPE,
        nan_row,
    ),
    Fault(
        "issue 16, 1.6: a score of -infinity beside the label, and of infinity",
        _HINGES,
        ALL,
        (*VALUE, *SLOPE),
        infinite_row,
    ),
    Fault("a slope where y_pred is NaN hides it", _HINGES, ("jit",), SLOPE, nan_row),
    Fault(
        "issue 16, 1.6: components whose squares overflow",
        ("cosine_similarity",),
        ALL,
        (*VALUE, *SLOPE),
        huge,
    ),
)


BOXES = (
    Fault("issue 17, 5: areas that overflow", ("*box_iou",), ALL, (*VALUE, *SLOPE), areas_overflow),
    Fault("a slope where y_pred is NaN hides it", ("box_iou",), TENSORFLOW, SLOPE, nan_row),
    Fault(
        "a slope where y_pred is NaN hides it", ("generalized_box_iou",), ("jit",), SLOPE, nan_row
    ),
)

OVERLAP: tuple[Fault, ...] = ()
