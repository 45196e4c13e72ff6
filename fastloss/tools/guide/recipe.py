"""A loss of a name and arguments, and the expression that makes it."""

from __future__ import annotations

from inspect import signature
from typing import Any, NamedTuple

import keras
import numpy as np

from fastloss import losses
from fastloss.tools.guide.recommendation import Recommendation
from fastloss.tools.guide.tables import Task

_DIGITS = 4  # of parameters, which come from samples


class Recipe(NamedTuple):
    """A loss and its expression."""

    loss: keras.losses.Loss
    code: str
    names: tuple[str, ...]

    def __add__(self, other: Any) -> Recipe:
        return Recipe(
            self.loss + other.loss, f"{self.code} + {other.code}", self.names + other.names
        )

    def because(self, row: Task, *reasons: str) -> Recommendation:
        """The recommendation, with the alternatives of a row of the table that are others."""
        others = tuple(other for other in row.alternatives if other.name not in self.names)
        return Recommendation(self.loss, self.code, " ".join(filter(None, reasons)), others)


def recipe(name: str, **arguments: Any) -> Recipe:
    """The loss of that name; arguments that are None or the default are left out."""
    kind = getattr(losses, name)
    parameters = signature(kind).parameters
    given = {
        argument: _rounded(value)
        for argument, value in arguments.items()
        if value is not None and value is not parameters[argument].default
    }
    text = ", ".join(f"{argument}={value!r}" for argument, value in given.items())
    return Recipe(kind(**given), f"fl.{name}({text})", (name,))


def _rounded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return tuple(_rounded(x) for x in value.tolist())
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
