"""A page for every loss and every tool, made of docstrings and tables."""

from __future__ import annotations

import re
from pathlib import Path

from generate.docstring import Entry
from generate.formula import FormulaError, mathml
from generate.groups import Group, groups
from generate.source import Item, public_items, snake
from generate.tables import accuracy, differences, table, when_to_use

# Methods that Keras calls.
_OF_KERAS = {"build", "call", "compute_output_shape", "compute_output_spec", "get_config"}


def write_pages(folder: Path) -> list[Path]:
    """Write all pages below the folder.

    Returns:
        The files.
    """
    pages = {"index.md": _index()}
    for group in groups():
        pages[f"{group.folder}/index.md"] = _group_page(group)
        pages |= {f"{group.folder}/{snake(name)}.md": page_of(name) for name in group.names}
    written = []
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def page_of(name: str) -> str:
    """The page of a class with its function, or of a function without a class."""
    items = public_items()
    folders = {name: group.folder for group in groups() for name in group.names}
    return _Page(items[name], items.get(snake(name)), folders, folders[name]).text()


def _toctree(entries: list[str]) -> str:
    lines = "\n".join(entries)
    return f"```{{toctree}}\n:hidden:\n\n{lines}\n```\n"


def _breakable(name: str) -> str:
    """The name with zero-width spaces between its words, where a line may break."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[._])", "\u200b", name)


def _overview(group: Group, folder: str = "") -> str:
    items = public_items()
    rows = [
        (f"[`{name}`]({folder}{snake(name)}.md)", items[name].docstring.summary)
        for name in group.names
    ]
    return table(("name", "what it is"), rows)


def _group_page(group: Group) -> str:
    pages = _toctree([f"{_breakable(name)} <{snake(name)}>" for name in group.names])
    return f"# {group.title}\n\n{_overview(group)}\n{pages}"


def _index() -> str:
    parts = ["# Losses and tools\n"]
    for group in groups():
        parts.append(f"## {group.title}\n\n{_overview(group, f'{group.folder}/')}")
    parts.append(_toctree([f"{group.folder}/index" for group in groups()]))
    return "\n".join(parts)


class _Page:
    """The page of one class with its function, or of one function."""

    def __init__(
        self, item: Item, function: Item | None, folders: dict[str, str], folder: str
    ) -> None:
        self.item = item
        self.function = function if item.is_class else None
        self.folders = folders
        self.folder = folder

    def text(self) -> str:
        item, said = self.item, self.item.docstring
        parts = ["{.public-name}", f"# {item.name}", self.names(), self.prose(said.summary)]
        formula = said.of("Formula")
        if formula:
            terms = [self.mathematical(x) for x in said.terms]
            parts += ["## Formula", self.formula(*formula), *terms, self.picture()]
        sentences = when_to_use(item.name)
        if sentences:
            lines = "\n".join(f"- {self.prose(x)}" for x in sentences)
            parts += ["## When to use it", lines]
        gradient = said.of("Gradient")
        if gradient:
            parts += ["## Gradient", self.labelled(*gradient)]
        if said.notes:
            shown = self.mathematical if formula else self.prose
            parts += ["## Notes" if formula else "", *map(shown, said.notes)]
        if said.example:
            parts += ["## Example", f"```python\n{said.example}\n```"]
        parts += self.called("## Arguments" if item.is_class else "## Call", item)
        if self.function:
            parts += self.called("## As a function", self.function)
        for method in (x for x in item.methods if x.name not in _OF_KERAS):
            parts += self.called(f"## .{method.name}", method, is_method=True)
        parts += self.numbers()
        reference = said.of("Reference")
        if reference:
            parts += ["## Source", self.prose(reference[1])]
        return "\n\n".join(filter(None, parts)) + "\n"

    def names(self) -> str:
        items = [self.item, *([self.function] if self.function else [])]
        names = [name for x in items for name in (x.name, *x.aliases)]
        return " · ".join(f"`fl.{name}`" for name in names)

    def formula(self, label: str, text: str) -> str:
        """The formula on a line of its own, then the explanation of its names."""
        match = re.match(r"`([^`]+)`", text)
        if match is None:
            return self.labelled(label, text)
        rest = text[match.end() :].lstrip(",;. ")
        before = "" if label == "Formula" else f"{label.removeprefix('Formula ').capitalize()}:\n\n"
        shown = f'<div class="formula">{mathml(match[1], display=True)}</div>'
        return f"{before}{shown}\n\n{self.mathematical(rest[:1].upper() + rest[1:])}"

    def labelled(self, label: str, text: str) -> str:
        rest = label.partition(" ")[2]
        text = f"{rest}: {text}" if rest else text
        return self.mathematical(text[:1].upper() + text[1:])

    def mathematical(self, text: str) -> str:
        """Code spans as formulas, but for names of arguments, of losses and of Python."""
        if text.startswith("```"):
            return text
        parameters = set(self.item.parameters)

        def shown(match: re.Match[str]) -> str:
            if match[1] in parameters or match[1] in self.folders:
                return match[0]
            try:
                return mathml(match[1])
            except FormulaError:
                return match[0]

        return self.prose(re.sub(r"`([^`]+)`", shown, text))

    def picture(self) -> str:
        name = f"pictures/{snake(self.item.name)}.svg"
        is_there = (Path(__file__).resolve().parents[1] / name).exists()
        return f"![value and gradient](../../{name})" if is_there else ""

    def prose(self, text: str) -> str:
        """With links to the pages of what is named, and to papers."""
        if text.startswith("```"):
            return text

        def linked(match: re.Match[str]) -> str:
            name = match[1].removeprefix("fl.").removeprefix("fastloss.")
            if name == self.item.name or name not in self.folders:
                return match[0]
            return f"[{match[0]}](../{self.folders[name]}/{snake(name)}.md)"

        text = re.sub(r"`([\w.]+)`", linked, text)
        return re.sub(r"arXiv:(\d+\.\d+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)

    def called(self, title: str, item: Item, is_method: bool = False) -> list[str]:
        """How it is called, and what goes in and comes out."""
        said = item.docstring
        prefix = "." if is_method else "fl."
        if item.is_class and not said.section("Args"):
            # Made by the package, not by its users.
            entries = said.section("Attributes")
            return ["## Attributes", self.entries("Attributes", entries)] if entries else []
        parts = [title, f"```python\n{prefix}{item.call}\n```"]
        if item is not self.item:
            parts.append(self.prose(said.summary))
            formula = said.of("Formula")
            if formula and item.name != snake(self.item.name):
                parts.append(self.formula(*formula))
            parts += [self.prose(note) for note in said.notes]
        for section in ("Args", "Call arguments", "Attributes"):
            if entries := said.section(section):
                parts.append(self.entries(section, entries))
        if said.returns:
            parts.append(f"**Returns** {self.prose(said.returns)}")
        for name, text in said.section("Raises"):
            parts.append(f"**Raises** `{name}`: {self.prose(text)}")
        return parts

    def entries(self, section: str, entries: list[Entry]) -> str:
        word = "attribute" if section == "Attributes" else "argument"
        return table((word, "meaning"), ((f"`{x}`", self.prose(text)) for x, text in entries))

    def numbers(self) -> list[str]:
        """How exact it is, and where Keras computes something else."""
        name, parts = self.item.name, []
        if bounds := accuracy(name, self.folder == "segmentation" and "Lovasz" not in name):
            parts += [
                "## Accuracy",
                "The largest errors that the tests allow, in units of rounding: "
                "[Numerics](../../numerics.md) says how they are measured.",
                table(("computed", "loss", "gradient"), bounds),
            ]
        if rows := differences(name):
            parts += [
                "## Differences from Keras",
                table(("where", "Keras", "fastloss", "why"), rows),
                "All of them: [Where fastloss differs from Keras](../../differences.md).",
            ]
        return parts
