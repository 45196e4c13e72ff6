"""How an overlap loss with its arguments is computed, and over which groups."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from fastloss import ops
from fastloss.reference.overlap import COUPLED, OverlapOptions
from fastloss.terms.inputs import (
    Tensor,
    TensorLike,
    accumulation,
    same_rank,
    same_shape,
)
from fastloss.terms.overlap_arguments import Settings
from fastloss.terms.reduction import (
    REDUCTIONS,
    aligned,
    fits_one_walk,
    merged_weight,
    reduce,
    replicas,
)
from fastloss.terms.rowwise import class_axis, class_weight


class Layout(NamedTuple):
    """Which axes of y_pred tell the groups apart, and which is that of the classes, -1 if none."""

    kept: tuple[int, ...]
    class_axis: int


class Overlap(NamedTuple):
    """A loss with its arguments, as `fastloss.ops.overlap` takes it."""

    loss: str
    parameters: tuple[float, ...]
    settings: Settings
    activation: str

    @property
    def has_classes(self) -> bool:
        """Whether it matters which axis is that of the classes."""
        return self.settings.has_classes or self.loss in COUPLED

    def aligned(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Labels one dimension below the predictions if sparse, else of the same rank.

        Predictions keep a class axis of 1, which Keras's rule would take away.
        """
        if not self.has_classes:
            return same_rank(y_true, y_pred)
        axis, rank = self._class_axis(y_pred), len(y_pred.shape)
        if self.settings.sparse:
            if len(y_true.shape) == rank and y_true.shape[axis] == 1:
                y_true = tf.squeeze(y_true, axis)
        elif len(y_true.shape) == rank - 1 and y_pred.shape[axis] == 1:
            y_true = tf.expand_dims(y_true, axis)
        return y_true, y_pred

    def rows(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One loss per group."""
        return self._op(*self.same_positions(y_true, y_pred))

    def scalar(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: TensorLike,
        mask: TensorLike,
        reduction: str | None,
    ) -> Tensor:
        """The loss weighed, masked and reduced."""
        y_true, y_pred = self.same_positions(y_true, y_pred)
        weight = merged_weight(sample_weight, mask, reduction, accumulation(y_pred))
        groups = self._groups(y_pred)
        if reduction in REDUCTIONS and fits_one_walk(groups, weight):
            arguments = (aligned(weight, groups), REDUCTIONS[reduction], replicas(reduction))
            return self._op(y_true, y_pred, *arguments)
        return reduce(self._op(y_true, y_pred), weight, reduction)

    def _op(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        weight: Tensor | None = None,
        reduction: str = "none",
        replicas: int = 1,
    ) -> Tensor:
        kept, axis = self.layout(y_pred)
        return ops.overlap(
            self.loss,
            self.parameters,
            y_true,
            y_pred,
            weight,
            self.class_weight(y_pred),
            self.options,
            kept,
            axis,
            # The one value of a single group is its sum, which a kernel differentiates at once.
            reduction if kept else "sum",
            replicas,
        )

    @property
    def options(self) -> OverlapOptions:
        """How the sums are taken."""
        given = self.settings
        return OverlapOptions(
            self.activation,
            given.sparse,
            given.squared,
            given.include_background,
            given.ignore_class,
        )

    def class_weight(self, y_pred: Tensor) -> Tensor | None:
        """The weights of the classes, checked against y_pred."""
        return class_weight(self.settings.class_weights, y_pred, self.layout(y_pred).class_axis)

    def _class_axis(self, y_pred: Tensor) -> int:
        rank = len(y_pred.shape)
        if not rank:
            raise ValueError(
                f"{self.loss}: y_pred has shape (); expected at least the dimension of the classes"
            )
        return class_axis(self.settings.class_axis, rank, "class_axis")

    def layout(self, y_pred: Tensor) -> Layout:
        """The axes that tell the groups apart."""
        given, rank = self.settings, len(y_pred.shape)
        classes = self._class_axis(y_pred) if self.has_classes else -1
        if given.axis is not None:
            return Layout(self._kept_beside(given.axis, rank, classes), classes)
        kept = {classes} if given.scores_classes and self.loss not in COUPLED else set()
        if given.per_image:
            if not rank or classes == 0:
                raise ValueError(
                    f"per_image is True, but y_pred of shape {tuple(y_pred.shape)} has no axis "
                    "of images before that of the classes; expected (images, ...)"
                )
            kept.add(0)
        return Layout(tuple(sorted(kept)), classes)

    def _kept_beside(self, axis: int | tuple[int, ...], rank: int, classes: int) -> tuple[int, ...]:
        """The axes that are not summed over.

        Raises:
            ValueError: If y_pred does not have an axis, or a choice of classes does not fit them.
        """
        axes = axis if isinstance(axis, tuple) else (axis,)
        summed = [class_axis(one, rank) for one in axes]
        if len(set(summed)) != len(summed):
            raise ValueError(f"axis is {axis}; expected each axis once")
        kept = tuple(i for i in range(rank) if i not in summed)
        if classes >= 0 and not {*kept} <= {0, classes}:
            raise ValueError(
                f"axis is {axis}, which keeps the axes {kept} of y_pred; expected to keep none but "
                f"0 and {classes}, that of the classes, since an option of the loss needs them"
            )
        if self.settings.class_weights is not None and classes not in kept:
            raise ValueError(
                f"axis is {axis}, which sums over the classes, axis {classes}, before "
                "class_weights can weigh them; expected an axis that keeps them"
            )
        return kept

    def _groups(self, y_pred: Tensor) -> list[int | None]:
        """The static shape of the groups."""
        kept, classes = self.layout(y_pred)
        shape = y_pred.shape.as_list()
        if not self.settings.include_background and shape[classes] is not None:
            shape[classes] -= 1
        return [shape[axis] for axis in kept]

    def same_positions(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Both, if their static shapes go together; broadcast, if the loss does that in Keras.

        Raises:
            ValueError: If they do not, or if no class is left.
        """
        if not self.has_classes:
            return same_shape(self.loss, self.loss == "tversky", y_true, y_pred)
        axis = self._class_axis(y_pred)
        if y_pred.shape[axis] == 1 and not self.settings.include_background:
            raise ValueError(
                f"include_background is False, but y_pred of shape {tuple(y_pred.shape)} has one "
                f"class on axis {axis}; expected two or more"
            )
        if not self.settings.sparse:
            return same_shape(self.loss, False, y_true, y_pred)
        positions = y_pred.shape[:axis].concatenate(y_pred.shape[axis + 1 :])
        if not y_true.shape.is_compatible_with(positions):
            raise ValueError(
                f"{self.loss}: y_true has shape {tuple(y_true.shape)} and y_pred has shape "
                f"{tuple(y_pred.shape)}; expected one label per position, of shape "
                f"{tuple(positions)}"
            )
        return y_true, y_pred
