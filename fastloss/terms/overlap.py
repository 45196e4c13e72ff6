"""How an overlap loss with its arguments is evaluated, and over which groups."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import tensorflow as tf

from fastloss import ops, registry
from fastloss.calls import (
    PER_ROW,
    SUM,
    Inputs,
    Layout,
    OverlapOptions,
    Reduction,
    Tensor,
    accumulation,
)
from fastloss.registry import Pattern
from fastloss.terms.classes import class_axis, class_weight, without_classes
from fastloss.terms.inputs import TensorLike, same_rank, same_shape
from fastloss.terms.overlap_arguments import OverlapArguments
from fastloss.terms.reduction import weigh_and_reduce

_COUPLED = frozenset(x.name for x in registry.kernels(Pattern.OVERLAP) if x.couples_classes)


class Overlap(NamedTuple):
    """A loss with its arguments, as `fastloss.ops.overlap` takes it.

    Attributes:
        loss: A kernel of the registry.
        parameters: Its parameters.
        arguments: What is summed, and which sums are scored alone.
        activation: What y_pred still needs: "none", "sigmoid" or "softmax".
    """

    loss: str
    parameters: tuple[float, ...]
    arguments: OverlapArguments
    activation: str

    @property
    def has_classes(self) -> bool:
        """Whether it matters which axis is that of the classes."""
        return self.arguments.has_classes or self.loss in _COUPLED

    def aligned(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Labels one dimension below the predictions if sparse, else of the same rank.

        Predictions keep a class axis of 1, which Keras's rule would take away.
        """
        if not self.has_classes:
            return same_rank(y_true, y_pred)
        axis, rank = self._class_axis(len(y_pred.shape)), len(y_pred.shape)
        if self.arguments.sparse:
            if len(y_true.shape) == rank and y_true.shape[axis] == 1:
                y_true = tf.squeeze(y_true, axis)
        elif len(y_true.shape) == rank - 1 and y_pred.shape[axis] == 1:
            y_true = tf.expand_dims(y_true, axis)
        return y_true, y_pred

    def rows(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One loss per group."""
        return self._values(*self.same_positions(y_true, y_pred))

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
        return weigh_and_reduce(
            partial(self._values, y_true, y_pred),
            self._groups(y_pred.shape),
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
        layout = self.layout(y_pred.shape)
        if not layout.group_axes:
            # The one value of a single group is its sum, which a kernel differentiates at once.
            reduction = SUM._replace(replicas=reduction.replicas)
        inputs = Inputs(y_true, y_pred, weight, reduction)
        rest = (self.options, layout, self.class_weight(y_pred))
        return ops.overlap(self.loss, self.parameters, inputs, *rest)

    @property
    def options(self) -> OverlapOptions:
        """How the sums are taken."""
        of = self.arguments
        return OverlapOptions(
            self.activation, of.sparse, of.squared, of.include_background, of.ignore_class
        )

    def class_weight(self, y_pred: Tensor) -> Tensor | None:
        """The weights of the classes, checked against y_pred."""
        weights = self.arguments.class_weights
        return class_weight(weights, y_pred, self.layout(y_pred.shape).class_axis)

    def _class_axis(self, rank: int) -> int:
        if not rank:
            raise ValueError(
                f"{self.loss}: y_pred has shape (); expected at least the dimension of the classes"
            )
        return class_axis(self.arguments.class_axis, rank, "class_axis")

    def layout(self, shape: tf.TensorShape) -> Layout:
        """The axes that tell the groups of y_pred apart.

        Raises:
            ValueError: If predictions of this shape do not have them.
        """
        arguments, rank = self.arguments, len(shape)
        classes = self._class_axis(rank) if self.has_classes else -1
        if arguments.axis is not None:
            return Layout(self._axes_beside(arguments.axis, rank, classes), classes)
        scored_alone = arguments.scores_classes and self.loss not in _COUPLED
        axes = {classes} if scored_alone else set()
        if arguments.per_image:
            if not rank or classes == 0:
                raise ValueError(
                    f"per_image is True, but y_pred of shape {tuple(shape)} has no axis "
                    "of images before that of the classes; expected (images, ...)"
                )
            axes.add(0)
        return Layout(tuple(sorted(axes)), classes)

    def _axes_beside(self, axis: int | tuple[int, ...], rank: int, classes: int) -> tuple[int, ...]:
        """The axes that are not summed over.

        Raises:
            ValueError: If y_pred does not have an axis, or a choice of classes does not fit them.
        """
        axes = axis if isinstance(axis, tuple) else (axis,)
        summed = [class_axis(one, rank) for one in axes]
        if len(set(summed)) != len(summed):
            raise ValueError(f"axis is {axis}; expected each axis once")
        others = tuple(i for i in range(rank) if i not in summed)
        if classes >= 0 and not {*others} <= {0, classes}:
            raise ValueError(
                f"axis is {axis}, which keeps the axes {others} of y_pred; expected to keep none "
                f"but 0 and {classes}, that of the classes, since an option of the loss needs them"
            )
        if self.arguments.class_weights is not None and classes not in others:
            raise ValueError(
                f"axis is {axis}, which sums over the classes, axis {classes}, before "
                "class_weights can weigh them; expected an axis that keeps them"
            )
        return others

    def _groups(self, y_pred: tf.TensorShape) -> list[int | None]:
        """The static shape of the groups."""
        axes, classes = self.layout(y_pred)
        shape = y_pred.as_list()
        if not self.arguments.include_background and shape[classes] is not None:
            shape[classes] -= 1
        return [shape[axis] for axis in axes]

    def same_positions(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Both, if their static shapes go together; broadcast, if the loss does that in Keras.

        Raises:
            ValueError: If they do not, or if no class is left.
        """
        if not self.has_classes:
            return same_shape(self.loss, self.loss == "tversky", y_true, y_pred)
        axis = self._class_axis(len(y_pred.shape))
        if y_pred.shape[axis] == 1 and not self.arguments.include_background:
            raise ValueError(
                f"include_background is False, but y_pred of shape {tuple(y_pred.shape)} has one "
                f"class on axis {axis}; expected two or more"
            )
        if not self.arguments.sparse:
            return same_shape(self.loss, False, y_true, y_pred)
        positions = without_classes(y_pred.shape, axis)
        if not y_true.shape.is_compatible_with(positions):
            raise ValueError(
                f"{self.loss}: y_true has shape {tuple(y_true.shape)} and y_pred has shape "
                f"{tuple(y_pred.shape)}; expected one label per position, of shape "
                f"{tuple(positions)}"
            )
        return y_true, y_pred
