"""Several losses of several tasks, added up with weights that are fixed or learned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from fastloss.calls import Tensor
from fastloss.sums.algebra import Algebra
from fastloss.sums.columns_pass import Columns, Range, in_shared_passes
from fastloss.sums.task_uncertainty import LOG_VARIANCES, TaskUncertainty
from fastloss.terms.inputs import TensorLike
from fastloss.terms.step_cache import remembered

serializable = keras.saving.register_keras_serializable("fastloss")

Key: TypeAlias = Any


@serializable
class MultiTask(Algebra, keras.losses.Loss):
    """The losses of several tasks, weighed and added up.

    Formula: `sum(weight * loss)`; with the weights "uncertainty" `sum(exp(-s) loss + s / 2)`, where
    each task's log-variance `s` is learned.

    Gradient of one log-variance: `1 / 2 - exp(-s) loss`; of predictions that of each task's loss
    times its weight

    A task is a part of the last axis of one y_true and y_pred, or a named output:

        fl.MultiTask({(0, 4): fl.Huber(), (4, 5): fl.BinaryCrossentropy(from_logits=True)})
        fl.MultiTask({"box": fl.Huber(), "object": fl.BinaryCrossentropy(from_logits=True)})

    Elementwise losses of columns are computed in one pass that reads the columns in place and
    writes one gradient for all; for others the columns are cut out of y_pred. The second form takes
    dictionaries. Keras wants a loss for each named output:
    `model.compile(loss=loss.by_output())`.

    Learned log-variances have to belong to the model for an optimizer to train them. They are in a
    layer at its end that changes nothing, and the loss finds them on y_pred:
    `model = loss.attach(model)` before compiling, or `loss.layer()(outputs)` while building. They
    are saved with the model.

    Example:
        >>> loss = fl.MultiTask({0: fl.MeanSquaredError(), 1: fl.Hinge()}, weights=[1.0, 0.1])
        >>> y_true, y_pred = tf.constant([[3.0, 1.0]]), tf.constant([[2.5, -1.0]])
        >>> round(float(loss(y_true, y_pred)), 4)
        0.45

    Args:
        tasks: A dictionary from columns or output names to Keras losses, or a list of such pairs.
            Columns are a number, a range `(start, stop)` or a slice without a step; or
            `(columns of y_true, columns of y_pred)`, two slices or ranges, where these differ.
        weights: A number for each task, as a list or a dictionary of the same keys; None is 1 for
            each. Or "uncertainty".
        name: Name of the instance.

    Raises:
        ValueError: If there is no task, if a key is none of the above or names and columns are
            mixed, if a loss has the reduction "none", or if the weights do not fit the tasks. When
            called: if the log-variances are to be learned and y_pred does not come from `layer()`.
        TypeError: If a loss is no Keras loss.

    Reference: Kendall, Gal and Cipolla, Multi-task learning using uncertainty to weigh losses for
    scene geometry and semantics, 2018 (arXiv:1705.07115).
    """

    autograph_info__: Any = {}  # noqa: RUF012 - AutoGraph leaves calls to such objects alone

    def __init__(
        self,
        tasks: Mapping[Key, keras.losses.Loss] | Iterable[tuple[Key, keras.losses.Loss]],
        weights: str | Sequence[float] | Mapping[Key, float] | None = None,
        name: str = "multi_task",
    ) -> None:
        pairs = list(tasks.items() if isinstance(tasks, Mapping) else tasks)
        if not pairs:
            raise ValueError("tasks is empty; expected at least one loss")
        self.keys = [_key(key) for key, _ in pairs]
        self.losses = [_checked_loss(loss) for _, loss in pairs]
        self.is_named = isinstance(self.keys[0], str)
        if any(isinstance(key, str) != self.is_named for key in self.keys):
            raise ValueError(
                "tasks has names of outputs and columns of one output; expected either"
            )
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("tasks has the same key twice; expected each once (add the losses)")
        self.weights = _checked_weights(weights, self.keys)
        super().__init__(
            name=name,
            reduction="sum",
            dtype=keras.backend.result_type(*(loss.dtype for loss in self.losses)),
        )

    @property
    def is_learned(self) -> bool:
        """Whether the log-variances of the tasks are learned."""
        return self.weights is None

    def __call__(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike = None
    ) -> Tensor:
        if not self.is_named:
            y_true, y_pred = (
                x if isinstance(x, tf.Tensor) else tf.convert_to_tensor(x) for x in (y_true, y_pred)
            )
        with tf.name_scope(self.name):
            together, values = self._together(y_true, y_pred, sample_weight)
            for index, (key, loss) in enumerate(zip(self.keys, self.losses, strict=True)):
                if index in together:
                    continue
                inputs = _of_task(key, y_true, y_pred, sample_weight)
                whole = inputs[1] if self.is_named else y_pred
                values.append(self._weighed(index, loss(*inputs), whole))
            return tf.add_n(values)

    def call(self, y_true: TensorLike, y_pred: TensorLike) -> Tensor:
        """The sum: losses of several tasks have no rows in common."""
        return self(y_true, y_pred)

    def by_output(self) -> dict[str, keras.losses.Loss]:
        """A loss for each named output, `weight * loss`, as `model.compile` takes them.

        Raises:
            ValueError: If the tasks are columns of one output.
        """
        if not self.is_named:
            raise ValueError(
                "the tasks are columns of one output; expected names of outputs (give the loss "
                "itself to model.compile)"
            )
        return {key: MultiTaskOutput(self, key) for key in self.keys if isinstance(key, str)}

    def layer(self) -> TaskUncertainty:
        """A new layer for the end of a model, which holds the log-variances.

        Raises:
            ValueError: If the weights are fixed.
        """
        if not self.is_learned:
            raise ValueError(
                "the weights are fixed; a layer of log-variances goes with weights='uncertainty'"
            )
        return TaskUncertainty(len(self.keys))

    def attach(self, model: keras.Model) -> keras.Model:
        """The model with `layer()` at its end, a Functional model with the same layers.

        The outputs keep their structure, but for a list of outputs of named tasks: these become a
        dictionary by the names of the model's output layers.

        Raises:
            ValueError: If the weights are fixed.
        """
        layer = self.layer()
        inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
        outputs = keras.tree.pack_sequence_as(model(inputs), model.outputs)
        if self.is_named and not isinstance(outputs, Mapping):
            outputs = dict(zip(model.output_names, model.outputs, strict=True))
        return keras.Model(inputs, layer(outputs), name=model.name)

    def get_config(self) -> dict[str, Any]:
        return {
            "tasks": [
                [key if isinstance(key, str) else list(map(list, key)), serialized]
                for key, serialized in zip(
                    self.keys, map(keras.saving.serialize_keras_object, self.losses), strict=True
                )
            ],
            "weights": "uncertainty" if self.weights is None else list(self.weights),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MultiTask:
        tasks = [
            (key, keras.saving.deserialize_keras_object(loss)) for key, loss in config["tasks"]
        ]
        return cls(**{**config, "tasks": tasks})

    def _together(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike
    ) -> tuple[list[int], list[Tensor]]:
        """The columns that are computed together, and what is to be added up for them."""
        if self.is_named:
            return [], []
        weighed = [self._weight_and_penalty(index, y_pred) for index in range(len(self.keys))]
        together, values = in_shared_passes(
            [
                (key, loss)
                for key, loss in zip(self.keys, self.losses, strict=True)
                if not isinstance(key, str)
            ],
            [weight for weight, _ in weighed],
            y_true,
            y_pred,
            sample_weight,
        )
        values = [tf.cast(value, self.dtype) for value in values]
        if self.is_learned:
            values += [weighed[index][1] for index in together]
        return together, values

    def _weighed(self, index: int, value: Tensor, y_pred: TensorLike) -> Tensor:
        weight, penalty = self._weight_and_penalty(index, y_pred)
        weighed = weight * tf.cast(value, self.dtype)
        return weighed + penalty if self.is_learned else weighed

    def _weight_and_penalty(self, index: int, y_pred: TensorLike) -> tuple[Any, Any]:
        if self.weights is not None:
            return self.weights[index], 0.0
        log_variances = remembered(y_pred, LOG_VARIANCES)
        if log_variances is None or log_variances.shape != (len(self.keys),):
            raise ValueError(
                f"{self.name}: the weights are 'uncertainty', but y_pred does not come from a "
                f"layer of {len(self.keys)} log-variances; end the model with it: "
                "model = loss.attach(model)"
            )
        log_variance = tf.cast(log_variances[index], self.dtype)
        return tf.exp(-log_variance), 0.5 * log_variance


@serializable
class MultiTaskOutput(Algebra, keras.losses.Loss):
    """What one named output contributes to a `MultiTask`; made by `MultiTask.by_output`.

    Args:
        multi_task: The loss of all outputs.
        output: The name of this one.
        name: Name of the instance, that of the output by default.
    """

    autograph_info__: Any = {}  # noqa: RUF012 - AutoGraph leaves calls to such objects alone

    def __init__(self, multi_task: MultiTask, output: str, name: str | None = None) -> None:
        super().__init__(name=name or output, reduction="sum", dtype=multi_task.dtype)
        self.multi_task = multi_task
        self.output = output

    def __call__(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike = None
    ) -> Tensor:
        index = self.multi_task.keys.index(self.output)
        with tf.name_scope(self.name):
            value = self.multi_task.losses[index](y_true, y_pred, sample_weight)
            return self.multi_task._weighed(index, value, y_pred)

    def call(self, y_true: TensorLike, y_pred: TensorLike) -> Tensor:
        """The reduced loss, as `__call__` without weights."""
        return self(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        return {
            "multi_task": keras.saving.serialize_keras_object(self.multi_task),
            "output": self.output,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MultiTaskOutput:
        multi_task = keras.saving.deserialize_keras_object(config["multi_task"])
        return cls(**{**config, "multi_task": multi_task})


def _of_task(
    key: str | Columns, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike
) -> tuple[TensorLike, TensorLike, TensorLike]:
    if isinstance(key, str):
        if isinstance(sample_weight, Mapping):
            sample_weight = sample_weight[key]
        return y_true[key], y_pred[key], sample_weight
    part = y_pred[..., slice(*key.pred)]
    mask = getattr(y_pred, "_keras_mask", None)
    if mask is not None:
        part._keras_mask = mask
    return y_true[..., slice(*key.true)], part, sample_weight


def _range(columns: Any) -> Range | None:
    """The range that a number, a pair of numbers or a slice stands for, else None."""
    if isinstance(columns, slice):
        return (columns.start, columns.stop) if columns.step in (None, 1) else None
    if isinstance(columns, int) and not isinstance(columns, bool):
        return columns, columns + 1 if columns != -1 else None
    if isinstance(columns, (tuple, list)) and len(columns) == 2:
        start, stop = columns
        if all(x is None or isinstance(x, int) for x in (start, stop)):
            return start, stop
    return None


def _key(key: Any) -> str | Columns:
    if isinstance(key, str):
        return key
    both = _range(key)
    if both is not None:
        return Columns(both, both)
    if isinstance(key, (tuple, list)) and len(key) == 2:
        true, pred = map(_range, key)
        if true is not None and pred is not None:
            return Columns(true, pred)
    raise ValueError(
        f"{key!r} is no task; expected the name of an output, or columns: a number, a range "
        "(start, stop), a slice without a step, or a pair of these for y_true and y_pred"
    )


def _checked_loss(loss: Any) -> keras.losses.Loss:
    if not isinstance(loss, keras.losses.Loss):
        raise TypeError(f"{loss!r} is no Keras loss; expected a keras.losses.Loss")
    if loss.reduction in (None, "none"):
        raise ValueError(
            f"{loss.name} has the reduction {loss.reduction!r}; expected a reduction to a scalar, "
            "since the tasks have no rows in common"
        )
    return loss


def _checked_weights(weights: Any, keys: list[str | Columns]) -> tuple[float, ...] | None:
    if weights == "uncertainty":
        return None
    if weights is None:
        return (1.0,) * len(keys)
    if isinstance(weights, Mapping):
        by_key = {_key(key): weight for key, weight in weights.items()}
        values = [by_key[key] for key in keys] if set(by_key) == set(keys) else []
    else:
        values = list(weights) if isinstance(weights, Sequence) else []
    if (
        isinstance(weights, str)
        or len(values) != len(keys)
        or not all(isinstance(x, (int, float)) and math.isfinite(x) for x in values)
    ):
        raise ValueError(
            f"weights is {weights!r}; expected a finite number for each of the {len(keys)} tasks, "
            "or 'uncertainty'"
        )
    return tuple(map(float, values))
