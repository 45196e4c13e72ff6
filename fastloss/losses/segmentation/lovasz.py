"""Lovász losses: the Jaccard loss of sets, extended to what lies between them."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from fastloss.calls import Tensor
from fastloss.losses.base import FusedLoss
from fastloss.losses.segmentation.base import term
from fastloss.reference.lovasz import hinge_groups, softmax_groups
from fastloss.terms.arguments import integer_or_none
from fastloss.terms.inputs import TensorLike, prediction, same_rank, same_shape
from fastloss.terms.overlap import Overlap
from fastloss.terms.overlap_arguments import OverlapArguments
from fastloss.terms.reduction import merged_weight, reduce
from fastloss.terms.term import evaluate

serializable = keras.saving.register_keras_serializable("fastloss")


class _Softmax(NamedTuple):
    """The loss of many classes; `overlap` says what goes with what."""

    overlap: Overlap
    only_present: bool

    def aligned(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        return self.overlap.aligned(y_true, y_pred)

    def rows(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_true, y_pred = self.overlap.same_positions(y_true, y_pred)
        arguments = self.overlap.arguments
        return softmax_groups(
            y_true,
            y_pred,
            self.overlap.activation,
            arguments.sparse,
            self.overlap.layout(y_pred.shape).class_axis,
            arguments.per_image,
            arguments.ignore_class,
            self.only_present,
        )

    def scalar(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: TensorLike,
        mask: TensorLike,
        reduction: str | None,
    ) -> Tensor:
        return _reduced(self.rows(y_true, y_pred), sample_weight, mask, reduction)


class _Hinge(NamedTuple):
    """The loss of one class."""

    per_image: bool
    ignore_class: int | None

    def aligned(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        return same_rank(y_true, y_pred)

    def rows(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_true, y_pred = same_shape("lovasz_hinge", False, y_true, y_pred)
        if self.per_image and not y_pred.shape.rank:
            raise ValueError("per_image is True, but y_pred has shape (); expected (images, ...)")
        return hinge_groups(y_true, y_pred, self.per_image, self.ignore_class)

    def scalar(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: TensorLike,
        mask: TensorLike,
        reduction: str | None,
    ) -> Tensor:
        return _reduced(self.rows(y_true, y_pred), sample_weight, mask, reduction)


def _reduced(
    values: Tensor, sample_weight: TensorLike, mask: TensorLike, reduction: str | None
) -> Tensor:
    weight = merged_weight(sample_weight, mask, reduction, values.dtype)
    return reduce(values, weight, reduction)


def _arguments(
    from_logits: bool, sparse: bool, class_axis: int, per_image: bool, ignore_class: int | None
) -> OverlapArguments:
    activation = "softmax" if from_logits else None
    return OverlapArguments.of({**locals(), "per_class": True})


def _only_present(classes: Any) -> bool:
    if classes not in ("present", "all"):
        raise ValueError(f"classes is {classes!r}; expected 'present' or 'all'")
    return classes == "present"


def _softmax(y_pred: Tensor, arguments: OverlapArguments, classes: str) -> tuple[_Softmax, Tensor]:
    overlap, y_pred = term("lovasz_softmax", (), y_pred, arguments)
    return _Softmax(overlap, _only_present(classes)), y_pred


@serializable
def lovasz_softmax(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    from_logits: bool = False,
    sparse: bool = False,
    class_axis: int = -1,
    per_image: bool = False,
    ignore_class: int | None = None,
    classes: str = "present",
) -> Tensor:
    """Lovász extension of the Jaccard loss, the mean over the classes.

    Formula of one class: `sum(m[i] (J[i] - J[i-1]))`; see `LovaszSoftmax`.

    Args:
        y_true: Labels; boolean, integer or float.
        y_pred: Predictions; float16, bfloat16, float32 or float64.
        from_logits: Whether y_pred holds logits.
        sparse: Whether y_true holds class numbers.
        class_axis: The axis of the classes in y_pred.
        per_image: Whether each image is scored alone.
        ignore_class: Positions with this label count nothing.
        classes: "present" leaves out the classes without a label, "all" does not.

    Returns:
        A scalar, or one loss per image; float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range.
    """
    arguments = _arguments(from_logits, sparse, class_axis, per_image, ignore_class)
    loss, y_pred = _softmax(prediction(y_pred), arguments, classes)
    return evaluate(loss, y_true, y_pred)


@serializable
class LovaszSoftmax(FusedLoss):
    """Lovász extension of the Jaccard loss, the mean over the classes.

    Formula of one class: `sum(m[i] (J[i] - J[i-1]))` over the errors `m = abs(t - p)` from the
    largest to the smallest, with `J[i]` the Jaccard loss of a prediction that is wrong at the first
    i positions and right at the others, `J[0] = 0`

    Gradient: `p`'s is `J[i] - J[i-1]`, negated at a label

    A loss of sets of positions, one for each class, it is the Jaccard loss itself where every p is
    0 or 1. It sorts the errors of each class, in TensorFlow. A label above 1/2 counts as 1, and has
    no gradient. A class number that is no class makes its group NaN.

    Example:
        >>> loss = fl.LovaszSoftmax(sparse=True)
        >>> round(float(loss([[0, 1]], [[[0.9, 0.1], [0.4, 0.6]]])), 4)
        0.325

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None; over the images, if `per_image`.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.
        from_logits: Whether y_pred holds logits, whose softmax over `class_axis` is taken; else it
            holds probabilities.
        sparse: Whether y_true holds class numbers, of y_pred's shape without `class_axis` or with a
            1 there; else it has y_pred's shape.
        class_axis: The axis of the classes in y_pred.
        per_image: Whether each image, an entry of the first axis, is scored alone; else the batch
            is one set.
        ignore_class: Positions with this label count nothing, and have gradient 0; it need not be a
            class. Of dense labels these are the positions whose labels outside this class are all
            0. None ignores no position.
        classes: "present" leaves out the classes without a label, "all" does not.

    Raises:
        ValueError: If an argument is out of range. When called: if the shapes do not go together.

    Reference: Berman et al., The Lovász-Softmax loss, 2018 (arXiv:1705.08790).
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "lovasz_softmax",
        dtype: Any = None,
        *,
        from_logits: bool = False,
        sparse: bool = False,
        class_axis: int = -1,
        per_image: bool = False,
        ignore_class: int | None = None,
        classes: str = "present",
    ) -> None:
        self._arguments = _arguments(from_logits, sparse, class_axis, per_image, ignore_class)
        _only_present(classes)
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = from_logits
        self.sparse = sparse
        self.class_axis = self._arguments.class_axis
        self.per_image = per_image
        self.ignore_class = self._arguments.ignore_class
        self.classes = classes

    def _term(self, y_pred: Tensor) -> tuple[_Softmax, Tensor]:
        return _softmax(y_pred, self._arguments, self.classes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "sparse": self.sparse,
            "class_axis": self.class_axis,
            "per_image": self.per_image,
            "ignore_class": self.ignore_class,
            "classes": self.classes,
        }


def _hinge(per_image: bool, ignore_class: Any) -> _Hinge:
    return _Hinge(per_image, integer_or_none("ignore_class", ignore_class))


@serializable
def lovasz_hinge(
    y_true: TensorLike,
    y_pred: TensorLike,
    *,
    per_image: bool = False,
    ignore_class: int | None = None,
) -> Tensor:
    """Lovász extension of the Jaccard loss of one class, of hinge errors.

    Formula: `sum(max(m[i], 0) (J[i] - J[i-1]))`; see `LovaszHinge`.

    Args:
        y_true: Labels, 0 or 1; boolean, integer or float.
        y_pred: Logits of the same shape; float16, bfloat16, float32 or float64.
        per_image: Whether each image is scored alone.
        ignore_class: Positions with this label count nothing.

    Returns:
        A scalar, or one loss per image; float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range.
    """
    return evaluate(_hinge(per_image, ignore_class), y_true, prediction(y_pred))


@serializable
class LovaszHinge(FusedLoss):
    """Lovász extension of the Jaccard loss of one class, of hinge errors.

    Formula: `sum(max(m[i], 0) (J[i] - J[i-1]))` over the errors `m = 1 - (2 t - 1) y_pred` from the
    largest to the smallest, with `J[i]` the Jaccard loss of a prediction that is wrong at the first
    i positions and right at the others, `J[0] = 0`

    Gradient: `-(2 t - 1) (J[i] - J[i-1])`; 0 where the error is not above 0

    It sorts the errors, in TensorFlow. A label above 1/2 counts as 1, and has no gradient.

    Example:
        >>> loss = fl.LovaszHinge()
        >>> round(float(loss([[1, 1, 0]], [[2.0, 0.5, -0.5]])), 4)
        0.3333

    Args:
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None; over the images, if `per_image`.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.
        per_image: Whether each image, an entry of the first axis, is scored alone; else the batch
            is one set.
        ignore_class: Positions with this label count nothing, and have gradient 0. None ignores no
            position.

    Raises:
        ValueError: If an argument is out of range. When called: if the shapes differ.

    Reference: Berman et al., The Lovász-Softmax loss, 2018 (arXiv:1705.08790); Yu and Blaschko, The
    Lovász hinge, 2015 (arXiv:1512.07797).
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "lovasz_hinge",
        dtype: Any = None,
        *,
        per_image: bool = False,
        ignore_class: int | None = None,
    ) -> None:
        loss = _hinge(per_image, ignore_class)
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.per_image = per_image
        self.ignore_class = loss.ignore_class

    def _term(self, y_pred: Tensor) -> tuple[_Hinge, Tensor]:
        return _Hinge(self.per_image, self.ignore_class), y_pred

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "per_image": self.per_image,
            "ignore_class": self.ignore_class,
        }
