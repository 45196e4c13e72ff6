"""How a monitor takes part in the training step of a compiled model, and leaves it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fastloss.terms.inputs import Tensor
from fastloss.tools.monitor.step_snapshot import StepSnapshot
from fastloss.tools.monitor.watched_loss import WatchedLoss


class Hooks:
    """Watches the compiled losses of a model inside its training step.

    Each compiled loss is wrapped by a `WatchedLoss`; `train_step` begins and ends the record of a
    step; `optimizer.apply` leaves out an update that is not finite; `train_function` calls `after`
    on the host. All of them are attributes of the instances, so that removing them leaves the model
    as it was. What the step tells lies in variables: nothing waits for it.

    Args:
        model: A compiled model.
        on_nonfinite: "stop", "skip" or "report".
        after: Called on the host after each call of the training function.

    Raises:
        ValueError: If the model has no compiled loss, or runs on several replicas.
    """

    def __init__(self, model: keras.Model, on_nonfinite: str, after: Callable[[], None]) -> None:
        _check(model)
        self.model = model
        self.on_nonfinite = on_nonfinite
        self.losses: list[WatchedLoss] = []
        self.is_armed = False
        self.is_watching = True
        self.is_removed = False
        self._after = after
        self.snapshot = StepSnapshot(model)
        self._original_losses: list[Any] = []
        # Steps of this training; the first that was not finite since the last look, or -1.
        self.steps = tf.Variable(0, dtype=tf.int64)
        self.first_bad = tf.Variable(-1, dtype=tf.int64)
        self.skipped = tf.Variable(0, dtype=tf.int64)
        self.records_next = tf.Variable(False)
        self._is_bad = tf.Variable(False)
        self._stands = tf.Variable(False)
        self._install()

    def remove(self) -> None:
        """Leave the model as it was."""
        model, compiled = self.model, self.model._compile_loss
        if self.is_removed:
            return
        self.is_removed = True
        model.__dict__.pop("train_step", None)
        self.optimizer.__dict__.pop("apply", None)
        compiled.__dict__.pop("build", None)
        if self._original_losses:
            compiled._flat_losses = self._original_losses
        model.train_function = self._train_function

    def _install(self) -> None:
        model, compiled = self.model, self.model._compile_loss
        before = getattr(model.train_step, "__self__", None)
        if isinstance(before, Hooks):
            # Those of a training that broke off.
            before.remove()
            model.make_train_function()
        self.optimizer = model.optimizer
        self._finds_scale = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        self._train_function = model.train_function
        self._train_step = model.train_step
        self._apply = model.optimizer.apply
        self._build = compiled.build
        if compiled.built:
            self._watch_losses()
        else:
            compiled.build = self._build_and_watch
        object.__setattr__(model, "train_step", self._watched_step)
        if self.on_nonfinite != "report":
            object.__setattr__(model.optimizer, "apply", self._apply_if_finite)
        model.make_train_function(force=True)
        run = model.train_function

        def watched(iterator: Any) -> Any:
            # A training that broke off has left the hooks behind; no callback asked for this step.
            if not self.is_armed:
                self.remove()
                model.make_train_function()
                return model.train_function(iterator)
            self.is_armed = False
            logs = run(iterator)
            self.snapshot.take(logs)
            self._after()
            return logs

        model.train_function = watched

    def _build_and_watch(self, y_true: Any, y_pred: Any) -> None:
        self._build(y_true, y_pred)
        self._watch_losses()
        # This is in the middle of the first step, or of the trace that all steps come from.
        for loss in self.losses:
            loss.begin_step()

    def _watch_losses(self) -> None:
        compiled = self.model._compile_loss
        self._original_losses = list(compiled._flat_losses)
        self.losses = [
            WatchedLoss(one.loss, one.name, _weight_of(one), self._scale, self._finds_scale)
            for one in self._original_losses
        ]
        compiled._flat_losses = [
            one._replace(loss=_while_watching(self, watched, one.loss))
            for one, watched in zip(self._original_losses, self.losses, strict=True)
        ]

    def _scale(self) -> Tensor:
        """What the optimizer multiplies the loss by."""
        return tf.convert_to_tensor(self.optimizer.scale_loss(tf.ones([])))

    def _watched_step(self, data: Any) -> Any:
        if not self.is_watching:
            return self._train_step(data)
        for loss in self.losses:
            loss.begin_step()
        self._is_bad.assign(False)
        before = self._state()
        logs = self._train_step(data)
        for loss in self.losses:
            self._is_bad.assign(tf.logical_or(self._is_bad, loss.bad != 0))
        is_bad = tf.convert_to_tensor(self._is_bad)
        is_first = tf.logical_and(is_bad, self.first_bad < 0)
        self.first_bad.assign(tf.where(is_first, self.steps, self.first_bad))
        for loss in self.losses:
            loss.end_step(is_bad, is_first, self.on_nonfinite == "report")
        self._hold(is_bad, before)
        self.steps.assign_add(1)
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        inputs = [loss.inputs for loss in self.losses]
        return self.snapshot.record(tf.logical_or(is_first, self.records_next), x, inputs, logs)

    def _state(self) -> list[tuple[Any, Tensor]]:
        """What a step changes besides what the optimizer does, such as moving averages."""
        if self.on_nonfinite == "report":
            return []
        variables = list(self.model.non_trainable_variables)
        if self.on_nonfinite == "skip":
            variables += self.model.metrics_variables
        floats = [v for v in variables if tf.as_dtype(v.dtype).is_floating]
        return [(v, tf.identity(v.value)) for v in floats]

    def _hold(self, is_bad: Tensor, before: list[tuple[Any, Tensor]]) -> None:
        """Put back what a bad step has changed."""
        if self.on_nonfinite == "report":
            return
        if self.on_nonfinite == "stop":
            self._stands.assign(tf.logical_or(self._stands, is_bad))
        else:
            self.skipped.assign_add(tf.cast(is_bad, tf.int64))
        stands = tf.logical_or(is_bad, self._stands)
        known = {id(v) for v, _ in before}
        metrics = self.model.metrics_variables if self.on_nonfinite == "skip" else []
        # Metrics that the step itself has made begin with zeros.
        new = [(v, tf.zeros(v.shape, v.dtype)) for v in metrics if id(v) not in known]

        def put_back() -> None:
            for variable, value in [*before, *new]:
                variable.assign(value)

        tf.cond(stands, put_back, lambda: None)

    def _apply_if_finite(self, grads: Any, trainable_variables: Any = None) -> None:
        grads = list(grads)
        optimizer = self.optimizer
        variables = None if trainable_variables is None else list(trainable_variables)
        if not optimizer.built:
            # As Keras does it, but outside of a branch.
            with keras.name_scope(optimizer.name):
                optimizer.build(variables)
        # That one finds gradients of scaled losses that are not finite by itself, as its way to
        # find the scale.
        if not self._finds_scale:
            self._see_weights(grads)
        for loss in self.losses:
            self._is_bad.assign(tf.logical_or(self._is_bad, loss.bad != 0))
        tf.cond(
            tf.logical_or(self._is_bad, self._stands),
            lambda: None,
            lambda: _nothing(self._apply(grads, variables)),
        )

    def _see_weights(self, grads: list[Any]) -> None:
        values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in grads]
        finite = [tf.reduce_all(tf.math.is_finite(g)) for g in values if g is not None]
        is_bad = tf.logical_not(tf.reduce_all(finite))
        self._is_bad.assign(tf.logical_or(self._is_bad, is_bad))


def _while_watching(hooks: Hooks, watched: WatchedLoss, loss: Any) -> Callable[..., Any]:
    """The watched loss in training, the loss itself in validation."""

    def call(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return (watched if hooks.is_watching else loss)(y_true, y_pred, sample_weight)

    return call


def _weight_of(compiled: Any) -> float:
    return 1.0 if compiled.loss_weights is None else float(compiled.loss_weights)


def _check(model: keras.Model) -> None:
    if getattr(model, "_compile_loss", None) is None:
        raise ValueError(
            "the model is compiled without a loss; expected model.compile(loss=...), which the "
            "monitor watches"
        )
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise ValueError(
            f"the model runs on {replicas} replicas; expected one: monitor a training without a "
            "distribution strategy"
        )


def _nothing(_: Any) -> None:
    return None
