"""What a loss costs alone: its forward and backward pass, measured outside of the step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fastloss.tools.monitor.watched_loss import Inputs

_RUNS = 3


class Cost:
    """Times losses with their gradient by y_pred, compiled as the step is.

    Args:
        losses: The losses.
        runs_eagerly: Whether the step is not compiled.
        jit_compile: Whether XLA compiles it.
    """

    def __init__(self, losses: list[Any], runs_eagerly: bool, jit_compile: bool) -> None:
        self._functions = [_pass_of(loss) for loss in losses]
        if not runs_eagerly:
            self._functions = [
                tf.function(one, jit_compile=jit_compile, reduce_retracing=True)
                for one in self._functions
            ]

    def seconds(self, inputs: list[Inputs]) -> float:
        """The least time of three, after a first run that is not counted."""
        total = 0.0
        for function, given in zip(self._functions, inputs, strict=True):
            present = {name: x for name, x in given._asdict().items() if x is not None}
            _finish(function(**present))
            times = []
            for _ in range(_RUNS):
                start = time.perf_counter()
                _finish(function(**present))
                times.append(time.perf_counter() - start)
            total += min(times)
        return total


def _pass_of(loss: Any) -> Callable[..., Any]:
    def both(y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> Any:
        y_pred = tf.identity(y_pred)
        if mask is not None:
            y_pred._keras_mask = mask
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(y_true, y_pred, sample_weight)
        return value, tape.gradient(value, y_pred)

    return both


def _finish(result: Any) -> None:
    """Wait for a device that computes behind the back of Python."""
    for x in tf.nest.flatten(result):
        if x is not None:
            tf.reshape(x, [-1])[:1].numpy()
