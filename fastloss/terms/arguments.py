"""Checks of the arguments that several losses take."""

from __future__ import annotations

import operator
import sys
from typing import Any

import numpy as np
import tensorflow as tf

from fastloss.parameters import range_of


def checked(argument: str, value: Any, low: float, high: float, expected: str) -> float:
    """The value as a float, if it lies in [low, high].

    Raises:
        ValueError: If it does not; the message says what `expected` is.
    """
    number = _number(argument, value, expected)
    if not low <= number <= high:
        raise ValueError(f"{argument} is {value!r}; expected {expected}")
    return number


def _number(argument: str, value: Any, expected: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{argument} is {value!r}; expected {expected}") from None


def integer(argument: str, value: Any) -> int:
    """The value as an int, if it is one.

    Raises:
        ValueError: If it is not.
    """
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"{argument} is {value!r}; expected an integer")


def integer_or_none(argument: str, value: Any) -> int | None:
    """The value as an int, or None.

    Raises:
        ValueError: If it is neither.
    """
    return None if value is None else integer(argument, value)


def in_range(loss: str, argument: str, value: Any) -> float:
    """The value as a float, if it lies in the range that the parameter has in this loss.

    Raises:
        ValueError: If it does not.
    """
    allowed = range_of(loss, argument)
    number = _number(argument, value, allowed.expected)
    if not allowed.holds(number):
        raise ValueError(f"{argument} is {value!r}; expected {allowed.expected}")
    return number


def smoothing(label_smoothing: Any) -> float:
    """The label smoothing, which has the same range in every loss."""
    return in_range("binary_crossentropy", "label_smoothing", label_smoothing)


def positive(argument: str, value: Any) -> float:
    """A finite number above 0."""
    expected = "a finite number above 0"
    return checked(argument, value, 5e-324, sys.float_info.max, expected)


def softcap(logit_softcap: Any) -> float | None:
    """The cap of the logits, or None."""
    return None if logit_softcap is None else positive("logit_softcap", logit_softcap)


def not_negative(argument: str, value: Any) -> float:
    """A finite number that is not negative."""
    expected = "a finite number that is not negative"
    return checked(argument, value, 0, sys.float_info.max, expected)


def per_class(argument: str, values: Any) -> Any:
    """One weight per class, checked where they are known: a tensor as it is, numbers as a tuple."""
    if values is None or (tf.is_tensor(values) and not hasattr(values, "numpy")):
        return values
    expected = "one finite number that is not negative for each class"
    numbers = np.asarray(values)
    if numbers.ndim != 1 or numbers.dtype.kind not in "biuf":
        raise ValueError(f"{argument} is {values!r}; expected {expected}")
    known = tuple(checked(argument, x, 0, sys.float_info.max, expected) for x in numbers)
    return values if tf.is_tensor(values) else known
