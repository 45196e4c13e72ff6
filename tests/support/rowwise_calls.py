"""Layouts and options of calls of the rowwise kernels, and the published bounds of their errors."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest
from cases import PREDICTION_DTYPES
from rowwise_truth import BETWEEN_LOGITS, OF_LOGITS, Options

from fastloss import c_api

LOSSES = tuple(c_api.rowwise_losses())
FROM_LOGITS = (*OF_LOGITS, *BETWEEN_LOGITS)
every_loss = pytest.mark.parametrize("loss", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", PREDICTION_DTYPES)
# One way through the driver each: lanes are classes; rows; rows whose classes are apart.
LAYOUTS = {"contiguous": (9, 300), "interleaved": (40, 5), "inner": (2, 100, 20)}
every_layout = pytest.mark.parametrize("shape", LAYOUTS.values(), ids=LAYOUTS)


def published() -> dict[str, tuple[float, float]]:
    """The table of docs/numerics.md: most units of the loss and of the gradient."""
    text = (pathlib.Path(__file__).parents[2] / "docs" / "numerics.md").read_text()
    section = text.split("## Rowwise losses: maximum error in units")[1].split("\n## ")[0]
    found = {}
    for names, *limits in re.findall(r"^\| (.+) \| (\d+) \| (\d+) \|$", section, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            found[name] = tuple(map(float, limits))
    return found


LIMITS = published()
assert LIMITS.keys() == set(LOSSES)


def options_of(loss: str, classes: int) -> list[Options]:
    weight = np.random.default_rng(classes).uniform(0.2, 2, classes)
    if loss in BETWEEN_LOGITS:
        return [Options(), Options(temperature=2.5), Options(temperature=0.5)]
    smoothing = 0.0 if "generalized" in loss else 0.1
    options = [Options(), Options(class_weight=weight)]
    if smoothing:
        options += [Options(smoothing), Options(smoothing, weight)]
    if loss in OF_LOGITS:
        options += [Options(temperature=2.5), Options(logit_softcap=5.0), Options(z_loss=0.01)]
        options += [Options(smoothing, weight, 0.7, 20.0, 0.01)]
    return options
