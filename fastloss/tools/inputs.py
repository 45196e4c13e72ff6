"""Random labels and predictions of the kind that each loss takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from fastloss.registry import Labels, Loss, Predictions

Shape = tuple[int, ...]
Draw = Callable[[np.random.Generator, Shape], np.ndarray]

_CLASS_DTYPE = "int32"


@dataclass(frozen=True)
class Domain:
    """A kind of inputs.

    Attributes:
        labels: Draws y_true for predictions of a shape.
        predictions: Draws y_pred.
        has_class_numbers: Whether y_true holds the number of a class for each row, an integer,
            rather than as many values as y_pred.
    """

    labels: Draw
    predictions: Draw
    has_class_numbers: bool = False

    def label_dtype(self, dtype: str) -> str:
        """The dtype of y_true for predictions of a dtype; class numbers stay integers."""
        return _CLASS_DTYPE if self.has_class_numbers else dtype

    def label_bytes(self, shape: Shape, item_size: int) -> int:
        """The bytes of y_true."""
        if self.has_class_numbers:
            return math.prod(shape[:-1]) * np.dtype(_CLASS_DTYPE).itemsize
        return math.prod(shape) * item_size


def _normal(scale: float) -> Draw:
    def draw(generator: np.random.Generator, shape: Shape) -> np.ndarray:
        return generator.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    return draw


def _uniform(low: float, high: float) -> Draw:
    def draw(generator: np.random.Generator, shape: Shape) -> np.ndarray:
        drawn = generator.random(shape, dtype=np.float32)
        return drawn * np.float32(high - low) + np.float32(low)

    return draw


def _binary(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    return (generator.random(shape, dtype=np.float32) < 0.5).astype(np.float32)


def _signs(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    return 2 * _binary(generator, shape) - 1


def _distributions(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    weights = _uniform(0.05, 1.0)(generator, shape)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _classes(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    return np.asarray(generator.integers(0, shape[-1], shape[:-1]), _CLASS_DTYPE)


def _one_hot(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    rows = np.zeros(shape, np.float32)
    np.put_along_axis(rows, _classes(generator, shape)[..., np.newaxis], 1, axis=-1)
    return rows


def _boxes(generator: np.random.Generator, shape: Shape) -> np.ndarray:
    """Corners in pixels; half of the pairs overlap or so."""
    corner = _uniform(0, 320)(generator, (*shape[:-1], 2))
    size = _uniform(32, 320)(generator, corner.shape)
    return np.concatenate([corner, corner + size], axis=-1)


DOMAINS: Mapping[str, Domain] = MappingProxyType(
    {
        "real": Domain(_normal(1.0), _normal(1.0)),
        "positive": Domain(_uniform(0.1, 4.0), _uniform(0.1, 4.0)),
        "signs": Domain(_signs, _normal(1.0)),
        "distributions": Domain(_distributions, _distributions),
        "probabilities": Domain(_binary, _uniform(0.01, 0.99)),
        "logits": Domain(_binary, _normal(2.0)),
        "classes and logits": Domain(_classes, _normal(2.0), has_class_numbers=True),
        "classes and probabilities": Domain(_classes, _distributions, has_class_numbers=True),
        "one-hot and probabilities": Domain(_one_hot, _distributions),
        "one-hot and logits": Domain(_one_hot, _normal(2.0)),
        "logits twice": Domain(_normal(2.0), _normal(2.0)),
        "boxes": Domain(_boxes, _boxes),
    }
)


_DOMAINS: Mapping[Labels, tuple[str, str]] = MappingProxyType(
    {
        Labels.NUMBER: ("real", "real"),
        Labels.NOT_NEGATIVE: ("positive", "positive"),
        Labels.SIGN: ("signs", "signs"),
        Labels.PROBABILITY: ("probabilities", "logits"),
        Labels.CLASS: ("classes and probabilities", "classes and logits"),
        Labels.ONE_HOT: ("one-hot and probabilities", "one-hot and logits"),
        Labels.VECTOR: ("real", "real"),
        Labels.LOGITS: ("logits twice", "logits twice"),
        Labels.BOX: ("boxes", "boxes"),
        Labels.REGION: ("probabilities", "logits"),
    }
)


def domain_of(loss: Loss, from_logits: bool) -> str:
    """The key in `DOMAINS` of the inputs that a loss takes."""
    if loss.name == "kl_divergence":
        return "logits twice" if from_logits else "distributions"
    takes_scores = from_logits or loss.predictions is Predictions.SCORES
    return _DOMAINS[loss.labels][takes_scores]


def make_inputs(domain: str, shape: Shape, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws y_true and y_pred of a kind, float32, or int32 for class numbers.

    Raises:
        ValueError: There is no such domain.
    """
    if domain not in DOMAINS:
        raise ValueError(f"domain is {domain!r}, but must be one of {', '.join(DOMAINS)}.")
    generator = np.random.default_rng(seed)
    found = DOMAINS[domain]
    return found.labels(generator, shape), found.predictions(generator, shape)
