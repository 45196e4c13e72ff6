"""Losses between boxes, as detectors learn them."""

from __future__ import annotations

from typing import Any

import keras

from fastloss.calls import Tensor
from fastloss.losses.base import FusedLoss
from fastloss.terms.boxes import Boxes
from fastloss.terms.inputs import TensorLike, prediction
from fastloss.terms.term import evaluate

serializable = keras.saving.register_keras_serializable("fastloss")


class BoxLoss(FusedLoss):
    """Base class of the losses between boxes: their arguments."""

    _loss: str

    def __init__(
        self, box_format: str, epsilon: float, reduction: str | None, name: str, dtype: Any
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._boxes = Boxes.checked(self._loss, box_format, epsilon)

    def _term(self, y_pred: Tensor) -> tuple[Boxes, Tensor]:
        return self._boxes, y_pred

    def get_config(self) -> dict[str, Any]:
        _, box_format, epsilon = self._boxes
        return {**super().get_config(), "box_format": box_format, "epsilon": epsilon}


def _values(
    loss: str, y_true: TensorLike, y_pred: TensorLike, box_format: str, epsilon: float
) -> Tensor:
    return evaluate(Boxes.checked(loss, box_format, epsilon), y_true, prediction(y_pred))


@serializable
def box_iou(
    y_true: TensorLike, y_pred: TensorLike, box_format: str = "xyxy", epsilon: float = 1e-7
) -> Tensor:
    """One minus the intersection over union of two boxes, one value per box.

    Formula: `1 - I / U`; see `BoxIoU`.

    Example:
        >>> values = fl.box_iou([[1.0, 1.0, 2.0, 2.0]], [[2.0, 1.0, 2.0, 2.0]], box_format="cxcywh")
        >>> [round(float(x), 4) for x in values]
        [0.6667]

    Args:
        y_true: Boxes, `(..., 4)`; boolean, integer or float.
        y_pred: Boxes of the same shape; float16, bfloat16, float32 or float64.
        box_format: "xyxy" or "yxyx" (corners) or "cxcywh" (centre and size).
        epsilon: The least that is divided by.

    Returns:
        `(...)`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range, or the last dimension is not 4.
    """
    return _values("box_iou", y_true, y_pred, box_format, epsilon)


@serializable
class BoxIoU(BoxLoss):
    """One minus the intersection over union of two boxes.

    Formula: `1 - I / max(U, epsilon)`, with `I` the area that both boxes cover and `U` the area
    that either covers. From 0 for equal boxes to 1 for boxes that do not overlap.

    Gradient of one value: `(I dU / U - dI) / U`. It is 0 where boxes do not overlap, so that
    nothing is learned from them. Where two edges meet it is the mean of both sides: 0 for equal
    boxes.

    What holds for all losses between boxes: a box whose ends are in the wrong order, as x2 < x1,
    covers nothing, like one without width or height, and has IoU 0 with every box, itself
    included; a denominator below `epsilon` becomes `epsilon` and is a constant to the gradient. So
    values and gradients are finite for every pair of boxes of finite numbers whose areas are
    finite; NaN in a box gives NaN. Moving both boxes costs no accuracy.

    Example:
        >>> loss = fl.BoxIoU()
        >>> round(float(loss([[0.0, 0.0, 2.0, 2.0]], [[1.0, 0.0, 3.0, 2.0]])), 4)
        0.6667

    Args:
        box_format: "xyxy" (x1, y1, x2, y2), "yxyx", or "cxcywh" (centre, width, height).
        epsilon: The least area that is divided by; boxes may be in pixels, or in shares of the
            image.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None. There is one value per box.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Raises:
        ValueError: If an argument is out of range. When called: if y_true and y_pred are not of
            one shape `(..., 4)`.

    Reference: Yu et al., UnitBox: an advanced object detection network, 2016 (arXiv:1608.01471).
    """

    _loss = "box_iou"

    def __init__(
        self,
        box_format: str = "xyxy",
        epsilon: float = 1e-7,
        reduction: str | None = "sum_over_batch_size",
        name: str = "box_iou",
        dtype: Any = None,
    ) -> None:
        super().__init__(box_format, epsilon, reduction, name, dtype)


@serializable
def generalized_box_iou(
    y_true: TensorLike, y_pred: TensorLike, box_format: str = "xyxy", epsilon: float = 1e-7
) -> Tensor:
    """One minus the generalized IoU of two boxes, one value per box.

    Formula: `1 - I / U + (C - U) / C`; see `GeneralizedBoxIoU`.

    Args:
        y_true: Boxes, `(..., 4)`; boolean, integer or float.
        y_pred: Boxes of the same shape; float16, bfloat16, float32 or float64.
        box_format: "xyxy" or "yxyx" (corners) or "cxcywh" (centre and size).
        epsilon: The least that is divided by.

    Returns:
        `(...)`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range, or the last dimension is not 4.
    """
    return _values("generalized_box_iou", y_true, y_pred, box_format, epsilon)


@serializable
class GeneralizedBoxIoU(BoxLoss):
    """One minus the generalized IoU: of boxes that do not overlap, the closer pair is the better.

    Formula: `1 - I / U + (C - U) / C`, with `I` and `U` as in `BoxIoU` and `C` the area of the
    smallest box around both. From 0 for equal boxes to 2 for small boxes far apart.

    Gradient of one value: that of `BoxIoU` and `(U dC / C - dU) / C`. Where ends are in the wrong
    order, `C` is around them all the same, so that the gradient brings them back.

    Example:
        >>> loss = fl.GeneralizedBoxIoU()
        >>> round(float(loss([[0.0, 0.0, 2.0, 2.0]], [[3.0, 0.0, 5.0, 2.0]])), 4)
        1.2

    Args:
        box_format: "xyxy" (x1, y1, x2, y2), "yxyx", or "cxcywh" (centre, width, height).
        epsilon: The least area that is divided by.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None. There is one value per box.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Raises:
        ValueError: If an argument is out of range. When called: if y_true and y_pred are not of
            one shape `(..., 4)`.

    Reference: Rezatofighi et al., Generalized intersection over union, 2019 (arXiv:1902.09630).
    """

    _loss = "generalized_box_iou"

    def __init__(
        self,
        box_format: str = "xyxy",
        epsilon: float = 1e-7,
        reduction: str | None = "sum_over_batch_size",
        name: str = "generalized_box_iou",
        dtype: Any = None,
    ) -> None:
        super().__init__(box_format, epsilon, reduction, name, dtype)


@serializable
def distance_box_iou(
    y_true: TensorLike, y_pred: TensorLike, box_format: str = "xyxy", epsilon: float = 1e-7
) -> Tensor:
    """One minus the IoU of two boxes, plus the distance of their centres, one value per box.

    Formula: `1 - I / U + d**2 / c**2`; see `DistanceBoxIoU`.

    Args:
        y_true: Boxes, `(..., 4)`; boolean, integer or float.
        y_pred: Boxes of the same shape; float16, bfloat16, float32 or float64.
        box_format: "xyxy" or "yxyx" (corners) or "cxcywh" (centre and size).
        epsilon: The least that is divided by.

    Returns:
        `(...)`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range, or the last dimension is not 4.
    """
    return _values("distance_box_iou", y_true, y_pred, box_format, epsilon)


@serializable
class DistanceBoxIoU(BoxLoss):
    """One minus the IoU of two boxes, plus the distance of their centres.

    Formula: `1 - I / U + d**2 / c**2`, with `I` and `U` as in `BoxIoU`, `d` the distance of the
    centres and `c` the diagonal of the smallest box around both. From 0 for equal boxes to 2 for
    small boxes far apart.

    Gradient of one value: that of `BoxIoU` and `(d(d**2) - d**2 / c**2 d(c**2)) / c**2`.

    Example:
        >>> loss = fl.DistanceBoxIoU()
        >>> round(float(loss([[0.0, 0.0, 2.0, 2.0]], [[3.0, 0.0, 5.0, 2.0]])), 4)
        1.3103

    Args:
        box_format: "xyxy" (x1, y1, x2, y2), "yxyx", or "cxcywh" (centre, width, height).
        epsilon: The least area, or diagonal squared, that is divided by.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None. There is one value per box.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Raises:
        ValueError: If an argument is out of range. When called: if y_true and y_pred are not of
            one shape `(..., 4)`.

    Reference: Zheng et al., Distance-IoU loss, 2020 (arXiv:1911.08287).
    """

    _loss = "distance_box_iou"

    def __init__(
        self,
        box_format: str = "xyxy",
        epsilon: float = 1e-7,
        reduction: str | None = "sum_over_batch_size",
        name: str = "distance_box_iou",
        dtype: Any = None,
    ) -> None:
        super().__init__(box_format, epsilon, reduction, name, dtype)


@serializable
def complete_box_iou(
    y_true: TensorLike, y_pred: TensorLike, box_format: str = "xyxy", epsilon: float = 1e-7
) -> Tensor:
    """One minus the IoU of two boxes, plus distance and difference in shape, one value per box.

    Formula: `1 - I / U + d**2 / c**2 + alpha v`; see `CompleteBoxIoU`.

    Args:
        y_true: Boxes, `(..., 4)`; boolean, integer or float.
        y_pred: Boxes of the same shape; float16, bfloat16, float32 or float64.
        box_format: "xyxy" or "yxyx" (corners) or "cxcywh" (centre and size).
        epsilon: The least that is divided by.

    Returns:
        `(...)`, float64 for float64 predictions, else float32.

    Raises:
        ValueError: If an argument is out of range, or the last dimension is not 4.
    """
    return _values("complete_box_iou", y_true, y_pred, box_format, epsilon)


@serializable
class CompleteBoxIoU(BoxLoss):
    """One minus the IoU of two boxes, plus the distance of their centres and their unlike shape.

    Formula: `1 - I / U + d**2 / c**2 + alpha v`, the first terms as in `DistanceBoxIoU`, with
    `v = 4 / pi**2 (atan(w_true / h_true) - atan(w_pred / h_pred))**2` and
    `alpha = v / (1 - I / U + v)`. A box has no shape if its diagonal squared is below `epsilon`:
    then `v` is 0.

    Gradient of one value: as if `alpha` were a constant, as the paper has it. So it is not the
    derivative of the value, and `fastloss.testing.check_gradients` says as much.

    Example:
        >>> loss = fl.CompleteBoxIoU()
        >>> round(float(loss([[0.0, 0.0, 2.0, 2.0]], [[1.0, 0.0, 2.0, 3.0]])), 4)
        0.6495

    Args:
        box_format: "xyxy" (x1, y1, x2, y2), "yxyx", or "cxcywh" (centre, width, height).
        epsilon: The least area, or diagonal squared, that is divided by.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None. There is one value per box.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.

    Raises:
        ValueError: If an argument is out of range. When called: if y_true and y_pred are not of
            one shape `(..., 4)`.

    Reference: Zheng et al., Distance-IoU loss, 2020 (arXiv:1911.08287).
    """

    _loss = "complete_box_iou"

    def __init__(
        self,
        box_format: str = "xyxy",
        epsilon: float = 1e-7,
        reduction: str | None = "sum_over_batch_size",
        name: str = "complete_box_iou",
        dtype: Any = None,
    ) -> None:
        super().__init__(box_format, epsilon, reduction, name, dtype)
