"""Draws value and gradient of each loss into docs/pictures, where the pages look for them.

`python docs/make_pictures.py`, before the site is built, or with names of losses: `... Huber Dice`.
Needs the package, TensorFlow and matplotlib.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import matplotlib

import fastloss as fl
from fastloss.registry import LOSSES

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from generate.source import snake  # noqa: E402

# What is drawn side by side; the others as they are, from logits where they take them.
VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "Huber": ({"delta": 0.5}, {"delta": 1.0}, {"delta": 2.0}),
    "Pinball": ({"tau": 0.1}, {"tau": 0.5}, {"tau": 0.9}),
    "BinaryCrossentropy": ({}, {"label_smoothing": 0.2}, {"pos_weight": 3.0}),
    "BinaryFocalCrossentropy": ({"gamma": 0.0}, {"gamma": 1.0}, {"gamma": 2.0}, {"gamma": 5.0}),
    "CategoricalCrossentropy": ({}, {"label_smoothing": 0.2}),
    "SparseCategoricalCrossentropy": ({}, {"label_smoothing": 0.2}, {"z_loss": 0.1}),
    "CategoricalFocalCrossentropy": tuple({"alpha": 1.0, "gamma": x} for x in (0.0, 1.0, 2.0, 5.0)),
    "CategoricalGeneralizedCrossEntropy": ({"q": 0.1}, {"q": 0.5}, {"q": 0.9}),
    "Tversky": ({"alpha": 0.3, "beta": 0.7}, {"alpha": 0.5}, {"alpha": 0.7, "beta": 0.3}),
    "FocalTversky": ({"gamma": 0.5}, {"gamma": 0.75}, {"gamma": 1.0}, {"gamma": 1.5}),
    "KLDivergence": ({}, {"reverse": True}),
}
VARIANTS["SparseCategoricalFocalCrossentropy"] = VARIANTS["CategoricalFocalCrossentropy"]


def losses() -> list[str]:
    """The losses that have a shape to draw: those of one label and one prediction."""
    return [loss.class_name for loss in LOSSES]


def draw(name: str, folder: Path) -> Path:
    """Draw one loss.

    Returns:
        The picture.
    """
    from fastloss import plot

    kind = getattr(fl, name)
    takes_logits = "from_logits" in inspect.signature(kind).parameters
    logits = {"from_logits": True} if takes_logits else {}
    variants = VARIANTS.get(name, ({},))
    axes = plot.shape(*(kind(**logits, **given) for given in variants))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{snake(name)}.svg"
    # The same loss gives the same file.
    with matplotlib.rc_context({"svg.hashsalt": name}):
        axes[0].figure.savefig(path, metadata={"Date": None})
    return path


if __name__ == "__main__":
    for chosen in sys.argv[1:] or losses():
        print(draw(chosen, HERE / "pictures"))
