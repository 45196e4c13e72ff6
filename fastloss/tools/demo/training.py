"""Trains one model with Keras's loss and with ours, and measures both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import fastloss as fl
from fastloss.tools.bench import memory
from fastloss.tools.bench.timing import Timing, interleave

KERAS = "Keras"
OURS = "fastloss"

# One call of a graph costs as much as this loss, and in training the loss is no call of its own.
_LOSSES_PER_CALL = 8


@dataclass(frozen=True)
class Settings:
    """How the demo trains.

    Attributes:
        epochs: Passes over the data.
        batch_size: Images for each step.
        samples: How many images to train on.
        seed: Seed of weights, order and whatever else is drawn.
    """

    epochs: int
    batch_size: int
    samples: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, the ragged last one included."""
        return -(-self.samples // self.batch_size)


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
        inputs: What the model sees, an image for each entry of the first axis.
        labels: What it is to answer.
        make_model: Builds the model, not compiled.
        make_losses: The loss of each contender, Keras's first; each call makes new ones.
        learning_rate: Of the optimizer, Adam; a number or a schedule.
    """

    inputs: np.ndarray
    labels: np.ndarray
    make_model: Callable[[], keras.Model]
    make_losses: Callable[[], dict[str, keras.losses.Loss]]
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule


@dataclass
class Training:
    """What one contender's training gave.

    Attributes:
        model: The trained model.
        losses: The loss of each step.
        step_seconds: Whole steps, without the first of each epoch.
        error: How far the loss is from its value in float64, relative to that.
        loss_timing: Forward and backward of the loss alone, for each step.
        loss_peak_bytes: Memory that the loss alone needs beyond its inputs.
        process_peak_bytes: The largest resident size of the process while this one trained.
    """

    model: keras.Model
    losses: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    error: float = float("nan")
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


def _compiled(task: Task, seed: int, loss: keras.losses.Loss) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = task.make_model()
    model.compile(optimizer=keras.optimizers.Adam(task.learning_rate), loss=loss)
    return model


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
    task: Task, trainings: dict[str, Training], batch_size: int, rounds: int
) -> None:
    """Measures the losses alone on a batch and predictions of the trained model."""
    y_true = tf.constant(task.labels[:batch_size])
    y_pred = tf.constant(trainings[KERAS].model(task.inputs[:batch_size], training=False))
    # Equal tensors would let the graph compute one loss and use it several times.
    y_preds = [y_pred + 1e-3 * index for index in range(_LOSSES_PER_CALL)]
    losses = task.make_losses()
    calls = {name: _make_loss_call(loss, y_true, y_preds) for name, loss in losses.items()}
    for call in calls.values():
        call()
    for name, timing in interleave(calls, rounds=rounds).items():
        seconds = tuple(value / _LOSSES_PER_CALL for value in timing.seconds)
        trainings[name].loss_timing = Timing(seconds, timing.calls * _LOSSES_PER_CALL)
    with fl.use_backend("reference"):
        exact = float(losses[OURS](y_true, tf.cast(y_pred, tf.float64)))
    for name, loss in losses.items():
        trainings[name].error = abs(float(loss(y_true, y_pred)) - exact) / abs(exact)
        single = _make_loss_call(loss, y_true, y_preds[:1])
        single()
        trainings[name].loss_peak_bytes = memory.peak_extra_bytes(single)


def train(settings: Settings, task: Task, on_step: Callable[[], None]) -> dict[str, Training]:
    """Trains both models, Keras's first, and measures their losses.

    The two take turns epoch by epoch, so that a change of clock speed or load meets both.
    """
    losses = task.make_losses()
    trainings = {
        name: Training(_compiled(task, settings.seed, loss)) for name, loss in losses.items()
    }
    names = list(trainings)
    for epoch in range(settings.epochs):
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(task.inputs))
        for name in names if epoch % 2 == 0 else names[::-1]:
            training = trainings[name]
            if memory.can_measure_process():
                memory.trim()
                memory.reset_peak()
            training.model.fit(
                task.inputs[order],
                task.labels[order],
                batch_size=settings.batch_size,
                shuffle=False,
                verbose=0,
                callbacks=[_Recorder(training, on_step)],
            )
            if memory.can_measure_process():
                previous = training.process_peak_bytes or 0
                training.process_peak_bytes = max(previous, memory.peak_bytes())
    _measure_losses(task, trainings, settings.batch_size, 40 if settings.epochs > 1 else 5)
    return trainings


def curve_difference(
    trainings: dict[str, Training], steps: int | None = None
) -> tuple[float, float]:
    """The largest absolute and relative difference of the loss curves, or of their first steps."""
    theirs = np.asarray(trainings[KERAS].losses[:steps])
    ours = np.asarray(trainings[OURS].losses[:steps])
    difference = np.abs(ours - theirs)
    return float(np.max(difference)), float(np.max(difference / np.abs(theirs)))
