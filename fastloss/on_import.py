"""Runs a function as soon as a module has been imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def when_imported(module: str, function: Callable[[], None]) -> None:
    """Call the function once the module has been imported: now, if it has been already."""
    if module in sys.modules:
        function()
    else:
        sys.meta_path.insert(0, _Finder(module, function))


class _Finder(MetaPathFinder):
    """Finds one module as the other finders do, and has its loader call the function at its end."""

    def __init__(self, module: str, function: Callable[[], None]) -> None:
        self._module = module
        self._function = function
        self._is_asking_others = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._module or self._is_asking_others:
            return None
        self._is_asking_others = True
        try:
            spec = find_spec(fullname)
        finally:
            self._is_asking_others = False
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: Any) -> None:
        """Call the function after the loader: whoever only asks for a spec never gets there."""
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                self._function()

        loader.exec_module = exec_module
