"""Losses of every pattern with small data, for tests of the ops as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boxes_cases
import cases
import keras
import numpy as np
import overlap_cases
import rowwise_cases

Inputs = tuple[np.ndarray, np.ndarray]


class Subject:
    """A loss, its data, and the shapes that its losses per row have."""

    def __init__(self, pattern: str, case: Any) -> None:
        self.pattern, self.case = pattern, case
        self.id = f"{pattern}-{case.id}"

    def loss(self, **arguments: Any) -> keras.losses.Loss:
        return self.case.ours(**arguments)

    def data(self, dtype: str = "float32") -> Inputs:
        if self.pattern == "boxes":
            boxes = boxes_cases.data(24, dtype, centred=self.case.centred)
            return tuple(x.reshape(2, 4, 3, 4) for x in boxes)
        return self.case.data((2, 4, 3, 3), dtype)

    @property
    def weights(self) -> Iterator[np.ndarray]:
        """One of each way to broadcast; the last repeats in no regular way."""
        random = np.random.default_rng(3)
        shapes: tuple[tuple[int, ...], ...] = ((), (2, 1, 1), (1, 1, 3), (2, 4, 3), (2, 1, 3))
        if self.pattern == "overlap":
            rows = self.loss(reduction="none")(*self.data()).shape
            shapes = ((), (1,) * len(rows), tuple(rows))
        for shape in shapes:
            yield np.asarray(random.uniform(0.2, 2, shape), np.float32)


SUBJECTS = [
    *(Subject("elementwise", case) for case in cases.CASES),
    *(Subject("rowwise", case) for case in rowwise_cases.CASES),
    *(Subject("overlap", case) for case in overlap_cases.SUMMED),
    *(Subject("boxes", case) for case in boxes_cases.CASES),
]
# One for each pattern.
ONE_EACH = [
    next(x for x in SUBJECTS if x.id.startswith(start))
    for start in (
        "elementwise-BinaryCrossentropy-binary-from_logits=True",
        "rowwise-SparseCategoricalCrossentropy-class-from_logits=True",
        "overlap-Dice-from_logits=True-sparse=True",
        "boxes-CompleteBoxIoU",
    )
]
