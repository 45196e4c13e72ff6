"""Checks the ops on the GPU of this machine, in TensorFlow.

    python tests/gpu/tensorflow_run.py              all losses and modes
    python tests/gpu/tensorflow_run.py --device CPU the same on the CPU, which tries these checks

Needs an installed fastloss with its CUDA kernels, and TensorFlow with a GPU. Each loss, with its
gradient, in eager mode, `tf.function` and `tf.function(jit_compile=True)`, against the reference in
float64 on the CPU; `model.fit` with its defaults, against the same on the CPU; the same bits in
every run. With FASTLOSS_GPU_ON_HOST set, as tests/library/test_gpu_ops.py says, and `--device CPU`
the kernels for GPUs run on the host.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import keras
import numpy as np
import tensorflow as tf
from cases import assert_same, float64, value_and_gradient
from subjects import ONE_EACH, SUBJECTS, Subject

import fastloss as fl
from fastloss.ops import library

DTYPES = ("float32", "bfloat16", "float16", "float64")
MODES: dict[str, dict[str, Any] | None] = {
    "eager": None,
    "graph": {},
    "jit_compile": {"jit_compile": True},
}


def truth(subject: Subject, dtype: str, reduction: str, weight: Any) -> tuple[Any, Any]:
    """Value and gradient in float64, of the numbers as they are in `dtype`."""
    y_true, y_pred = subject.data(dtype)
    if y_true.dtype.kind not in "iu":
        y_true = float64(y_true)
    loss = subject.loss(reduction=reduction, dtype="float64")
    with fl.use_backend("reference"), tf.device("/CPU:0"):
        return value_and_gradient(loss, y_true, float64(y_pred), weight)


def check_mode(subject: Subject, mode: str, device: str) -> None:
    options = MODES[mode]
    weights = [None, *subject.weights]
    if mode == "jit_compile":  # each takes its time to compile
        weights = [weights[0], weights[-1]]
    both = value_and_gradient if options is None else tf.function(value_and_gradient, **options)
    for dtype in DTYPES if subject in ONE_EACH else DTYPES[:1]:
        for reduction in ("sum_over_batch_size", "mean_with_sample_weight", "none"):
            for weight in weights:
                loss = subject.loss(
                    reduction=reduction, dtype="float64" if dtype == "float64" else "float32"
                )
                with tf.device(device):
                    inputs = [tf.constant(x) for x in subject.data(dtype)]
                    actual = both(loss, *inputs, weight)
                what = f"{dtype} {reduction} {None if weight is None else weight.shape}"
                for tensor in actual:
                    assert device.strip("/") in tensor.device, f"{what}: it is on {tensor.device}"
                assert_same(actual, truth(subject, dtype, reduction, weight), dtype, what)


def check_fit(subject: Subject, device: str) -> None:
    """`compile` and `fit` with their defaults: on a GPU Keras compiles the step with XLA."""
    y_true, y_pred = subject.data()
    histories = []
    for on, jit_compile in ((device, "auto"), (device, False), ("/CPU:0", False)):
        keras.utils.set_random_seed(1)
        with tf.device(on):
            identity = keras.initializers.Identity()
            model = keras.Sequential(
                [keras.layers.Dense(y_pred.shape[-1], kernel_initializer=identity)]
            )
            model.compile(keras.optimizers.SGD(0.05), subject.loss(), jit_compile=jit_compile)
            fitted = model.fit(y_pred, y_true, batch_size=1, epochs=3, verbose=0)
        histories.append(fitted.history["loss"])
    assert histories[0][0] != histories[0][-1], "nothing was learned"
    for history in histories[:-1]:
        # A GPU multiplies matrices with fewer bits.
        np.testing.assert_allclose(history, histories[-1], rtol=5e-3)


def check_bits(subject: Subject, device: str) -> None:
    """The same in 20 runs, beside other work."""
    both = tf.function(value_and_gradient)
    with tf.device(device):
        inputs = [tf.constant(np.tile(x, (64, *[1] * (x.ndim - 1)))) for x in subject.data()]
        seen = set()
        for _ in range(20):
            tf.linalg.matmul(tf.ones((512, 512)), tf.ones((512, 512)))
            results = both(subject.loss(), *inputs)
            seen.add(b"".join(x.numpy().tobytes() for x in results))
    assert len(seen) == 1, f"{len(seen)} different results in 20 runs"


def attempt(name: str, check: Callable[[], None]) -> bool:
    try:
        check()
    except Exception:
        print(f"{name:90} FAILED\n{traceback.format_exc(limit=-3)}", flush=True)
        return False
    print(f"{name:90} passed", flush=True)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("GPU", "CPU"), default="GPU")
    parser.add_argument("--only", default="", help="losses whose name contains this")
    arguments = parser.parse_args()
    # Every loss is a function of its own.
    tf.get_logger().setLevel("ERROR")
    if arguments.device == "GPU" and not tf.config.list_physical_devices("GPU"):
        sys.exit("There is no GPU that TensorFlow can use here, so nothing was checked.")
    if "FASTLOSS_GPU_ON_HOST" in os.environ:
        library.LIBRARY = Path(os.environ["FASTLOSS_GPU_ON_HOST"])
    reason = library.why_not_on_gpu()
    if arguments.device == "GPU" and reason:
        sys.exit(f"The ops have no kernels for this GPU, so nothing was checked: {reason}.")
    device = f"/device:{arguments.device}:0"
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {device}, {fl.backend()}")
    outcomes = []
    for subject in SUBJECTS:
        if arguments.only not in subject.id:
            continue
        for mode in MODES:
            outcomes.append(
                attempt(
                    f"{subject.id} {mode}",
                    lambda subject=subject, mode=mode: check_mode(subject, mode, device),
                )
            )
    for subject in ONE_EACH:
        if arguments.only not in subject.id:
            continue
        for name, check in (("fit", check_fit), ("bits", check_bits)):
            outcomes.append(
                attempt(
                    f"{subject.id} {name}",
                    lambda subject=subject, check=check: check(subject, device),
                )
            )
    print(f"{sum(outcomes)} of {len(outcomes)} passed")
    sys.exit(not all(outcomes))


if __name__ == "__main__":
    main()
