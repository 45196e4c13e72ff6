"""Numbers in sentences."""

from __future__ import annotations


def number(x: float) -> str:
    """Four digits of it."""
    return f"{x:.4g}"


def percent(share: float) -> str:
    """A share in percent, three digits of it."""
    return f"{100 * share:.3g}%"
