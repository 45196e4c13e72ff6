"""Keras's own names for losses, in a code base that stays as it is."""

from __future__ import annotations

import importlib
import inspect
import runpy
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import keras

from fastloss import losses

__all__ = ["Patch", "patch_keras", "run_script", "unpatch_keras"]


class _Change(NamedTuple):
    """A name in a module or a table, and what it stood for."""

    place: str
    table: MutableMapping[str, Any]
    name: str
    original: Any


_changes: list[_Change] = []


class Patch:
    """What `fl.patch_keras` replaced; as a context manager, undone at the end of the block.

    Attributes:
        names: The names that stand for losses of this package now, as "keras.losses.Huber".
    """

    def __init__(self, changes: list[_Change]) -> None:
        self._changes = changes
        self.names = sorted({f"{change.place}.{change.name}" for change in changes})

    def __str__(self) -> str:
        if not self.names:
            return "fastloss: nothing replaced, Keras is patched already"
        places: dict[str, list[str]] = {}
        for name in self.names:
            place, _, attribute = name.rpartition(".")
            places.setdefault(place, []).append(attribute)
        lines = [f"  {place}: {', '.join(names)}" for place, names in places.items()]
        return "\n".join([f"fastloss: {len(self.names)} names of Keras replaced", *lines])

    def __enter__(self) -> Patch:
        return self

    def __exit__(self, *_: object) -> None:
        _undo(self._changes)


def patch_keras() -> Patch:
    """Make Keras's names for losses stand for the losses of this package.

    `keras.losses.Huber`, `keras.losses.huber`, `tf.keras.losses.Huber` where tf.keras is Keras 3,
    the functions under `keras.metrics`, the strings that `compile` and `keras.losses.get` take, and
    the names in saved models. A loss compiled by its string is computed like the class. Losses that
    this package does not have (`CTC`, `Circle`), the base class, and metrics stay Keras's.

    Call it before the code that imports names: `from keras.losses import Huber` keeps what it got.
    What was patched already is left as it is. Losses that are saved meanwhile are saved as those of
    this package, strings as strings.

    ```python
    print(fl.patch_keras())

    with fl.patch_keras():
        train()
    ```

    Returns:
        What was replaced: print it, or use it as a context manager.
    """
    changes = [] if _changes else list(_planned())
    for change in changes:
        change.table[change.name] = _ours(change.original)
    _changes.extend(changes)
    return Patch(changes)


def unpatch_keras() -> None:
    """Undo `fl.patch_keras`: every name stands for the object that it stood for before."""
    _undo(list(_changes))


def run_script(path: str, arguments: list[str]) -> None:
    """Run a Python script with Keras patched, as `python -m fastloss train.py --epochs 3` does.

    Prints what was replaced to the standard error.
    """
    if not Path(path).is_file():
        sys.exit(f"{path} is no file; expected a Python script to run with Keras patched.")
    print(patch_keras(), file=sys.stderr)
    sys.argv = [path, *arguments]
    sys.path[0] = str(Path(path).resolve().parent)
    runpy.run_path(path, run_name="__main__")


def _undo(changes: list[_Change]) -> None:
    for change in changes:
        if change in _changes:
            change.table[change.name] = change.original
            _changes.remove(change)


def _planned() -> Iterator[_Change]:
    """Every place where Keras looks up a loss by name."""
    core = importlib.import_module("keras.src.losses")
    exports = importlib.import_module("keras.src.api_export").REGISTERED_NAMES_TO_OBJS
    for module in _public_modules():
        yield from _in_table(module.__name__, vars(module))
    yield from _in_table("keras.src.losses", vars(core))
    yield from _in_table("compile(loss=...)", core.ALL_OBJECTS_DICT)
    yield from _in_table("saved models", exports)
    yield _Change("keras.src.losses", vars(core), "LossFunctionWrapper", core.LossFunctionWrapper)


def _public_modules() -> list[ModuleType]:
    # tf.keras is made of it, on demand.
    importlib.import_module("keras._tf_keras.keras.losses")
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.split(".")[0] == "keras"
        and not name.startswith("keras.src")
        and isinstance(module, ModuleType)
    ]


def _in_table(place: str, table: MutableMapping[str, Any]) -> Iterator[_Change]:
    for name, thing in list(table.items()):
        if inspect.isclass(thing) or inspect.isfunction(thing):
            if thing in _replacements():
                yield _Change(place, table, name, thing)


def _replacements() -> dict[Any, Any]:
    """Our losses by those of Keras that they stand in for."""
    if not _originals:
        for name in losses.__all__:
            theirs = getattr(keras.losses, name, None)
            if theirs is not None:
                _originals[theirs] = getattr(losses, name)
    return _originals


_originals: dict[Any, Any] = {}
