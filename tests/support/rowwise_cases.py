"""The rowwise losses with arguments and data on which they are tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from cases import (
    FromFunction,
    assert_same,
    float64,
    numpy_dtype,
    value_and_gradient,
)

import fastloss as fl

Array = np.ndarray

REFUSALS = (ValueError, tf.errors.InvalidArgumentError, IndexError)
# Of the reductions, one for each meaning.
DISTINCT = ("sum_over_batch_size", "sum", "mean_with_sample_weight", "none")


def one_hot(y_true: Any, y_pred: Any) -> Any:
    """Sparse labels of predictions with the classes last, as rows."""
    if len(y_true.shape) == len(y_pred.shape):
        y_true = tf.squeeze(y_true, -1)
    tf.TensorShape(y_true.shape).assert_is_compatible_with(y_pred.shape[:-1])
    return tf.one_hot(tf.cast(y_true, tf.int64), y_pred.shape[-1], dtype=y_pred.dtype)


def sparse_focal(alpha: Any = 0.25, gamma: float = 2.0, **arguments: Any) -> Callable[..., Any]:
    def function(y_true: Any, y_pred: Any) -> Any:
        rows = one_hot(y_true, y_pred)
        return keras.losses.categorical_focal_crossentropy(rows, y_pred, alpha, gamma, **arguments)

    return function


def sparse_smoothed(label_smoothing: float) -> Callable[..., Any]:
    def function(y_true: Any, y_pred: Any) -> Any:
        return keras.losses.categorical_crossentropy(
            one_hot(y_true, y_pred), y_pred, True, label_smoothing
        )

    return function


def sparse_hinge() -> Callable[..., Any]:
    return lambda y_true, y_pred: keras.losses.categorical_hinge(one_hot(y_true, y_pred), y_pred)


def generalized_from_logits(q: float) -> Callable[..., Any]:
    def function(y_true: Any, y_pred: Any) -> Any:
        p = tf.reduce_sum(one_hot(y_true, y_pred) * tf.nn.softmax(y_pred), -1)
        return (1 - p**q) / q

    return function


def divergence(reverse: bool = False, temperature: float = 1.0) -> Callable[..., Any]:
    def function(y_true: Any, y_pred: Any) -> Any:
        y_true.shape.assert_is_compatible_with(y_pred.shape)
        log_p, log_q = (tf.nn.log_softmax(x / temperature) for x in (y_true, y_pred))
        if reverse:
            log_p, log_q = log_q, log_p
        return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), -1)

    return function


def jensen_shannon(beta: float = 0.5, temperature: float = 1.0) -> Callable[..., Any]:
    def function(y_true: Any, y_pred: Any) -> Any:
        y_true.shape.assert_is_compatible_with(y_pred.shape)
        p, q = (tf.nn.softmax(x / temperature) for x in (y_true, y_pred))
        m = beta * p + (1 - beta) * q
        terms = beta * p * tf.math.log(p / m) + (1 - beta) * q * tf.math.log(q / m)
        return tf.reduce_sum(terms, -1)

    return function


@dataclass(frozen=True)
class Case:
    """A loss with arguments, and what its labels and predictions look like.

    `stand_in` makes the same loss in TensorFlow, where Keras does not have it.
    """

    loss: str
    public: str
    labels: str
    predictions: str
    arguments: dict[str, Any] = field(default_factory=dict)
    stand_in: Callable[..., Any] | None = None

    @property
    def id(self) -> str:
        extra = [f"{name}={value}" for name, value in self.arguments.items()]
        return "-".join([self.public, self.labels, *extra]).replace(" ", "")

    @property
    def function(self) -> str:
        """Name of the public function."""
        return self.loss.removesuffix("_from_logits").removeprefix("reverse_")

    @property
    def is_sparse(self) -> bool:
        return self.labels == "class"

    def ours(self, **arguments: Any) -> Any:
        return getattr(fl, self.public)(**self.arguments, **arguments)

    def keras(self, **arguments: Any) -> Any:
        if self.stand_in is not None:
            return FromFunction(self.stand_in, **arguments)
        return getattr(keras.losses, self.public)(**self.arguments, **arguments)

    def data(
        self,
        shape: tuple[int, ...],
        dtype: str = "float32",
        label_dtype: str | None = None,
        seed: int = 0,
    ) -> tuple[Array, Array]:
        """Labels and predictions, classes in the last dimension of the predictions' shape."""
        random = np.random.default_rng(seed)
        y_pred = random.normal(0, 2, shape)
        if self.predictions == "probability":
            y_pred = random.uniform(0.05, 1, shape)
            y_pred /= y_pred.sum(-1, keepdims=True)
        classes = random.integers(0, max(shape[-1], 1), shape[:-1])
        if self.is_sparse:
            y_true = classes
        elif self.labels == "one-hot":
            y_true = np.arange(shape[-1]) == classes[..., np.newaxis]
        elif self.labels == "soft":
            y_true = random.uniform(0.05, 1, shape)
            y_true /= y_true.sum(-1, keepdims=True)
        else:
            assert self.labels == "real", self.labels
            y_true = random.normal(0, 2, shape)
        if label_dtype is None:
            label_dtype = "int32" if self.is_sparse else dtype
        return y_true.astype(numpy_dtype(label_dtype)), y_pred.astype(numpy_dtype(dtype))


def _both(name: str, public: str, labels: str, **arguments: Any) -> tuple[Case, Case]:
    """A loss of probabilities and of logits."""
    return (
        Case(name, public, labels, "probability", arguments),
        Case(f"{name}_from_logits", public, labels, "logit", {"from_logits": True, **arguments}),
    )


_SPARSE = ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy", "class")
_DENSE = ("categorical_crossentropy", "CategoricalCrossentropy")
_FOCAL = ("categorical_focal_crossentropy", "CategoricalFocalCrossentropy")
_SPARSE_FOCAL = (
    "sparse_categorical_focal_crossentropy",
    "SparseCategoricalFocalCrossentropy",
    "class",
)
_GENERALIZED = ("categorical_generalized_cross_entropy", "CategoricalGeneralizedCrossEntropy")

CASES = (
    *_both(*_SPARSE),
    *_both(*_SPARSE, ignore_class=1),
    Case(
        f"{_SPARSE[0]}_from_logits",
        *_SPARSE[1:],
        "logit",
        {"from_logits": True, "label_smoothing": 0.2},
        sparse_smoothed(0.2),
    ),
    *_both(*_DENSE, "one-hot"),
    *_both(*_DENSE, "soft", label_smoothing=0.1),
    *_both(*_FOCAL, "one-hot"),
    *_both(*_FOCAL, "soft", alpha=0.6, gamma=1.5, label_smoothing=0.1),
    *_both(*_FOCAL, "one-hot", gamma=0.0),
    Case(*_SPARSE_FOCAL, "probability", {}, sparse_focal()),
    Case(
        f"{_SPARSE_FOCAL[0]}_from_logits",
        *_SPARSE_FOCAL[1:],
        "logit",
        {"from_logits": True, "alpha": 0.5, "gamma": 3.0, "label_smoothing": 0.1},
        sparse_focal(0.5, 3.0, from_logits=True, label_smoothing=0.1),
    ),
    Case(*_GENERALIZED, "class", "probability"),
    Case(
        f"{_GENERALIZED[0]}_from_logits",
        _GENERALIZED[1],
        "class",
        "logit",
        {"q": 0.7, "from_logits": True},
        generalized_from_logits(0.7),
    ),
    Case("categorical_hinge", "CategoricalHinge", "one-hot", "real"),
    Case("sparse_categorical_hinge", "SparseCategoricalHinge", "class", "real", {}, sparse_hinge()),
    Case("cosine_similarity", "CosineSimilarity", "real", "real"),
    Case(
        "kl_divergence_from_logits",
        "KLDivergence",
        "real",
        "logit",
        {"from_logits": True},
        divergence(),
    ),
    Case(
        "reverse_kl_divergence_from_logits",
        "KLDivergence",
        "real",
        "logit",
        {"from_logits": True, "reverse": True, "temperature": 2.0},
        divergence(True, 2.0),
    ),
    Case(
        "jensen_shannon_divergence_from_logits",
        "JensenShannonDivergence",
        "real",
        "logit",
        {"beta": 0.3, "temperature": 1.5},
        jensen_shannon(0.3, 1.5),
    ),
)
IDS = [case.id for case in CASES]
# One for each way through the code: sparse and dense labels, ignored rows, labels that broadcast.
CORE = tuple(
    case
    for case in CASES
    if case.id
    in (
        "SparseCategoricalCrossentropy-class-from_logits=True",
        "SparseCategoricalCrossentropy-class-from_logits=True-ignore_class=1",
        "CategoricalCrossentropy-one-hot-from_logits=True",
        "CosineSimilarity-real",
    )
)
CORE_IDS = [case.id for case in CORE]


def find(public: str, **arguments: Any) -> Case:
    """The first case of a class, with these arguments if any are given."""
    return next(
        case
        for case in CASES
        if case.public == public and (not arguments or case.arguments == arguments)
    )


def weights(shape: tuple[int, ...] | int, seed: int = 1) -> Array:
    """Random weights from 0 to 2."""
    return np.asarray(np.random.default_rng(seed).uniform(0, 2, shape), np.float32)


def in_keras(case: Case, y_true: Any, y_pred: Any, *weight: Any, **arguments: Any) -> Any:
    """Keras's loss and gradient of the same numbers, in float64."""
    loss = case.keras(dtype="float64", **arguments)
    wide = [None if x is None else float64(x) for x in weight]
    return value_and_gradient(loss, float64(y_true), float64(y_pred), *wide)


def outcome(function: Any, *arguments: Any, **options: Any) -> Any:
    """The result, or that the input is refused."""
    try:
        return function(*arguments, **options)
    except REFUSALS:
        return "refused"


def compare(ours: Any, theirs: Any, dtype: str = "float32", what: str = "") -> None:
    """Ours equals theirs, or both refuse the input."""
    if isinstance(theirs, str):
        assert isinstance(ours, str), f"{what}: Keras refuses it, ours gives shape {ours[0].shape}"
    else:
        assert not isinstance(ours, str), f"{what}: ours refuses it, not Keras: {theirs[0].shape}"
        if np.abs(float64(theirs[1])).max(initial=0) < 1e-14:
            # A vector of one number has one direction: all that is left is rounding.
            np.testing.assert_allclose(ours[1], np.zeros(ours[1].shape), atol=1e-6, err_msg=what)
            ours = (ours[0], theirs[1])
        assert_same(ours, theirs, dtype, what)


def assert_same_outcome(
    case: Case, y_true: Any, y_pred: Any, *weight: Any, what: str = "", **options: Any
) -> None:
    """Ours equals Keras's, or both refuse the input."""
    theirs = outcome(in_keras, case, y_true, y_pred, *weight, **options)
    ours = outcome(value_and_gradient, case.ours(**options), y_true, y_pred, *weight)
    compare(ours, theirs, np.dtype(y_pred.dtype).name, what)
