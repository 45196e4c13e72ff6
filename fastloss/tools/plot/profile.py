"""The shape of a loss: its value and its gradient against what it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fastloss.tools.plot import canvas
from fastloss.tools.plot.kind import KINDS, Kind, kind_of, name_of
from fastloss.tools.plot.probe import (
    AXES,
    default_axis,
    default_target,
    limits,
    possible_axes,
    values_and_gradients,
)


def shape(
    loss: Any,
    *more: Any,
    against: str | None = None,
    kind: str | None = None,
    from_logits: bool | None = None,
    target: float | None = None,
    between: tuple[float, float] | None = None,
    points: int = 300,
    labels: Sequence[str] | None = None,
    ax: Any = None,
) -> Any:
    """Draw the value and the gradient of losses against what they depend on.

    A loss is called on one sample for each point of the axis, as in training; the gradient is the
    derivative along the axis.

    - Numbers: against the error, y_pred - y_true.
    - Two classes and many: against the margin, the logit of the true class less those of the
      others, or, if y_pred holds probabilities, against the probability of the true class. A loss
      of either kind can be drawn against both, and beside others it is drawn against the margin.
    - Masks: against the same, of all pixels at once; a quarter of them is of the region.
    - Distributions: against the same, of a first class whose share in y_true is 0.7.
    - Vectors: against the angle between y_true and y_pred.
    - Boxes: against the shift between two boxes of the same size.

    Args:
        loss: A Keras loss, a function `(y_true, y_pred)`, or a name that Keras knows.
        *more: Others, to compare.
        against: "error", "margin", "probability", "angle" or "shift", if not the above.
        kind: What the losses compare, where it cannot be told by their names: "number", "binary",
            "one-hot", "sparse", "vector", "distribution", "box" or "mask". Losses of your own are
            of numbers, unless a known loss is their base class or their only term.
        from_logits: Whether y_pred holds logits, where the losses do not say it.
        target: y_true: a number, by default 0, or one that suits all of them; of two classes, the
            true one, 0 or 1, by default 1; of distributions, the share of the first class.
        between: The part of the axis to show.
        points: How many points to compute.
        labels: Names for the legend; by default those of the losses, with the arguments in which
            losses of the same name differ.
        ax: Two Axes to draw on, the first for the value, the second for the gradient.

    Returns:
        The two Axes, in an array.

    Raises:
        ValueError: If the losses cannot be drawn against the same, if an argument is none of the
            above, or if there are not as many labels as losses.
        TypeError: If `ax` is not two Axes.
    """
    losses = [keras.losses.get(one) if isinstance(one, str) else one for one in (loss, *more)]
    names = _legend(losses) if labels is None else list(labels)
    if len(names) != len(losses):
        raise ValueError(f"labels has {len(names)} names; expected one for each of {len(losses)}")
    if points < 2:
        raise ValueError(f"points is {points}; expected 2 or more")
    kinds = [_given(kind_of(one), kind, from_logits) for one in losses]
    against = _axis(names, kinds) if against is None else _checked(against, names, kinds)
    target = default_target(kinds) if target is None else float(target)
    x = np.linspace(*(between or limits(against, kinds, target)), points)
    axes = canvas.pair(ax, (9.0, 3.6))
    value, gradient = map(canvas.opened, axes)
    drawn: list[np.ndarray] = []
    for index, (one, name, its_kind) in enumerate(zip(losses, names, kinds, strict=True)):
        curves = values_and_gradients(one, its_kind, against, target, x)
        # Where a loss equals another, both are to be seen.
        hides = any(np.allclose(curves[0], other, atol=1e-4) for other in drawn)
        drawn.append(curves[0])
        style: dict[str, Any] = {
            "color": canvas.colour(index),
            "linewidth": 2.2 if index == 0 else 1.6,
            "linestyle": (0, (4, 3)) if hides else "-",
        }
        value.plot(x, curves[0], label=name, **style)
        gradient.plot(*_broken_at_jumps(x, curves[1]), label=name, **style)
    gradient.axhline(0, color=canvas.MUTED, linewidth=0.8, zorder=0)
    value.set_ylabel("loss")
    gradient.set_ylabel("gradient")
    for each in axes:
        each.set_xlabel(_axis_label(against, kinds, target))
    if len(losses) == 1:
        value.set_title(names[0], loc="left", fontsize=10, fontweight="bold")
    elif ax is None:
        value.figure.legend(
            *value.get_legend_handles_labels(),
            loc="outside upper left",
            ncols=3,
            frameon=False,
            fontsize=9,
        )
    else:
        value.legend(frameon=False, fontsize=9)
    return axes


def _given(kind: Kind, labels: str | None, from_logits: bool | None) -> Kind:
    if labels is not None:
        if labels not in KINDS:
            raise ValueError(f"kind is {labels!r}; expected one of {', '.join(map(repr, KINDS))}")
        kind = kind._replace(labels=labels, classes=1 if labels == "mask" else kind.classes)
    return kind if from_logits is None else kind._replace(logits=from_logits)


def _axis(names: list[str], kinds: list[Kind]) -> str:
    """What all of them can be drawn against, best what each is drawn against by itself."""
    first = {default_axis(kind) for kind in kinds}
    if len(first) == 1:
        return first.pop()
    if first <= {"margin", "probability"}:
        return "margin"
    found = ", ".join(
        f"{name} against the {default_axis(kind)}" for name, kind in zip(names, kinds, strict=True)
    )
    raise ValueError(
        f"these losses depend on different things ({found}); expected losses of one kind: draw "
        "them apart, or say what they are with kind="
    )


def _checked(against: str, names: list[str], kinds: list[Kind]) -> str:
    if against not in AXES:
        raise ValueError(f"against is {against!r}; expected one of {', '.join(map(repr, AXES))}")
    for name, kind in zip(names, kinds, strict=True):
        possible = possible_axes(kind)
        if against not in possible:
            raise ValueError(
                f"{name} cannot be drawn against the {against}; expected "
                f"{' or '.join(map(repr, possible))}, or say what it compares with kind="
            )
    return against


def _axis_label(against: str, kinds: list[Kind], target: float) -> str:
    labels = {kind.labels for kind in kinds}
    if against == "error" and target:
        return f"{AXES[against]}, at y_true = {target:g}"
    if labels == {"distribution"}:
        return f"{AXES[against].replace('true', 'first')}; {target:g} in y_true"
    if against == "margin" and labels == {"binary"}:
        return "margin: logit, turned to the side of the label"
    return AXES[against]


def _broken_at_jumps(x: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with NaN between the two sides of a jump, where there is no gradient to draw."""
    steps = np.abs(np.diff(gradient))
    finite = gradient[np.isfinite(gradient)]
    around = np.maximum(np.insert(steps[:-1], 0, 0), np.append(steps[1:], 0))
    jumps = np.flatnonzero((steps > 0.05 * np.ptp(finite)) & (steps > 8 * around)) + 1
    return np.insert(x, jumps, np.nan), np.insert(gradient, jumps, np.nan)


def _legend(losses: list[Any]) -> list[str]:
    """The names, with the arguments in which losses of the same name differ."""
    names = [name_of(loss) for loss in losses]
    configs = [_config(loss) for loss in losses]
    legend = []
    for index, name in enumerate(names):
        same = [config for other, config in zip(names, configs, strict=True) if other == name]
        own = configs[index]
        differing = [
            f"{key}={_short(value)}"
            for key, value in own.items()
            if any(config.get(key) != value for config in same)
        ]
        legend.append(", ".join([name, *differing]))
    return legend


def _config(loss: Any) -> dict[str, Any]:
    if not isinstance(loss, keras.losses.Loss):
        return {}
    try:
        return loss.get_config()
    except (NotImplementedError, TypeError, ValueError):
        return {}


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:21]}..."
