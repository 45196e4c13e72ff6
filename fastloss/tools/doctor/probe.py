"""A program that imports all there is and writes down what it finds, a line of JSON at a time.

    python probe.py FACTS PATH

FACTS is the file to write to, PATH the list of folders to import from. Every stage says that it
begins, so that whoever started the program knows where it ended.
"""

import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _core() -> dict[str, Any]:
    """The library without TensorFlow, and what it runs on."""
    from fastloss import c_api
    from fastloss.tools.machine import cpu_model

    return {
        "cpu": cpu_model(),
        "library": str(c_api.LIBRARY),
        "version": c_api.version(),
        "isa": c_api.isa(),
        "isas": c_api.isas(),
        "threads": c_api.threads(),
    }


def _tensorflow() -> dict[str, Any]:
    import tensorflow as tf

    build = dict(tf.sysconfig.get_build_info())
    devices = []
    for device in tf.config.list_physical_devices():
        details = tf.config.experimental.get_device_details(device)
        devices.append(
            {
                "type": device.device_type,
                "name": details.get("device_name", device.name),
                "compute_capability": ".".join(map(str, details.get("compute_capability", ()))),
            }
        )
    return {
        "version": tf.__version__,
        "path": str(Path(tf.__file__).parent),
        "build": {name: str(build[name]) for name in sorted(build) if "cu" in name},
        "devices": devices,
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "auto_clustering": bool(tf.config.optimizer.get_jit()),
    }


def _keras() -> dict[str, Any]:
    import keras

    return {
        "version": keras.__version__,
        "backend": keras.backend.backend(),
        "dtype": keras.config.dtype_policy().name,
    }


def _fastloss() -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import fastloss as fl
        from fastloss.ops import library

        backend = fl.backend()
    facts: dict[str, Any] = {
        "version": fl.__version__,
        "path": str(Path(fl.__file__).parent),
        "library": str(library.LIBRARY),
        "backend": backend,
        "requested": os.environ.get("FASTLOSS_BACKEND", "auto"),
        "warnings": [str(warning.message) for warning in caught],
    }
    try:
        facts["threads"] = library.threads()
        facts["why_not_on_gpu"] = library.why_not_on_gpu()
    except fl.LoadError as error:
        facts["load_error"] = str(error)
    return facts


def _self_test() -> dict[str, Any]:
    from fastloss.tools.doctor.self_test import run

    return run()


def main() -> None:
    """Goes through the stages; one that fails does not keep the next from being tried."""
    # Its own folder comes first otherwise, and holds modules of common names.
    sys.path[:] = json.loads(sys.argv[2])
    stages: dict[str, Callable[[], dict[str, Any]]] = {
        "core": _core,
        "tensorflow": _tensorflow,
        "keras": _keras,
        "fastloss": _fastloss,
        "self_test": _self_test,
    }
    # Each needs those that it is built on.
    needs = {"keras": ("tensorflow",), "fastloss": ("keras",), "self_test": ("fastloss",)}
    failed: set[str] = set()
    with open(sys.argv[1], "w", encoding="utf-8") as log:
        for name, stage in stages.items():
            if failed & set(needs.get(name, ())):
                failed.add(name)
                continue
            print(json.dumps({"stage": name}), file=log, flush=True)
            try:
                facts = stage()
            except BaseException as error:
                failed.add(name)
                last = traceback.extract_tb(error.__traceback__)[-1]
                facts = {
                    "error": f"{type(error).__name__}: {error}"[:600],
                    "missing": getattr(error, "name", None)
                    if isinstance(error, ModuleNotFoundError)
                    else None,
                    "at": f"{last.filename}:{last.lineno}",
                }
            print(json.dumps({name: facts}), file=log, flush=True)


if __name__ == "__main__":
    main()
