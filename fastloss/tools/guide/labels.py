"""What kind of labels these are."""

from __future__ import annotations

from enum import Enum

import numpy as np

from fastloss.tools.guide.arrays import Array

_VOID = (-1, -100)  # usual numbers of "no class", below the classes
_VOID_PIXEL = 255  # the same in 8-bit masks
_MOST_REGIONS = 200  # classes of pixels; photographs have more shades
_MOST_CLASSES = 10_000_000  # what numbers can name; a larger one is a quantity


class Kind(Enum):
    """What one label says; the value is how a sentence calls them."""

    SIGNS = "labels of -1 and 1"
    BINARY = "labels of 0 and 1"
    MULTI_HOT = "rows of 0 and 1, any number of ones in each"
    ONE_HOT = "one-hot rows"
    CLASSES = "class numbers"
    DISTRIBUTION = "rows that sum to 1"
    DIRECTIONS = "vectors of length 1"
    COUNTS = "whole numbers from 0"
    NUMBERS = "numbers"


def kind_of(rows: Array, labels: Array, has_class_axis: bool | None, task: str | None) -> Kind:
    """The kind of labels.

    Args:
        rows: The labels looked at, `(rows, width)`.
        labels: All of them.
        has_class_axis: Whether predictions have an axis more than they, which class numbers need;
            None without predictions.
        task: What they are for, if it is known: it decides what may be read in two ways.
    """
    width, is_whole = rows.shape[-1], _is_whole(rows)
    if task in ("regression", "counts", "detection"):
        return Kind.COUNTS if is_whole and rows.min() >= 0 else Kind.NUMBERS
    # A rare class may have escaped the sample.
    if is_whole and rows.min() >= -1 and rows.max() <= 1 and labels.max() <= 1:
        if rows.min() == -1 and np.all(rows):
            return Kind.SIGNS
        if rows.min() >= 0 and not has_class_axis:
            return _of_bits(rows)
    if has_class_axis and is_whole:
        return Kind.CLASSES
    if width > 1 and not is_whole:
        if rows.min() >= 0 and _sums_to_one(rows):
            return Kind.DISTRIBUTION
        if np.allclose(np.square(rows, dtype=np.float64).sum(-1), 1, atol=2e-3):
            return Kind.DIRECTIONS
    if has_class_axis is None and is_whole and _may_be_classes(rows):
        if task in ("multi-class", "imbalanced", "sequence", "segmentation", "svm"):
            return Kind.CLASSES
        if task is None and _are_classes(rows, labels.shape):
            return Kind.CLASSES
    return Kind.COUNTS if is_whole and rows.min() == 0 else Kind.NUMBERS


def ignored_of(rows: Array, axes: int) -> int | None:
    """The number that says "no class" among class numbers, or pads the ends of sequences.

    Args:
        rows: Class numbers, `(rows, width)`.
        axes: How many axes tell the labels apart: 1 of samples, 2 of sequences, 3 of images.
    """
    low, high = int(rows.min()), int(rows.max())
    if low in _VOID:
        return low
    if high == _VOID_PIXEL and axes >= 3 and _below(rows, high) < _VOID_PIXEL - 1:
        return high
    if axes == 2 and _pads_with_zeros(rows):
        return 0
    return None


def are_probabilities(rows: Array) -> bool:
    """Whether all lie in [0, 1]."""
    return bool(rows.min() >= 0 and rows.max() <= 1)


def sum_to_one(rows: Array) -> bool:
    """Whether predictions of any float type are rows of probabilities."""
    return bool(np.allclose(rows.sum(-1, dtype=np.float64), 1, atol=2e-2))


def _of_bits(rows: Array) -> Kind:
    if rows.shape[-1] == 1:
        return Kind.BINARY
    return Kind.ONE_HOT if np.all(np.count_nonzero(rows, -1) == 1) else Kind.MULTI_HOT


def _is_whole(rows: Array) -> bool:
    return rows.dtype.kind in "biu" or bool(np.all(rows == np.floor(rows)))


def _sums_to_one(rows: Array) -> bool:
    return bool(np.allclose(rows.sum(-1, dtype=np.float64), 1, atol=2e-3))


def _may_be_classes(rows: Array) -> bool:
    if rows.min() in _VOID:
        rows = rows[rows != rows.min()]
    return bool(rows.size and rows.min() >= 0 and rows.max() < _MOST_CLASSES)


def _are_classes(rows: Array, shape: tuple[int, ...]) -> bool:
    """Whether whole numbers name classes, as far as they alone can tell.

    In integer sequences they do, and in images of few shades. Else they leave no gaps to speak of,
    start at 0 or 1, and there are few of them for the number of samples.
    """
    present = np.unique(rows)
    if axes_of(shape) > 1:
        return rows.dtype.kind in "iu" and (axes_of(shape) == 2 or len(present) <= _MOST_REGIONS)
    present = present[present >= 0]
    gaps = present[-1] - present[0] + 1 - len(present)
    return bool(
        present[0] <= 1
        and gaps <= len(present) // 2
        and len(present) <= max(20, min(1000, rows.size // 20))
    )


def axes_of(shape: tuple[int, ...]) -> int:
    """How many axes there are, without a last one of 1."""
    return len(shape) - (len(shape) > 1 and shape[-1] == 1)


def _below(rows: Array, high: int) -> int:
    return int(rows[rows != high].max(initial=0))


def _pads_with_zeros(rows: Array) -> bool:
    """Whether zeros stand at the ends of rows only, in several, after something else."""
    zero = rows == 0
    ends = np.logical_and.accumulate(zero[:, ::-1], axis=1)[:, ::-1]
    padded = zero[:, -1] & ~zero[:, 0]
    return bool(np.array_equal(zero, ends) and padded.sum() >= 2 and zero.sum() >= 3)
