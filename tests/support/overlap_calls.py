"""Calls of the overlap kernels with data for them, and the published bounds of their errors."""

from __future__ import annotations

import pathlib
import re

import kernels
import numpy as np
import pytest
from cases import INTEGERS, PREDICTION_DTYPES, numpy_dtype
from overlap_truth import Arguments, Array

from fastloss import c_api

LOSSES = tuple(c_api.overlap_losses())
every_loss = pytest.mark.parametrize("loss", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
ACTIVATIONS = kernels.ACTIVATIONS


def published() -> dict[str, tuple[float, float]]:
    """The table of docs/numerics.md: most units of the loss and of the gradient."""
    text = (pathlib.Path(__file__).parents[2] / "docs" / "numerics.md").read_text()
    section = text.split("## Overlap losses: maximum error in units")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \|$", section, re.MULTILINE)
    return {name: (float(loss), float(gradient)) for name, loss, gradient in rows}


LIMITS = published()
assert LIMITS.keys() == {*ACTIVATIONS, "focal_tversky", "log_cosh_dice"}


def limits(arguments: Arguments) -> tuple[float, float]:
    return LIMITS.get(arguments.loss, LIMITS[arguments.activation])


def arguments_of(loss: str, activation: str = "none", **options) -> Arguments:
    return Arguments(loss, kernels.parameters_of(loss), activation, **options)


def data(
    arguments: Arguments,
    shape: tuple[int, ...],
    dtype: str = "float32",
    label_dtype: str | None = None,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Labels and predictions (outer, above, classes, inner)."""
    random = np.random.default_rng(seed)
    if arguments.activation == "none":
        y_pred = random.uniform(0.02, 0.98, shape)
    else:
        y_pred = random.normal(0, 2, shape)
    if arguments.sparse:
        y_true = random.integers(0, max(1, shape[2]), (shape[0], shape[1], shape[3]))
        label_dtype = label_dtype or "uint8"
    else:
        y_true = random.uniform(0, 1, shape) * (random.uniform(0, 1, shape) < 0.4)
        label_dtype = label_dtype or dtype
        if label_dtype in (*INTEGERS, "bool"):
            y_true = y_true > 0
    return y_true.astype(numpy_dtype(label_dtype)), y_pred.astype(numpy_dtype(dtype))


def call(arguments: Arguments, y_true: Array, y_pred: Array, *rest, **more) -> kernels.Regions:
    named = arguments._asdict()
    loss, parameters = named.pop("loss"), named.pop("parameters")
    return kernels.overlap(loss, y_true, y_pred, *rest, parameters=parameters, **named, **more)
