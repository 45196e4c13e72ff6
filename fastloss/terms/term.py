"""What a term is: a loss with its arguments, and how it is evaluated."""

from __future__ import annotations

from typing import Protocol

from fastloss.calls import Tensor
from fastloss.terms.inputs import TensorLike, label


class Term(Protocol):
    """A loss with its arguments, and how it is evaluated."""

    def aligned(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Both with the ranks that belong together, by Keras's rules."""

    def rows(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One loss per row."""

    def scalar(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: TensorLike,
        mask: TensorLike,
        reduction: str | None,
    ) -> Tensor:
        """The loss weighed, masked and reduced."""


def evaluate(term: Term, y_true: TensorLike, y_pred: Tensor, adjust_rank: bool = True) -> Tensor:
    """One loss per row, for the functions; Keras adjusts ranks in some of them only."""
    y_true = label(y_true)
    if adjust_rank:
        y_true, y_pred = term.aligned(y_true, y_pred)
    return term.rows(y_true, y_pred)
