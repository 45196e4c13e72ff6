"""Labels and predictions out of files: .npy, .npz, .csv."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastloss.tools.guide.arrays import Array

_DELIMITERS = ",;\t"
_TRUE, _PRED = ("y_true", "y", "labels"), ("y_pred",)


class Contents(NamedTuple):
    """What a file holds.

    Attributes:
        y_true: Labels; class numbers, where the file has names.
        y_pred: Predictions, if there are any.
        names: The names of the classes in the order of their numbers, where the file has names.
    """

    y_true: Array
    y_pred: Array | None = None
    names: tuple[str, ...] = ()


def read(path: Path, true: str | None, pred: str | None, columns: Sequence[str]) -> Contents:
    """Labels and, if there are any, predictions of a file.

    Args:
        path: A `.npy` of labels, an `.npz` of named arrays or a `.csv` with or without a header.
        true: Name of the array or column of labels. None is in an `.npz` the only array, or that
            named y_true, y or labels; in a `.csv` the last column.
        pred: Name of the array or column of predictions. None is an `.npz`'s y_pred, if it has one.
        columns: Names of the columns of a `.csv` that together are the labels, in place of `true`.

    Raises:
        ValueError: If the file is none of these, or lacks what is named.
    """
    suffix = path.suffix.lower()
    if columns and (suffix != ".csv" or true is not None):
        raise ValueError(
            f"columns were named, but {path.name} is no .csv; name an array by --true"
            if suffix != ".csv"
            else "--true and --column both name the labels; expected one of them"
        )
    if suffix == ".csv":
        return _read_table(path, [true] if true is not None else list(columns), pred)
    if suffix not in (".npy", ".npz"):
        raise ValueError(f"{path.name} ends in {suffix!r}; expected .npy, .npz or .csv")
    try:
        if suffix == ".npz":
            return _read_archive(path, true, pred)
        if true is not None or pred is not None:
            raise ValueError("a .npy holds one array without a name; --true and --pred need .npz")
        return Contents(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path.name} could not be read: {error}") from error


def _read_archive(path: Path, true: str | None, pred: str | None) -> Contents:
    with np.load(path, allow_pickle=False) as archive:
        present = archive.files
        if true is None:
            usual = [name for name in _TRUE if name in present]
            if not usual and len(present) != 1:
                raise ValueError(f"it holds {_list(present)}; name the labels by --true")
            true = (usual or present)[0]
        if pred is None:
            pred = next((name for name in _PRED if name in present and name != true), None)
        for name in filter(None, (true, pred)):
            if name not in present:
                raise ValueError(f"it holds no {name!r}, but {_list(present)}")
        return Contents(archive[true], None if pred is None else archive[pred])


def _read_table(path: Path, true: list[str], pred: str | None) -> Contents:
    with path.open(newline="", encoding="utf-8-sig") as file:
        head = file.read(10_000)
        file.seek(0)
        try:
            dialect: type[csv.Dialect] | str = csv.Sniffer().sniff(head, _DELIMITERS)
        except csv.Error:
            dialect = "excel"
        reader = csv.reader(file, dialect)
        first = next(reader, None)
        if first is None:
            raise ValueError(f"{path.name} is empty; expected rows of numbers or names")
        header = [cell.strip() for cell in first]
        has_header = not any(map(_is_number, header))
        rows = [] if has_header else [first]
        if not has_header:
            header = [str(number) for number in range(len(first))]
        indices = [_index(path, name, header) for name in true] or [len(header) - 1]
        guess = None if pred is None else _index(path, pred, header)
        rows += [row for row in reader if row]
    labels, names = _numbers(path, rows, indices)
    guesses = None if guess is None else _numbers(path, rows, [guess])[0]
    return Contents(labels, guesses, names)


def _numbers(
    path: Path, rows: list[list[str]], indices: list[int]
) -> tuple[Array, tuple[str, ...]]:
    """The columns as numbers; one column of names as class numbers, and the names."""
    try:
        cells = [[row[index].strip() for index in indices] for row in rows]
    except IndexError:
        raise ValueError(f"{path.name} has rows of different lengths; expected one") from None
    if any(not cell for row in cells for cell in row):
        raise ValueError(f"{path.name} has empty cells among the labels; leave these rows out")
    if len(indices) == 1:
        column = [row[0] for row in cells]
        if not all(map(_is_number, column)):
            names, numbers = np.unique(column, return_inverse=True)
            return numbers, tuple(str(name) for name in names)
        cells = column  # type: ignore[assignment]
    try:
        values = np.asarray(cells, dtype=np.float64)
    except ValueError:
        raise ValueError(f"{path.name} has names in one of several columns of labels") from None
    is_whole = np.isfinite(values).all() and np.all(values == np.floor(values))
    is_written_whole = is_whole and not any("." in str(cell) for cell in np.ravel(cells))
    return values.astype(np.int64) if is_written_whole else values, ()


def _index(path: Path, name: str, header: list[str]) -> int:
    """The index of a column, by its name or its number from 0."""
    if name in header:
        return header.index(name)
    if name.isdigit() and int(name) < len(header):
        return int(name)
    raise ValueError(f"{path.name} has no column {name!r}, but {_list(header)}")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown
