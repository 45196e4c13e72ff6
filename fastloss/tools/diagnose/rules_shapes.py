"""Findings about shapes that do not belong together, or do so in a way nobody meant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastloss import registry
from fastloss.registry import Labels
from fastloss.tools.diagnose.batch import Batch
from fastloss.tools.diagnose.case import Case
from fastloss.tools.diagnose.evaluation import evaluate
from fastloss.tools.diagnose.finding import Finding, Severity

# Losses whose labels have the shape of the predictions.
_ALIKE = (
    Labels.NUMBER,
    Labels.NOT_NEGATIVE,
    Labels.LOGITS,
    Labels.PROBABILITY,
    Labels.SIGN,
)


def find(case: Case) -> Iterator[Finding]:
    """Why the loss fails, and what it broadcasts."""
    if case.result.value is None:
        yield from _failure(case)
    elif case.labels not in (Labels.CLASS, Labels.ONE_HOT):
        yield from _broadcast(case)


def _failure(case: Case) -> Iterator[Finding]:
    true, pred = case.batch.true.shape, case.batch.pred.shape
    seen = f"y_true has shape {true}, y_pred {pred}; {case.loss.name} fails: {case.result.error}"
    lacks_classes = true in (pred[:-1], (*pred[:-1], 1)) and pred[-1:] != (1,)
    if case.labels is Labels.ONE_HOT and lacks_classes:
        yield Finding(
            "class_numbers_for_rows",
            Severity.ERROR,
            seen,
            "The labels are class numbers, where the loss takes a row of all classes for each.",
            f"Use {_or_counterpart(case)}keras.ops.one_hot(y_true, classes).",
        )
    elif case.labels is Labels.CLASS and true == pred and pred[-1:] != (1,):
        yield Finding(
            "rows_for_class_numbers",
            Severity.ERROR,
            seen,
            "The labels are rows of all classes, where the loss takes one class number.",
            f"Use {_or_counterpart(case)}np.argmax(y_true, axis=-1).",
        )
    else:
        weight = case.batch.weight
        also = "" if weight is None else f" and sample_weight, of shape {weight.shape},"
        yield Finding(
            "loss_fails",
            Severity.ERROR,
            seen,
            "The loss does not take such data.",
            f"Compare y_true and y_pred{also} with what the loss expects, axis by axis.",
        )


def _or_counterpart(case: Case) -> str:
    """The loss of the same name that takes the other kind of labels, if there is one."""
    if "sparse" in case.arguments:
        return f"sparse={not case.arguments['sparse']}, or "
    assert case.registered is not None
    name = case.registered.class_name
    other = name.removeprefix("Sparse") if name.startswith("Sparse") else f"Sparse{name}"
    return "" if registry.find(other) is None else f"{other}, or "


def _broadcast(case: Case) -> Iterator[Finding]:
    true, pred = case.batch.true, case.batch.pred
    if true.shape == pred.shape:
        return
    try:
        both = np.broadcast_shapes(true.shape, pred.shape)
    except ValueError:
        return
    if true.size == pred.size:
        if _counts_pairs(case):
            yield Finding(
                "broadcast",
                Severity.ERROR,
                f"y_true has shape {true.shape} and y_pred {pred.shape}: the loss compares every "
                f"label with every prediction, {both}.",
                "The last axis of 1 makes them broadcast; the loss of a sample is that of all "
                "labels.",
                f"Reshape the labels: y_true.reshape({pred.shape}), or tf.reshape in the loss.",
            )
    elif case.labels in _ALIKE:
        few, many = ("y_true", "y_pred") if true.size < pred.size else ("y_pred", "y_true")
        yield Finding(
            "broadcast",
            Severity.WARNING,
            f"y_true has shape {true.shape} and y_pred {pred.shape}: {few} is repeated along the "
            f"axes of {many}.",
            "The model's output has not the shape of the labels.",
            "Give both the same shape, if this is not meant.",
        )


def _counts_pairs(case: Case) -> bool:
    """Whether the loss changes when the labels get the predictions' shape."""
    batch = case.batch
    labels = np.asarray(batch.y_true).reshape(batch.pred.shape)
    alike = evaluate(case.loss, Batch(labels, batch.y_pred, batch.sample_weight, batch.mask))
    if alike.value is None or case.result.value is None:
        return False
    if alike.value.shape != case.result.value.shape:
        return True
    return not np.allclose(alike.value, case.result.value, rtol=1e-4, equal_nan=True)
