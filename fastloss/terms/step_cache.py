"""What layers and losses leave on y_pred for those behind them, as Keras leaves a mask there."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fastloss.calls import Tensor


def remember(y_pred: Tensor, key: str, value: Any) -> None:
    """Store a value with y_pred, if it is of the graph, or the eager context, that this runs in."""
    if _is_of_this_graph(y_pred):
        y_pred._fastloss_step = {**getattr(y_pred, "_fastloss_step", {}), key: value}


def remembered(y_pred: Any, key: str) -> Any:
    """What was stored with y_pred under the key, or None."""
    if not isinstance(y_pred, tf.Tensor) or not _is_of_this_graph(y_pred):
        return None
    return getattr(y_pred, "_fastloss_step", {}).get(key)


def _is_of_this_graph(x: Tensor) -> bool:
    if tf.executing_eagerly():
        return hasattr(x, "numpy")
    return not hasattr(x, "numpy") and x.graph is tf.compat.v1.get_default_graph()
