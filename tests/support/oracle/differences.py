"""Where the oracle differs from Keras, by rows of docs/differences.md.

`DOCUMENTED` names the rows by words that stand in them; `NOT_YET` are words for rows to come: as
soon as they stand there the line moves.
"""

from __future__ import annotations

import numpy as np

from oracle.known_faults import (
    SLOPE,
    VALUE,
    certain,
    close,
    equal_label,
    huge,
    infinite,
    is_nan,
    largest,
    nan_row,
    outside,
    rows,
)
from oracle.lattice import Fault

KERAS = ("keras",)
BOTH = (*VALUE, *SLOPE)

DOCUMENTED = (
    Fault("`LogCosh` in float64", ("log_cosh",), KERAS, VALUE),
    Fault("`LogCosh`, error 1e-4", ("log_cosh",), KERAS, SLOPE),
    Fault(
        "two values of `log(1 + x)` that differ by 1.7e-4",
        ("mean_squared_logarithmic_error",),
        KERAS,
        BOTH,
        close,
    ),
    Fault(
        "NaN in y_pred where a clip or a maximum follows",
        (
            *("hinge", "squared_hinge", "binary_crossentropy", "kl_divergence"),
            "mean_squared_logarithmic_error",
        ),
        KERAS,
        SLOPE,
        is_nan,
    ),
    Fault(
        "labels of `CategoricalCrossentropy(from_logits=True)` that do not sum to 1",
        ("categorical_crossentropy_from_logits",),
        KERAS,
        SLOPE,
        lambda y, x, _: abs(y.sum(-1) - 1) > 1e-3,
    ),
    Fault(
        "logit of -infinity (a masked class) with a one-hot label",
        ("categorical_crossentropy_from_logits",),
        KERAS,
        VALUE,
        lambda y, x, _: rows(np.isneginf(x)),
    ),
    Fault(
        "the logit of the label 20 below the largest",
        ("categorical_focal_crossentropy_from_logits",),
        KERAS,
        BOTH,
    ),
    Fault(
        "the same, NaN in the probability of another class",
        ("categorical_generalized_cross_entropy",),
        KERAS,
        BOTH,
        nan_row,
    ),
    Fault(
        "the same, probability 0 of the label",
        ("categorical_generalized_cross_entropy",),
        KERAS,
        SLOPE,
        lambda y, x, _: rows(x == 0),
    ),
)

NOT_YET = (
    Fault(
        "`BinaryFocalCrossentropy` at a probability that equals its label: NaN for gamma below 1 "
        "and for gamma 0",
        ("binary_focal_crossentropy",),
        KERAS,
        SLOPE,
        equal_label,
    ),
    Fault(
        "`BinaryFocalCrossentropy` at a probability that is 1 ulp above 1: NaN",
        ("binary_focal_crossentropy",),
        KERAS,
        VALUE,
        outside,
    ),
    Fault(
        "`BinaryFocalCrossentropy(from_logits=True)`, certain right answers: NaN or inexact",
        ("binary_focal_crossentropy_from_logits",),
        KERAS,
        BOTH,
        certain,
    ),
    Fault(
        "`BinaryFocalCrossentropy(from_logits=True)`, the largest logits and infinity: NaN",
        ("binary_focal_crossentropy_from_logits",),
        KERAS,
        BOTH,
        largest,
    ),
    Fault(
        "logit of infinity, `BinaryCrossentropy(from_logits=True)`: NaN",
        ("binary_crossentropy_from_logits",),
        KERAS,
        VALUE,
        infinite,
    ),
    Fault(
        "`MeanSquaredLogarithmicError` in float64 of y_pred equal to epsilon: Keras's is a float32",
        ("mean_squared_logarithmic_error",),
        KERAS,
        SLOPE,
        lambda t, p, _: abs(p - 1e-7) < 1e-14,
    ),
    Fault(
        "`CosineSimilarity` of a vector exactly epsilon long: the gradient of a longer one",
        ("cosine_similarity",),
        KERAS,
        SLOPE,
        lambda y, x, _: rows(abs(x) == np.float64(1e-7)),
    ),
    Fault("`Huber(delta=inf)`: gradient NaN", ("huber",), KERAS, SLOPE),
    Fault(
        "`MeanSquaredLogarithmicError` of infinity and of the largest numbers: gradient NaN or 0",
        ("mean_squared_logarithmic_error",),
        KERAS,
        SLOPE,
        largest,
    ),
    Fault(
        "`MeanAbsolutePercentageError` of the largest numbers: infinite",
        ("mean_absolute_percentage_error",),
        KERAS,
        VALUE,
        largest,
    ),
    Fault(
        "`Poisson` of an infinite rate, and of rate and label 0: NaN",
        ("poisson",),
        KERAS,
        VALUE,
        lambda t, p, _: np.isinf(p) | (t == 0),
    ),
    Fault("`Poisson` of rate and label 0: NaN", ("poisson",), KERAS, SLOPE, lambda t, p, _: t == 0),
    Fault(
        "NaN in y_pred, `SparseCategoricalCrossentropy` of probabilities: gradient 0",
        ("sparse_categorical_crossentropy",),
        KERAS,
        SLOPE,
        nan_row,
    ),
    Fault(
        "`CategoricalHinge` of infinite scores: NaN",
        ("categorical_hinge",),
        KERAS,
        BOTH,
        lambda y, x, _: rows(np.isinf(x)),
    ),
    Fault(
        "`CosineSimilarity` of components whose squares overflow: 0 or NaN",
        ("cosine_similarity",),
        KERAS,
        BOTH,
        huge,
    ),
)
