"""A small network that finds the nuclei of cells, and their borders, under a microscope.

    python examples/nuclei.py

Its image, 512 x 512 pixels with the outline of each nucleus, comes with the stardist package. The
network answers two questions of each pixel, nucleus and border, with a logit each; few pixels are
borders, so the loss is Dice, which counts both alike, plus focal cross-entropy. It is trained on
twelve tiles of the image and validated on the other four. `--quick` is a short run. It needs
`pip install '.[cpu,demo]' stardist`.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.table import Table

ANSWERS = ("nucleus", "border")
TILE = 128
# One of each row and column of tiles.
VALIDATION = ((0, 1), (1, 3), (2, 0), (3, 2))


def read_images() -> tuple[np.ndarray, np.ndarray]:
    """The image, and a number for each nucleus in it."""
    from tifffile import imread

    # Importing stardist takes longer than reading its files.
    package = find_spec("stardist")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("stardist, which has the image, is missing: pip install stardist")
    folder = Path(package.origin).parent / "data" / "images"
    return imread(folder / "img2d.tif"), imread(folder / "mask2d.tif")


def find_borders(nuclei: np.ndarray) -> np.ndarray:
    """The pixels on both sides of an outline: a neighbour is of another nucleus, or of none."""
    around = np.pad(nuclei, 1, mode="edge")
    neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    return np.any([nuclei != other for other in neighbours], axis=0)


def cut(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cuts an image into tiles, those to train on and those to validate on."""
    tiles = {
        (row, column): image[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        for row in range(image.shape[0] // TILE)
        for column in range(image.shape[1] // TILE)
    }
    training = [tile for position, tile in tiles.items() if position not in VALIDATION]
    return np.stack(training), np.stack([tiles[position] for position in VALIDATION])


def turned(tiles: np.ndarray) -> np.ndarray:
    """Each tile in its eight positions: turned, and turned over."""
    both = (tiles, tiles[:, ::-1])
    return np.concatenate([np.rot90(one, turns, (1, 2)) for one in both for turns in range(4)])


def make_model(filters: int, steps: int, seed: int) -> Any:
    """Builds and compiles convolutions whose view widens from layer to layer."""
    import keras

    import fastloss as fl

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    tile = hidden = keras.Input((TILE, TILE, 1))
    for dilation in (1, 2, 4, 2, 1):
        hidden = layers.Conv2D(filters, 3, padding="same", dilation_rate=dilation, use_bias=False)(
            hidden
        )
        hidden = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(hidden))
    model = keras.Model(tile, layers.Conv2D(len(ANSWERS), 1)(hidden))
    loss = fl.Dice(from_logits=True, per_class=True) + fl.BinaryFocalCrossentropy(from_logits=True)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, steps)
    model.compile(keras.optimizers.Adam(rate), loss)
    return model


def dice_scores(truth: np.ndarray, found: np.ndarray) -> list[float]:
    """Twice the common pixels over the pixels of both, one score for each answer."""
    axes = tuple(range(truth.ndim - 1))
    return (2 * np.sum(truth & found, axes) / (np.sum(truth, axes) + np.sum(found, axes))).tolist()


def write_picture(
    path: Path, curves: dict[str, list[float]], tile: np.ndarray, truth: np.ndarray, found: Any
) -> None:
    """Draws the loss of each epoch and one tile with its truth and the answer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 3.05), layout="constrained")
    axes, *panels = figure.subplots(1, 4, width_ratios=(1.3, 1, 1, 1))
    for (label, values), colour in zip(curves.items(), ("#7a7a7a", "#d1495b"), strict=True):
        epochs = range(1, len(values) + 1)
        axes.plot(epochs, values, color=colour, label=label, marker="." * (len(values) == 1))
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    # Nuclei are blue, their borders orange.
    palette = np.array([[20, 20, 28], [42, 111, 151], [244, 162, 97]], np.uint8)
    shown = [palette[np.where(one[..., 1], 2, one[..., 0].astype(int))] for one in (truth, found)]
    for panel, image, title in zip(
        panels, (tile[..., 0], *shown), ("a tile not trained on", "truth", "answer"), strict=True
    ):
        panel.imshow(image, cmap="gray", interpolation="nearest")
        panel.set_title(title, fontsize=10)
        panel.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer epochs.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of training; 12, quick 2.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Tiles of a step.")] = 8,
    filters: Annotated[int, typer.Option(min=1, help="Width of the network.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights and the order.")] = 1,
    output: Annotated[Path, typer.Option(help="The picture.")] = Path("nuclei.png"),
) -> None:
    """Trains a small network to find nuclei and their borders."""
    # It must precede the import of TensorFlow.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    epochs = epochs or (2 if quick else 12)
    # A pipe has no width.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    image, nuclei = read_images()
    # Fluorescence spans orders of magnitude.
    images, held_out = cut(np.log1p(image.astype(np.float32))[..., np.newaxis])
    centre, spread = images.mean(), images.std()
    labels, truth = cut(np.stack([nuclei > 0, find_borders(nuclei)], axis=-1))
    images, labels = turned((images - centre) / spread), turned(labels)
    held_out = (held_out - centre) / spread
    console.print(
        f"{len(images)} tiles of {TILE} x {TILE} pixels, turned ones included, and "
        f"{len(held_out)} others to validate on; {truth[..., 0].mean():.0%} of these is nucleus, "
        f"{truth[..., 1].mean():.0%} border."
    )
    model = make_model(filters, epochs * -(-len(images) // batch_size), seed)
    start = perf_counter()
    with console.status("Training"):
        history = model.fit(
            images,
            labels,
            batch_size=batch_size,
            epochs=epochs,
            validation_data=(held_out, truth),
            verbose=0,
        ).history
    seconds = perf_counter() - start
    found = model.predict(held_out, verbose=0) > 0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("validation")
    for header in ("first epoch", "last epoch"):
        table.add_column(header, justify="right")
    table.add_row("loss", *(f"{history['val_loss'][epoch]:.4f}" for epoch in (0, -1)))
    for name, score in zip(ANSWERS, dice_scores(truth, found), strict=True):
        table.add_row(f"Dice score, {name}", "", f"{score:.4f}")
    console.print("", table, "", sep="\n")
    curves = {"training": history["loss"], "validation": history["val_loss"]}
    write_picture(output, curves, held_out[2], truth[2], found[2])
    console.print(f"{epochs} epochs took {seconds:.0f} s. Wrote {output}.", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
