"""What records of steps say, by the names that logs and files know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from fastloss.tools.monitor.watched_loss import Record, WatchedLoss

Numbers: TypeAlias = dict[str, float | None]
"""Numbers by name; None where one is not known this time."""


def numbers_of(losses: Sequence[WatchedLoss], records: Sequence[Record]) -> Numbers:
    """The numbers of all outputs; with several, their names begin with the output's."""
    values = [_ratio(record.value, record.samples) for record in records]
    numbers: Numbers = {
        "loss": sum(loss.weight * x for loss, x in zip(losses, values, strict=True))
    }
    for loss, record, value in zip(losses, records, values, strict=True):
        prefix = f"{loss.name}_" if len(losses) > 1 else ""
        if prefix:
            numbers[f"{prefix}loss"] = value
        for name, term in zip(loss.terms, record.terms, strict=True):
            numbers[prefix + name] = _ratio(term, record.samples)
        if loss.sees_gradient:
            numbers[f"{prefix}grad_norm"] = _ratio(record.norm, record.steps)
        numbers[f"{prefix}not_finite"] = _ratio(record.not_finite, record.entries)
        if loss.may_ignore:
            numbers[f"{prefix}counted"] = _ratio(record.counted, record.labels)
    return numbers


def _ratio(x: float, y: float) -> float:
    return x / y if y else float("nan")
