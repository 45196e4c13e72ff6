"""Findings about GPUs, XLA and the self-test."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastloss.tools import install
from fastloss.tools.doctor.finding import ERROR, NOTE, OK, WARNING, Facts, Finding

# The oldest Linux driver for a build of TensorFlow, by the first number of its CUDA version.
_DRIVERS = {"11": (450, 80), "12": (525, 60), "13": (580, 65)}


def cuda(facts: Facts) -> Iterator[Finding]:
    """What TensorFlow was built for, the driver and the GPUs."""
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
                f"to use it: pip uninstall tensorflow-cpu, then {install.TENSORFLOW_CUDA}",
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
            else f"install CUDA's libraries: {install.TENSORFLOW_CUDA}",
        )
    elif nvidia and "error" in nvidia:
        yield Finding("CUDA", WARNING, f"{text}: {nvidia['error']}", "install the driver anew")
    else:
        yield Finding("CUDA", OK, f"{text}; no GPU is seen")


def gpu_kernels(facts: Facts) -> Iterator[Finding]:
    """Whether the ops have kernels for GPUs."""
    reason = facts.get("fastloss", {}).get("why_not_on_gpu")
    if reason is None:
        return
    in_use = any(device["type"] == "GPU" for device in facts["tensorflow"]["devices"])
    if not reason:
        where = "losses run on the GPU" if in_use else "no GPU is in use"
        yield Finding("GPU kernels", OK, f"libfastloss_cuda.so is loaded; {where}")
    elif in_use:
        yield Finding(
            "GPU kernels",
            NOTE,
            f"none: {reason}",
            "build fastloss anew with nvcc 12.2 or later on PATH: pip install --force-reinstall "
            "--no-deps --config-settings=cmake.define.FASTLOSS_CUDA=ON . in a checkout of fastloss",
        )
    else:
        yield Finding("GPU kernels", OK, f"none: {reason}; no GPU is in use")


def xla(facts: Facts) -> Iterator[Finding]:
    """Whether XLA compiles a loss."""
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


def self_test(facts: Facts) -> Iterator[Finding]:
    """Whether every loss is right on every device."""
    found = facts.get("self_test", {})
    if "error" in found:
        yield Finding(
            "self-test",
            ERROR,
            f"it broke off: {found['error']} (at {found['at']})",
            f"build fastloss anew: {install.REBUILD}; if it stays, report it",
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
