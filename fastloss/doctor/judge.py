"""From facts to findings: what each fact means, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from .finding import ERROR, NOTE, OK, WARNING, Finding

Facts: TypeAlias = dict[str, Any]

OLDEST, NEWEST = (2, 16), (2, 21)
_TESTED = "2.16 to 2.21"
# The oldest Linux driver for a build of TensorFlow, by the first number of its CUDA version.
_DRIVERS = {"11": (450, 80), "12": (525, 60), "13": (580, 65)}


def judge(facts: Facts) -> Iterator[Finding]:
    """Every finding, in the order in which they are to be read."""
    for check in _CHECKS:
        yield from check(facts)


def _python(facts: Facts) -> Iterator[Finding]:
    cpus = facts["cpus"]
    cpu = facts.get("core", {}).get("cpu") or facts["machine"]
    yield Finding("machine", OK, f"{cpu}, {cpus} CPU{'s' * (cpus > 1)}; Python {facts['python']}")


def _tensorflow(facts: Facts) -> Iterator[Finding]:
    from .examine import tensorflows

    installed = tensorflows(facts["packages"])
    found = facts.get("tensorflow", {})
    if len(installed) > 1:
        yield Finding(
            "TensorFlow packages",
            WARNING,
            f"{' and '.join(installed)} are installed, which overwrite each other's files",
            f"pip uninstall {' '.join(installed)}, then install one: pip install 'fastloss[cpu]' "
            "or pip install 'fastloss[cuda]'",
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
                f"{found['version']}; fastloss was tested with {_TESTED}",
                "look for a newer fastloss, or install a TensorFlow of that range"
                if newer
                else "upgrade it: pip install --upgrade 'fastloss[cpu]' or 'fastloss[cuda]'",
            )
    elif found.get("missing") == "tensorflow":
        yield Finding(
            "TensorFlow",
            ERROR,
            "it is not installed",
            "pip install 'fastloss[cpu]', or 'fastloss[cuda]' on a GPU machine",
        )
    elif "error" in found:
        yield Finding(
            "TensorFlow",
            ERROR,
            f"it cannot be imported: {found['error']} (at {found['at']})",
            "install it anew: pip install --force-reinstall "
            + (installed[0] if installed else "'fastloss[cpu]'"),
        )


def _ended(facts: Facts) -> Iterator[Finding]:
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


def _keras(facts: Facts) -> Iterator[Finding]:
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


def _package(facts: Facts) -> Iterator[Finding]:
    found = facts.get("fastloss", {})
    if "version" in found:
        yield Finding("fastloss", OK, f"{found['version']} in {found['path']}")
    elif "error" in found:
        yield Finding(
            "fastloss",
            ERROR,
            f"it cannot be imported: {found['error']} (at {found['at']})",
            "cure what is named above first; else install it anew: "
            "pip install --force-reinstall --no-deps fastloss",
        )


def _library(facts: Facts) -> Iterator[Finding]:
    core, found = facts.get("core", {}), facts.get("fastloss", {})
    if "error" in core:
        yield Finding(
            "core library",
            WARNING,
            f"{core['error']}; fastloss bench and the tests need it",
            "install fastloss anew, with a C++17 compiler at hand: "
            "pip install --force-reinstall --no-deps fastloss",
        )
    if "load_error" in found:
        seen, _, cure = found["load_error"].partition(". ")
        yield Finding("library", ERROR, f"{seen}; the slower reference serves", cure)
    elif "threads" in found:
        yield Finding("library", OK, f"{found['library']} is loaded")


def _backend(facts: Facts) -> Iterator[Finding]:
    found = facts.get("fastloss", {})
    if "backend" not in found:
        return
    for warning in found["warnings"]:
        if "FASTLOSS_BACKEND" in warning:
            yield Finding(
                "FASTLOSS_BACKEND",
                WARNING,
                warning,
                "unset it, or set it to auto, fused or reference",
            )
    backend, requested = found["backend"], found["requested"]
    if backend == "fused":
        yield Finding("backend", OK, "fused: the C++ kernels serve")
    elif requested == "reference":
        yield Finding(
            "backend",
            WARNING,
            "reference: FASTLOSS_BACKEND asks for it, so that the kernels are not used",
            "unset FASTLOSS_BACKEND",
        )
    elif "load_error" in found:
        yield Finding(
            "backend", WARNING, "reference: the library is not loaded", "cure the library above"
        )
    else:
        yield Finding(
            "backend",
            NOTE,
            "reference: a GPU is in use, and the kernels of this release run on the CPU",
            "nothing is broken: the reference runs on the GPU, but is no faster than Keras. To "
            "train on the CPU with the kernels, hide the GPU: CUDA_VISIBLE_DEVICES=-1",
        )


def _threads(facts: Facts) -> Iterator[Finding]:
    found, tensorflow = facts.get("fastloss", {}), facts.get("tensorflow", {})
    if found.get("threads") == "tensorflow":
        yield Finding("threads", OK, "the kernels run on TensorFlow's threads")
    elif "threads" in found:
        yield Finding(
            "threads",
            WARNING,
            "the kernels run on threads of their own, beside TensorFlow's: the way to these is "
            f"known for TensorFlow {_TESTED} only",
            "results are the same; for speed install a TensorFlow of that range",
        )
    if tensorflow.get("intra_op_threads") == 1:
        yield Finding(
            "thread count",
            WARNING,
            "TensorFlow was given one thread for its ops (TF_NUM_INTRAOP_THREADS)",
            "unset it, to use all CPUs",
        )
    elif facts["cpus"] == 1:
        yield Finding(
            "thread count",
            NOTE,
            "this process may use one CPU, so that nothing runs in parallel",
            "give the container or job more CPUs (docker --cpus, srun -c, taskset)",
        )


def _isa(facts: Facts) -> Iterator[Finding]:
    core = facts.get("core", {})
    if "isa" not in core:
        return
    seen = f"{core['isa']}, of {', '.join(core['isas'])}"
    if core["isa"] == "baseline":
        yield Finding(
            "instruction set",
            NOTE,
            f"{seen}: this CPU has no AVX2, or a virtual machine hides it",
            "run it on a newer CPU, or let the virtual machine pass the CPU through",
        )
    else:
        yield Finding("instruction set", OK, seen)


def _cuda(facts: Facts) -> Iterator[Finding]:
    tensorflow, nvidia = facts.get("tensorflow", {}), facts.get("nvidia")
    if "version" not in tensorflow:
        return
    build = tensorflow["build"]
    gpus = [device for device in tensorflow["devices"] if device["type"] == "GPU"]
    has_cuda = build.get("is_cuda_build") == "True" or "cuda_version" in build
    version = build.get("cuda_version", "")
    if not has_cuda:
        if nvidia and nvidia["gpus"]:
            names = ", ".join(gpu["name"] for gpu in nvidia["gpus"])
            yield Finding(
                "CUDA",
                NOTE,
                f"this TensorFlow is built for CPUs, but there is {names}",
                "to use it: pip uninstall tensorflow-cpu, then pip install 'fastloss[cuda]'",
            )
        else:
            yield Finding("CUDA", OK, "none: this TensorFlow is built for CPUs, and no GPU is seen")
        return
    needed = _DRIVERS.get(version.split(".")[0])
    driver = (nvidia or {}).get("driver", "")
    text = f"TensorFlow is built for CUDA {version or 'of unknown version'}"
    text += f", which needs driver {needed[0]}.{needed[1]} or newer" if needed else ""
    text += f"; the driver is {driver}" if driver else "; no driver answers"
    if gpus:
        found = ", ".join(
            f"{gpu['name']} (compute capability {gpu['compute_capability'] or '?'})" for gpu in gpus
        )
        yield Finding("CUDA", OK, f"{text}; in use: {found}")
        return
    numbers = tuple(map(int, re.findall(r"\d+", driver)[:2]))
    if needed and numbers and numbers < needed:
        yield Finding("CUDA", WARNING, f"{text}, so that no GPU is used", "upgrade the driver")
    elif nvidia and nvidia["gpus"]:
        hidden = facts["environment"].get("CUDA_VISIBLE_DEVICES")
        yield Finding(
            "CUDA",
            WARNING,
            f"{text}; there is {nvidia['gpus'][0]['name']}, but TensorFlow uses none"
            + (f": CUDA_VISIBLE_DEVICES is {hidden!r}" if hidden is not None else ""),
            "unset CUDA_VISIBLE_DEVICES"
            if hidden is not None
            else "install CUDA's libraries: pip install 'fastloss[cuda]'",
        )
    elif nvidia and "error" in nvidia:
        yield Finding("CUDA", WARNING, f"{text}: {nvidia['error']}", "install the driver anew")
    else:
        yield Finding("CUDA", OK, f"{text}; no GPU is seen")


def _xla(facts: Facts) -> Iterator[Finding]:
    devices = facts.get("self_test", {}).get("devices", {})
    if not devices:
        return
    failing = {name: device["xla"] for name, device in devices.items() if device["xla"]}
    for name, reason in failing.items():
        yield Finding(
            "XLA",
            WARNING,
            f"it does not compile a loss on {name}: {reason}",
            "compile models with jit_compile=False",
        )
    if not failing:
        yield Finding(
            "XLA", OK, "compiles losses; inside jit_compile=True the reference serves, fused by XLA"
        )
    if facts["tensorflow"]["auto_clustering"] or "auto_jit" in facts["environment"].get(
        "TF_XLA_FLAGS", ""
    ):
        yield Finding(
            "XLA clustering", NOTE, "it is switched on: XLA compiles what it chooses of a graph"
        )


def _self_test(facts: Facts) -> Iterator[Finding]:
    found = facts.get("self_test", {})
    if "error" in found:
        yield Finding(
            "self-test",
            ERROR,
            f"it broke off: {found['error']} (at {found['at']})",
            "install fastloss anew; if it stays, report it",
        )
    for name, device in found.get("devices", {}).items():
        subject, code = f"self-test {name}", device["backend"]
        for failure in device["failures"]:
            yield Finding(
                subject,
                ERROR,
                f"{failure} ({code})",
                "set FASTLOSS_BACKEND=reference until it is mended, and report it"
                if code == "fused"
                else "install TensorFlow anew, and report it if it stays",
            )
        right = device["tested"] - len({text.split(":")[0] for text in device["failures"]})
        seen = f"{right} of {device['tested']} losses are right, value and gradient ({code})"
        if device["left_out"]:
            yield Finding(
                subject,
                WARNING,
                f"{seen}; for {device['left_out']} more the time was too short",
                "run it again while the machine is idle",
            )
        else:
            yield Finding(subject, ERROR if device["failures"] else OK, seen)


_CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _python,
    _tensorflow,
    _keras,
    _package,
    _library,
    _backend,
    _threads,
    _isa,
    _cuda,
    _xla,
    _self_test,
    _ended,
)
