"""What other files of the repository say of a loss: the guide, the numerics, the differences."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from types import ModuleType

from generate.source import ROOT, snake

DOCS = ROOT / "docs"
_CELLS = re.compile(r"(?<!\\)\|")


def table(header: Iterable[str], rows: Iterable[Iterable[str]], numbers: int = 0) -> str:
    """A Markdown table with its last `numbers` columns aligned right; bars in cells are escaped."""
    header = list(header)
    rules = ["---"] * (len(header) - numbers) + ["---:"] * numbers
    cells = [header, rules, *([escaped(x) for x in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


def escaped(cell: str) -> str:
    """The cell with bars that do not end it."""
    return _CELLS.sub(r"\\|", cell)


def when_to_use(name: str) -> list[str]:
    """When the guide names a loss, as sentences of Markdown."""
    guide = _guide()
    found = []
    for task in guide.TASKS:
        of = f'"{task.name}" ({task.labels})'
        if name in task.losses:
            rank = "first choice" if name == task.losses[0] else "also recommended"
            found.append(f"{rank} for the task {of}")
        found += [
            f"for the task {of} if {other.when}; `{task.losses[0]}` otherwise"
            for other in task.alternatives
            if other.name == name
        ]
    found += [f"for {x.name}: {x.why}" for x in guide.TRAITS if name in x.losses]
    return [f"{text[0].upper()}{text[1:]}." for text in found]


@cache
def _guide() -> ModuleType:
    """The guide's tables alone: the package around them would import TensorFlow."""
    path = ROOT / "fastloss" / "tools" / "guide" / "tables.py"
    spec = importlib.util.spec_from_file_location("generate.guide_tables", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def accuracy(name: str, is_overlap: bool) -> list[tuple[str, str, str]]:
    """What is computed, and the largest errors of the loss and of its gradient, in units."""
    elementwise = [
        (f"`{case}`" if case == name else f"`{name}` from {case.split()[1]}", f"{loss}", f"{slope}")
        for case, (loss, slope) in _elementwise_bounds().items()
        if case.split()[0] == name
    ]
    function = snake(name)
    own = {function, f"{function}_from_logits", f"reverse_{function}_from_logits"}
    if is_overlap:
        own |= {"none", "sigmoid", "softmax"}
    rows = [
        (", ".join(f"`{x}`" for x in names if x in own), loss, gradient)
        for names, loss, gradient in _bounds()
        if own.intersection(names)
    ]
    return elementwise + rows


def _bounds() -> Iterator[tuple[list[str], str, str]]:
    """Rows of the tables of errors in units: the names of a row, and both bounds."""
    text = (DOCS / "numerics.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        match = re.fullmatch(r"\| (`.*`) \| (\d+) \| (\d+) \|", line)
        if match:
            yield re.findall(r"`(\w+)`", match[1]), match[2], match[3]


@cache
def _elementwise_bounds() -> dict[str, tuple[int, int]]:
    """`BOUNDS` of the test that enforces them."""
    path = ROOT / "tests" / "elementwise" / "test_accuracy.py"
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "BOUNDS":
            return dict(ast.literal_eval(statement.value or ast.Dict([], [])))
    raise ValueError(f"{path} has no BOUNDS")


def differences(name: str) -> list[list[str]]:
    """Rows of the table of differences from Keras that name a class or its function."""
    text = (DOCS / "differences.md").read_text(encoding="utf-8")
    is_named = re.compile(rf"`[^`]*\b(?:{name}|{snake(name)})\b[^`]*`")
    rows = (line for line in text.splitlines() if line.startswith("| "))
    found = ([x.strip() for x in _CELLS.split(row)[1:-1]] for row in rows)
    return [cells for cells in found if is_named.search(cells[0])]
