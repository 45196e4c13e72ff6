"""Where a figure was measured: machine, versions, commit."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from fastloss.tools.machine import available_cpus, cpu_model


@dataclass(frozen=True)
class Environment:
    """What a record needs so that a figure can be understood later.

    `torch` is empty where PyTorch is not measured.
    """

    date: str
    commit: str
    machine: str
    cores: int
    threads: int
    os: str
    python: str
    tensorflow: str
    keras: str
    torch: str
    numpy: str
    fastloss: str
    backend: str
    isa: str


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def commit() -> str:
    """The commit of the fastloss checkout around the package or the working folder, or "".

    Twelve digits, with `-dirty` if tracked files differ from the commit.
    """
    for folder in (Path(__file__).resolve().parent, Path.cwd()):
        root = _git(folder, "rev-parse", "--show-toplevel")
        # Another project's commit would be worse than none.
        if not root or not (Path(root) / "fastloss" / "registry.py").is_file():
            continue
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        if head:
            changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
            return head + ("-dirty" if changed else "")
    return ""


def describe(threads: int, torch: str = "") -> Environment:
    """Describes this machine and process."""
    import keras
    import numpy as np
    import tensorflow as tf

    import fastloss as fl
    from fastloss import c_api

    backend = fl.backend()
    return Environment(
        date=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=commit(),
        machine=cpu_model(),
        cores=available_cpus(),
        threads=threads,
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        tensorflow=tf.__version__,
        keras=keras.__version__,
        torch=torch,
        numpy=np.__version__,
        fastloss=fl.__version__,
        backend=backend,
        isa=c_api.isa() if backend == "fused" else "",
    )
