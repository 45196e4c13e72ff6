"""Where a figure was measured: machine, versions, commit."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """What a record needs so that a figure can be understood later.

    `torch` is a version or `not installed`; it is empty where nothing is measured that PyTorch has.
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


def cpu_model() -> str:
    """The name that the CPU gives itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


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
    """The commit of the fastloss checkout around the package or the working folder, if any.

    Returns:
        Twelve digits, with `-dirty` if tracked files differ from the commit; empty outside a
        checkout.
    """
    for folder in (Path(__file__).resolve().parent, Path.cwd()):
        root = _git(folder, "rev-parse", "--show-toplevel")
        # Another project's commit would be worse than none.
        if not root or not (Path(root) / "fastloss" / "benchmark").is_dir():
            continue
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        if head:
            changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
            return head + ("-dirty" if changed else "")
    return ""


def describe(threads: int, *, with_torch: bool = False) -> Environment:
    """Describes this machine and process.

    Args:
        threads: The threads that the contenders were given.
        with_torch: Whether PyTorch is to be measured; it is imported only then.

    Returns:
        The description.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    import fastloss as fl
    from fastloss.tools.bench.contenders import torch_version
    from fastloss.tools.bench.roof import default_threads

    backend = fl.backend()
    isa = ""
    if backend == "fused":
        from fastloss import c_api

        isa = c_api.isa()
    return Environment(
        date=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=commit(),
        machine=cpu_model(),
        cores=default_threads(),
        threads=threads,
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        tensorflow=tf.__version__,
        keras=keras.__version__,
        torch=(torch_version() or "not installed") if with_torch else "",
        numpy=np.__version__,
        fastloss=fl.__version__,
        backend=backend,
        isa=isa,
    )
