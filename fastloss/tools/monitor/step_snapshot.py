"""What one step was computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from fastloss.terms.inputs import Tensor
from fastloss.tools.monitor.watched_loss import Inputs

_RETURNED = "_loss_monitor_arrays"
_X = "x."


class StepSnapshot:
    """Labels, predictions, weights and inputs of a step.

    They are in variables of any shape, which a step fills if it is wanted. XLA's variables are of a
    fixed shape: there each step returns them, and the last of a call is what can be had.

    Args:
        model: The model that is trained.
    """

    def __init__(self, model: keras.Model) -> None:
        self._returns = bool(model.jit_compile)
        self._can_record = not model.jit_compile or model.steps_per_execution == 1
        self._returned: dict[str, Tensor] = {}
        self._saved: dict[str, tf.Variable] = {}

    def record(self, is_wanted: Tensor, x: Any, inputs: Sequence[Inputs | None], logs: Any) -> Any:
        """Record the step that this is called in; gives what the step is to return."""
        known = [one for one in inputs if one is not None and _is_here(one)]
        if not self._can_record or len(known) < len(inputs) or not isinstance(logs, dict):
            return logs
        named = {
            f"{k}.{name}": tf.convert_to_tensor(value)
            for k, one in enumerate(known)
            for name, value in one._asdict().items()
            if value is not None
        }
        named |= {
            f"{_X}{k}": leaf
            for k, leaf in enumerate(keras.tree.flatten(x))
            if isinstance(leaf, tf.Tensor) and leaf.dtype.is_floating
        }
        if self._returns:
            return {**logs, _RETURNED: named}
        with tf.init_scope():
            for name, value in named.items():
                if name not in self._saved:
                    nothing, anything = tf.zeros([0], value.dtype), tf.TensorShape(None)
                    self._saved[name] = tf.Variable(nothing, shape=anything)

        def assign() -> None:
            for name, value in named.items():
                self._saved[name].assign(value)

        tf.cond(is_wanted, assign, lambda: None)
        return logs

    def take(self, logs: Any) -> None:
        """Take what the step has returned out of its logs."""
        self._returned = logs.pop(_RETURNED, {}) if isinstance(logs, dict) else {}

    def inputs(self, losses: int) -> list[Inputs] | None:
        """What each of the losses was called with, or None."""
        arrays = self._arrays()
        if not arrays:
            return None
        return [
            Inputs(*(arrays.get(f"{k}.{name}") for name in Inputs._fields)) for k in range(losses)
        ]

    def model_inputs(self) -> list[Tensor]:
        """The floating inputs of the model."""
        return [x for name, x in self._arrays().items() if name.startswith(_X)]

    def forget_returned(self) -> None:
        """Free what XLA has returned of a step, which holds its predictions."""
        self._returned = {}

    def forget(self) -> None:
        """Free the memory of what was recorded."""
        self.forget_returned()
        for variable in self._saved.values():
            variable.assign(tf.zeros([0], variable.dtype))

    def _arrays(self) -> dict[str, Tensor]:
        if self._returns:
            return self._returned
        return {name: variable.read_value() for name, variable in self._saved.items()}


def _is_here(inputs: Inputs) -> bool:
    """Whether the tensors are of the graph that this runs in."""
    if tf.executing_eagerly():
        return hasattr(inputs.y_pred, "numpy")
    here = tf.compat.v1.get_default_graph()
    return not hasattr(inputs.y_pred, "numpy") and inputs.y_pred.graph is here
