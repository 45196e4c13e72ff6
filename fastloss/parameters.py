"""What the parameters of the losses may be."""

from __future__ import annotations

import sys
from math import inf
from typing import NamedTuple

_LARGEST = sys.float_info.max


class Range(NamedTuple):
    """What a parameter may be: bounds, which `open` leaves out, and a `sample` for tests."""

    low: float
    high: float
    sample: float
    open: bool = False

    def holds(self, value: float) -> bool:
        """Whether the value lies in the range."""
        return self.low < value < self.high if self.open else self.low <= value <= self.high

    @property
    def expected(self) -> str:
        """The range in words, for the error message."""
        if self.open:
            return f"a number between {self.low:g} and {self.high:g}, both excluded"
        if self.high == inf:
            return "a number that is not negative"
        if self.high == _LARGEST:
            return "a finite number that is not negative"
        return f"a number from {self.low:g} to {self.high:g}"


PARAMETERS = {
    "alpha": Range(0.0, _LARGEST, 0.3),
    "balance": Range(-1.0, 1.0, 0.25),
    "base": Range(0.0, 1.0, 0.5),
    "beta": Range(0.0, _LARGEST, 0.6),
    "delta": Range(0.0, inf, 0.7),
    "epsilon": Range(0.0, 1.0, 1e-7, open=True),
    "gamma": Range(0.0, inf, 1.5),
    "label_smoothing": Range(0.0, 1.0, 0.1),
    "power": Range(0.0, _LARGEST, 2.0),
    "q": Range(0.0, 1.0, 0.7, open=True),
    "smooth_denominator": Range(0.0, _LARGEST, 1.0),
    "smooth_numerator": Range(0.0, _LARGEST, 0.5),
    "tau": Range(0.0, 1.0, 0.3, open=True),
}
# Parameters that mean something else to one loss.
_OWN_PARAMETERS = {
    ("binary_focal_crossentropy", "alpha"): Range(0.0, 1.0, 0.3),
    ("focal_tversky", "gamma"): Range(0.0, _LARGEST, 1.5),
    ("jensen_shannon_divergence", "beta"): Range(0.0, 1.0, 0.6, open=True),
}


def range_of(loss: str, name: str) -> Range:
    """What a parameter of a loss, named by its public function, may be.

    Raises:
        KeyError: If there is no parameter of that name.
    """
    return _OWN_PARAMETERS.get((loss, name)) or PARAMETERS[name]
