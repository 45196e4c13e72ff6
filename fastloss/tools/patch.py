"""Keras's own names for losses, in a code base that stays as it is."""

from __future__ import annotations

import importlib
import inspect
import runpy
import sys
from collections.abc import Iterator, MutableMapping
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import keras

from fastloss import losses, registry

__all__ = ["Patch", "patch_keras", "run_script", "unpatch_keras"]


class _Change(NamedTuple):
    """A name in a module or a table, what it stands for, and what it is to stand for."""

    where: str
    table: MutableMapping[str, Any]
    name: str
    original: Any
    replacement: Any

    @property
    def is_loss(self) -> bool:
        """Whether a loss is replaced, and not what Keras finds or wraps one with."""
        return self.name not in ("LossFunctionWrapper", "deserialize")


_changes: list[_Change] = []


class Patch:
    """What `fl.patch_keras` replaced; as a context manager, undone at the end of the block.

    Attributes:
        places: Where names stand for losses of this package now: module or table, to the names.
    """

    def __init__(self, changes: list[_Change]) -> None:
        self._changes = changes
        self.places: dict[str, list[str]] = {}
        for change in changes:
            self.places.setdefault(change.where, []).append(change.name)

    def __str__(self) -> str:
        replaced = {change.original.__name__ for change in self._changes if change.is_loss}
        if not replaced:
            return "fastloss: nothing replaced, Keras is patched already"
        classes = sorted(name for name in replaced if name[0].isupper())
        functions = sorted(replaced.difference(classes))
        return "\n".join(
            (
                f"fastloss: {len(replaced)} losses of Keras replaced",
                f"  classes: {', '.join(classes)}",
                f"  functions: {', '.join(functions)}",
                f"  in: {', '.join(self.places)}",
            )
        )

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
        change.table[change.name] = change.replacement
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
        if any(change is done for done in _changes):
            change.table[change.name] = change.original
    _changes[:] = [done for done in _changes if all(done is not change for change in changes)]


def _planned() -> Iterator[_Change]:
    """Every place where Keras looks up a loss by name."""
    core = importlib.import_module("keras.src.losses")
    exports = importlib.import_module("keras.src.api_export").REGISTERED_NAMES_TO_OBJS
    tables = [(module.__name__, vars(module)) for module in _public_modules()]
    tables.append((core.__name__, vars(core)))
    tables.append(("strings", core.ALL_OBJECTS_DICT))
    tables.append(("saved models", exports))
    wrapper, find = core.LossFunctionWrapper, core.deserialize
    replacements = {**_replacements(), wrapper: _wrapper(wrapper), find: _deserializer(find)}
    for where, table in tables:
        for name, thing in table.items():
            if inspect.isclass(thing) or inspect.isfunction(thing):
                ours = replacements.get(thing)
                if ours is not None:
                    yield _Change(where, table, name, thing, ours)


def _public_modules() -> list[ModuleType]:
    # tf.keras is made of it, when it is first used.
    importlib.import_module("keras._tf_keras.keras")
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.split(".")[0] == "keras"
        and not name.startswith("keras.src")
        and isinstance(module, ModuleType)
    ]


def _replacements() -> dict[Any, Any]:
    """Our losses by those of Keras that they stand in for."""
    names = registry.PUBLIC_NAMES
    found = {getattr(keras.losses, name, None): getattr(losses, name) for name in names}
    del found[None]
    return found


def _wrapper(original: type[Any]) -> type[Any]:
    """What `compile` puts around a function: for one of ours, the class: one pass."""
    classes = _classes_by_function()

    class LossFunctionWrapper(original):  # type: ignore[misc]
        def __new__(cls, fn: Any, *arguments: Any, **options: Any) -> Any:
            if fn in classes and not arguments and set(options) <= {"reduction", "name", "dtype"}:
                return classes[fn](**options)
            return super().__new__(cls)

    return LossFunctionWrapper


def _deserializer(original: Any) -> Any:
    """`keras.losses.deserialize`, which finds functions outside of Keras by no name but their own.

    It would take "mse" for a function of that name in the module of `mean_squared_error`.
    """

    @wraps(original)
    def deserialize(name: Any, custom_objects: dict[str, Any] | None = None) -> Any:
        if isinstance(name, str) and name not in (custom_objects or {}):
            table = importlib.import_module("keras.src.losses").ALL_OBJECTS_DICT
            if inspect.isfunction(table.get(name)):
                return table[name]
        return original(name, custom_objects=custom_objects)

    return deserialize


def _classes_by_function() -> dict[Any, type[Any]]:
    """Our classes by the functions that have the same defaults."""
    pairs = ((getattr(losses, x.name), getattr(losses, x.class_name)) for x in registry.LOSSES)
    return {function: cls for function, cls in pairs if _have_same_defaults(function, cls)}


def _have_same_defaults(function: Any, cls: type[Any]) -> bool:
    options = inspect.signature(cls).parameters
    own = list(inspect.signature(function).parameters.values())[2:]
    shared = [x for x in own if x.name != "return_metrics"]
    return all(x.name in options and options[x.name].default == x.default for x in shared)
