"""What the cross-entropies over classes share: their arguments, and when they make sense."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import keras
import numpy as np

from fastloss.losses.base import FusedLoss
from fastloss.ops import Options
from fastloss.reference.rowwise import SPARSE
from fastloss.terms.arguments import (
    integer,
    not_negative,
    per_class,
    positive,
    smoothing,
    softcap,
)
from fastloss.terms.inputs import Tensor, TensorLike, label
from fastloss.terms.rowwise import RowMetrics, Rowwise


class Extras(NamedTuple):
    """The arguments that every cross-entropy over classes takes, checked."""

    from_logits: bool
    axis: int
    label_smoothing: float = 0.0
    ignore_class: int | None = None
    class_weights: Any = None
    temperature: float = 1.0
    logit_softcap: float | None = None
    z_loss: float = 0.0

    @classmethod
    def checked(cls, from_logits: bool, axis: int, **arguments: Any) -> Extras:
        """The arguments, if each is in its range.

        Raises:
            ValueError: If one is not.
        """
        given = cls(from_logits, integer("axis", axis), **arguments)
        ignored = given.ignore_class
        return given._replace(
            label_smoothing=smoothing(given.label_smoothing),
            ignore_class=None if ignored is None else integer("ignore_class", ignored),
            class_weights=per_class("class_weights", given.class_weights),
            temperature=positive("temperature", given.temperature),
            logit_softcap=softcap(given.logit_softcap),
            z_loss=not_negative("z_loss", given.z_loss),
        )

    @property
    def options(self) -> Options:
        """As `fastloss.ops.rowwise` takes them."""
        return Options(
            self.label_smoothing,
            self.temperature,
            self.logit_softcap or 0.0,
            self.z_loss,
            self.ignore_class,
        )


def config_of(values: Any) -> list[float] | None:
    """Weights per class as JSON can hold them."""
    return None if values is None else np.asarray(values, float).tolist()


def term(
    loss: str,
    parameters: tuple[float, ...],
    y_pred: Tensor,
    given: Extras,
    return_metrics: bool = False,
) -> Rowwise:
    """The loss of logits or of probabilities, as `given.from_logits` says.

    Raises:
        ValueError: If y_pred holds probabilities and something is asked that needs logits.
    """
    shape = y_pred.shape
    in_range = -len(shape) <= given.axis < len(shape)
    if loss not in SPARSE and in_range and shape[given.axis] == 1:
        warnings.warn(
            f"{loss}: y_pred has shape {tuple(shape)}, which is one class; expected two or more. "
            "For a yes-or-no label use binary_crossentropy.",
            SyntaxWarning,
            stacklevel=5,
        )
    if given.from_logits:
        loss = f"{loss}_from_logits"
    else:
        refuse_without_logits(
            return_metrics=(return_metrics, False),
            temperature=(given.temperature, 1.0),
            logit_softcap=(given.logit_softcap, None),
            z_loss=(given.z_loss, 0.0),
        )
        if not loss.startswith("categorical_generalized"):
            parameters = (*parameters, keras.config.epsilon())
    return Rowwise(loss, parameters, given.axis, given.options, given.class_weights)


def refuse_without_logits(**arguments: tuple[Any, Any]) -> None:
    """Refuse arguments, given with their defaults, that mean nothing for probabilities.

    Raises:
        ValueError: If one is not its default.
    """
    for name, (value, default) in arguments.items():
        if value != default:
            raise ValueError(
                f"{name} is {value!r}, but y_pred holds probabilities; expected logits: give the "
                f"loss logits and set from_logits=True, or leave {name} out"
            )


def rows_and_metrics(
    term: Rowwise, y_true: TensorLike, y_pred: Tensor, adjust_rank: bool
) -> tuple[Tensor, RowMetrics]:
    """As `evaluate`, with what else is known of the rows."""
    y_true = label(y_true)
    if adjust_rank:
        y_true, y_pred = term.aligned(y_true, y_pred)
    return term.rows_and_metrics(y_true, y_pred)


class CategoricalLoss(FusedLoss):
    """Base class of the cross-entropies over classes."""

    def __init__(self, given: Extras, name: str, reduction: str | None, dtype: Any) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = given.from_logits
        self.axis = given.axis
        self.label_smoothing = given.label_smoothing
        self.ignore_class = given.ignore_class
        self.class_weights = given.class_weights
        self.temperature = given.temperature
        self.logit_softcap = given.logit_softcap
        self.z_loss = given.z_loss

    @property
    def _given(self) -> Extras:
        return Extras(
            self.from_logits,
            self.axis,
            self.label_smoothing,
            self.ignore_class,
            self.class_weights,
            self.temperature,
            self.logit_softcap,
            self.z_loss,
        )

    def get_config(self) -> dict[str, Any]:
        config = self._given._asdict()
        return {
            **super().get_config(),
            **config,
            "class_weights": config_of(self.class_weights),
        }
