"""What the overlap losses share: how the term is made, and their base class."""

from __future__ import annotations

from typing import Any

from fastloss.losses.base import FusedLoss, evaluate
from fastloss.losses.categorical.base import config_of
from fastloss.terms.inputs import Tensor, TensorLike, logits_behind, prediction
from fastloss.terms.overlap import Overlap
from fastloss.terms.overlap_arguments import ACTIVATIONS, Settings, Smoothing


def term(
    loss: str, parameters: tuple[float, ...], y_pred: Tensor, given: Settings
) -> tuple[Overlap, Tensor]:
    """The loss, and what to compute it on: logits, where they are known to be behind y_pred."""
    overlap = Overlap(loss, parameters, given, given.applied)
    found = _activation_behind(y_pred)
    last = len(y_pred.shape) - 1
    if found == "softmax" and not (overlap.has_classes and given.class_axis in (-1, last)):
        return overlap, y_pred
    if found is None or given.applied not in ("none", found):
        return overlap, y_pred
    logits, _ = logits_behind(y_pred, given.from_logits, loss, found.capitalize())
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
    given: Settings,
) -> Tensor:
    """One loss per group, for the functions; Keras's do not adjust ranks."""
    overlap, y_pred = term(loss, parameters, prediction(y_pred), given)
    return evaluate(overlap, y_true, y_pred, adjust_rank=overlap.has_classes)


class OverlapLoss(FusedLoss):
    """Base class of the overlap losses; every argument is an attribute of its name."""

    def __init__(
        self, given: Settings, smooth: Smoothing, name: str, reduction: str | None, dtype: Any
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._given = given
        self._smooth = smooth
        for argument, value in {**given._asdict(), **smooth._asdict()}.items():
            setattr(self, argument, value)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self._given._asdict(),
            **self._smooth._asdict(),
            "class_weights": config_of(self._given.class_weights),
        }
