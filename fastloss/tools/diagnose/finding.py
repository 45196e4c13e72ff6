"""A finding, and the report that lists them."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

_WIDTH = 92


class Severity(Enum):
    """How bad a finding is: an error spoils training, a warning may, a note is to be known."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}


@dataclass(frozen=True)
class Finding:
    """Something about a loss and its data that a user should know.

    Attributes:
        name: A short name, such as "log_of_zero".
        severity: How bad it is.
        seen: What was seen, with numbers and positions.
        cause: The likely cause.
        cure: What to do about it.
        terms: The terms or outputs that it concerns, where there are several.
    """

    name: str
    severity: Severity
    seen: str
    cause: str
    cure: str
    terms: tuple[str, ...] = ()

    def of(self, term: str) -> Finding:
        """The same, of a term."""
        return replace(self, terms=(term,))

    @property
    def head(self) -> str:
        """Severity, name and terms."""
        of_terms = f" in {', '.join(self.terms)}" if self.terms else ""
        return f"{self.severity.value}: {self.name}{of_terms}"

    @property
    def sentences(self) -> tuple[tuple[str, str], ...]:
        """What was seen, the cause and the cure, each with its title."""
        return ("seen", self.seen), ("cause", self.cause), ("cure", self.cure)

    def __str__(self) -> str:
        lines = [_filled(f"{title:<6} {text}", "  ", 9) for title, text in self.sentences]
        return "\n".join([self.head, *lines])


@dataclass(frozen=True)
class Report:
    """Facts and findings, the worst first; it prints as a text.

    Attributes:
        title: What was looked at.
        facts: What it is, one line each.
        findings: What was found.
    """

    title: str
    facts: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is nothing but notes."""
        return all(one.severity is Severity.NOTE for one in self.findings)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def verdict(self) -> str:
        """How many findings of which severity, in a line."""
        counts = [(kind, sum(x.severity is kind for x in self.findings)) for kind in Severity]
        words = [f"{n} {kind.value}{'s' * (n > 1)}" for kind, n in counts if n]
        return f"Found: {', '.join(words)}." if words else "Nothing to complain of."

    def __str__(self) -> str:
        facts = [_filled(fact, "  ", 4) for fact in self.facts]
        head = "\n".join([self.title, *facts, self.verdict])
        return "\n\n".join([head, *map(str, self.findings)])

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        parts: list[RenderableType] = [Text(self.title, "bold")]
        parts += [Padding(Text(fact), (0, 0, 0, 2)) for fact in self.facts]
        parts.append(Text(self.verdict))
        for one in self.findings:
            table = Table.grid(padding=(0, 1))
            for title, text in one.sentences:
                table.add_row(Text(title, "dim"), Text(text))
            parts += [Text(), Text(one.head, _STYLES[one.severity]), Padding(table, (0, 0, 0, 2))]
        return Group(*parts)


def merged(findings: list[Finding]) -> tuple[Finding, ...]:
    """The worst first; what was seen of several terms alike is one finding."""
    together: dict[Finding, list[str]] = {}
    for one in findings:
        terms = together.setdefault(replace(one, terms=()), [])
        terms += [term for term in one.terms if term not in terms]
    unique = [replace(one, terms=tuple(terms)) for one, terms in together.items()]
    order = list(Severity)
    return tuple(sorted(unique, key=lambda one: order.index(one.severity)))


def _filled(text: str, indent: str, hang: int) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
