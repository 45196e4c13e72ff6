"""Overlap losses with losses of each element or position beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from fastloss.reference.elementwise import elementwise
from fastloss.reference.overlap import OverlapOptions, overlap
from fastloss.reference.rowwise import Options, rowwise

Tensor = tf.Tensor


class Companion(NamedTuple):
    """A loss of each element, or of the classes of each position.

    Attributes:
        loss: A name of `csrc/losses/elementwise.h` or `csrc/losses/rowwise.h`.
        parameters: Its parameters in the order of that file.
        factor: What it counts for.
    """

    loss: str
    parameters: tuple[float, ...]
    factor: float


def overlap_sum(
    loss: str,
    parameters: Sequence[float],
    factor: float,
    companions: Sequence[Companion],
    y_true: Tensor,
    y_pred: Tensor,
    class_weight: Tensor | None,
    options: OverlapOptions,
    kept: tuple[int, ...],
    class_axis: int,
    reduction: str,
    replicas: int,
) -> tuple[Tensor, Tensor]:
    """As `fastloss.ops.overlap_sum`."""
    inputs = (y_true, y_pred, None, class_weight)
    end = (options, kept, class_axis, reduction, replicas)
    terms = [overlap(loss, parameters, *inputs, *end)]
    for companion in companions:
        start = (companion.loss, companion.parameters)
        if options.activation == "softmax":
            rows = Options(ignore_class=options.ignore_class)
            end = (None, None, rows, class_axis, reduction, replicas)
            terms.append(rowwise(*start, y_true, y_pred, *end))
        else:
            # Every element as a row of its own.
            elements = (y_true[..., tf.newaxis], y_pred[..., tf.newaxis])
            terms.append(elementwise(*start, *elements, None, None, reduction, replicas))
    factors = [factor, *(companion.factor for companion in companions)]
    total = tf.add_n([factor * term for factor, term in zip(factors, terms, strict=True)])
    return total, tf.stop_gradient(tf.stack(terms))
