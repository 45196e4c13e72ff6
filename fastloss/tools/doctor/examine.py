"""Gathers the facts: what is installed, and what a process finds that imports it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from fastloss.tools.doctor.finding import Report
from fastloss.tools.doctor.installation import TENSORFLOWS
from fastloss.tools.doctor.judge import judge
from fastloss.tools.machine import available_cpus

_PROBE = Path(__file__).with_name("probe.py")
_PACKAGES = ("fastloss", "keras", "numpy", "tensorflow-io", "typer", "rich", "matplotlib")
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "FASTLOSS_BACKEND",
    "KERAS_BACKEND",
    "OMP_NUM_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_USE_LEGACY_KERAS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)


def examine(timeout: float = 180.0) -> Report:
    """Look at everything.

    Args:
        timeout: Seconds after which the process that imports TensorFlow is given up.

    Returns:
        What was found. Nothing is raised for what does not work: that is a finding.
    """
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": available_cpus(),
        "packages": _packages(),
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "nvidia": _nvidia(),
    }
    facts.update(_probed(timeout))
    return Report(tuple(judge(facts)), facts)


def _packages() -> dict[str, str]:
    """Versions of the packages that matter; all that bring TensorFlow among them."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if name in _PACKAGES or TENSORFLOWS.fullmatch(name):
            # The first on the path is the one that is imported.
            found.setdefault(name.replace("_", "-"), distribution.version)
    return dict(sorted(found.items()))


def _nvidia() -> dict[str, Any] | None:
    """The driver and the GPUs that it shows, or None without one."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    query = "--query-gpu=name,driver_version,compute_cap,memory.total"
    try:
        done = subprocess.run(
            [command, query, "--format=csv,noheader"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": str(error), "gpus": []}
    if done.returncode:
        return {"error": (done.stdout + done.stderr).strip()[:300], "gpus": []}
    rows = [re.split(r", *", line) for line in done.stdout.splitlines() if line.strip()]
    gpus = [
        {"name": row[0], "compute_capability": row[2], "memory": row[3]}
        for row in rows
        if len(row) == 4
    ]
    return {"driver": rows[0][1] if gpus else "", "gpus": gpus}


def _probed(timeout: float) -> dict[str, Any]:
    """What the process says that imports everything, as far as it came."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "facts"
        log.touch()
        # This fastloss and this TensorFlow, whichever way they were found.
        arguments = [sys.executable, str(_PROBE), str(log), json.dumps(sys.path)]
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1")}
        ended: dict[str, Any] = {}
        try:
            done = subprocess.run(
                arguments,
                env=quiet,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
            )
            output = done.stderr
            if done.returncode:
                ended = {"reason": _reason(done.returncode)}
        except subprocess.TimeoutExpired as expired:
            output = _text(expired.stderr)
            ended = {"reason": f"did not end within {timeout:g} seconds"}
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    facts: dict[str, Any] = {}
    for line in lines:
        facts.update(line)
    if ended:
        last = [line for line in output.splitlines() if line.strip()][-8:]
        facts["ended"] = {**ended, "during": facts.get("stage", "start"), "output": last}
    facts.pop("stage", None)
    return facts


def _text(output: Any) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _reason(code: int) -> str:
    if code > 0:
        return f"ended with the exit status {code}"
    try:
        return f"was ended by the signal {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by the signal {-code}"
