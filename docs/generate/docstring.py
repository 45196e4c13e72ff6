"""The parts of a docstring: paragraphs, arguments, results and errors."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from inspect import cleandoc
from typing import NamedTuple

SECTIONS = ("Args", "Call arguments", "Attributes", "Returns", "Raises", "Example")


class Entry(NamedTuple):
    """An argument, an attribute or an error, and what is said of it."""

    name: str
    text: str


@dataclass
class Docstring:
    """A docstring in parts.

    Attributes:
        summary: The first paragraph.
        labelled: Paragraphs that begin with a label: "Formula", "Gradient of one value",
            "Reference".
        terms: Paragraphs between the formula and the gradient, which explain its names.
        notes: The other paragraphs, as Markdown.
        entries: The entries of "Args", "Call arguments", "Attributes" and "Raises".
        returns: What is returned.
        example: The doctest.
    """

    summary: str = ""
    labelled: dict[str, str] = field(default_factory=dict)
    terms: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    returns: str = ""
    example: str = ""

    def of(self, label: str) -> tuple[str, str] | None:
        """The label that begins with this word, and its paragraph."""
        return next(((k, x) for k, x in self.labelled.items() if k.split()[0] == label), None)

    def section(self, name: str) -> list[Entry]:
        """The entries of a section, none if it is not there."""
        return self.entries.get(name, [])


def parse(text: str) -> Docstring:
    """The parts of a docstring as Python holds it."""
    found = Docstring()
    text = cleandoc(text)
    blocks = _blocks(text)
    for number, block in enumerate(blocks):
        head, _, body = block.partition("\n")
        if head.rstrip(":") in SECTIONS and head.endswith(":") and body:
            _section(found, head.rstrip(":"), textwrap.dedent(body))
        elif number == 0:
            found.summary = _joined(block)
        elif match := re.match(r"((?:Formula|Gradient|Reference)[^:.]*):\s", block):
            found.labelled[match[1]] = _joined(block[match.end() :])
        elif block.startswith(("    ", "```", "- ")):
            found.notes.append(block if block[0] != " " else _code(block))
        elif found.of("Formula") and not found.of("Gradient") and "\n\nGradient" in text:
            found.terms.append(_joined(block))
        else:
            found.notes.append(_joined(block))
    return found


def _blocks(text: str) -> list[str]:
    """Paragraphs; a section, an indented example or fenced code as one block."""
    blocks: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        goes_on = blocks and (
            blocks[-1].count("```") % 2 == 1
            or (paragraph.startswith("    ") and _is_open(blocks[-1]))
        )
        if goes_on:
            blocks[-1] += "\n\n" + paragraph
        else:
            blocks.append(paragraph)
    return blocks


def _is_open(block: str) -> bool:
    head = block.partition("\n")[0]
    return block.startswith("    ") or head.rstrip(":") in SECTIONS


def _section(found: Docstring, name: str, body: str) -> None:
    if name == "Example":
        found.example = body
    elif name == "Returns":
        found.returns = _joined(body)
    else:
        entries = re.split(r"\n(?=\S)", body)
        pairs = (entry.partition(":") for entry in entries)
        found.entries[name] = [Entry(name.strip(), _joined(text)) for name, _, text in pairs]


def _joined(text: str) -> str:
    return " ".join(line.strip() for line in text.strip().splitlines())


def _code(block: str) -> str:
    return f"```python\n{textwrap.dedent(block)}\n```"
