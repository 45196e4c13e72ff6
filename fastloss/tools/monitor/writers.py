"""Where the numbers go: lines, a CSV file, TensorBoard."""

from __future__ import annotations

import csv
import os
from typing import Any, Protocol

import tensorflow as tf

from fastloss.tools.monitor.numbers import Numbers

# What tf.summary.scalar writes, which needs the package tensorboard.
_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"), data_class=1
)


class Writer(Protocol):
    """Takes the numbers of an epoch, or of a step within it."""

    def write(self, epoch: int, step: int | None, total: int, numbers: Numbers) -> None:
        """Take the numbers.

        Args:
            epoch: From 0.
            step: Steps of the epoch so far; None at its end.
            total: Steps of the training so far.
            numbers: By name; None is not known this time.
        """

    def close(self) -> None:
        """The training has ended."""


class Lines:
    """Prints a line."""

    def write(self, epoch: int, step: int | None, total: int, numbers: Numbers) -> None:
        where = f"epoch {epoch + 1}" + ("" if step is None else f" step {step}")
        known = [f"{name} {x:.4g}" for name, x in numbers.items() if x is not None]
        print(f"{where}: {'  '.join(known)}")

    def close(self) -> None:
        pass


class Csv:
    """Writes rows with the columns of the first; a new training begins a new file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open(path, "w", newline="")  # noqa: SIM115 - closed with the training
        self._writer: Any = None

    def write(self, epoch: int, step: int | None, total: int, numbers: Numbers) -> None:
        row = {"epoch": epoch, "step": "" if step is None else step, **numbers}
        if self._writer is None:
            self._writer = csv.DictWriter(
                self._file, list(row), restval="", extrasaction="ignore", lineterminator="\n"
            )
            self._writer.writeheader()
        self._writer.writerow(row)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TensorBoard:
    """Writes scalars `loss_monitor/...` against the steps of the training."""

    def __init__(self, logdir: str | os.PathLike[str]) -> None:
        self._writer = tf.summary.create_file_writer(os.fspath(logdir))

    def write(self, epoch: int, step: int | None, total: int, numbers: Numbers) -> None:
        family = "loss_monitor" if step is None else "loss_monitor_steps"
        with self._writer.as_default(step=total):
            for name, x in numbers.items():
                if x is not None:
                    value = tf.constant(x, tf.float32)
                    tf.summary.write(f"{family}/{name}", value, metadata=_SCALAR)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
