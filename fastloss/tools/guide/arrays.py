"""Data of any kind as arrays, and a sample of the large ones."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray

LIMIT = 1_000_000
"""How many values of an array are looked at."""

_BATCHES = 1000  # of a dataset, which may be without end


def as_array(argument: str, x: Any) -> Array:
    """The data as an array of numbers, without a copy where NumPy can do without.

    Args:
        argument: What to call it in an error.
        x: Anything NumPy reads, a tensor, or a `tf.data` dataset of batches `y` or `(x, y, ...)`.

    Raises:
        ValueError: If it holds no numbers, or nothing.
    """
    array = _of_dataset(argument, x) if hasattr(x, "element_spec") else _of_one(argument, x)
    if array.ndim == 0:
        raise ValueError(
            f"{argument} is one number; expected one for each sample: give an array, or batch "
            "the dataset"
        )
    if array.size == 0:
        raise ValueError(f"{argument} of shape {array.shape} is empty; expected some samples")
    return array


def _of_one(argument: str, x: Any) -> Array:
    try:
        array = np.asarray(x)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"{argument}, a {type(x).__name__}, is no array of numbers; expected rows of one "
            "length, with values that are known: pad the rows, or call this outside a tf.function"
        ) from error
    if array.dtype.kind in "US" or (array.dtype.kind == "O" and isinstance(array.flat[0], str)):
        raise ValueError(
            f"{argument} holds text; expected numbers: "
            "np.unique(labels, return_inverse=True)[1] makes class numbers of names"
        )
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise ValueError(
            f"{argument} has dtype {array.dtype}; expected a boolean, an integer or a float"
        )
    return array


def _of_dataset(argument: str, dataset: Any) -> Array:
    batches: list[Array] = []
    seen = 0
    for element in dataset:
        if isinstance(element, dict):
            raise ValueError(
                f"{argument} is a dataset of dicts; expected batches y or (x, y): map it to one"
            )
        labels = element[1] if isinstance(element, (tuple, list)) and len(element) > 1 else element
        batches.append(_of_one(argument, labels))
        seen += batches[-1].size
        if len(batches) == _BATCHES or seen >= LIMIT:
            break
    if not batches:
        raise ValueError(f"{argument} is an empty dataset; expected some batches")
    if batches[0].ndim == 0:
        return batches[0]
    try:
        return np.concatenate(batches)
    except ValueError as error:
        raise ValueError(
            f"{argument} has batches of different shapes; expected one: pad them alike"
        ) from error


def rows_of(x: Array) -> Array:
    """Rows along the last axis, `(rows, width)`; of a large array a sample, always the same.

    One row out of each of equal stretches, at random places: neither an order of the rows nor a
    period in them misleads it.
    """
    if x.ndim == 1:
        x = x[:, np.newaxis]
    width, total = x.shape[-1], math.prod(x.shape[:-1])
    keep = max(1, LIMIT // width)
    if total <= keep:
        rows = x.reshape(total, width)
    else:
        indices = (np.arange(keep) + np.random.default_rng(0).random(keep)) * (total / keep)
        indices = np.minimum(indices.astype(np.int64), total - 1)
        rows = x[np.unravel_index(indices, x.shape[:-1])]
    # NumPy itself does not compute in bfloat16, and half types overflow in sums.
    return rows.astype(np.float32) if rows.dtype.name in ("bfloat16", "float16") else rows
