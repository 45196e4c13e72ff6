"""Who imports whom: every room of the package knows the rooms below it, and none above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastloss as fl

PACKAGE = Path(fl.__file__).parent

# From the ground up; rooms of one floor do not know each other.
FLOORS = (
    ("on_import", "parameters", "c_api"),
    ("registry",),
    ("calls",),
    ("reference",),
    ("ops",),
    ("terms",),
    ("sums",),
    ("losses",),
    ("custom", "layers", "testing"),
    ("tools",),
    # What users import.
    ("callbacks", "plot"),
    ("__init__", "__main__"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> Iterator[tuple[str, int]]:
    """The rooms that a file imports, wherever it does, and in which line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            folders = path.relative_to(PACKAGE.parent).parts[: -node.level]
            module = ".".join([*folders, node.module or ""] if node.level else [node.module or ""])
            whole = module.strip(".") == "fastloss"
            modules = [f"fastloss.{x.name}" for x in node.names] if whole else [module]
        for module in modules:
            package, *rest = module.split(".")
            if package == "fastloss":
                yield (rest or ["__init__"])[0], node.lineno


FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if "lib" not in path.relative_to(PACKAGE).parts
)


def test_every_room_has_its_floor():
    assert {room_of(path) for path in FILES} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_imports_from_above(path):
    room = room_of(path)
    climbs = [
        f"line {line}: {other}"
        for other, line in imported_rooms(path)
        if other != room and FLOOR[other] >= FLOOR[room]
    ]
    # A user's names serve the tools as they serve a user.
    if room == "tools":
        climbs = [x for x in climbs if not x.endswith((": __init__", ": callbacks", ": plot"))]
    assert climbs == []
