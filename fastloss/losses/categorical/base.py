"""What the cross-entropies over classes share: their arguments, and when they make sense."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from fastloss import registry
from fastloss.calls import RowwiseOptions, Tensor
from fastloss.losses.base import FusedLoss
from fastloss.terms.arguments import (
    integer,
    integer_or_none,
    not_negative,
    per_class,
    positive,
    smoothing,
    softcap,
)
from fastloss.terms.inputs import TensorLike, label
from fastloss.terms.rowwise import RowMetrics, Rowwise


class CrossEntropyArguments(NamedTuple):
    """The arguments that every cross-entropy over classes takes, checked."""

    from_logits: bool = False
    axis: int = -1
    label_smoothing: float = 0.0
    ignore_class: int | None = None
    class_weights: Any = None
    temperature: float = 1.0
    logit_softcap: float | None = None
    z_loss: float = 0.0

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> CrossEntropyArguments:
        """Those of them that a function has, given its `locals()`.

        Raises:
            ValueError: If one is out of its range.
        """
        arguments = cls(**{name: scope[name] for name in cls._fields if name in scope})
        return arguments._replace(
            axis=integer("axis", arguments.axis),
            label_smoothing=smoothing(arguments.label_smoothing),
            ignore_class=integer_or_none("ignore_class", arguments.ignore_class),
            class_weights=per_class("class_weights", arguments.class_weights),
            temperature=positive("temperature", arguments.temperature),
            logit_softcap=softcap(arguments.logit_softcap),
            z_loss=not_negative("z_loss", arguments.z_loss),
        )

    @property
    def options(self) -> RowwiseOptions:
        """As `fastloss.ops.rowwise` takes them."""
        return RowwiseOptions(
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
    arguments: CrossEntropyArguments,
    return_metrics: bool = False,
) -> Rowwise:
    """The loss of logits or of probabilities, as `arguments.from_logits` says.

    Raises:
        ValueError: If y_pred holds probabilities and something is asked that needs logits.
    """
    shape = y_pred.shape
    in_range = -len(shape) <= arguments.axis < len(shape)
    if not registry.kernel(loss).sparse and in_range and shape[arguments.axis] == 1:
        warnings.warn(
            f"{loss}: y_pred has shape {tuple(shape)}, which is one class; expected two or more. "
            "For a yes-or-no label use binary_crossentropy.",
            SyntaxWarning,
            stacklevel=5,
        )
    if arguments.from_logits:
        loss = f"{loss}_from_logits"
    else:
        refuse_without_logits(
            return_metrics=(return_metrics, False),
            temperature=(arguments.temperature, 1.0),
            logit_softcap=(arguments.logit_softcap, None),
            z_loss=(arguments.z_loss, 0.0),
        )
        if "epsilon" in registry.kernel(loss).parameters:
            parameters = (*parameters, keras.config.epsilon())
    return Rowwise(loss, parameters, arguments.axis, arguments.options, arguments.class_weights)


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

    def __init__(
        self, arguments: CrossEntropyArguments, name: str, reduction: str | None, dtype: Any
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = arguments.from_logits
        self.axis = arguments.axis
        self.label_smoothing = arguments.label_smoothing
        self.ignore_class = arguments.ignore_class
        self.class_weights = arguments.class_weights
        self.temperature = arguments.temperature
        self.logit_softcap = arguments.logit_softcap
        self.z_loss = arguments.z_loss

    @property
    def _arguments(self) -> CrossEntropyArguments:
        return CrossEntropyArguments(
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
        config = self._arguments._asdict()
        return {
            **super().get_config(),
            **config,
            "class_weights": config_of(self.class_weights),
        }
