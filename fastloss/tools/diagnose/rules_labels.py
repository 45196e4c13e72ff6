"""Findings about labels that are not what the loss expects."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastloss.registry import Labels
from fastloss.tools.diagnose.batch import Array, counted, span, span_of
from fastloss.tools.diagnose.case import Case
from fastloss.tools.diagnose.finding import Finding, Severity

_VOID = (-1, -100, 255)
_LARGE = 1e3


def find(case: Case) -> Iterator[Finding]:
    """Labels out of range for the loss."""
    if case.known.size:
        rule = None if case.labels is None else _RULES.get(case.labels)
        if rule is not None:
            yield from rule(case)


def _bits(case: Case) -> Iterator[Finding]:
    known = case.known
    if known.dtype == bool or (known.min() >= 0 and known.max() <= 1):
        return
    values = np.unique(known)
    expected = f"{case.loss.name} expects labels from 0 to 1"
    outside = case.counting & ((case.batch.true < 0) | (case.batch.true > 1))
    seen = f"{counted(outside, 'labels')}, lie outside: they are {span_of(values[0], values[-1])}."
    if np.array_equal(values, [-1, 1]) or np.array_equal(values, [-1]):
        yield Finding(
            "signs_for_bits",
            Severity.ERROR,
            f"The labels are -1 and 1; {expected}.",
            "These are the labels of a hinge loss: with a cross-entropy the loss of a label of -1 "
            "has no lower bound.",
            "Make them 0 and 1, (y_true + 1) / 2; or use Hinge.",
        )
    elif values.size <= 2 and values[-1] == 255 and values[0] in (0, 255):
        yield Finding(
            "unscaled_mask",
            Severity.ERROR,
            f"The labels are 0 and 255; {expected}.",
            "This is the mask of an 8-bit image file.",
            "Divide y_true by 255.",
        )
    elif np.all(values == np.floor(values)) and values[0] >= 0:
        yield Finding(
            "labels_out_of_range",
            Severity.ERROR,
            f"{expected}; {seen}",
            f"They look like class numbers, from 0 to {values[-1]:g}: more than two classes.",
            "Use SparseCategoricalCrossentropy with an output for each class; or make labels of 0 "
            "and 1.",
        )
    else:
        yield Finding(
            "labels_out_of_range",
            Severity.ERROR,
            f"{expected}; {seen}",
            "These are no probabilities: the loss of a label outside has no lower bound, and "
            "training drives it to minus infinity.",
            "Scale the labels to 0 and 1, or use a loss of numbers such as MeanSquaredError.",
        )


def _signs(case: Case) -> Iterator[Finding]:
    values = np.unique(case.known.astype(np.float64))
    if np.isin(values, [-1, 1]).all() or np.isin(values, [0, 1]).all():
        return
    # The loss takes 0 and 1 for signs only if there is nothing else.
    both = np.isin(values, [-1, 0, 1]).all()
    yield Finding(
        "labels_not_signs",
        Severity.ERROR,
        f"{case.loss.name} expects labels of -1 and 1, or of 0 and 1; "
        + ("they are -1, 0 and 1." if both else f"they are {span(case.known)}."),
        "A label of 0 among -1 and 1 is taken as it is: its loss is 1, whatever is predicted."
        if both
        else "These are no two classes.",
        "Make the labels -1 and 1.",
    )


def _classes(case: Case) -> Iterator[Finding]:
    known, classes, true = case.known, case.classes, case.batch.true
    if known.dtype.kind == "f" and np.any(known != np.floor(known)):
        where = case.counting & (true != np.floor(true))
        yield Finding(
            "fractional_classes",
            Severity.ERROR,
            f"{counted(where, 'labels')}, are no whole numbers; {case.loss.name} expects class "
            "numbers.",
            "The labels are quantities or probabilities; the loss rounds them down.",
            "Give class numbers, or use a loss of numbers or of rows of probabilities.",
        )
    if classes is None or _is_one_hot_for_classes(case):
        return
    outside = case.counting & ((true < 0) | (true >= classes))
    if not outside.any():
        return
    values = np.unique(true[outside])
    void = next((v for v in _VOID if values.size == 1 and values[0] == v), None)
    if void is not None:
        cause = f"{void} is a usual number for 'no class'."
        takes_it = "ignore_class" in case.arguments
        cure = f"Give the loss ignore_class={void}." if takes_it else "Leave these labels out."
    elif known.min() >= 1 and known.max() == classes:
        cause = f"The classes are numbered from 1 to {classes}."
        cure = "Subtract 1 from the labels."
    else:
        cause = f"y_pred of shape {case.batch.pred.shape} has scores for {classes} classes only."
        cure = f"Give the model {int(known.max()) + 1} outputs, or correct the labels."
    yield Finding(
        "labels_out_of_range",
        Severity.ERROR,
        f"{case.loss.name} expects class numbers from 0 to {classes - 1}; "
        f"{counted(outside, 'labels')}, are {span_of(values[0], values[-1])}.",
        f"{cause} On a CPU that is an error, under XLA and on a GPU the loss becomes NaN.",
        cure,
    )


def _is_one_hot_for_classes(case: Case) -> bool:
    """Whether the labels are rows of the predictions' shape, which a finding of shapes tells."""
    return case.batch.true.shape == case.batch.pred.shape and (case.classes or 0) > 1


def _one_hot(case: Case) -> Iterator[Finding]:
    true = case.batch.true
    if true.shape != case.batch.pred.shape or not true.ndim or not case.counting.all():
        return
    if (true < 0).any():
        yield Finding(
            "labels_out_of_range",
            Severity.ERROR,
            f"{case.loss.name} expects one-hot rows, or rows of probabilities; "
            f"{counted(true < 0, 'values of y_true')}, are negative: they are {span(true)}.",
            "These are no probabilities: the loss has no lower bound, or is NaN.",
            "Make one-hot rows of class numbers (keras.ops.one_hot), or apply a softmax to scores.",
        )
        return
    sums = case.sums_of_classes(true)
    off = np.abs(sums - 1) > 1e-2
    if off.any():
        yield Finding(
            "rows_do_not_sum_to_one",
            Severity.WARNING,
            f"{counted(off, 'rows of y_true')}, do not sum to 1: the sums are {span(sums)}.",
            _cause_of_sums(sums),
            "For labels that do not exclude each other use BinaryCrossentropy; else make the rows "
            "sum to 1.",
        )


def _cause_of_sums(sums: Array) -> str:
    if np.all(sums == np.floor(sums)) and sums.max() > 1:
        return "Some rows have several ones: the labels do not exclude each other."
    if np.any(sums == 0):
        return "Some rows are all 0: they belong to no class and have no loss."
    return "The rows are not normalised: each weighs as much as its sum."


def _not_negative(case: Case) -> Iterator[Finding]:
    below = case.counting & (case.batch.true < 0)
    if below.any():
        yield Finding(
            "labels_out_of_range",
            Severity.ERROR,
            f"{case.loss.name} expects numbers from 0; {counted(below, 'labels')}, are negative: "
            f"they are {span(case.known)}.",
            "The loss is made for counts or amounts; it clips what is negative, or has no minimum "
            "there.",
            "Use MeanSquaredError or Huber, which take any numbers.",
        )


def _numbers(case: Case) -> Iterator[Finding]:
    values = case.known.astype(np.float64)
    mean, deviation = float(values.mean()), float(values.std())
    if max(abs(mean), deviation) > _LARGE:
        yield Finding(
            "unnormalized_targets",
            Severity.WARNING,
            f"The labels have mean {mean:.4g} and standard deviation {deviation:.4g}, from "
            f"{span(case.known)}.",
            "A network begins with outputs near 0: its first errors, and with a squared error the "
            "gradients, are as large as the labels, which may end in infinities.",
            f"Train on (y_true - {mean:.4g}) / {deviation or 1:.4g} and scale predictions back; or "
            "train on logarithms, if the labels span orders of magnitude.",
        )


_RULES = {
    Labels.PROBABILITY: _bits,
    Labels.SIGN: _signs,
    Labels.CLASS: _classes,
    Labels.ONE_HOT: _one_hot,
    Labels.NOT_NEGATIVE: _not_negative,
    Labels.NUMBER: _numbers,
    Labels.LOGITS: _numbers,
}
