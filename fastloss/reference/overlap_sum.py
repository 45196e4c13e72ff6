"""Overlap losses with losses of each element or position beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import tensorflow as tf

from fastloss.reference.elementwise import Term, elementwise
from fastloss.reference.overlap import OverlapOptions, overlap
from fastloss.reference.rowwise import Options, rowwise

Tensor: TypeAlias = tf.Tensor


def overlap_sum(
    loss: str,
    parameters: Sequence[float],
    factor: float,
    fused_terms: Sequence[Term],
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
    terms = [
        overlap(
            loss,
            parameters,
            y_true,
            y_pred,
            None,
            class_weight,
            options,
            kept,
            class_axis,
            reduction,
            replicas,
        )
    ]
    for fused_term in fused_terms:
        if options.activation == "softmax":
            value = rowwise(
                fused_term.loss,
                fused_term.parameters,
                y_true,
                y_pred,
                None,
                None,
                Options(ignore_class=options.ignore_class),
                class_axis,
                reduction,
                replicas,
            )
        else:
            # Every element as a row of its own.
            value = elementwise(
                fused_term.loss,
                fused_term.parameters,
                y_true[..., tf.newaxis],
                y_pred[..., tf.newaxis],
                None,
                None,
                reduction,
                replicas,
            )
        terms.append(value)
    factors = [factor, *(fused_term.factor for fused_term in fused_terms)]
    total = tf.add_n([factor * term for factor, term in zip(factors, terms, strict=True)])
    return total, tf.stop_gradient(tf.stack(terms))
