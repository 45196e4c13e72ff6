"""The arguments that every overlap loss takes: which sums it compares, and over what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import keras

from fastloss.terms.arguments import integer, integer_or_none, not_negative, per_class

ACTIVATIONS = ("sigmoid", "softmax")


class Smoothing(NamedTuple):
    """What is added to numerator and denominator; None is `keras.config.epsilon()`."""

    smooth_numerator: float | None
    smooth_denominator: float | None

    @classmethod
    def checked(cls, smooth_numerator: Any, smooth_denominator: Any) -> Smoothing:
        """Both, if they are not negative.

        Raises:
            ValueError: If one is.
        """
        numerator = not_negative("smooth_numerator", smooth_numerator)
        return cls(numerator, _or_none("smooth_denominator", smooth_denominator))

    @classmethod
    def of_both(cls, smooth: Any) -> Smoothing:
        """One for both, if it is not negative.

        Raises:
            ValueError: If it is.
        """
        both = _or_none("smooth", smooth)
        return cls(both, both)

    @property
    def parameters(self) -> tuple[float, ...]:
        return tuple(keras.config.epsilon() if value is None else value for value in self)


def _or_none(argument: str, value: Any) -> float | None:
    return None if value is None else not_negative(argument, value)


class OverlapArguments(NamedTuple):
    """What is summed, and which sums are scored alone."""

    axis: int | tuple[int, ...] | None = None
    from_logits: bool = False
    activation: str | None = None
    sparse: bool = False
    class_axis: int = -1
    per_class: bool | None = None
    per_image: bool = False
    include_background: bool = True
    squared: bool = False
    class_weights: Any = None
    ignore_class: int | None = None

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> OverlapArguments:
        """Those of them that a function has, given its `locals()`.

        Raises:
            ValueError: If one is out of its range, or two contradict each other.
        """
        arguments = cls(**{name: scope[name] for name in cls._fields if name in scope})
        arguments = arguments._replace(
            axis=_axes(arguments.axis),
            class_axis=integer("class_axis", arguments.class_axis),
            class_weights=per_class("class_weights", arguments.class_weights),
            ignore_class=integer_or_none("ignore_class", arguments.ignore_class),
        )
        if arguments.activation is not None:
            _check_activation(arguments.activation, arguments.from_logits)
        if arguments.axis is not None and (arguments.per_class is not None or arguments.per_image):
            name = "per_image" if arguments.per_image else "per_class"
            value = getattr(arguments, name)
            raise ValueError(
                f"axis is {arguments.axis} and {name} is {value}, which both say what is "
                "scored alone; expected one of them: leave out the other"
            )
        if arguments.per_class is False and arguments.class_weights is not None:
            raise ValueError(
                "per_class is False, but class_weights weigh the losses of the classes; expected "
                "per_class=True, or no class_weights"
            )
        return arguments

    @property
    def applied(self) -> str:
        """The activation that y_pred still needs."""
        if not self.from_logits:
            return "none"
        return self.activation or ("softmax" if self.sparse else "sigmoid")

    @property
    def scores_classes(self) -> bool:
        """Whether each class is scored alone, where no `axis` says it."""
        if self.per_class is not None:
            return self.per_class
        return self.sparse or self.applied == "softmax" or self.class_weights is not None

    @property
    def has_classes(self) -> bool:
        """Whether it matters which axis is that of the classes."""
        return (
            (self.axis is None and self.scores_classes)
            or self.sparse
            or self.applied == "softmax"
            or self.class_weights is not None
            or not self.include_background
            or self.ignore_class is not None
        )


def _axes(axis: Any) -> int | tuple[int, ...] | None:
    if axis is None:
        return None
    if isinstance(axis, Iterable) and not isinstance(axis, str):
        return tuple(integer("axis", one) for one in axis)
    return integer("axis", axis)


def _check_activation(activation: Any, from_logits: bool) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; expected 'sigmoid', 'softmax' or None")
    if not from_logits:
        raise ValueError(
            f"activation is {activation!r}, but y_pred holds probabilities; expected logits: give "
            "the loss logits and set from_logits=True, or leave activation out"
        )
