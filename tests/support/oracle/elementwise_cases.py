"""The elementwise losses with corners of their parameters, and the lattice of each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

import fastloss as fl
from oracle.elementwise import LOSSES
from oracle.lattice import Inputs, numbers, pairs, probabilities, wide
from oracle.point import Point, computing

EPSILON = 1e-7
NAN, INFINITY = float("nan"), float("inf")
REAL = (0.0, 1.0, 0.5, -1.0, 2.0, 1e4, NAN)
SOFT = (0.0, 1.0, 0.5, NAN)


class Case(NamedTuple):
    """A loss with arguments, its kernel's parameters, its labels and how its predictions look."""

    kernel: str
    public: str
    labels: tuple[float, ...]
    predictions: str
    arguments: Mapping[str, Any] = MappingProxyType({})
    parameters: Mapping[str, Any] = MappingProxyType({})

    @property
    def id(self) -> str:
        """Its arguments."""
        return " ".join(f"{name}={value}" for name, value in self.arguments.items())

    def ours(self, dtype: str) -> Any:
        """The public loss, one value per row, in its computing type."""
        result = computing(dtype).__name__
        return getattr(fl, self.public)(**self.arguments, reduction="none", dtype=result)

    def inputs(self, dtype: str) -> Inputs:
        """Labels and predictions, `(points, 1)`."""
        if self.predictions == "probability":
            # Far from 0 and 1, where a clip makes a probability of it.
            beyond = () if "focal" in self.kernel else (-1.0, 2.0, -INFINITY, INFINITY)
            return pairs(self.labels, [*probabilities(dtype, EPSILON), *beyond], dtype)
        delta = self.parameters.get("delta", 1.0)
        beside = (1e-4, delta if np.isfinite(delta) else 1.0)
        extra = (EPSILON, -EPSILON) if self.predictions == "rate" else ()
        return pairs(self.labels, [*numbers(dtype), *extra], dtype, beside)

    def right(self, dtype: str, inputs: Inputs) -> Point:
        """What the oracle says."""
        with np.errstate(all="ignore"):
            return LOSSES[self.kernel](*wide(inputs), computing(dtype), **self.parameters)


def _simple() -> list[Case]:
    epsilon = {"epsilon": EPSILON}
    largest = (*REAL, INFINITY, -INFINITY)
    return [
        Case("mean_squared_error", "MeanSquaredError", largest, "real"),
        Case("mean_absolute_error", "MeanAbsoluteError", largest, "real"),
        Case(
            "mean_absolute_percentage_error",
            "MeanAbsolutePercentageError",
            largest,
            "real",
            {},
            epsilon,
        ),
        Case(
            "mean_squared_logarithmic_error",
            "MeanSquaredLogarithmicError",
            REAL,
            "rate",
            {},
            epsilon,
        ),
        *(
            Case("huber", "Huber", REAL, "real", {"delta": delta}, {"delta": delta})
            for delta in (1.0, 0.3, 1e-3, INFINITY)
        ),
        *(
            Case("smooth_l1", "SmoothL1", REAL, "real", {"beta": beta}, {"beta": beta})
            for beta in (1.0, 0.3, 1e-3, 0.0)
        ),
        Case("log_cosh", "LogCosh", largest, "real"),
        *(
            Case("pinball", "Pinball", REAL, "real", {"tau": tau}, {"tau": tau})
            for tau in (0.5, 0.1)
        ),
        Case("poisson", "Poisson", (0.0, 1.0, 0.5, 2.0, 1e4, NAN), "rate", {}, epsilon),
        *(
            Case(kernel, public, labels, "real", {}, {"binary": labels == (0.0, 1.0)})
            for kernel, public in (("hinge", "Hinge"), ("squared_hinge", "SquaredHinge"))
            for labels in ((0.0, 1.0), (-1.0, 1.0), (-1.0, 1.0, 0.5, 2.0, NAN))
        ),
        Case("kl_divergence", "KLDivergence", (*SOFT, 1e-8), "probability", {}, epsilon),
    ]


def _binary() -> list[Case]:
    cases = []
    for logits in (False, True):
        ending, kind = ("_from_logits", "real") if logits else ("", "probability")
        epsilon = {} if logits else {"epsilon": EPSILON}
        for label_smoothing, pos_weight, labels in (
            (0.0, None, (0.0, 1.0)),
            (0.0, None, (*SOFT, 2.0, -1.0)),
            (0.1, None, (0.0, 1.0)),
            (0.0, 2.5, (0.0, 1.0)),
            (0.1, 2.5, SOFT),
        ):
            arguments = {"from_logits": logits, "label_smoothing": label_smoothing}
            parameters = {"label_smoothing": label_smoothing, **epsilon}
            if pos_weight is not None:
                arguments["pos_weight"] = parameters["pos_weight"] = pos_weight
            cases.append(
                Case(
                    f"binary_crossentropy{ending}",
                    "BinaryCrossentropy",
                    labels,
                    kind,
                    arguments,
                    parameters,
                )
            )
        for gamma in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0):
            for labels, label_smoothing, alpha in (
                ((0.0, 1.0), 0.0, None),
                (SOFT, 0.0, None),
                ((0.0, 1.0), 0.1, 0.1),
            ):
                arguments = {"from_logits": logits, "gamma": gamma}
                arguments["label_smoothing"] = label_smoothing
                if alpha is not None:
                    arguments |= {"apply_class_balancing": True, "alpha": alpha}
                base, balance = (1.0, 0.0) if alpha is None else (1 - alpha, 2 * alpha - 1)
                parameters = {"label_smoothing": label_smoothing, "gamma": gamma}
                parameters |= {"base": base, "balance": balance, **epsilon}
                cases.append(
                    Case(
                        f"binary_focal_crossentropy{ending}",
                        "BinaryFocalCrossentropy",
                        labels,
                        kind,
                        arguments,
                        parameters,
                    )
                )
    return cases


CASES = (*_simple(), *_binary())
