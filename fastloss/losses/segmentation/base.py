"""What the overlap losses share: how the term is made, and their base class."""

from __future__ import annotations

from typing import Any

from fastloss.calls import Tensor
from fastloss.losses.base import FusedLoss
from fastloss.losses.categorical.base import config_of
from fastloss.terms.inputs import TensorLike, logits_behind, prediction
from fastloss.terms.overlap import Overlap
from fastloss.terms.overlap_arguments import ACTIVATIONS, OverlapArguments, Smoothing
from fastloss.terms.term import evaluate


def term(
    loss: str, parameters: tuple[float, ...], y_pred: Tensor, arguments: OverlapArguments
) -> tuple[Overlap, Tensor]:
    """The loss, and what to compute it on: logits, where they are known to be behind y_pred."""
    overlap = Overlap(loss, parameters, arguments, arguments.applied)
    found = _activation_behind(y_pred)
    last = len(y_pred.shape) - 1
    if found == "softmax" and not (overlap.has_classes and arguments.class_axis in (-1, last)):
        return overlap, y_pred
    if found is None or arguments.applied not in ("none", found):
        return overlap, y_pred
    logits, _ = logits_behind(y_pred, arguments.from_logits, loss, found.capitalize())
    return overlap._replace(activation=found), logits


def _activation_behind(y_pred: Tensor) -> str | None:
    """The activation whose output y_pred is; an eager tensor does not say which it was."""
    if hasattr(y_pred, "numpy"):
        return None
    name = y_pred.op.type.lower()
    return name if name in ACTIVATIONS else None


def values(
    loss: str,
    parameters: tuple[float, ...],
    y_true: TensorLike,
    y_pred: TensorLike,
    arguments: OverlapArguments,
) -> Tensor:
    """One loss per group, for the functions; Keras's do not adjust ranks."""
    overlap, y_pred = term(loss, parameters, prediction(y_pred), arguments)
    return evaluate(overlap, y_true, y_pred, adjust_rank=overlap.has_classes)


class OverlapLoss(FusedLoss):
    """Base class of the overlap losses; every argument is an attribute of its name."""

    _loss: str

    def __init__(
        self,
        arguments: OverlapArguments,
        smoothing: Smoothing,
        name: str,
        reduction: str | None,
        dtype: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._arguments = arguments
        self._smoothing = smoothing
        for argument, value in {**arguments._asdict(), **smoothing._asdict()}.items():
            setattr(self, argument, value)

    def _own_parameters(self) -> tuple[float, ...]:
        """The parameters before the smoothing."""
        return ()

    def _term(self, y_pred: Tensor) -> tuple[Overlap, Tensor]:
        parameters = (*self._own_parameters(), *self._smoothing.parameters)
        return term(self._loss, parameters, y_pred, self._arguments)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self._arguments._asdict(),
            **self._smoothing._asdict(),
            "class_weights": config_of(self._arguments.class_weights),
        }
