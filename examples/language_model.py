"""A small GPT, trained three times: Keras's loss, fastloss's loss, fastloss's layer.

    python examples/language_model.py

Its text is the source of Python's own standard library, its vocabulary as large as GPT-2's, 50257
words and pieces of words. The three contenders start from the same weights and see the same text.
Each is a process of its own, so that its peak memory is its own; they take turns, so that a change
of clock speed or load meets all. `--quick` is a short run. It needs `pip install '.[cpu,demo]'`.
"""

import multiprocessing
import os
import re
import statistics
import sys
import sysconfig
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

KERAS, LOSS, LAYER = CONTENDERS = ("Keras", "fastloss loss", "fastloss layer")
BLOCKS = 2
# So many steps one contender makes before the next has its turn.
TURN = 5


@dataclass(frozen=True)
class Settings:
    """The model and its training."""

    steps: int
    batch_size: int
    context: int
    features: int
    vocabulary: int
    seed: int


@dataclass
class Training:
    """What one contender's training gave; the seconds lack the first step, which traces."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    backend: str = ""
    versions: str = ""


def read_text() -> str:
    """The source of the standard library, in the same order everywhere."""
    root = Path(sysconfig.get_paths()["stdlib"])
    # Packages that were installed, tables, tests that some lack, what differs by machine.
    without = re.compile(r"((site|dist)-packages|encodings|(.*/)?tests?)/|config-|_sysconfigdata")
    names = (path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    chosen = sorted(name for name in names if not without.match(name))
    return "\n".join((root / name).read_text("utf-8", "replace") for name in chosen)


def encode(text: str, size: int) -> tuple[list[bytes], np.ndarray]:
    """Makes a vocabulary of exactly `size` pieces and spells the text in it.

    The pieces are the 256 bytes, the most frequent words, a space before them included, and, where
    the text has too few words, the most frequent pairs of words. Other words are spelled in bytes.
    """
    words = re.findall(r" ?\w+| ?[^\w\s]+|\s+", text)

    def most_frequent(counts: Counter[str], known: set[str]) -> list[str]:
        longer = [word for word in counts if len(word.encode()) > 1 and word not in known]
        # Equally frequent ones in the order of the alphabet, so that every run agrees.
        return sorted(longer, key=lambda word: (-counts[word], word))[: size - 256 - len(known)]

    chosen = most_frequent(Counter(words), set())
    few = len(chosen) < size - 256
    if few:
        pairs = Counter("".join(pair) for pair in pairwise(words))
        chosen += most_frequent(pairs, set(chosen))
    if len(chosen) != size - 256:
        raise ValueError(f"{size} is more than the {len(chosen) + 256} pieces of the text")
    index = {word: position for position, word in enumerate(chosen, start=256)}
    tokens: list[int] = []
    position = 0
    while position < len(words):
        pair = index.get("".join(words[position : position + 2])) if few else None
        found = pair or index.get(words[position])
        tokens.extend(words[position].encode() if found is None else (found,))
        position += 2 if pair else 1
    return [*(bytes([value]) for value in range(256)), *map(str.encode, chosen)], np.array(tokens)


def make_model(contender: str, settings: Settings) -> Any:
    """Builds and compiles a decoder with causal attention; its head is the contender's."""
    import keras

    import fastloss as fl

    class Positions(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.table = self.add_weight(shape=shape[1:], initializer="uniform", name="table")

        def call(self, hidden: Any) -> Any:
            return hidden + self.table

    keras.utils.set_random_seed(settings.seed)
    layers, features = keras.layers, settings.features
    tokens = keras.Input((settings.context,), dtype="int32")
    hidden = Positions()(layers.Embedding(settings.vocabulary, features)(tokens))
    for _ in range(BLOCKS):
        normed = layers.LayerNormalization()(hidden)
        attention = layers.MultiHeadAttention(num_heads=4, key_dim=features // 4)
        hidden = hidden + attention(normed, normed, use_causal_mask=True)
        normed = layers.LayerNormalization()(hidden)
        hidden = hidden + layers.Dense(features)(layers.Dense(4 * features, "gelu")(normed))
    hidden = layers.LayerNormalization()(hidden)
    if contender == LAYER:
        labels = keras.Input((settings.context,), dtype="int32")
        value = fl.layers.LinearCrossentropy(settings.vocabulary)(hidden, labels)
        model, loss = keras.Model([tokens, labels], value), None
    else:
        model = keras.Model(tokens, layers.Dense(settings.vocabulary)(hidden))
        module = keras.losses if contender == KERAS else fl
        loss = module.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    return model


def work(contender: str, settings: Settings, pipe: Connection) -> None:
    """The process of one contender: steps on the windows it is sent, and figures at the end."""
    import keras
    import tensorflow as tf

    import fastloss as fl
    from fastloss.tools.bench import memory

    tf.get_logger().setLevel("ERROR")
    model = make_model(contender, settings)

    def step(window: np.ndarray) -> float:
        texts, labels = window[:, :-1], window[:, 1:]
        data = ((texts, labels),) if contender == LAYER else (texts, labels)
        # Else Keras gives the mean of all steps.
        model.reset_metrics()
        return float(model.train_on_batch(*data, return_dict=True)["loss"])

    training, window = Training(backend=fl.backend()), np.empty(0)
    while (windows := pipe.recv()) is not None:
        for window in windows:
            start = time.perf_counter()
            training.losses.append(step(window))
            if len(training.losses) > 1:
                training.seconds.append(time.perf_counter() - start)
        pipe.send(training)
    training.peak_bytes = memory.peak_extra_bytes(lambda: step(window))
    modules = {"TensorFlow": tf, "Keras": keras, "fastloss": fl}
    training.versions = ", ".join(f"{name} {it.__version__}" for name, it in modules.items())
    pipe.send(training)


def train(settings: Settings, windows: np.ndarray, bar: Progress) -> dict[str, Training]:
    """Trains the contenders in turn, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    task = bar.add_task("starting TensorFlow", total=len(CONTENDERS) * settings.steps)
    pipes: dict[str, Connection] = {}
    trainings: dict[str, Training] = {}
    processes = []
    try:
        for name in CONTENDERS:
            pipes[name], theirs = context.Pipe()
            processes.append(context.Process(target=work, args=(name, settings, theirs)))
            processes[-1].start()
            theirs.close()
        for begin in range(0, settings.steps, TURN):
            part = windows[begin : begin + TURN]
            for name in CONTENDERS:
                bar.update(task, description=name)
                pipes[name].send(part)
                trainings[name] = pipes[name].recv()
                bar.advance(task, len(part))
        for name, pipe in pipes.items():
            pipe.send(None)
            trainings[name] = pipe.recv()
    except EOFError:
        raise RuntimeError("a contender has failed, see above") from None
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return trainings


def differences(trainings: dict[str, Training], name: str) -> np.ndarray:
    """How far a contender's loss is from Keras's, step by step."""
    return np.abs(np.subtract(trainings[name].losses, trainings[KERAS].losses))


def make_table(settings: Settings, trainings: dict[str, Training]) -> Table:
    """The figures of all contenders."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    for name in CONTENDERS:
        table.add_column(name, justify="right")
    found = [trainings[name] for name in CONTENDERS]
    tokens = settings.batch_size * settings.context
    largest = [f"{differences(trainings, name).max():.1e}" for name in (LOSS, LAYER)]
    speeds = [tokens / statistics.median(one.seconds) for one in found]
    peaks = [one.peak_bytes for one in found]
    table.add_row("loss after the last step", *(f"{one.losses[-1]:.5f}" for one in found))
    table.add_row("curve differs from Keras's by at most", "", *largest)
    table.add_row("tokens per second", *(f"{speed:.0f}" for speed in speeds))
    megabytes = ["unknown here" if peak is None else f"{peak / 1e6:.0f} MB" for peak in peaks]
    table.add_row("peak memory of a step", *megabytes)
    return table


def write_picture(path: Path, trainings: dict[str, Training]) -> None:
    """Draws the loss curves and how far ours are from Keras's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.0), layout="constrained")
    curves, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1.0))
    # A wide line below narrower ones: all stay visible where they coincide.
    styles = {KERAS: ("#bdbdbd", 6.0), LOSS: ("#d1495b", 3.0), LAYER: ("#2a6f97", 1.0)}
    for name, (colour, width) in styles.items():
        steps = np.arange(1, len(trainings[name].losses) + 1)
        curves.plot(steps, trainings[name].losses, color=colour, linewidth=width, label=name)
        if name != KERAS:
            # Equal losses would have no position on this scale.
            values = np.maximum(differences(trainings, name), 1e-8)
            below.semilogy(steps, values, color=colour, linewidth=1, label=name)
    curves.set_ylabel("loss of the step")
    curves.legend(frameon=False)
    below.set_ylabel("difference\nfrom Keras")
    below.set_xlabel("step")
    title = f"A small GPT on Python's standard library; {trainings[KERAS].versions}"
    figure.suptitle(title, fontsize=9, color="#555555")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer steps.")] = False,
    steps: Annotated[int | None, typer.Option(min=2, help="Steps of each; 200, quick 12.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts of a step.")] = 8,
    context: Annotated[int, typer.Option(min=1, help="Tokens of a text.")] = 128,
    features: Annotated[int, typer.Option(min=4, help="Width of the model.")] = 128,
    vocabulary: Annotated[int, typer.Option(min=256, help="Words and pieces.")] = 50257,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights and of the texts.")] = 1,
    output: Annotated[Path, typer.Option(help="The picture.")] = Path("language-model.png"),
) -> None:
    """Trains a small GPT three times and compares speed, memory and loss curves."""
    # The processes inherit them; they must precede the import of TensorFlow.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    steps = steps or (12 if quick else 200)
    settings = Settings(steps, batch_size, context, features, vocabulary, seed)
    # A pipe has no width.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    with console.status("Reading the standard library"):
        try:
            pieces, tokens = encode(read_text(), vocabulary)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--vocabulary") from error
    console.print(
        f"A decoder of {BLOCKS} blocks and {features} features, trained {len(CONTENDERS)} times "
        f"for {steps} steps of {batch_size} x {context} tokens; the text has {len(tokens)} tokens "
        f"of {len(pieces)}."
    )
    starts = np.random.default_rng(seed).integers(len(tokens) - context, size=(steps, batch_size))
    windows = tokens[starts[..., None] + np.arange(context + 1)].astype(np.int32)
    # A faster display would take time from what is measured.
    bar = Progress(console=console, transient=True, refresh_per_second=2)
    with bar:
        trainings = train(settings, windows, bar)
    console.print("", make_table(settings, trainings), "", sep="\n")
    logits = f"{4e-6 * batch_size * context * vocabulary:.0f} MB"
    console.print(f"The logits of a step are {logits}; the layer never holds them all.")
    if trainings[LAYER].backend != "fused":
        console.print("The compiled library is not in use: fastloss is its reference here.")
    write_picture(output, trainings)
    console.print(f"Wrote {output}.", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
