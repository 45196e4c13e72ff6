"""Findings about the gradient: missing, zero, or not that of the loss."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from fastloss.testing import Comparison, check_gradients
from fastloss.tools.diagnose.batch import Batch
from fastloss.tools.diagnose.evaluation import Evaluation, evaluate
from fastloss.tools.diagnose.finding import Finding, Severity
from fastloss.tools.diagnose.parts import FunctionLoss

_SAMPLES = 4
_ENTRIES = 1 << 16
_COMPARED = 12


def find(loss: Any, batch: Batch, result: Evaluation) -> tuple[str, list[Finding]]:
    """A fact about the gradient, and what is wrong with it."""
    if result.value is None:
        return "gradient: none, the loss fails", []
    gradient = result.gradient
    if gradient is None:
        return "gradient: none", [_missing(loss)]
    finite = gradient[np.isfinite(gradient)]
    largest = float(np.abs(finite).max(initial=0))
    fact = f"gradient by y_pred: norm {np.linalg.norm(finite):.4g}, largest entry {largest:.4g}"
    if not result.is_finite:
        return f"{fact}, where it is finite; not compared", []
    if not largest and np.any(result.value):
        return fact, [_zero(result)]
    few = _few(batch)
    if _rounds(loss, few):
        return f"{fact}; not compared, as the function computes in float32 always", []
    if evaluate(loss, few).error:
        return f"{fact}; not compared, as the loss fails on a part of the batch", []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y_pred = tf.convert_to_tensor(few.y_pred)
        if few.mask is not None:
            y_pred._keras_mask = tf.convert_to_tensor(few.mask)
        report = check_gradients(loss, few.y_true, y_pred, few.sample_weight, samples=_COMPARED)
    of_pred = [one for one in report.comparisons if one.source == "y_pred"]
    wrong = [one for one in of_pred if not one.passed]
    entries = sum(one.entries for one in of_pred if one.against == "central differences")
    verdict = "WRONG" if wrong else "right"
    fact += f"; compared with differences at {entries} entries: {verdict}"
    return fact, [_wrong(one) for one in wrong[:1]]


def _few(batch: Batch) -> Batch:
    """Some samples of the batch, fewer where they are large."""
    size = max(1, batch.pred.size // max(batch.size, 1))
    few = max(1, min(_SAMPLES, _ENTRIES // size))

    def of(x: Any) -> Any:
        x = None if x is None else np.asarray(x)
        return x[:few] if x is not None and x.ndim and len(x) == batch.size else x

    y_pred = of(batch.y_pred)
    if y_pred.dtype.kind in "iub":
        y_pred = y_pred.astype(np.float32)
    return Batch(of(batch.y_true), y_pred, of(batch.sample_weight), of(batch.mask))


def _rounds(loss: Any, batch: Batch) -> bool:
    """Whether a function gives float32 for float64, so that differences of it say nothing."""
    if not isinstance(loss, FunctionLoss):
        return False
    dtype = tf.float64
    y_true = tf.convert_to_tensor(batch.y_true)
    try:
        rows = loss.call(tf.cast(y_true, dtype), tf.cast(batch.pred, dtype))
    except (TypeError, ValueError, tf.errors.InvalidArgumentError):
        return True
    return tf.convert_to_tensor(rows).dtype != dtype


def _missing(loss: Any) -> Finding:
    return Finding(
        "no_gradient",
        Severity.ERROR,
        f"{loss.name} has no gradient by y_pred.",
        "The loss does not depend on y_pred by operations that can be differentiated: argmax, "
        "round, a comparison, a cast to integers, NumPy, or tf.stop_gradient.",
        "Use a smooth stand-in, such as probabilities in place of decisions; keep the measure as a "
        "metric.",
    )


def _zero(result: Evaluation) -> Finding:
    assert result.value is not None
    return Finding(
        "zero_gradient",
        Severity.WARNING,
        f"The loss is {np.mean(result.value):.4g}, but its gradient is 0 everywhere.",
        "All predictions lie where the loss is flat or clipped, as probabilities of exactly 0 or 1 "
        "do, or the loss is made of decisions: nothing is learned from this batch.",
        "Compute the loss from logits, bring predictions into range, or use a smooth stand-in.",
    )


def _wrong(one: Comparison) -> Finding:
    return Finding(
        "wrong_gradient",
        Severity.ERROR,
        f"At {one.index} the gradient by y_pred is {one.value:.6g}, but {one.against} give "
        f"{one.expected:.6g}; an error of {one.bound:.2g} would be allowed.",
        "The loss has a gradient of its own, by tf.custom_gradient or tf.stop_gradient, that is "
        "not the derivative of its value.",
        "fl.testing.check_gradients(loss, y_true, y_pred) prints all comparisons. Nothing is wrong "
        "if it is meant.",
    )
