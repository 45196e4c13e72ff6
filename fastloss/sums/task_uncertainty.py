"""The learned log-variances of the tasks of a `MultiTask` loss."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fastloss.terms.step_cache import remember

LOG_VARIANCES = "log_variances"


@keras.saving.register_keras_serializable("fastloss")
class TaskUncertainty(keras.layers.Layer):
    """Hands its inputs on, and the log-variance of each task with them to the loss.

    It stands at the end of a model, so that the log-variances are weights of the model: trained by
    its optimizer, saved with it. They begin at 0, which weighs every task by 1.

    Example:
        >>> layer = fl.layers.TaskUncertainty(2)
        >>> layer(tf.ones([1, 2])).numpy().tolist(), layer.log_variances.numpy().tolist()
        ([[1.0, 1.0]], [0.0, 0.0])

    Args:
        tasks: How many tasks there are.
        **arguments: Of `keras.layers.Layer`: name, dtype, trainable.

    Raises:
        ValueError: If `tasks` is not at least 1.

    Call arguments:
        inputs: The model's outputs, a tensor or a structure of tensors; they come out unchanged.

    Reference: Kendall, Gal and Cipolla, Multi-task learning using uncertainty to weigh losses for
    scene geometry and semantics, 2018 (arXiv:1705.07115).
    """

    def __init__(self, tasks: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        if tasks < 1:
            raise ValueError(f"tasks is {tasks}; expected at least 1")
        self.tasks = tasks
        self.log_variances = self.add_weight(
            name="log_variances", shape=(tasks,), initializer="zeros", autocast=False
        )
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        def hand_on(x: tf.Tensor) -> tf.Tensor:
            x = tf.identity(x)
            remember(x, LOG_VARIANCES, tf.convert_to_tensor(self.log_variances))
            return x

        return tf.nest.map_structure(hand_on, inputs)

    def compute_output_spec(self, inputs: Any) -> Any:
        return tf.nest.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype), inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "tasks": self.tasks}
