"""Time of losses and their gradients in TensorFlow on the GPU of this machine.

    python bench/gpu_tensorflow.py --output gpu_tensorflow.csv

Keras and fastloss, as graphs and compiled by XLA, beside the bandwidth of a copy of a gigabyte. A
time is the median of rounds of calls by the clock, and the GPU is waited for after each round.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf

import fastloss as fl
from fastloss.ops import library

CALLS, ROUNDS, WARMUP = 20, 15, 3


class Case(NamedTuple):
    """A loss of Keras, ours, and the labels and predictions that it is called with."""

    name: str
    keras: keras.losses.Loss | None
    ours: keras.losses.Loss
    shape: tuple[int, ...]
    dtype: str
    classes: int  # 0 for labels like the predictions

    def inputs(self) -> tuple[tf.Tensor, tf.Tensor]:
        y_pred = tf.cast(tf.random.normal(self.shape), self.dtype)
        if self.classes:
            return tf.random.uniform(self.shape[:-1], 0, self.classes, tf.int32), y_pred
        return tf.cast(tf.random.uniform(self.shape) < 0.5, self.dtype), y_pred


def sparse(**arguments: Any) -> tuple[keras.losses.Loss, keras.losses.Loss]:
    name = "SparseCategoricalCrossentropy"
    arguments = {"from_logits": True, **arguments}
    return getattr(keras.losses, name)(**arguments), getattr(fl, name)(**arguments)


CASES = (
    Case("mean_squared_error", keras.losses.MeanSquaredError(), fl.MeanSquaredError(),
         (1 << 20, 64), "float32", 0),
    Case("binary_crossentropy", keras.losses.BinaryCrossentropy(from_logits=True),
         fl.BinaryCrossentropy(from_logits=True), (1 << 20, 64), "float32", 0),
    Case("sparse_categorical_crossentropy", *sparse(), (1 << 20, 10), "float32", 10),
    Case("sparse_categorical_crossentropy", *sparse(), (8192, 32768), "bfloat16", 32768),
    Case("dice", None, fl.Dice(from_logits=True, sparse=True), (16, 512, 512, 19), "float32", 19),
    Case("complete_box_iou", None, fl.CompleteBoxIoU(), (1 << 22, 4), "float32", 0),
)  # fmt: skip


def median_ms(call: Callable[[], Any]) -> float:
    times = []
    for _ in range(WARMUP + ROUNDS):
        tf.test.experimental.sync_devices()
        begin = time.perf_counter()
        for _ in range(CALLS):
            call()
        tf.test.experimental.sync_devices()
        times.append((time.perf_counter() - begin) * 1e3 / CALLS)
    return statistics.median(times[WARMUP:])


def copy_bandwidth() -> float:
    """Bytes read and written each millisecond by a copy."""
    source = tf.ones(1 << 28)
    copy = tf.function(lambda x: tf.raw_ops.DeepCopy(x=x))
    return 2 * 4 * (1 << 28) / median_ms(lambda: copy(source))


def step(loss: keras.losses.Loss, jit_compile: bool) -> Callable[..., Any]:
    @tf.function(jit_compile=jit_compile)
    def both(y_true: tf.Tensor, y_pred: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, y_pred)
        return value, tape.gradient(value, y_pred)

    return both


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("gpu_tensorflow.csv"))
    arguments = parser.parse_args()
    if not tf.config.list_physical_devices("GPU"):
        sys.exit("There is no GPU that TensorFlow can use here, so nothing was measured.")
    if library.why_not_on_gpu():
        sys.exit(f"The ops have no kernels for this GPU: {library.why_not_on_gpu()}.")
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    bandwidth = copy_bandwidth()
    print(
        f"{details.get('device_name', 'GPU')}, TensorFlow {tf.__version__}, a copy moves "
        f"{bandwidth / 1e6:.0f} GB/s"
    )
    header = ("loss", "dtype", "shape", "contender", "ms", "GB/s", "share")
    with arguments.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((*header, "device"))
        print(("{:34}{:10}{:22}{:18}" + "{:>10}" * 3).format(*header))
        for case in CASES:
            y_true, y_pred = case.inputs()
            # Inputs once, the gradient once.
            moved = sum(x.dtype.size * int(tf.size(x)) for x in (y_true, y_pred, y_pred))
            contenders = {"fastloss graph": (case.ours, False), "fastloss XLA": (case.ours, True)}
            if case.keras is not None:
                contenders |= {"Keras graph": (case.keras, False), "Keras XLA": (case.keras, True)}
            for name, (loss, jit_compile) in contenders.items():
                run = step(loss, jit_compile)
                ms = median_ms(lambda run=run, t=y_true, p=y_pred: run(t, p))
                rate = moved / ms
                numbers = (f"{ms:.4f}", f"{rate / 1e6:.0f}", f"{rate / bandwidth:.2f}")
                row = (case.name, case.dtype, "x".join(map(str, case.shape)), name, *numbers)
                writer.writerow((*row, details.get("device_name", "")))
                file.flush()
                print(("{:34}{:10}{:22}{:18}" + "{:>10}" * 3).format(*row), flush=True)


if __name__ == "__main__":
    main()
