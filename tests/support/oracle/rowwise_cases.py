"""The rowwise losses with corners of their parameters, and rows of special values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from cases import numpy_dtype

import fastloss as fl
from fastloss.registry import kernel
from oracle.lattice import Inputs, around
from oracle.point import Array, Point, Wide, computing
from oracle.rowwise import Options, right

EPSILON = 1e-7
NAN, INFINITY = float("nan"), float("inf")
LABELS = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
# Also soft ones, ones that do not sum to 1, none, and one that is no number.
SOFT = (*LABELS, (0.25, 0.25, 0.5), (2, 0, 0), (0, 0, 0), (NAN, 0, 0))


def logits(dtype: str) -> list[tuple[float, ...]]:
    """Rows of ties, of wide spreads, and of classes that cannot be."""
    largest = float(tf.as_dtype(dtype).max)
    tiny = 2.0**-20
    rows: list[tuple[float, ...]] = [(0, 0, 0), (-0.0, 0, -0.0), (1, 1, 0), (1e-4, 0, 0)]
    rows += [(x, 0, 0) for x in (20, 88, 104, 750, 1e4, largest)]
    rows += [(-x, 0, 0) for x in (20, 88, 104, 750, 1e4, largest)]
    rows += [(x, x, x) for x in (88, 1e4, -1e4, largest, -largest)]
    rows += [(1e4, 0, -1e4), (largest / 4, 0, -largest / 4), (1e4, 1e4, 0), (1, 1 + tiny, 1 - tiny)]
    rows += [(-INFINITY, 0, 1), (-INFINITY, -INFINITY, 2), (-INFINITY, -INFINITY, -INFINITY)]
    rows += [(INFINITY, 0, 0), (INFINITY, INFINITY, 0), (INFINITY, -INFINITY, 0)]
    return [*rows, (NAN, 0, 0), (0, NAN, -INFINITY), (NAN, NAN, NAN)]


def probabilities(dtype: str) -> list[tuple[float, ...]]:
    """Rows of probabilities: 0 and 1 of a class, the clip bounds, and sums other than 1."""
    wide = np.float64 if dtype == "float64" else np.float32
    rows: list[tuple[float, ...]] = [(1, 0, 0), (0, 1, 0), (0.5, 0.5, 0), (0.25, 0.25, 0.5)]
    # Sums of exactly 1, since at the very bound the rounding of a quotient decides.
    rows += [(x, 1 - x, 0) for x in around(dtype, 1, float(wide(1) - wide(EPSILON))) if x <= 1]
    rows += [(x * EPSILON, 0.5, 0.5) for x in (0.1, 0.9, 1.1, 10)]
    rows += [(2, 1, 1), (0.2, 0.1, 0.1), (1e-30, 1e-30, 1e-30), (0, 0, 0), (1e4, 1, 0)]
    return [*rows, (NAN, 0.5, 0.5), (0, NAN, 1), (NAN, NAN, NAN)]


def vectors(dtype: str) -> list[tuple[float, ...]]:
    """Vectors of no length, tiny, huge, opposite and at right angles."""
    largest = float(tf.as_dtype(dtype).max)
    rows: list[tuple[float, ...]] = [(0, 0, 0), (-0.0, 0, 0), (1, 0, 0), (0, 1, 0), (-1, 0, 0)]
    rows += [(3, 4, 0), (1, 1, 1), (1, 1 + 2.0**-20, 1)]
    sizes = (1e-30, 1e-20, 1e-8, EPSILON, 1e-4, 1e4, 2e19, 1e30, largest)
    rows += [(x, 0, x) for x in sizes if x <= largest]
    return [*rows, (NAN, 0, 0)]


ROWS = {"logits": logits, "probabilities": probabilities, "vectors": vectors, "scores": logits}


class Case(NamedTuple):
    """A loss with arguments, its kernel's parameters, and how its predictions look."""

    kernel: str
    public: str
    predictions: str
    arguments: Mapping[str, Any] = MappingProxyType({})
    parameters: Mapping[str, Any] = MappingProxyType({})
    options: Options = Options()
    classes: int = 3

    @property
    def id(self) -> str:
        """Its arguments."""
        text = [f"{name}={value}" for name, value in self.arguments.items()]
        return " ".join([f"{self.classes} classes", *text])

    @property
    def is_sparse(self) -> bool:
        """Whether labels are class numbers."""
        return kernel(self.kernel).sparse

    def ours(self, dtype: str) -> Any:
        """The public loss, one value per row, in its computing type."""
        result = computing(dtype).__name__
        return getattr(fl, self.public)(**self.arguments, reduction="none", dtype=result)

    def inputs(self, dtype: str) -> Inputs:
        """Every row with every label."""
        rows = ROWS[self.predictions](dtype)
        if self.predictions == "vectors" or "divergence" in self.kernel:
            labels = rows
        else:
            labels = LABELS if self.is_sparse else SOFT
        pairs = [(label, row) for label in labels for row in rows]
        with np.errstate(over="ignore"):
            table = np.array(pairs, np.float64).astype(numpy_dtype(dtype))
        y_true, y_pred = (self._widened(table[:, i], i, dtype) for i in (0, 1))
        if self.is_sparse:
            y_true = y_true.astype(np.float32).argmax(-1).astype(np.int32)
        return y_true, y_pred

    def _widened(self, rows: Array, which: int, dtype: str) -> Array:
        """With as many classes as the case has; those added are plain ones."""
        if self.classes <= 3:
            return np.ascontiguousarray(rows[:, : self.classes])
        plain = np.linspace(0, 1, self.classes - 3)
        if self.predictions == "probabilities" or (which == 0 and "divergence" not in self.kernel):
            plain = 0 * plain
        added = np.broadcast_to(plain, (len(rows), self.classes - 3)).astype(rows.dtype)
        return np.concatenate([rows, added], axis=1)

    def right(self, dtype: str, inputs: Inputs) -> Point:
        """What the oracle says."""
        y, x = inputs
        if self.is_sparse:
            y = np.arange(x.shape[1]) == y[:, np.newaxis]
        with np.errstate(all="ignore"):
            return right(
                self.kernel,
                y.astype(Wide),
                x.astype(Wide),
                computing(dtype),
                self.options,
                **self.parameters,
            )


def _with_classes(*cases: Case) -> list[Case]:
    """Each with rows of 1, 3 and many classes, which go through the kernels in different ways."""
    return [case._replace(classes=classes) for case in cases for classes in (3, 1, 37)]


def _crossentropies() -> list[Case]:
    epsilon = {"epsilon": EPSILON}
    cases = []
    for sparse, prefix, title in ((False, "", ""), (True, "sparse_", "Sparse")):
        plain = (f"{prefix}categorical_crossentropy", f"{title}CategoricalCrossentropy")
        focal = (f"{prefix}categorical_focal_crossentropy", f"{title}CategoricalFocalCrossentropy")
        cases += _with_classes(
            Case(*plain, "probabilities", {}, epsilon),
            Case(f"{plain[0]}_from_logits", plain[1], "logits", {"from_logits": True}),
        )
        weights = [0.0, 2.0, 0.5]
        for options in (
            {"label_smoothing": 0.1},
            {"temperature": 0.5},
            {"logit_softcap": 5.0},
            {"z_loss": 0.01},
            {"class_weights": weights},
        ):
            arguments = {"from_logits": True, **options}
            cases.append(
                Case(
                    f"{plain[0]}_from_logits",
                    plain[1],
                    "logits",
                    arguments,
                    {},
                    Options(**options),
                )
            )
        smoothed = {"label_smoothing": 0.1}
        if not sparse:
            cases.append(Case(*plain, "probabilities", smoothed, epsilon, Options(**smoothed)))
        for gamma in (0.0, 0.5, 1.0, 2.0, 3.0):
            parameters = {"alpha": 0.25, "gamma": gamma}
            cases += [
                Case(*focal, "probabilities", parameters, {**parameters, **epsilon}),
                Case(
                    f"{focal[0]}_from_logits",
                    focal[1],
                    "logits",
                    {**parameters, "from_logits": True},
                    parameters,
                ),
            ]
    return cases


def _others() -> list[Case]:
    cases = []
    generalized = ("categorical_generalized_cross_entropy", "CategoricalGeneralizedCrossEntropy")
    for q in (0.1, 0.5, 0.7):
        cases += [
            Case(*generalized, "probabilities", {"q": q}, {"q": q}),
            Case(
                f"{generalized[0]}_from_logits",
                generalized[1],
                "logits",
                {"q": q, "from_logits": True},
                {"q": q},
            ),
        ]
    divergence = {"from_logits": True}
    cases += _with_classes(
        Case("categorical_hinge", "CategoricalHinge", "scores"),
        Case("sparse_categorical_hinge", "SparseCategoricalHinge", "scores"),
        Case("cosine_similarity", "CosineSimilarity", "vectors", {}, {"epsilon": 1e-7}),
        Case("kl_divergence_from_logits", "KLDivergence", "logits", divergence),
        Case(
            "reverse_kl_divergence_from_logits",
            "KLDivergence",
            "logits",
            {**divergence, "reverse": True},
        ),
    )
    for beta in (0.5, 0.1, 0.9):
        cases.append(
            Case(
                "jensen_shannon_divergence_from_logits",
                "JensenShannonDivergence",
                "logits",
                {"beta": beta},
                {"beta": beta},
            )
        )
    return cases


CASES = (*_crossentropies(), *_others())
