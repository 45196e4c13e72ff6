"""Findings about the code that serves."""

from __future__ import annotations

from collections.abc import Iterator

from fastloss.tools import install
from fastloss.tools.doctor.finding import ERROR, NOTE, OK, WARNING, Facts, Finding
from fastloss.tools.doctor.installation import TESTED


def library(facts: Facts) -> Iterator[Finding]:
    """Whether the compiled libraries load."""
    core, found = facts.get("core", {}), facts.get("fastloss", {})
    if "error" in core:
        yield Finding(
            "core library",
            WARNING,
            f"{core['error']}; fastloss bench and the tests need it",
            f"build fastloss anew, with a C++17 compiler at hand: {install.REBUILD}",
        )
    if "load_error" in found:
        seen, _, cure = found["load_error"].partition(". ")
        yield Finding("library", ERROR, f"{seen}; the slower reference serves", cure)
    elif "threads" in found:
        yield Finding("library", OK, f"{found['library']} is loaded")


def backend(facts: Facts) -> Iterator[Finding]:
    """What computes the losses, and why."""
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
        yield Finding("backend", OK, "fused: the kernels serve")
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
            "reference: a GPU is in use, and there are no kernels for it (see GPU kernels)",
            "nothing is broken: the reference runs on the GPU, but is no faster than Keras. To "
            "train on the CPU with the kernels, hide the GPU: CUDA_VISIBLE_DEVICES=-1",
        )


def threads(facts: Facts) -> Iterator[Finding]:
    """Whose threads the kernels run on, and how many."""
    found, tensorflow = facts.get("fastloss", {}), facts.get("tensorflow", {})
    if found.get("threads") == "tensorflow":
        yield Finding("threads", OK, "the kernels run on TensorFlow's threads")
    elif "threads" in found:
        yield Finding(
            "threads",
            WARNING,
            "the kernels run on threads of their own, beside TensorFlow's: the way to these is "
            f"known for TensorFlow {TESTED} only",
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


def isa(facts: Facts) -> Iterator[Finding]:
    """Which instructions the kernels use."""
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
