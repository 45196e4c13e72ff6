"""The losses between boxes in every format, and boxes of special values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from cases import numpy_dtype

import fastloss as fl
from oracle.boxes import right
from oracle.lattice import Inputs
from oracle.point import Point, Wide, computing

NAN = float("nan")
# Corners: equal, touching, inside each other and apart; without an area, and with their ends in the
# wrong order; smaller than epsilon; with areas that overflow; no numbers.
BOXES = (
    (0, 0, 1, 1),
    (0, 0, 2, 2),
    (1, 0, 2, 1),
    (0.25, 0.25, 0.75, 0.5),
    (5, 5, 6, 7),
    (100, 100, 101, 102),
    (0, 0, 0, 0),
    (0, 0, 0, 3),
    (2, 2, 0, 0),
    (0, 2, 2, 0),
    (1e-4, 1e-4, 2e-4, 3e-4),
    (-4096, -4096, 8192, 4096),
    (0, 0, 3e19, 3e19),
    (0, 0, 3e19, 1),
    (-1e30, -1e30, 1e30, 1e30),
    (NAN, 0, 1, 1),
    (0, 0, 1, NAN),
)
# What the areas of a few formats cannot hold.
HUGE = {"float64": (0, 0, 1e160, 2e160)}


class Case(NamedTuple):
    """A loss and its format."""

    kernel: str
    public: str
    box_format: str
    parameters: Mapping[str, Any] = MappingProxyType({"epsilon": 1e-7})

    @property
    def id(self) -> str:
        """Its format."""
        return self.box_format

    def ours(self, dtype: str) -> Any:
        """The public loss, one value per pair, in its computing type."""
        result = computing(dtype).__name__
        return getattr(fl, self.public)(box_format=self.box_format, reduction="none", dtype=result)

    def inputs(self, dtype: str) -> Inputs:
        """Every pair of boxes."""
        boxes = np.array([*BOXES, *([HUGE[dtype]] if dtype in HUGE else [])], np.float64)
        boxes = boxes[~(abs(boxes) > float(tf.as_dtype(dtype).max)).any(axis=1)]
        if self.box_format == "cxcywh":
            low, high = boxes[:, :2], boxes[:, 2:]
            boxes = np.concatenate([low / 2 + high / 2, high - low], axis=1)
        boxes = boxes.astype(numpy_dtype(dtype))
        count = len(boxes)
        return np.repeat(boxes, count, axis=0), np.tile(boxes, (count, 1))

    def right(self, dtype: str, inputs: Inputs) -> Point:
        """What the oracle says."""
        epsilon = Wide(computing(dtype)(self.parameters["epsilon"]))
        t, p = (x.astype(Wide) for x in inputs)
        with np.errstate(all="ignore"):
            return right(self.kernel, t, p, self.box_format, epsilon)


CASES = tuple(
    Case(kernel, public, box_format)
    for kernel, public in (
        ("box_iou", "BoxIoU"),
        ("generalized_box_iou", "GeneralizedBoxIoU"),
        ("distance_box_iou", "DistanceBoxIoU"),
        ("complete_box_iou", "CompleteBoxIoU"),
    )
    for box_format in ("xyxy", "yxyx", "cxcywh")
)
