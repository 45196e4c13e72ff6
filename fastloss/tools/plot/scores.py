"""The loss of each class by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from fastloss.tools.plot.kind import Kind, kind_of, name_of


class Scores(NamedTuple):
    """What a loss is for each class.

    Attributes:
        losses: One number per class; NaN for a class without a label.
        counts: How many labels there are of each.
        total: Of how many.
    """

    losses: np.ndarray
    counts: np.ndarray
    total: int


class _Labels(NamedTuple):
    """Which class each label is of, or, if several may be, whether it is of each.

    Attributes:
        members: Boolean, `(labels, classes)`.
        several: Whether a label may be of several classes.
    """

    members: np.ndarray
    several: bool


def scores_of(loss: Any, y_true: Any, y_pred: Any) -> Scores:
    """The loss of each class.

    Raises:
        ValueError: If the loss scores all classes together, or the shapes do not go together.
    """
    true, pred = np.asarray(tf.convert_to_tensor(y_true)), tf.convert_to_tensor(y_pred)
    kind = kind_of(loss)
    if kind.labels not in ("mask", "sparse") and not _is_class(true):
        raise ValueError(
            f"y_true has dtype {true.dtype} and values that are neither 0 and 1 nor -1 and 1; "
            f"expected classes, which {name_of(loss)} is then drawn for one by one"
        )
    if len(pred.shape) == 1:
        true, pred = true.reshape(-1, 1), pred[:, tf.newaxis]
    labels = _labels(kind, true, pred)
    counts = labels.members.sum(axis=0)
    losses = _losses(loss, true, pred, labels)
    return Scores(np.where(counts > 0, losses, np.nan), counts, len(labels.members))


def _is_class(true: np.ndarray) -> bool:
    return true.dtype.kind in "bui" or bool(np.isin(true, (-1, 0, 1)).all())


def _labels(kind: Kind, true: np.ndarray, pred: tf.Tensor) -> _Labels:
    rank, width = len(pred.shape), pred.shape[kind.axis]
    sparse = kind.labels == "sparse" or kind.sparse
    # Class numbers beside logits of classes, in a loss that does not say it.
    sparse = sparse or (true.ndim == rank - 1 and width > 1)
    if sparse:
        numbers = true.reshape(-1).astype(np.int64)
        return _Labels(numbers[:, np.newaxis] == np.arange(width), False)
    if true.shape != tuple(pred.shape):
        raise ValueError(
            f"y_true has shape {true.shape} and y_pred {tuple(pred.shape)}; expected the same, or "
            "class numbers without the axis of the classes"
        )
    rows = np.moveaxis(true, kind.axis, -1).reshape(-1, width) > 0.5
    if width > 1:
        exclusive = kind.labels != "binary" and bool((rows.sum(axis=1) <= 1).all())
        return _Labels(rows, not exclusive)
    if kind.labels == "mask":
        return _Labels(rows, True)
    return _Labels(np.concatenate([~rows, rows], axis=1), False)


def _losses(loss: Any, true: np.ndarray, pred: tf.Tensor, labels: _Labels) -> np.ndarray:
    terms = getattr(loss, "losses", None)
    if terms:
        parts = [_losses(term, true, pred, labels) for term in terms]
        return sum(f * part for f, part in zip(loss.factors, parts, strict=True))
    inner = getattr(loss, "loss", None)
    if isinstance(inner, keras.losses.Loss):
        return _losses(inner, true, pred, labels)
    if kind_of(loss).labels == "mask":
        return _of_regions(loss, true, pred, labels)
    rows: Callable[..., Any] = loss.call if isinstance(loss, keras.losses.Loss) else loss
    if labels.several:
        width = pred.shape[-1]
        columns = [rows(true[..., k : k + 1], pred[..., k : k + 1]) for k in range(width)]
        return np.array([np.mean(_numbers(column)) for column in columns])
    values = _numbers(rows(true, pred)).reshape(-1)
    if len(values) != len(labels.members):
        raise ValueError(
            f"{name_of(loss)} gives {len(values)} values for {len(labels.members)} labels; "
            "expected one for each, so that they can be told apart by class"
        )
    # A label that is to be ignored is of no class, or of one that is left out.
    ignored = getattr(loss, "ignore_class", None)
    members = labels.members.astype(float)
    if ignored is not None and 0 <= ignored < members.shape[1]:
        members[:, ignored] = 0
    counts = members.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return values @ members / np.where(counts > 0, counts, np.nan)


def _of_regions(loss: Any, true: np.ndarray, pred: tf.Tensor, labels: _Labels) -> np.ndarray:
    width = labels.members.shape[1]
    config = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    if "per_class" in config:
        alone: dict[str, Any] = {"axis": None, "per_class": True, "per_image": False}
    elif "axis" in config and not hasattr(loss, "class_axis"):
        alone = {"axis": list(range(len(pred.shape) - 1))}
    else:
        raise ValueError(
            f"{name_of(loss)} scores all classes together; expected a loss that can score each "
            "alone, as Dice, Jaccard and Tversky"
        )
    scored = type(loss).from_config({**config, **alone, "reduction": "none"})
    values = _numbers(scored(true, pred)).reshape(-1)
    # Without the background the first class has no loss.
    return np.concatenate([np.full(width - len(values), np.nan), values])


def _numbers(values: Any) -> np.ndarray:
    return np.asarray(tf.cast(values, tf.float64))
