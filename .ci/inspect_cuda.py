#!/usr/bin/env python3
"""Looks at the machine code of the CUDA library, for what a machine without a GPU can tell.

    .ci/inspect_cuda.py build/libfastloss_cuda.so [--markdown]

Fails where a kernel keeps anything in local memory, spilled registers included, and where a kernel
that reads predictions lacks a load of 16 bytes, or one that writes a gradient a store of 16 bytes.
Needs cuobjdump and nvdisasm, of the CUDA toolkit or of
`pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm`.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path


def cuobjdump() -> str:
    """The program, of the toolkit or of a Python package."""
    found = shutil.which("cuobjdump")
    if found:
        return found
    site = Path(sysconfig.get_paths()["purelib"])
    for path in sorted(site.glob("nvidia/*/bin/cuobjdump")):
        return str(path)
    sys.exit(
        "cuobjdump was not found; install a CUDA toolkit, or nvidia-cuda-cuobjdump and "
        "nvidia-cuda-nvdisasm"
    )


def lines(*arguments: str) -> list[str]:
    program = cuobjdump()
    # It calls nvdisasm, which the package puts beside it.
    path = os.pathsep.join([str(Path(program).parent), os.environ.get("PATH", "")])
    result = subprocess.run(
        [program, *arguments], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    if result.returncode:
        sys.exit(f"cuobjdump failed: {result.stderr.strip()}")
    return result.stdout.splitlines()


def resources(library: str) -> dict[str, dict[str, int]]:
    """For each kernel its registers, stack, shared and local memory; the most of all GPUs."""
    usage: dict[str, dict[str, int]] = {}
    kernel = None
    for line in lines("--dump-resource-usage", library):
        if match := re.match(r" Function (\S+):", line):
            kernel = match[1]
        elif kernel and "REG:" in line:
            found = {name: int(value) for name, value in re.findall(r"(\w+):(\d+)", line)}
            known = usage.setdefault(kernel, found)
            usage[kernel] = {name: max(known.get(name, 0), value) for name, value in found.items()}
            kernel = None
    return usage


def instructions(library: str) -> dict[str, collections.Counter[str]]:
    """How many loads and stores of which kind each kernel has."""
    counts: dict[str, collections.Counter[str]] = {}
    kernel = ""
    for line in lines("-sass", library):
        if match := re.search(r"Function : (\S+)", line):
            kernel = match[1]
            counts.setdefault(kernel, collections.Counter())
        elif match := re.search(r"\b((?:LDG|STG|LDL|STL)[.A-Z0-9]*)", line):
            counts[kernel][match[1]] += 1
    return counts


def plain(kernels: list[str]) -> dict[str, str]:
    """The names as in the source, without arguments."""
    names = subprocess.run(
        ["c++filt"], input="\n".join(kernels), capture_output=True, text=True, check=True
    ).stdout.splitlines()

    def shorten(name: str) -> str:
        name = name.replace("fastloss::cuda::", "").replace("(anonymous namespace)::", "")
        name = re.sub(r"^void ", "", name)
        depth = 0
        for i, character in enumerate(name):
            depth += (character == "<") - (character == ">")
            if character == "(" and not depth:
                return name[:i]
        return name

    return {kernel: shorten(name) for kernel, name in zip(kernels, names, strict=True)}


def writes_gradient(name: str) -> bool:
    pattern = (
        r"single_term<.*, true>$|scale_by|box_losses<[48]|column_losses<|overlap_pass<\d, true"
        r"|contiguous_rows|short_rows"
    )
    return bool(re.match(pattern, name))


def reads_predictions(name: str) -> bool:
    of_elements = ("single_term<", "scale_by<", "multi_term<", "multi_term_rows<")
    of_rows = ("contiguous_rows<", "short_rows<")
    return name.startswith(
        (*of_elements, *of_rows, "box_losses<", "column_losses<", "overlap_pass<")
    )


def faults_of(name: str, usage: dict[str, int], count: collections.Counter[str]) -> list[str]:
    faults = []
    if usage["STACK"] or usage["LOCAL"] or any(key.startswith(("LDL", "STL")) for key in count):
        faults.append(f"{name}: keeps {usage['STACK'] + usage['LOCAL']} bytes in local memory")
    for wanted, kind in ((reads_predictions(name), "LDG"), (writes_gradient(name), "STG")):
        if wanted and not any(key.startswith(kind) and "128" in key for key in count):
            verb = "load" if kind == "LDG" else "store"
            faults.append(f"{name}: has no {verb} of 16 bytes")
    return faults


DTYPES = {"2": "half", "4": "float32", "8": "float64"}


def family(name: str) -> tuple[str, str]:
    """A row and a column of the table: the loss, and what of it is computed in which size."""
    match = re.match(r"overlap_pass<(\d), (\w+), \(OverlapCase\)(\d), (\w+)>$", name)
    if match:
        size, slope, case, wide = match.groups()
        case = ("independent", "independent, fused", "class labels", "label rows")[int(case)]
        what = "gradient" if slope == "true" else "sum"
        return f"overlap: {case}{', wide' * (wide == 'true')}", f"{DTYPES[size]} {what}"
    match = re.match(r"single_term<(\w+)<\w+((?:, (?:true|false))*)>, (\d), (\w+), (\w+)>$", name)
    if not match:
        return name, ""
    loss, flags, size, value, slope = match.groups()
    if flags.startswith(", true"):
        loss += " (gamma 2)"
    what = "sum" if slope == "false" else "gradient" if value == "false" else "both"
    return loss, f"{DTYPES[size]} {what}"


def table(names: dict[str, str], usage: dict[str, dict[str, int]]) -> None:
    """Registers of each thread, as Markdown."""
    cells: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for kernel, name in names.items():
        loss, column = family(name)
        cells[loss][column] = usage[kernel]["REG"]
    for kind, whats in (("loss", ("sum", "both", "gradient")), ("overlap", ("sum", "gradient"))):
        columns = [f"{dtype} {what}" for dtype in DTYPES.values() for what in whats]
        print(f"| {kind} | " + " | ".join(columns) + " |")
        print("|---|" + "---|" * len(columns))
        for loss in sorted(cells):
            if "" in cells[loss] or loss.startswith("overlap: ") != (kind == "overlap"):
                continue
            row = " | ".join(str(cells[loss][column]) for column in columns)
            name = f"`{loss}`".replace(" (gamma 2)`", "`, gamma 2")
            print(f"| {loss.removeprefix('overlap: ') if kind == 'overlap' else name} | {row} |")
        print()
    print("| kernel | registers |\n|---|---|")
    for loss in sorted(cells):
        if "" in cells[loss] and not re.match(r"apply<", loss):
            print(f"| `{loss}` | {cells[loss]['']} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library")
    parser.add_argument("--markdown", action="store_true", help="print the registers as tables")
    arguments = parser.parse_args()
    usage, counts = resources(arguments.library), instructions(arguments.library)
    if not usage:
        sys.exit(f"{arguments.library} holds no machine code of a GPU")
    names = plain(list(usage))
    faults = [
        fault
        for kernel, name in names.items()
        for fault in faults_of(name, usage[kernel], counts[kernel])
    ]
    if arguments.markdown:
        table(names, usage)
    else:
        most = max(usage, key=lambda kernel: usage[kernel]["REG"])
        print(f"{len(usage)} kernels; most registers: {usage[most]['REG']}, of {names[most]}")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
