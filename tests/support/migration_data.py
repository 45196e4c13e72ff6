"""Labels and predictions for the tables of docs/migration.md, by the words of the third column."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Pair(NamedTuple):
    """Labels and predictions, classes last; what PyTorch takes as predictions, where it differs."""

    y_true: Array
    y_pred: Array
    input: Array | None = None


def waves(*shape: int, speed: float = 1.7) -> Array:
    """Numbers from -2 to 2 that follow no simple order."""
    return (2 * np.sin(speed * np.arange(np.prod(shape)) ** 1.3)).reshape(shape).astype(np.float32)


def softmax(x: Array) -> Array:
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


LOGITS = waves(6, 4)
CLASSES = np.array([0, 1, 2, 3, 2, 1])
BITS = (waves(6, 3, speed=2.9) > 0).astype(np.float32)
PIXELS = waves(2, 5, 6, 3)
MASKS = (waves(2, 5, 6, 3, speed=2.3) > 0.5).astype(np.float32)
NUMBERS = (np.arange(60) ** 2 % 7 % 3).reshape(2, 5, 6)
SOFT = softmax(waves(6, 4, speed=0.9))
TRUE_BOXES = np.array([[0, 0, 2, 2], [1, 1, 4, 3], [0, 0, 1, 1]], np.float32)
BOXES = np.array([[1, 0, 3, 2], [1, 1, 4, 4], [2, 2, 3, 4]], np.float32)

DATA: dict[str, Pair] = {
    "numbers": Pair(waves(6, 3, speed=0.8), waves(6, 3)),
    "0 and 1, probabilities": Pair(BITS, sigmoid(waves(6, 3))),
    "0 and 1, logits": Pair(BITS, waves(6, 3)),
    "0 and 1 in one column, logits": Pair(BITS[:, :1], waves(6, 1)),
    "class numbers, logits": Pair(CLASSES, LOGITS),
    "class numbers, log-probabilities": Pair(CLASSES, np.log(softmax(LOGITS))),
    "distributions, logits": Pair(SOFT, LOGITS),
    "distributions, probabilities": Pair(SOFT, softmax(LOGITS), np.log(softmax(LOGITS))),
    "log-probabilities, log-probabilities": Pair(np.log(SOFT), np.log(softmax(LOGITS))),
    "counts, rates": Pair(np.round(abs(waves(6, 3)) * 3), abs(waves(6, 3, speed=0.8)) + 0.1),
    "masks, logits": Pair(MASKS, PIXELS),
    "masks, probabilities": Pair(MASKS, sigmoid(PIXELS)),
    "class numbers of pixels, logits": Pair(NUMBERS, PIXELS),
    "one-hot pixels, probabilities": Pair(np.eye(3, dtype=np.float32)[NUMBERS], softmax(PIXELS)),
    "boxes": Pair(TRUE_BOXES, BOXES),
}
