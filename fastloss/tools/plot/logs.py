"""What a training has recorded, from wherever it is."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Series(NamedTuple):
    """One quantity over the epochs in which it was recorded, counted from 1."""

    epochs: np.ndarray
    values: np.ndarray


def read(history: Any, validation_freq: int | None) -> dict[str, Series]:
    """The quantities by name, "val_..." ones included.

    Args:
        history: A Keras History, its dictionary, or the path of a file that CSVLogger wrote.
        validation_freq: As for `history` of `fastloss.tools.plot`.

    Raises:
        ValueError: If nothing was recorded, or if it is not known in which epochs.
        TypeError: If `history` is none of these.
    """
    if isinstance(history, (str, os.PathLike)):
        series = _from_csv(Path(history))
    else:
        logs = getattr(history, "history", history)
        if not isinstance(logs, Mapping):
            raise TypeError(
                f"history is {history!r}; expected what model.fit returns, its dictionary, or the "
                "path of a CSV file"
            )
        series = _from_lists(logs, getattr(history, "epoch", None), validation_freq)
    if not any(len(values) for _, values in series.values()):
        raise ValueError("history holds no epoch; expected at least one")
    return series


def _from_lists(
    logs: Mapping[str, Any], recorded: list[int] | None, freq: int | None
) -> dict[str, Series]:
    values = {name: np.asarray(numbers, float) for name, numbers in logs.items()}
    for name, numbers in values.items():
        if numbers.ndim != 1:
            raise ValueError(
                f"history has {name!r} of shape {numbers.shape}; expected one number per epoch"
            )
    total = max((len(numbers) for numbers in values.values()), default=0)
    epochs = np.arange(1, total + 1)
    if recorded is not None and len(recorded) == total:
        epochs = _rising(np.asarray(recorded) + 1)
    return {
        name: Series(_of_some(name, epochs, len(numbers), freq), numbers)
        for name, numbers in values.items()
    }


def _of_some(name: str, epochs: np.ndarray, count: int, freq: int | None) -> np.ndarray:
    """The epochs of a quantity that was recorded in every n-th of them only."""
    total = len(epochs)
    if count == total:
        return epochs
    fitting = [n for n in range(1, total + 1) if total // n == count]
    if freq in fitting or (freq is None and len(fitting) == 1):
        step = freq or fitting[0]
        return epochs[step - 1 :: step]
    raise ValueError(
        f"history has {count} values of {name!r} in {total} epochs"
        + (f", which validation_freq={freq} does not explain" if freq else "")
        + "; expected one per epoch, or pass the validation_freq that model.fit was given"
    )


def _from_csv(path: Path) -> dict[str, Series]:
    with path.open(newline="", encoding="utf-8") as file:
        sample = file.readline()
        file.seek(0)
        rows = list(csv.DictReader(file, delimiter=max(",;\t", key=sample.count)))
    epochs = np.arange(1, len(rows) + 1)
    if rows and "epoch" in rows[0]:
        epochs = _rising(np.array([int(float(row["epoch"])) for row in rows]) + 1)
    series = {}
    for name in rows[0] if rows else ():
        if not name or name == "epoch":
            continue
        # Keras writes NA where a quantity was not recorded, and nan where it was not a number.
        recorded = [i for i, row in enumerate(rows) if row[name] not in ("", "NA", None)]
        try:
            numbers = np.array([float(rows[i][name]) for i in recorded])
        except ValueError:
            continue
        series[name] = Series(epochs[recorded], numbers)
    return series


def _rising(epochs: np.ndarray) -> np.ndarray:
    """The epochs, or their numbers in a row where a second training started from 1 again."""
    return epochs if np.all(np.diff(epochs) > 0) else np.arange(1, len(epochs) + 1)
