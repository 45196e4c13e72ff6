"""`fastloss demo segmentation`: a small U-Net that finds grey and white matter in a head.

The image is the ICBM 152 template, the T1 average of 152 heads, and the labels are its maps of grey
and white matter; both come with the nilearn package. All slices are of this one volume, so the
validation score tells whether the training works, not how it would fare on another head.

Reference: Ronneberger et al., U-Net, 2015 (arXiv:1505.04597); Fonov et al., Unbiased
nonlinear average age-appropriate brain templates from birth to adulthood, 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from rich.console import Console

import fastloss as fl
from fastloss.tools.demo import report
from fastloss.tools.demo.training import KERAS, OURS, Settings, Task, Training, train
from fastloss.tools.install import require

CLASSES = ("background", "grey matter", "white matter")

# In the template's voxels of 1 mm: 144 axial slices with tissue, cut to what the head fills.
_REGION = (slice(2, 194), slice(5, 229), slice(6, 150))
_SLICES_PER_BLOCK = 12
_VALIDATION_BLOCKS = (2, 6, 10)
# Neighbours look alike, so slices this near to a training block are left out.
_GAP = 2
_FILTERS = (8, 16, 32)
_SHOWN = 3


@dataclass(frozen=True)
class Slices:
    """Axial slices, the front of the head up.

    Attributes:
        images: float32 in [0, 1], `(slices, 112, 96, 1)`.
        labels: The class of each pixel, uint8, `(slices, 112, 96)`.
    """

    images: np.ndarray
    labels: np.ndarray


def _read(tissue: str) -> np.ndarray:
    """A map of the template in slices of 2 mm pixels, from 0 to 1."""
    require("The demo of segmentation", "nilearn", "nibabel")
    import nibabel

    # Importing nilearn takes longer than reading its files.
    package = find_spec("nilearn")
    assert package is not None and package.origin is not None
    name = f"mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"
    image: Any = nibabel.load(Path(package.origin).parent / "datasets" / "data" / name)
    volume = np.asarray(image.dataobj, np.float32)[_REGION] / np.float32(255)
    width, height, slices = volume.shape
    pixels = volume.reshape(width // 2, 2, height // 2, 2, slices).mean((1, 3))
    return np.ascontiguousarray(pixels.transpose(2, 1, 0)[:, ::-1])


def load_slices(settings: Settings) -> tuple[Slices, Slices]:
    """The slices of nilearn's template to train on and, from other blocks, to validate on."""
    images = _read("t1")[..., np.newaxis]
    # A pixel is of the tissue that is more than half of it.
    labels = (_read("gm") > 0.5) + 2 * (_read("wm") > 0.5).astype(np.uint8)
    block, index = np.divmod(np.arange(len(images)), _SLICES_PER_BLOCK)
    held_out = np.isin(block, _VALIDATION_BLOCKS)
    inner = (index >= _GAP) & (index < _SLICES_PER_BLOCK - _GAP)
    generator = np.random.default_rng(settings.seed)
    training = generator.permutation(np.flatnonzero(~held_out))[: settings.samples]
    validation = np.flatnonzero(held_out & inner)
    return (
        Slices(images[training], labels[training]),
        Slices(images[validation], labels[validation]),
    )


def make_model() -> keras.Model:
    """The U-Net; it answers with logits."""
    layers = keras.layers

    def convolved(hidden: Any, filters: int) -> Any:
        for _ in range(2):
            hidden = layers.Conv2D(filters, 3, padding="same", use_bias=False)(hidden)
            # Without it the training is chaotic: rounding alone soon parts the curves.
            hidden = layers.BatchNormalization(momentum=0.9)(hidden)
            hidden = layers.ReLU()(hidden)
        return hidden

    image = hidden = keras.Input((112, 96, 1))
    skipped = []
    for filters in _FILTERS[:-1]:
        hidden = convolved(hidden, filters)
        skipped.append(hidden)
        hidden = layers.MaxPooling2D()(hidden)
    hidden = convolved(hidden, _FILTERS[-1])
    for filters in reversed(_FILTERS[:-1]):
        hidden = layers.Conv2DTranspose(filters, 2, strides=2)(hidden)
        hidden = convolved(layers.Concatenate()([skipped.pop(), hidden]), filters)
    return keras.Model(image, layers.Conv2D(len(CLASSES), 1)(hidden))


class DiceAndCrossentropy(keras.losses.Loss):
    """Mean Dice loss of the classes plus mean cross-entropy of the pixels, in Keras's ops."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        ops = keras.ops
        dice = keras.losses.dice(
            ops.one_hot(y_true, y_pred.shape[-1]), ops.softmax(y_pred), axis=(0, 1, 2)
        )
        crossentropy = keras.losses.sparse_categorical_crossentropy(
            y_true, y_pred, from_logits=True
        )
        return ops.mean(dice) + ops.mean(crossentropy)


def make_losses() -> dict[str, keras.losses.Loss]:
    """Dice plus cross-entropy, in Keras's ops and ours."""
    return {
        KERAS: DiceAndCrossentropy(),
        OURS: fl.Dice(sparse=True, from_logits=True)
        + fl.SparseCategoricalCrossentropy(from_logits=True),
    }


def dice_scores(truth: np.ndarray, found: np.ndarray) -> list[float]:
    """Of each tissue, twice the common pixels over the pixels of both: 1 is the best."""
    pairs = ((truth == tissue, found == tissue) for tissue in range(1, len(CLASSES)))
    return [float(2 * np.sum(a & b) / (np.sum(a) + np.sum(b))) for a, b in pairs]


def draw(
    trainings: dict[str, Training], validation: Slices, found: dict[str, np.ndarray]
) -> Figure:
    """The curves and timings, and beside them slices with truth and answers."""
    figure = Figure(figsize=(14.0, 7.4), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.0, 1.05))
    left, right = halves
    curves, below, bars = left.subplots(3, 1, height_ratios=(2.2, 1.0, 1.5))
    below.sharex(curves)
    report.draw_curves(curves, below, trainings)
    report.draw_times(bars, trainings)

    # Background, grey and white matter as they are called; what is wrong stands out.
    tissues = ListedColormap(["#000000", "#8a8a8a", "#f2f2f2", report.COLOURS[OURS]])
    wrong = len(CLASSES)
    chosen = np.linspace(0, len(validation.images) - 1, _SHOWN + 2).round().astype(int)[1:-1]
    panels = right.subplots(_SHOWN, 4, squeeze=False)
    for row, index in zip(panels, chosen, strict=True):
        truth = validation.labels[index]
        row[0].imshow(validation.images[index, ..., 0], cmap="gray")
        row[1].imshow(truth, cmap=tissues, vmin=0, vmax=wrong, interpolation="nearest")
        for axes, name in zip(row[2:], (KERAS, OURS), strict=True):
            answer = found[name][index]
            shown = np.where(answer == truth, answer, wrong)
            axes.imshow(shown, cmap=tissues, vmin=0, vmax=wrong, interpolation="nearest")
            score = np.mean(dice_scores(truth, answer))
            axes.set_xlabel(f"Dice {score:.4f}", fontsize=8)
    for axes, title in zip(panels[0], ("T1 image", "truth", KERAS, OURS), strict=True):
        axes.set_title(title, fontsize=11, fontweight="bold")
    for axes in panels.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    right.supxlabel("slices that were not trained on; wrong pixels in red", fontsize=9)
    return figure


def run(settings: Settings, console: Console, output: Path) -> None:
    """Runs the demo."""
    training, validation = load_slices(settings)
    console.print(
        f"A U-Net on {len(training.images)} axial slices of the ICBM 152 brain template, trained "
        f"twice from the same seed; Dice + cross-entropy of {', '.join(CLASSES)}. Validated on "
        f"{len(validation.images)} slices of other parts of the same template.",
        highlight=False,
    )
    with report.progress(console, settings) as on_step:
        rate = keras.optimizers.schedules.CosineDecay(
            3e-3, settings.epochs * settings.steps_per_epoch
        )
        task = Task(training.images, training.labels, make_model, make_losses, rate)
        trainings = train(settings, task, on_step)
    found = {
        name: np.argmax(one.model.predict(validation.images, verbose=0), axis=-1)
        for name, one in trainings.items()
    }
    scores = {name: dice_scores(validation.labels, answer) for name, answer in found.items()}
    rows = [
        (f"validation Dice score, {tissue}", f"{theirs:.4f}", f"{ours:.4f}")
        for tissue, theirs, ours in zip(CLASSES[1:], scores[KERAS], scores[OURS], strict=True)
    ]
    report.print_report(console, settings, trainings, rows)
    subject = "U-Net on the ICBM 152 brain template, Dice + cross-entropy"
    report.write_picture(draw(trainings, validation, found), subject, output)
    console.print(f"\nWrote {output}.", highlight=False, soft_wrap=True)
