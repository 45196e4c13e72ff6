"""The public names of the package, read from its source: nothing is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from generate.docstring import Docstring, parse

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "fastloss"
_WIDTH = 84


@dataclass
class Item:
    """A public class or function.

    Attributes:
        name: As it is reached from the package: "Huber", "layers.LinearCrossentropy".
        is_class: Whether it is a class.
        parameters: Parameters to their defaults, as text; None where there is no default.
        keyword_only: The first parameter that must be named, if there is one.
        docstring: Its parts.
        methods: Public methods that have a docstring.
        aliases: Other names for the same.
    """

    name: str
    is_class: bool
    parameters: dict[str, str | None]
    docstring: Docstring
    keyword_only: str | None = None
    methods: list[Item] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)

    @property
    def call(self) -> str:
        """The call, with its defaults; on several lines if it is long."""
        given = []
        for name, default in self.parameters.items():
            given += ["*"] if name == self.keyword_only else []
            given.append(name if default is None else f"{name}={default}")
        line = f"{self.name}({', '.join(given)})"
        if len(line) <= _WIDTH:
            return line
        return "\n".join([f"{self.name}(", *(f"    {x}," for x in given), ")"])


def snake(name: str) -> str:
    """The function that goes with a class: "box_iou" of "BoxIoU"."""
    name = name.rpartition(".")[2].replace("IoU", "Iou")
    return re.sub("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@cache
def public_items() -> dict[str, Item]:
    """Every class and function of `fastloss.__all__` and of the modules in it, by name."""
    found: dict[str, Item] = {}
    for name, node in _public_definitions():
        prefix = name.rpartition(".")[0]
        own = f"{prefix}.{node.name}" if prefix else node.name
        item = found.setdefault(own, _item(own, node))
        if name != own:
            item.aliases.append(name)
    for item in found.values():
        _describe_others(item, found)
    return found


def _describe_others(item: Item, items: dict[str, Item]) -> None:
    """In place of "others: As in `Dice`." what `Dice` says of the arguments not described."""
    arguments = item.docstring.section("Args")
    for position, entry in enumerate(arguments):
        if entry.name == "others" and (match := re.fullmatch(r"As in `(\w+)`\.", entry.text)):
            own = {argument.name for argument in arguments}
            known = {x.name: x for x in items[match[1]].docstring.section("Args")}
            missing = [x for x in item.parameters if x in known and x not in own]
            arguments[position : position + 1] = [known[x] for x in missing]
            return


def _public_definitions() -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    for name in _exports(PACKAGE):
        module = f"{PACKAGE}.{name}"
        if (node := _definition(PACKAGE, name)) is not None:
            yield name, node
        elif name != "losses" and _path(module) is not None:
            for member in _exports(module):
                if (node := _definition(module, member)) is not None:
                    yield f"{name}.{member}", node


def _path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    paths = (base / "__init__.py", base.with_suffix(".py"))
    return next((path for path in paths if path.exists()), None)


@cache
def _statements(module: str) -> list[ast.stmt]:
    """What a module does at its top, and under a condition there."""
    path = _path(module)
    if path is None:
        return []
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    conditional = [x for s in statements if isinstance(s, ast.If) for x in s.body]
    return statements + conditional


def _assigned(statement: ast.stmt) -> list[str]:
    if not isinstance(statement, ast.Assign):
        return []
    return [target.id for target in statement.targets if isinstance(target, ast.Name)]


def _exports(module: str) -> list[str]:
    """`__all__`, or, where that is made at run time, what the module imports of the package."""
    names: list[str] = []
    for statement in _statements(module):
        if "__all__" not in _assigned(statement):
            continue
        for element in getattr(getattr(statement, "value", None), "elts", []):
            if isinstance(element, ast.Constant):
                names.append(str(element.value))
            elif isinstance(element, ast.Starred):
                names += _exports(f"{module}.{ast.unparse(element.value).rpartition('.')[0]}")
    return names or list(_imported(module))


def _imported(module: str) -> Iterator[str]:
    """The names imported for type checkers if there are such imports, else all."""
    statements = _statements(module)
    for_types = [x for x in statements if isinstance(x, ast.If) and _is_for_types(x)]
    for statement in [x for block in for_types for x in block.body] or statements:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(PACKAGE):
            for imported in statement.names:
                star = imported.name == "*"
                yield from _exports(str(statement.module)) if star else (imported.name,)


def _is_for_types(condition: ast.If) -> bool:
    return ast.unparse(condition.test) == "TYPE_CHECKING"


def _definition(module: str, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    """Where a name of a module is defined, through imports and assignments."""
    for statement in _statements(module):
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)) and statement.name == name:
            return statement
        if name in _assigned(statement):
            value = getattr(statement, "value", None)
            return _definition(module, value.id) if isinstance(value, ast.Name) else None
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(PACKAGE):
            for imported in statement.names:
                source = str(statement.module)
                if source == module:  # a module, which defines nothing itself
                    continue
                if imported.name == "*" and name in _exports(source):
                    return _definition(source, name)
                if name == (imported.asname or imported.name):
                    return _definition(source, imported.name)
    return None


def _item(name: str, node: ast.ClassDef | ast.FunctionDef) -> Item:
    docstring = parse(ast.get_docstring(node) or "")
    if isinstance(node, ast.FunctionDef):
        parameters, keyword_only = _parameters(node.args)
        return Item(name, False, parameters, docstring, keyword_only)
    methods = [x for x in node.body if isinstance(x, ast.FunctionDef)]
    public = [
        _item(x.name, x)
        for x in methods
        if not x.name.startswith("_") and ast.get_docstring(x) and not x.decorator_list
    ]
    makers = [_parameters(x.args) for x in methods if x.name == "__init__"]
    parameters, keyword_only = makers[0] if makers else (_fields(node), None)
    return Item(name, True, parameters, docstring, keyword_only, public)


def _fields(node: ast.ClassDef) -> dict[str, str | None]:
    fields = (x for x in node.body if isinstance(x, ast.AnnAssign))
    return {ast.unparse(x.target): _shown(x.value) for x in fields}


def _parameters(arguments: ast.arguments) -> tuple[dict[str, str | None], str | None]:
    """Parameters to their defaults, and the first that must be named."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = list(zip(plain, defaults, strict=True))
    pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    found = {x.arg: _shown(value) for x, value in pairs if x.arg not in ("self", "cls")}
    if arguments.kwarg is not None:
        found[f"**{arguments.kwarg.arg}"] = None
    return found, arguments.kwonlyargs[0].arg if arguments.kwonlyargs else None


def _shown(value: ast.expr | None) -> str | None:
    if value is None:
        return None
    is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
    return f'"{ast.literal_eval(value)}"' if is_text else ast.unparse(value)
