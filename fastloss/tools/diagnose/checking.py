"""`check`, which looks at a loss and data before they train."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fastloss.sums.weighted_sum import WeightedSum
from fastloss.tools.diagnose import rules_gradient, rules_reduction
from fastloss.tools.diagnose.batch import Batch, span
from fastloss.tools.diagnose.diagnose import diagnose
from fastloss.tools.diagnose.evaluation import Evaluation, evaluate
from fastloss.tools.diagnose.finding import Finding, Report, Severity, merged
from fastloss.tools.diagnose.parts import FunctionLoss, as_loss
from fastloss.tools.guide.arrays import as_array


def check(loss: Any, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Report:
    """Look for what goes wrong with a loss and data, before it does in training.

        report = fl.check(fl.BinaryCrossentropy(), y_batch, model(x_batch), w_batch)
        print(report)
        assert report.ok

    Looked at are finiteness and ranges of labels, predictions and weights; whether labels are what
    the loss takes, and predictions logits or probabilities as it is told; shapes that broadcast;
    what the reduction does to batches and weights; and the gradient, on a few samples, against
    central differences. Of a composed loss each term is looked at. The findings are those that
    `fastloss.callbacks.LossMonitor` reports.

    Args:
        loss: What `model.compile` takes: a Keras loss of any origin, its name, or a function
            `(y_true, y_pred)`.
        y_true: Labels of a batch, `(batch, d0, .. dN)`.
        y_pred: Predictions. A mask that Keras has left on them counts.
        sample_weight: Weights, or None.

    Returns:
        A report: true, and `ok`, if there is nothing but notes; `findings` lists what was found,
        each with `name`, `severity`, `seen`, `cause` and `cure`; it prints as a text.

    Raises:
        ValueError: If the data are no numbers, or the loss is none.
    """
    mask = getattr(y_pred, "_keras_mask", None)
    batch = Batch(
        _array("y_true", y_true),
        _array("y_pred", y_pred),
        None if sample_weight is None else _array("sample_weight", sample_weight),
        None if mask is None else np.asarray(mask),
    )
    compiled = as_loss(loss)
    result = evaluate(compiled, batch)
    findings = list(diagnose(compiled, batch))
    findings += rules_reduction.find(compiled, batch, result)
    findings += rules_reduction.dominating(_norms(compiled, batch))
    findings += _called_directly(loss, compiled, batch)
    gradient, found = rules_gradient.find(compiled, batch, result)
    facts = (*_facts(compiled, batch, result), gradient)
    title = f"{type(compiled).__name__} {compiled.name!r}"
    if isinstance(compiled, FunctionLoss):
        title = f"function {compiled.name!r}"
    return Report(f"Check of the {title}", facts, merged([*findings, *found]))


def _array(argument: str, x: Any) -> np.ndarray:
    # TensorFlow makes float32 of Python's numbers, as training does.
    if isinstance(x, (list, tuple)):
        x = tf.convert_to_tensor(x)
    return as_array(argument, x)


def _facts(loss: Any, batch: Batch, result: Evaluation) -> Iterator[str]:
    if result.value is None:
        value = "none, it fails"
    elif result.value.ndim:
        value = f"shape {result.value.shape}, {span(result.value)}"
    else:
        value = f"{result.value:.6g}"
    yield f"loss: {value}; {loss.dtype}, reduction {loss.reduction!r}"
    if isinstance(loss, WeightedSum) and result.value is not None:
        terms = loss.terms(*_tensors(batch))
        values = [f"{np.mean(value):.4g} {name}" for name, value in terms.items()]
        factors = [f"{factor:g} x " for factor in loss.factors]
        yield "terms: " + ", ".join(f + v for f, v in zip(factors, values, strict=True))
    yield from batch.facts()


def _tensors(batch: Batch) -> tuple[Any, Any, Any]:
    y_pred = tf.convert_to_tensor(batch.y_pred)
    if batch.mask is not None:
        y_pred._keras_mask = tf.convert_to_tensor(batch.mask)
    weight = batch.sample_weight
    weight = None if weight is None else tf.convert_to_tensor(weight)
    return tf.convert_to_tensor(batch.y_true), y_pred, weight


def _norms(loss: Any, batch: Batch) -> dict[str, float]:
    """The norm of each term's gradient, times its factor."""
    if not isinstance(loss, WeightedSum):
        return {}
    norms = {}
    for name, term, factor in zip(loss.term_names, loss.losses, loss.factors, strict=True):
        gradient = evaluate(term, batch).gradient
        if gradient is not None and np.isfinite(gradient).all():
            norms[name] = abs(factor) * float(np.linalg.norm(gradient))
    return norms


def _called_directly(loss: Any, compiled: keras.losses.Loss, batch: Batch) -> Iterator[Finding]:
    """A function that broadcasts where `compile` would adjust the ranks."""
    if not isinstance(compiled, FunctionLoss) or batch.true.shape == batch.pred.shape:
        return
    y_true, y_pred, _ = (None if x is None else tf.cast(x, "float32") for x in _tensors(batch))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            direct, adjusted = np.mean(loss(y_true, y_pred)), np.mean(compiled.call(y_true, y_pred))
        except Exception:  # the function is the user's; that it fails is told already
            return
    if not np.allclose(direct, adjusted, rtol=1e-4, equal_nan=True):
        yield Finding(
            "broadcast_if_called",
            Severity.NOTE,
            f"y_true has shape {batch.true.shape} and y_pred {batch.pred.shape}: in model.fit the "
            f"mean loss is {adjusted:.4g}, but the function called by itself gives {direct:.4g}.",
            "model.compile adjusts the ranks; without it every label meets every prediction.",
            "Reshape the labels before a call of your own.",
        )
