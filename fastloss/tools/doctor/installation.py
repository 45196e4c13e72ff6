"""Findings about what is installed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastloss.tools import install
from fastloss.tools.doctor.finding import ERROR, OK, WARNING, Facts, Finding

OLDEST, NEWEST = (2, 16), (2, 21)
TESTED = "2.16 to 2.21"
# Each brings the module `tensorflow`, so that two of them overwrite each other.
TENSORFLOWS = re.compile(
    r"(tensorflow|tf[-_.]nightly)([-_.](cpu|gpu|intel|macos|rocm|cpu[-_.]aws))?"
)


def tensorflows(packages: dict[str, str]) -> list[str]:
    """Those of the packages that bring TensorFlow."""
    return sorted(name for name in packages if TENSORFLOWS.fullmatch(name))


def python(facts: Facts) -> Iterator[Finding]:
    """The machine and Python."""
    cpus = facts["cpus"]
    cpu = facts.get("core", {}).get("cpu") or facts["machine"]
    yield Finding("machine", OK, f"{cpu}, {cpus} CPU{'s' * (cpus > 1)}; Python {facts['python']}")


def tensorflow(facts: Facts) -> Iterator[Finding]:
    """Which TensorFlow there is, and whether it can be imported."""
    installed = tensorflows(facts["packages"])
    found = facts.get("tensorflow", {})
    if len(installed) > 1:
        yield Finding(
            "TensorFlow packages",
            WARNING,
            f"{' and '.join(installed)} are installed, which overwrite each other's files",
            f"pip uninstall {' '.join(installed)}, then install one: {install.TENSORFLOW} or "
            f"{install.TENSORFLOW_CUDA}",
        )
    if "version" in found:
        release = tuple(map(int, re.findall(r"\d+", found["version"])[:2]))
        if OLDEST <= release <= NEWEST:
            yield Finding("TensorFlow", OK, found["version"])
        else:
            newer = release > NEWEST
            yield Finding(
                "TensorFlow",
                WARNING,
                f"{found['version']}; fastloss was tested with {TESTED}",
                "look for a newer fastloss, or install a TensorFlow of that range"
                if newer
                else f"upgrade it: {install.TENSORFLOW} or {install.TENSORFLOW_CUDA}",
            )
    elif found.get("missing") == "tensorflow":
        yield Finding(
            "TensorFlow",
            ERROR,
            "it is not installed",
            f"{install.TENSORFLOW}, or on a GPU machine {install.TENSORFLOW_CUDA}",
        )
    elif "error" in found:
        yield Finding(
            "TensorFlow",
            ERROR,
            f"it cannot be imported: {found['error']} (at {found['at']})",
            "install it anew: pip install --force-reinstall "
            + (installed[0] if installed else "tensorflow-cpu"),
        )


def ended(facts: Facts) -> Iterator[Finding]:
    """Where the process that imports everything broke off."""
    ended = facts.get("ended")
    if not ended:
        return
    last = ended["output"][-1][:300] if ended["output"] else "nothing was printed"
    cures = {
        "SIGILL": "this CPU lacks instructions that the code was built for; install a build for "
        "it, or use another machine",
        "SIGKILL": "it was probably out of memory; free some, or raise the limit",
    }
    cure = next((text for name, text in cures.items() if name in ended["reason"]), "")
    yield Finding(
        f"stage {ended['during']}",
        ERROR,
        f"the process that tried it {ended['reason']}; last it printed: {last}",
        cure or "run it again with TF_CPP_MIN_LOG_LEVEL=0 to see more, and report it",
    )


def keras(facts: Facts) -> Iterator[Finding]:
    """Which Keras there is, and what it runs on."""
    found = facts.get("keras", {})
    wanted = facts["environment"].get("KERAS_BACKEND", found.get("backend", "tensorflow"))
    if wanted != "tensorflow":
        source = "KERAS_BACKEND" if "KERAS_BACKEND" in facts["environment"] else "keras.json"
        yield Finding(
            "Keras backend",
            ERROR,
            f"{source} asks for {wanted!r}, but fastloss serves TensorFlow",
            "set KERAS_BACKEND=tensorflow before Keras is imported",
        )
    if "version" in found:
        yield Finding("Keras", OK, f"{found['version']}, {found['dtype']}")
    elif "error" in found and wanted == "tensorflow":
        yield Finding(
            "Keras",
            ERROR,
            f"it cannot be imported: {found['error']}",
            "install it anew: pip install --force-reinstall keras",
        )


def package(facts: Facts) -> Iterator[Finding]:
    """Whether fastloss can be imported."""
    found = facts.get("fastloss", {})
    if "version" in found:
        yield Finding("fastloss", OK, f"{found['version']} in {found['path']}")
    elif "error" in found:
        yield Finding(
            "fastloss",
            ERROR,
            f"it cannot be imported: {found['error']} (at {found['at']})",
            f"cure what is named above first; else build it anew: {install.REBUILD}",
        )
