"""Which loss of the registry a Keras loss is, and the arguments that it was made with."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any

from fastloss import registry


def registered(loss: Any) -> registry.Loss | None:
    """The registry's line about a loss, or a function, of Keras or fastloss.

    Keras's losses have the names of ours. A class of the user's is known by its base class, a
    function of the user's, which may bear any name, is not.
    """
    for candidate in _candidates(loss):
        module = getattr(candidate, "__module__", None) or ""
        if module.partition(".")[0] in ("keras", "fastloss"):
            found = registry.find(getattr(candidate, "__name__", ""))
            if found is not None:
                return found
    return None


def arguments_of(loss: Any) -> dict[str, Any]:
    """The arguments by name, defaults included, as far as the loss tells."""
    function = getattr(loss, "fn", loss)
    bound = getattr(function, "keywords", {})
    function = _unbound(function)
    defaults = {}
    if inspect.isfunction(function):
        parameters = inspect.signature(function).parameters.values()
        defaults = {x.name: x.default for x in parameters if x.default is not x.empty}
    try:
        config = dict(loss.get_config())
    except Exception:  # get_config may be the user's and raise anything; functions have none
        config = {}
    return {**defaults, **bound, **config, **getattr(loss, "_fn_kwargs", {})}


def class_axis(loss: registry.Loss | None, arguments: dict[str, Any]) -> int:
    """The axis of y_pred that the classes lie along, as the arguments of the loss say."""
    of_regions = loss is not None and loss.family == "segmentation"
    axis = arguments.get("class_axis" if of_regions else "axis")
    return axis if isinstance(axis, int) else -1


def _candidates(loss: Any) -> Iterator[Any]:
    """The functions and classes that a loss may be known by, the most special first."""
    function = _unbound(getattr(loss, "fn", loss))
    if inspect.isfunction(function):
        yield function
        yield inspect.unwrap(function)
    yield from type(loss).__mro__


def _unbound(function: Any) -> Any:
    return function.func if isinstance(function, partial) else function
