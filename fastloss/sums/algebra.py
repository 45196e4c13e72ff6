"""Arithmetic of losses: sums, differences and multiples of losses are losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

if TYPE_CHECKING:
    from fastloss.sums.weighted_sum import WeightedSum

Terms = list[tuple[float, keras.losses.Loss]]


class Algebra:
    """`+`, `-`, unary minus, and `*` and `/` by a number, between this and any Keras loss."""

    # Of the losses that are fused.
    dtype: Any
    reduction: Any
    prediction: Any
    _term: Any

    def is_fused(self) -> bool:
        """Whether a pass that is shared with other losses can compute this one."""
        return False

    def _summands(self) -> Terms:
        """The losses that it is a sum of, each with its factor."""
        return [(1.0, self)]  # type: ignore[list-item]

    # A NumPy number on the left leaves the operation to the loss on the right.
    __array_ufunc__ = None

    def __add__(self, other: Any) -> Any:
        return _add(self, other, 1.0)

    def __radd__(self, other: Any) -> Any:
        return _add(other, self, 1.0)

    def __sub__(self, other: Any) -> Any:
        return _add(self, other, -1.0)

    def __rsub__(self, other: Any) -> Any:
        return _add(other, self, -1.0)

    def __mul__(self, factor: Any) -> Any:
        return _scaled(self, factor) if _is_number(factor) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Any:
        return _scaled(self, 1 / divisor) if _is_number(divisor) else NotImplemented

    def __neg__(self) -> Any:
        return _scaled(self, -1.0)


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float, np.integer, np.floating)) and not isinstance(x, bool)


def _times(loss: Any, factor: float) -> Terms:
    summands: Terms = loss._summands() if isinstance(loss, Algebra) else [(1.0, loss)]
    return [(factor * own, one) for own, one in summands]


def _weighted_sum(terms: Terms) -> WeightedSum:
    # A weighted sum has this arithmetic itself.
    from fastloss.sums.weighted_sum import WeightedSum

    return WeightedSum([loss for _, loss in terms], [factor for factor, _ in terms])


def _scaled(loss: Any, factor: float) -> WeightedSum:
    return _weighted_sum(_times(loss, float(factor)))


def _add(x: Any, y: Any, sign: float) -> Any:
    # `sum()` starts from 0.
    if _is_number(x) and x == 0:
        return y if sign > 0 else -y
    if _is_number(y) and y == 0:
        return x
    if not (isinstance(x, keras.losses.Loss) and isinstance(y, keras.losses.Loss)):
        return NotImplemented
    return _weighted_sum([*_times(x, 1.0), *_times(y, sign)])
