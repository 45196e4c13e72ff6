"""What the data are, as far as the choice of a loss depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastloss.tools.guide.arrays import Array, as_array, rows_of
from fastloss.tools.guide.labels import (
    Kind,
    are_probabilities,
    axes_of,
    ignored_of,
    kind_of,
    sum_to_one,
)
from fastloss.tools.guide.spread import Spread, spans_orders, spread
from fastloss.tools.guide.text import percent

_IMBALANCED = 4  # times as many samples of the commonest class as of the rarest
_SMALL_REGION = 0.1  # share of the pixels
_ROWS = (Kind.ONE_HOT, Kind.DISTRIBUTION, Kind.DIRECTIONS)


@dataclass(frozen=True)
class Output:
    """What predictions are.

    Attributes:
        low: The least of them.
        are_probabilities: Whether all lie in [0, 1].
        sum_to_one: Whether their rows do, as a softmax's.
    """

    low: float
    are_probabilities: bool
    sum_to_one: bool


@dataclass(frozen=True)
class Facts:
    """What labels and predictions are.

    Attributes:
        shape: Shape of y_true.
        dtype: Its dtype.
        kind: What one label says.
        low: The least label.
        classes: How many classes or columns there are.
        counts: How many labels each class has, of those looked at; for 0 and 1 of each; for rows of
            0 and 1 how many ones each column has.
        rows: How many rows were looked at.
        is_sampled: Whether there are more.
        ignored: The class number that says "no class", if there is one.
        spread: Of the errors or, without y_pred, of the labels; for numbers only.
        spans_orders: Whether the numbers are positive and span two orders of magnitude.
        output: What y_pred is; None if it was not given.
    """

    shape: tuple[int, ...]
    dtype: str
    kind: Kind
    low: float
    classes: int
    counts: Array
    rows: int
    is_sampled: bool
    ignored: int | None
    spread: Spread | None
    spans_orders: bool
    output: Output | None

    @property
    def axes(self) -> int:
        """How many axes tell labels apart: 1 of samples, 2 of sequences, 3 of images."""
        return axes_of(self.shape) - (self.kind in _ROWS)

    @property
    def is_image(self) -> bool:
        """Whether the labels lie in a plane or in space."""
        return self.axes >= 3

    @property
    def shares(self) -> Array:
        """The share of each class; of each column of rows of 0 and 1, that of its ones."""
        if self.kind is Kind.MULTI_HOT:
            return self.counts / self.rows
        return self.counts / max(self.counts.sum(), 1)

    @property
    def foreground(self) -> float:
        """The share of what is not class 0; of rows of 0 and 1, of the ones."""
        shares = self.shares
        return float(shares.mean() if self.kind is Kind.MULTI_HOT else 1 - shares[0])

    @property
    def imbalance(self) -> float:
        """How many times as many samples the commonest class has as the rarest that occurs."""
        if self.kind is Kind.MULTI_HOT:
            ones = self.counts[self.counts > 0]
            return float(np.median((self.rows - ones) / ones)) if ones.size else 1.0
        present = self.counts[self.counts > 0]
        return float(present.max() / present.min()) if present.size else 1.0

    @property
    def is_imbalanced(self) -> bool:
        """Whether that is more than four times."""
        return self.imbalance > _IMBALANCED

    @property
    def has_small_regions(self) -> bool:
        """Whether the foreground is less than a tenth."""
        return self.foreground < _SMALL_REGION

    def describe(self) -> str:
        """All this in a sentence."""
        looked = f", {self.rows} rows of it looked at" if self.is_sampled else ""
        text = f"y_true holds {self.kind.value} ({self.dtype}, shape {self.shape}{looked})"
        if self.kind is Kind.MULTI_HOT:
            return f"{text}, {percent(self.foreground)} of them ones."
        if not self.counts.size:
            return f"{text}."
        shares = self.shares[self.counts > 0]
        ignored = "" if self.ignored is None else f"; {self.ignored} is no class"
        low, high = percent(float(shares.min())), percent(float(shares.max()))
        span = low if low == high else f"{low} to {high}"
        return f"{text}, {self.classes} classes with {span} of the labels each{ignored}."


def look(y_true: Any, y_pred: Any, task: str | None) -> Facts:
    """What labels and predictions are.

    Raises:
        ValueError: If they are no finite numbers, or do not belong together.
    """
    labels = as_array("y_true", y_true)
    predictions = None if y_pred is None else as_array("y_pred", y_pred)
    has_class_axis = (
        None if predictions is None else _has_class_axis(labels.shape, predictions.shape)
    )
    rows = rows_of(labels)
    _check_finite("y_true", rows)
    _check_mask(rows)
    kind = kind_of(rows, labels, has_class_axis, task)
    if has_class_axis and kind is not Kind.CLASSES:
        assert predictions is not None
        raise ValueError(
            f"y_true of shape {labels.shape} holds {kind.value} and y_pred has shape "
            f"{predictions.shape}; expected the same shape, or class numbers"
        )
    axes = axes_of(labels.shape)
    ignored = ignored_of(rows, axes) if kind is Kind.CLASSES else None
    classes = _classes(kind, labels, rows, ignored, predictions if has_class_axis else None)
    output = None if predictions is None else _output(predictions)
    is_numeric = kind in (Kind.NUMBERS, Kind.COUNTS)
    return Facts(
        shape=labels.shape,
        dtype=labels.dtype.name,
        kind=kind,
        low=float(rows.min()),
        classes=classes,
        counts=_counts(kind, rows, ignored, classes),
        rows=len(rows),
        is_sampled=rows.size < labels.size,
        ignored=ignored,
        spread=_spread(labels, rows, predictions) if is_numeric else None,
        spans_orders=is_numeric and spans_orders(rows.astype(np.float64)),
        output=output,
    )


def _has_class_axis(true: tuple[int, ...], pred: tuple[int, ...]) -> bool:
    """Whether predictions have one axis, that of the classes, more than labels.

    Raises:
        ValueError: If they are neither of the same shape.
    """
    if _squeezed(true) == _squeezed(pred):
        return False
    if pred[:-1] in (true, true[:-1] if true[-1] == 1 else true):
        return True
    raise ValueError(
        f"y_true has shape {true} and y_pred has shape {pred}; expected the same shape, or one "
        "more axis in y_pred, the last, of the classes"
    )


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[: axes_of(shape)]


def _check_finite(argument: str, rows: Array) -> None:
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        count = rows.size - np.count_nonzero(np.isfinite(rows))
        raise ValueError(
            f"{argument} holds {count} numbers that are not finite, of {rows.size} looked at; "
            "expected finite numbers: leave these samples out, or fill them in"
        )


def _check_mask(rows: Array) -> None:
    """Refuses the 0 and 255 of an image file, which no loss takes for 0 and 1."""
    if rows.dtype == np.uint8 and rows.max() == 255 and np.all((rows == 0) | (rows == 255)):
        raise ValueError("y_true holds 0 and 255, an 8-bit mask; expected 0 and 1: divide by 255")


def _classes(
    kind: Kind, labels: Array, rows: Array, ignored: int | None, scores: Array | None
) -> int:
    if kind is Kind.BINARY:
        return 2
    if kind is not Kind.CLASSES:
        return rows.shape[-1]
    numbers = rows if ignored is None else rows[rows != ignored]
    if numbers.min(initial=0) < 0:
        raise ValueError(
            f"y_true holds {int(numbers.min())} among class numbers; expected them from 0"
        )
    # A rare class may have escaped the sample; a void class above all others hides it.
    is_void_above = ignored is not None and ignored == rows.max()
    highest = int(numbers.max(initial=0) if is_void_above else labels.max())
    if scores is None:
        return highest + 1
    classes = scores.shape[-1]
    if highest >= classes:
        raise ValueError(
            f"y_true holds class {highest}, but y_pred of shape {scores.shape} has {classes} "
            f"classes; expected class numbers from 0 to {classes - 1}"
        )
    return classes


def _counts(kind: Kind, rows: Array, ignored: int | None, classes: int) -> Array:
    if kind in (Kind.ONE_HOT, Kind.MULTI_HOT):
        return np.count_nonzero(rows, axis=0)
    if kind not in (Kind.BINARY, Kind.CLASSES):
        return np.zeros(0, np.int64)
    numbers = rows.reshape(-1)
    if ignored is not None:
        numbers = numbers[numbers != ignored]
    return np.bincount(numbers.astype(np.int64), minlength=classes)


def _output(predictions: Array) -> Output:
    rows = rows_of(predictions)
    _check_finite("y_pred", rows)
    low = float(rows.min())
    return Output(low, are_probabilities(rows), sum_to_one(rows))


def _spread(labels: Array, rows: Array, predictions: Array | None) -> Spread:
    if predictions is None:
        return spread(rows, of_errors=False)
    if labels.shape != predictions.shape:
        shape = _squeezed(labels.shape)
        labels, predictions = (x if x.shape == shape else x[..., 0] for x in (labels, predictions))
    # Of the same shape, they are sampled at the same places.
    return spread(rows_of(labels).astype(np.float64) - rows_of(predictions), of_errors=True)
