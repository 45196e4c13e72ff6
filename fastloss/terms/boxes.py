"""How a loss between boxes with its arguments is evaluated."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastloss import ops
from fastloss.calls import PER_ROW, Inputs, Reduction, Tensor, accumulation
from fastloss.terms.arguments import checked
from fastloss.terms.inputs import TensorLike, same_shape
from fastloss.terms.reduction import weigh_and_reduce

# As the op names them: x and y count alike, so which comes first does not matter.
_FORMATS = {"xyxy": "corners", "yxyx": "corners", "cxcywh": "centre"}


class Boxes(NamedTuple):
    """A loss with its arguments, as `fastloss.ops.boxes` takes it."""

    loss: str
    box_format: str
    epsilon: float

    @classmethod
    def checked(cls, loss: str, box_format: Any, epsilon: Any) -> Boxes:
        """The loss, if its arguments are in range.

        Raises:
            ValueError: If they are not.
        """
        if box_format not in _FORMATS:
            raise ValueError(f"box_format is {box_format!r}; expected 'xyxy', 'yxyx' or 'cxcywh'")
        smallest = float(np.finfo(np.float32).tiny)
        expected = f"a finite number of at least {smallest:.3g}"
        return cls(
            loss, box_format, checked("epsilon", epsilon, smallest, sys.float_info.max, expected)
        )

    def aligned(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Both as they are: a box is a box."""
        return y_true, y_pred

    def rows(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One loss per box."""
        return self._values(*self._pairs(y_true, y_pred))

    def scalar(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: TensorLike,
        mask: TensorLike,
        reduction: str | None,
    ) -> Tensor:
        """The loss weighed, masked and reduced."""
        y_true, y_pred = self._pairs(y_true, y_pred)
        return weigh_and_reduce(
            partial(self._values, y_true, y_pred),
            y_pred.shape[:-1].as_list(),
            accumulation(y_pred),
            sample_weight,
            mask,
            reduction,
        )

    def _values(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        weight: Tensor | None = None,
        reduction: Reduction = PER_ROW,
    ) -> Tensor:
        inputs = Inputs(y_true, y_pred, weight, reduction)
        return ops.boxes(self.loss, (self.epsilon,), inputs, _FORMATS[self.box_format])

    def _pairs(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Both, if their static shapes are those of as many boxes.

        Raises:
            ValueError: If they are not.
        """
        y_true, y_pred = same_shape(self.loss, False, y_true, y_pred)
        if not y_pred.shape.rank or y_pred.shape[-1] not in (4, None):
            raise ValueError(
                f"{self.loss}: y_pred has shape {tuple(y_pred.shape)}; expected boxes, whose last "
                "dimension is 4"
            )
        return y_true, y_pred
