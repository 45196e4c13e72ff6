"""Arguments that several losses share are described once, in the docstring of one of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import cleandoc, signature
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


def described_by(source: type) -> Callable[[T], T]:
    """Put what `source` says of the other arguments where a docstring says "As in" it.

    The line is "others: As in `Dice`.", among the arguments; `help()` and the documentation then
    show all of them.
    """

    def complete(thing: T) -> T:
        # Python drops docstrings under -OO.
        if thing.__doc__ and source.__doc__:
            text = cleandoc(thing.__doc__)
            own, known = _arguments(text), _arguments(cleandoc(source.__doc__))
            others = [x for x in signature(thing).parameters if x in known and x not in own]
            thing.__doc__ = text.replace(own["others"], "\n".join(known[x] for x in others))
        return thing

    return complete


def _arguments(text: str) -> dict[str, str]:
    """The entries of "Args", by the name of the argument."""
    section = text.partition("\nArgs:\n")[2].partition("\n\n")[0]
    return {entry.partition(":")[0].strip(): entry for entry in re.split(r"\n(?=    \S)", section)}
