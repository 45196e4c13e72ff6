"""Everything that the library imports from TensorFlow is there in the one that is loaded."""

from __future__ import annotations

import pathlib

import pytest
import tensorflow as tf
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from fastloss import c_api
from fastloss.ops import library

TENSORFLOW = pathlib.Path(tf.__file__).parent
LIBRARIES = ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")


def symbols(path: pathlib.Path) -> tuple[dict[str, str], set[str]]:
    """Names that a library imports, with their binding, and names that it defines."""
    imported, defined = {}, set()
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".dynsym")
        assert isinstance(table, SymbolTableSection)
        for symbol in table.iter_symbols():
            if symbol["st_shndx"] == "SHN_UNDEF":
                imported[symbol.name] = symbol["st_info"]["bind"]
            else:
                defined.add(symbol.name)
    return imported, defined


def needed(path: pathlib.Path) -> list[str]:
    with path.open("rb") as file:
        dynamic = ELFFile(file).get_section_by_name(".dynamic")
        assert isinstance(dynamic, DynamicSection)
        return [tag.needed for tag in dynamic.iter_tags() if tag.entry.d_tag == "DT_NEEDED"]


def of_tensorflow(name: str) -> bool:
    return name.startswith("TF_") or "tensorflow" in name or "tsl" in name or "5Eigen" in name


class Provided:
    """The symbols that the libraries of TensorFlow define; there are too many to list."""

    def __init__(self) -> None:
        paths = [TENSORFLOW / name for name in LIBRARIES]
        self.files = [path.open("rb") for path in paths if path.exists()]
        self.tables = [ELFFile(file).get_section_by_name(".gnu.hash") for file in self.files]

    def __contains__(self, name: object) -> bool:
        found = (table.get_symbol(name) for table in self.tables)
        return any(symbol and symbol["st_shndx"] != "SHN_UNDEF" for symbol in found)


@pytest.fixture(scope="module")
def provided():
    provided = Provided()
    assert provided.files
    assert "TF_NewKernelBuilder" in provided
    assert "TF_NoSuchFunction" not in provided
    yield provided
    for file in provided.files:
        file.close()


def test_every_imported_symbol_of_tensorflow_exists(provided):
    imported, _ = symbols(library.LIBRARY)
    ours = [name for name in imported if of_tensorflow(name)]
    assert "TF_NewKernelBuilder" in ours
    assert [name for name in ours if name not in provided] == []


def test_the_threads_and_the_stream_of_tensorflow_are_weak_and_found(provided):
    imported, _ = symbols(library.LIBRARY)
    weak = [n for n, bind in imported.items() if bind == "STB_WEAK" and of_tensorflow(n)]
    assert len(weak) == 2
    for device in ("ThreadPoolDevice", "GpuDevice"):
        (name,) = (name for name in weak if device in name)
        assert "eigen_device" in name
        assert name in provided


def test_no_symbol_of_the_cxx_interface_is_imported_otherwise():
    imported, _ = symbols(library.LIBRARY)
    strong = [n for n, bind in imported.items() if bind != "STB_WEAK" and of_tensorflow(n)]
    assert [name for name in strong if not name.startswith("TF_")] == []


def test_libraries_need_tensorflow_by_name_only_where_they_must():
    assert "libtensorflow_framework.so.2" in needed(library.LIBRARY)
    for path in (library.LIBRARY, c_api.LIBRARY):
        assert [name for name in needed(path) if "python" in name or "tensorflow_cc" in name] == []
    assert [name for name in needed(c_api.LIBRARY) if "tensorflow" in name] == []
    assert [name for name in symbols(c_api.LIBRARY)[0] if of_tensorflow(name)] == []


def test_libraries_export_nothing_but_their_interface():
    for path in (library.LIBRARY, c_api.LIBRARY):
        _, defined = symbols(path)
        assert [n for n in defined if not n.startswith(("fastloss_", "_init", "_fini"))] == []
