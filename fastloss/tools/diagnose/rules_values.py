"""Findings about a loss that is not finite where all that comes in is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastloss.tools.diagnose.batch import Array, is_finite, listed, samples_of, span
from fastloss.tools.diagnose.case import Case
from fastloss.tools.diagnose.evaluation import evaluate_in_float64
from fastloss.tools.diagnose.finding import Finding, Severity

_HALF = ("float16", "bfloat16")


def find(case: Case) -> Iterator[Finding]:
    """Why value or gradient is not finite."""
    result, batch = case.result, case.batch
    if result.is_finite or not _inputs_are_finite(case):
        return
    seen = _seen(case)
    wide = evaluate_in_float64(case.loss, batch)
    if not wide.error and wide.is_finite:
        yield _overflow(case, seen)
        return
    is_of_gradient = result.value is not None and bool(is_finite(result.value).all())
    yield _undefined(case, seen, is_of_gradient)


def _inputs_are_finite(case: Case) -> bool:
    given = (case.batch.true, case.batch.pred, case.batch.weight)
    return all(x is None or bool(is_finite(x).all()) for x in given)


def _seen(case: Case) -> str:
    """What is not finite, and what the inputs are there."""
    result, batch = case.result, case.batch
    if result.value is not None and not is_finite(result.value).all():
        what = f"The loss is {_first(result.value)}"
    elif result.rows is not None and not is_finite(result.rows).all():
        what = f"The loss of a row is {_first(result.rows)}"
    else:
        what = "The loss is finite, but its gradient is NaN or infinite"
    if not len(case.bad):
        return f"{what}; y_true is {span(batch.true)}, y_pred {span(batch.pred)}."
    true, pred = _of_samples(batch.true, case), _of_samples(batch.pred, case)
    return f"{what}, from {listed(case.bad)}; y_true is {span(true)} and y_pred {span(pred)} there."


def _first(x: Array) -> str:
    return f"{x[~is_finite(x)].flat[0]:g}"


def _of_samples(x: Array, case: Case) -> Array:
    return x[case.bad] if x.ndim and len(x) == case.batch.size else x


def _overflow(case: Case, seen: str) -> Finding:
    batch = case.batch
    if batch.pred_dtype in _HALF or case.loss.dtype in _HALF:
        dtype = case.loss.dtype if case.loss.dtype in _HALF else batch.pred_dtype
        return Finding(
            "half_precision_overflow",
            Severity.ERROR,
            f"{seen} Computed in float64 it is finite; y_pred is {batch.pred_dtype}, the loss "
            f"{case.loss.dtype}.",
            f"A result on the way exceeds the largest number of {dtype}"
            + (", 65504: a square or an exponential does so early." if dtype == "float16" else "."),
            "Compute the loss in float32: dtype='float32' for the loss and for the model's last "
            "layer; or use 'mixed_bfloat16'.",
        )
    return Finding(
        "overflow",
        Severity.ERROR,
        f"{seen} Computed in float64 it is finite.",
        "A result on the way exceeds the largest number of float32, 3.4e38: predictions or labels "
        "are so large, as of training that diverges or of labels that are not normalised.",
        "Normalise the labels, lower the learning rate, set clipnorm in the optimizer.",
    )


def _undefined(case: Case, seen: str, is_of_gradient: bool) -> Finding:
    # A gradient that fails alone is that of a root or a norm before all else.
    explanations = sorted(
        _EXPLANATIONS, key=lambda one: is_of_gradient and one[1] != "division_by_zero"
    )
    for is_special, name, cause, cure in explanations:
        if _explains(is_special(case), case):
            return Finding(name, Severity.ERROR, seen, cause, cure)
    if is_of_gradient:
        return Finding(
            "undefined_gradient",
            Severity.ERROR,
            seen,
            "The loss has no derivative there: a square root or a norm at 0, or a tf.where whose "
            "branch that is not taken is NaN.",
            "Add a small number inside of the root; inside of tf.where, put a harmless number in "
            "place of the argument first.",
        )
    return Finding(
        "undefined_loss",
        Severity.ERROR,
        seen,
        "The loss is not defined there: a logarithm or root of a negative number, or a division by "
        "zero.",
        "Bound what the loss divides by, or takes the logarithm of; tf.debugging.enable_check_"
        "numerics() names the operation.",
    )


def _explains(special: Array | None, case: Case) -> bool:
    """Whether something holds for all samples that are bad, and for no other."""
    if special is None or not len(case.bad) or len(special) != case.batch.size:
        return False
    return np.array_equal(samples_of(special), case.bad)


def _equal(case: Case) -> Array | None:
    true, pred = case.batch.true, case.batch.pred
    if true.shape != pred.shape and true.size == pred.size:
        true = true.reshape(pred.shape)
    return np.equal(true, pred) if true.shape == pred.shape else None


_BOUND = (
    "Take the logarithm of what is bounded below, tf.math.log(tf.maximum(p, 1e-7)); for "
    "probabilities compute from logits: BinaryCrossentropy(from_logits=True), tf.nn.log_softmax."
)

# What holds where the loss is not finite and nowhere else; its name, and what it says.
_EXPLANATIONS = (
    (
        lambda case: case.batch.pred == 0,
        "log_of_zero",
        "A prediction is exactly 0 in each of these samples and in no other: the loss takes its "
        "logarithm, or divides by it.",
        _BOUND,
    ),
    (
        lambda case: case.batch.pred == 1,
        "log_of_zero",
        "A prediction is exactly 1 in each of these samples and in no other: the loss takes the "
        "logarithm of 1 less it, or divides by that.",
        _BOUND,
    ),
    (
        lambda case: (case.batch.pred == 0) | (case.batch.pred == 1),
        "log_of_zero",
        "A prediction is exactly 0 or 1 in each of these samples and in no other: the loss takes "
        "the logarithm of it and of 1 less it, or divides by them.",
        _BOUND,
    ),
    (
        lambda case: case.batch.pred < 0,
        "log_of_negative",
        "A prediction is negative in each of these samples and in no other: the loss takes a "
        "logarithm, a root or a power of it.",
        "End the model with an activation that gives positive numbers, such as softplus; or give "
        "the loss logits, if it can take them.",
    ),
    (
        lambda case: _equal(case),
        "division_by_zero",
        "A prediction equals its label in each of these samples and in no other: the loss divides "
        "by their difference, or takes its root, whose derivative at 0 is infinite.",
        "Add a small number to what is divided by, or inside of the root.",
    ),
    (
        lambda case: case.batch.true == 0,
        "zero_labels",
        "A label is 0 in each of these samples and in no other: the loss divides by it or takes "
        "its logarithm.",
        "Bound the label below: tf.maximum(y_true, 1e-7); or leave these samples out.",
    ),
)
