"""The overlap losses with corners of their parameters, and masks of special values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from cases import numpy_dtype

import fastloss as fl
from oracle.lattice import Inputs
from oracle.overlap import right
from oracle.point import Point, Wide, computing

EPSILON = 1e-7
NAN, INFINITY = float("nan"), float("inf")
# Of four positions of one class, or of two positions of two classes.
MASKS = ((0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 0, 1), (0, 0, 0, 1), (0.25, 0.5, 0, 1))
PROBABILITIES = (
    *MASKS,
    (0.5, 0.5, 0.5, 0.5),
    (1e-4, 1 - 1e-4, 0, 1),
    (1e-30, 1e-30, 1e-30, 1e-30),
    (1e4, 0, 0, 1e4),
    (NAN, 0, 0, 1),
    (1, 1, 1, NAN),
)
LOGITS = (
    (0, 0, 0, 0),
    *((x, -x, x, -x) for x in (1, 20, 88, 104, 750, 1e4)),
    (-88, -88, -88, -88),
    (1e4, 1e4, 1e4, 1e4),
    (-INFINITY, 0, 0, -INFINITY),
    (-INFINITY, -INFINITY, 0, 1),
    (NAN, 0, 0, 1),
)
# Behind a softmax a row of logits of infinity has no value.
SIGMOIDS = ((INFINITY, -INFINITY, 0, INFINITY), (INFINITY,) * 4)


class Case(NamedTuple):
    """A loss with arguments, its kernel's parameters, and what it takes."""

    kernel: str
    public: str
    activation: str = "none"
    arguments: Mapping[str, Any] = MappingProxyType({})
    parameters: Mapping[str, Any] = MappingProxyType({})
    squared: bool = False
    positions: int = 4

    @property
    def id(self) -> str:
        """Its arguments."""
        text = [f"{name}={value}" for name, value in self.arguments.items()]
        return " ".join([f"{self.positions} positions", self.activation, *text])

    def ours(self, dtype: str) -> Any:
        """The public loss, one value per image, in its computing type."""
        arguments = {**self.arguments, "per_image": True, "squared": self.squared}
        if self.activation != "none":
            arguments |= {"from_logits": True, "activation": self.activation, "per_class": False}
        if self.kernel == "generalized_dice":
            arguments.pop("per_class", None)
        result = computing(dtype).__name__
        return getattr(fl, self.public)(**arguments, reduction="none", dtype=result)

    def inputs(self, dtype: str) -> Inputs:
        """Every prediction with every mask, `(images, positions, classes)`."""
        rows = PROBABILITIES if self.activation == "none" else LOGITS
        if self.activation == "sigmoid":
            rows = (*rows, *SIGMOIDS)
        table = np.array([(mask, row) for mask in MASKS for row in rows], np.float64)
        table = table.astype(numpy_dtype(dtype))[:, :, : self.positions]
        shape = (len(table), -1, 2) if self.positions == 4 else (len(table), self.positions, 1)
        y_true, y_pred = (np.ascontiguousarray(table[:, i]).reshape(shape) for i in (0, 1))
        return y_true, y_pred

    def right(self, dtype: str, inputs: Inputs) -> Point:
        """What the oracle says."""
        t, x = (v.astype(Wide) for v in inputs)
        compute = computing(dtype)
        parameters = {name: Wide(compute(value)) for name, value in self.parameters.items()}
        with np.errstate(all="ignore"):
            return right(self.kernel, t, x, self.activation, self.squared, **parameters)


def _cases() -> tuple[Case, ...]:
    smooth = {"smooth_numerator": 0.0, "smooth_denominator": EPSILON}
    one = {"smooth_numerator": 1.0, "smooth_denominator": 1.0}
    shares = {"alpha": 0.7, "beta": 0.3}
    cases = []
    for arguments in ({}, one):
        smoothing = arguments or smooth
        jaccard = {"smooth": 1.0} if arguments else {}
        cases += [
            Case("dice", "Dice", "none", arguments, smoothing),
            Case("log_cosh_dice", "LogCoshDice", "none", arguments, smoothing),
            Case("tversky", "Tversky", "none", {**shares, **arguments}, {**shares, **smoothing}),
            Case(
                "jaccard",
                "Jaccard",
                "none",
                jaccard,
                dict.fromkeys(smooth, jaccard.get("smooth", EPSILON)),
            ),
        ]
        cases += [
            Case(
                "focal_tversky",
                "FocalTversky",
                "none",
                {**shares, "gamma": gamma, **arguments},
                {**shares, "gamma": gamma, **smoothing},
            )
            for gamma in (0.75, 1.0, 2.0)
        ]
        cases += [
            Case(
                "generalized_dice",
                "GeneralizedDice",
                "none",
                {"weight": weight, **arguments},
                {"power": power, **smoothing},
            )
            for weight, power in (("square", 2.0), ("uniform", 0.0))
        ]
    # One position, and none.
    cases += [case._replace(positions=positions) for case in cases[:8] for positions in (1, 0)]
    plain = [case for case in cases[:8] if case.arguments.get("gamma", 0.75) == 0.75]
    cases += [case._replace(activation=name) for case in plain for name in ("sigmoid", "softmax")]
    return (*cases, *(case._replace(squared=True) for case in plain))


CASES = _cases()
