"""A recommendation, and how it prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras

from fastloss.tools.guide.facts import Facts
from fastloss.tools.guide.tables import Alternative

if TYPE_CHECKING:
    from rich.console import RenderableType

_WIDTH = 88


@dataclass(frozen=True)
class Recommendation:
    """A loss for the data.

    Attributes:
        loss: The loss, its parameters set; ready for `model.compile`.
        code: The expression that makes it.
        reason: Why it, and its parameters.
        alternatives: Other losses, and when to prefer them.
    """

    loss: keras.losses.Loss
    code: str
    reason: str
    alternatives: tuple[Alternative, ...]

    def __str__(self) -> str:
        return _as_text(self, self.alternatives)


class Recommendations(list[Recommendation]):
    """Recommendations, the first the best.

    Attributes:
        task: The task they are for.
        facts: What the data are.
    """

    def __init__(self, of: Iterable[Recommendation], task: str, facts: Facts) -> None:
        super().__init__(of)
        self.task = task
        self.facts = facts

    def __str__(self) -> str:
        head = textwrap.fill(f"Task: {self.task}. {self.facts.describe()}", _WIDTH)
        texts = (_as_text(one, others) for one, others in self._with_new_alternatives())
        return "\n\n".join([head, *(f"{i}. {text}" for i, text in enumerate(texts, 1))])

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.padding import Padding
        from rich.text import Text

        head = Text.assemble("Task: ", (self.task, "bold"), ". ", self.facts.describe())
        parts: list[RenderableType] = [head]
        for i, (one, others) in enumerate(self._with_new_alternatives(), 1):
            parts += [Text(), Text.assemble(f"{i}. ", (one.code, "bold cyan"))]
            lines = [Text(one.reason)]
            lines += [Text.assemble("or ", (name, "cyan"), f", if {when}") for name, when in others]
            parts += [Padding(line, (0, 0, 0, 3)) for line in lines]
        return Group(*parts)

    def _with_new_alternatives(self) -> Iterator[tuple[Recommendation, list[Alternative]]]:
        """Each with the alternatives that those before it do not name."""
        named: set[Alternative] = set()
        for one in self:
            yield one, [other for other in one.alternatives if other not in named]
            named.update(one.alternatives)


def _as_text(one: Recommendation, alternatives: Iterable[Alternative]) -> str:
    lines = [one.code, *_indented(one.reason)]
    for name, when in alternatives:
        lines += _indented(f"or {name}, if {when}")
    return "\n".join(lines)


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="   ", subsequent_indent="   ")
