"""LossMonitor: what it tells of a training, and what it does about NaN."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import fastloss as fl
from fastloss.callbacks import LossMonitor

BATCH = 8
N = 5 * BATCH
BAD = 19  # sample 3 of batch 2
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, 3)).astype(np.float32)
Y = (X[:, :1] > 0).astype(np.float32)
X_BAD, Y_BAD = X.copy(), Y.copy()
X_BAD[BAD], Y_BAD[BAD] = np.nan, np.nan

MODES: dict[str, dict[str, Any]] = {
    "graph": {},
    "eager": {"run_eagerly": True},
    "xla": {"jit_compile": True},
    "several steps": {"steps_per_execution": 3},
    "several steps in xla": {"jit_compile": True, "steps_per_execution": 3},
}


def net(loss: Any, *layers: Any, optimizer: Any = "adam", **compiled: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = layers or (keras.layers.Dense(1, activation="sigmoid"),)
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(optimizer, loss, **compiled)
    return model


def with_moving_averages(loss: Any, **compiled: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    norm = keras.layers.BatchNormalization()
    return net(loss, norm, keras.layers.Dense(1, activation="sigmoid"), **compiled)


def fit(model: keras.Model, x: Any = X, y: Any = Y, *callbacks: Any, **arguments: Any) -> Any:
    arguments = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **arguments}
    return model.fit(x, y, callbacks=list(callbacks), **arguments).history


def is_finite(model: keras.Model) -> bool:
    return all(np.isfinite(x).all() for x in model.get_weights())


def is_as_before(model: keras.Model) -> bool:
    compiled = model._compile_loss
    return (
        "train_step" not in vars(model)
        and "apply" not in vars(model.optimizer)
        and "build" not in vars(compiled)
        and all(isinstance(one.loss, keras.losses.Loss) for one in compiled._flat_losses)
    )


def first(monitor: LossMonitor) -> str:
    assert monitor.report is not None
    return monitor.report.findings[0].name


# Training itself.


@pytest.mark.parametrize(
    ("loss", "mode", "tolerance"),
    [
        (fl.BinaryCrossentropy, "graph", 0),
        (keras.losses.BinaryCrossentropy, "eager", 0),
        # TensorFlow orders the sum of two gradients by what else the graph does.
        (lambda: fl.BinaryCrossentropy() + 0.5 * fl.Dice(), "graph", 1e-5),
    ],
    ids=["fused", "keras", "sum"],
)
def test_training_is_the_same(loss: Callable[[], Any], mode: str, tolerance: float) -> None:
    trained = []
    for callbacks in ((), (LossMonitor(),)):
        model = net(loss(), **MODES[mode])
        history = fit(model, X, Y, *callbacks, epochs=2)
        trained.append([*history["loss"], *model.get_weights()])
    for x, y in zip(*trained, strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


# The first step that is not finite.


@pytest.mark.parametrize("mode", MODES)
def test_it_stops_before_a_bad_step_changes_the_model(
    mode: str, capsys: pytest.CaptureFixture
) -> None:
    monitor = LossMonitor()
    make = net if "xla" in mode else with_moving_averages
    model = make(fl.BinaryCrossentropy() + fl.MeanSquaredError(), **MODES[mode])
    history = fit(model, X_BAD, Y, monitor, epochs=3)
    assert len(history["loss"]) == 1
    assert is_finite(model) and model.optimizer.iterations.numpy() == 2
    assert is_as_before(model)
    text = str(monitor.report)
    assert "epoch 1, batch 2 (from 0)" in text and text in capsys.readouterr().out
    assert "terms: binary_crossentropy nan, mean_squared_error nan" in text
    if mode == "several steps in xla":
        assert first(monitor) == "batch_not_kept" and monitor.batches == {}
        return
    assert [one.name for one in monitor.report.findings] == ["nan_in_inputs", "nan_in_predictions"]
    assert "3 of 24 values of x, of sample 3" in text
    (batch,) = monitor.batches.values()
    np.testing.assert_array_equal(batch.y_true, Y[2 * BATCH : 3 * BATCH])
    assert np.isnan(batch.y_pred[3]) and np.isnan(batch.y_pred).all() == ("xla" not in mode)


@pytest.mark.parametrize("mode", ["graph", "xla", "several steps"])
def test_skipping_a_batch_is_training_without_it(mode: str) -> None:
    monitor = LossMonitor(on_nonfinite="skip", loss_time=False)
    make = with_moving_averages if mode == "graph" else net
    good = np.arange(N) // BATCH != 2
    trained = []
    for x, y, callbacks in ((X_BAD, Y, (monitor,)), (X[good], Y[good], ())):
        momentum = keras.optimizers.SGD(0.1, momentum=0.9)
        model = make(fl.MeanSquaredError(), optimizer=momentum, metrics=["mae"], **MODES[mode])
        history = fit(model, x, y, *callbacks, epochs=2)
        trained.append([*history["loss"], *history["mae"], *model.get_weights()])
        assert history.get("skipped") == ([1, 2] if callbacks else None)
    for x, y in zip(*trained, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6)
    assert monitor.report is not None and "The batch is skipped" in str(monitor.report)


def test_a_first_batch_is_skipped_too() -> None:
    model = net("mse", metrics=["mae"], run_eagerly=True)
    history = fit(model, X_BAD[BAD:], Y[BAD:], LossMonitor(on_nonfinite="skip"))
    assert np.isfinite(history["loss"] + history["mae"]).all()


def test_it_only_reports_once(capsys: pytest.CaptureFixture) -> None:
    monitor = LossMonitor(on_nonfinite="report")
    model = net("mse", run_eagerly=True)
    fit(model, X_BAD, Y, monitor, epochs=2)
    assert not is_finite(model)
    assert capsys.readouterr().out.count("A step was not finite") == 1
    assert "The update has been applied" in str(monitor.report)


def test_validation_is_not_watched() -> None:
    monitor = LossMonitor()
    history = fit(net("mse"), X, Y, monitor, validation_data=(X_BAD, Y), epochs=2)
    assert monitor.report is None and len(history["loss"]) == 2
    assert np.isnan(history["val_loss"]).all()


# Causes. In eager mode they are quick.


def log_loss(y_true: Any, y_pred: Any) -> Any:
    return -tf.reduce_mean(y_true * tf.math.log(y_pred), axis=-1)


class Given(keras.layers.Layer):
    """Predictions that do not depend on the data, but on a weight of 1."""

    def __init__(self, y_pred: Any, dtype: Any = None) -> None:
        super().__init__(dtype=dtype)
        self.y_pred = tf.constant(y_pred)
        self.one = self.add_weight(shape=(), initializer="ones")

    def call(self, x: Any) -> Any:
        return tf.cast(self.y_pred, self.compute_dtype) * tf.cast(self.one, self.compute_dtype)


def predicting(loss: Any, y_pred: Any, dtype: Any = None, **compiled: Any) -> keras.Model:
    return net(loss, Given(y_pred, dtype), **{"run_eagerly": True, **compiled})


def of(value: float, *samples: int, else_: float = 0.5, classes: int = 1) -> np.ndarray:
    y_pred = np.full((BATCH, classes), else_, np.float32)
    y_pred[list(samples)] = value
    return y_pred


ONES = np.ones((BATCH, 1), np.float32)


@pytest.mark.parametrize(
    ("model", "y", "weight", "name", "words"),
    [
        (lambda: net("mse", run_eagerly=True), Y_BAD[16:24], None, "nan_in_labels", "sample 3"),
        (
            lambda: net(fl.Huber(), run_eagerly=True),
            ONES,
            np.r_[np.ones(7), np.nan],
            "nan_in_weights",
            "sample 7",
        ),
        (lambda: predicting(log_loss, of(0, 2, 5)), ONES, None, "log_of_zero", "samples 2 and 5"),
        (
            lambda: predicting(keras.losses.MeanSquaredError(dtype="float16"), of(300, 4)),
            ONES,
            None,
            "half_precision_overflow",
            "sample 4",
        ),
        (
            lambda: predicting(fl.MeanSquaredError(), of(7e4, 4), "float16"),
            ONES,
            None,
            "half_precision_overflow",
            "65504",
        ),
        (lambda: predicting("mse", of(1e25, 6)), ONES, None, "overflow", "sample 6"),
        (
            lambda: predicting("mse", of(np.inf, 1)),
            ONES,
            None,
            "nan_in_predictions",
            "The network makes them",
        ),
        (
            lambda: predicting(
                fl.SparseCategoricalCrossentropy(from_logits=True),
                of(1, classes=4),
                run_eagerly=False,
                jit_compile=True,
            ),
            np.r_[0, 1, 2, 3, 9, 0, 0, 0],
            None,
            "labels_out_of_range",
            "class numbers from 0 to 3; 1 of 8 labels, of sample 4, are 9",
        ),
    ],
    ids=lambda x: x if isinstance(x, str) and "_" in x else "",
)
def test_it_names_sample_cause_and_cure(
    model: Callable[[], keras.Model], y: Any, weight: Any, name: str, words: str
) -> None:
    monitor = LossMonitor()
    fit(model(), X[:BATCH], y, monitor, sample_weight=weight)
    assert first(monitor) == name
    assert words in " ".join(str(monitor.report).split())


def test_it_names_the_term() -> None:
    monitor = LossMonitor()
    loss = fl.MeanSquaredError() + fl.fuse(log_loss)
    fit(predicting(loss, of(0, 2)), X[:BATCH], ONES, monitor)
    (found,) = monitor.report.findings
    assert (found.name, found.terms) == ("log_of_zero", ("log_loss",))
    assert "terms: mean_squared_error 0.3438, log_loss inf" in str(monitor.report)


class RootOfZero(keras.layers.Layer):
    def build(self, shape: Any) -> None:
        self.zero = self.add_weight(shape=(), initializer="zeros")

    def call(self, x: Any) -> Any:
        return x + tf.sqrt(tf.convert_to_tensor(self.zero))


def test_gradients_of_weights_alone_may_be_bad() -> None:
    monitor = LossMonitor()
    model = net("mse", RootOfZero(), keras.layers.Dense(1), run_eagerly=True)
    fit(model, X, Y, monitor)
    assert first(monitor) == "nan_in_weight_gradients" and is_finite(model)


def test_the_scale_of_a_loss_scale_optimizer_is_its_own_business() -> None:
    norms = []
    for scale in (1.0, 2.0**10, 1e30):
        keras.utils.set_random_seed(1)
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0), scale)
        model = net(
            "mse",
            keras.layers.Dense(1, dtype="mixed_float16"),
            optimizer=optimizer,
            run_eagerly=True,
        )
        monitor = LossMonitor()
        history = fit(model, X, Y, monitor)
        norms += history["grad_norm"]
        assert monitor.report is None and is_finite(model)
        assert (history["not_finite"][0] > 0) == (scale == 1e30)
    assert norms[1] == pytest.approx(norms[0], rel=1e-2)


# Numbers.


def norm_of_gradient(loss: Any, y_true: Any, y_pred: Any) -> float:
    y_pred = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred)
    return float(tf.norm(tape.gradient(value, y_pred)))


@pytest.mark.parametrize("mode", ["several steps", "eager"])
def test_the_numbers_are_those_of_the_loss(mode: str) -> None:
    loss = fl.MeanSquaredError() + 0.5 * fl.Huber()
    model = net(loss, keras.layers.Dense(2), optimizer=keras.optimizers.SGD(0.0), **MODES[mode])
    y = RANDOM.normal(size=(N, 2)).astype(np.float32)
    history = fit(model, X, y, LossMonitor(), epochs=2)
    y_pred = model(X).numpy()
    steps = [slice(k, k + BATCH) for k in range(0, N, BATCH)]
    norms = [norm_of_gradient(loss, y[s], y_pred[s]) for s in steps]
    assert history["grad_norm"] == pytest.approx([np.mean(norms)] * 2, rel=1e-5)
    for name, value in loss.terms(y, y_pred).items():
        assert history[name] == pytest.approx([float(value)] * 2, rel=1e-5)
    assert history["not_finite"] == [0, 0]
    assert "counted" not in history
    assert all(x > 0 for x in history["loss_ms"] + history["loss_share"])


def test_large_gradients_have_a_norm() -> None:
    model = predicting(fl.MeanAbsoluteError(), of(0, 0), optimizer=keras.optimizers.SGD(0.0))
    history = fit(model, X[:BATCH], ONES, LossMonitor(), sample_weight=np.full(BATCH, 1e25))
    assert history["grad_norm"] == pytest.approx([1e25 / BATCH**0.5], rel=1e-5)


def test_the_gradient_is_that_of_the_logits_where_the_loss_reads_them() -> None:
    model = net(fl.BinaryCrossentropy(), optimizer=keras.optimizers.SGD(0.0))
    history = fit(model, X, Y, LossMonitor(), batch_size=N)
    error = model(X).numpy() - Y  # the slope of the cross-entropy by its logit
    assert history["grad_norm"] == pytest.approx([np.linalg.norm(error) / N], rel=1e-5)


def test_what_is_not_finite_has_a_share() -> None:
    monitor = LossMonitor(on_nonfinite="skip", loss_time=False)
    model = net("mse", keras.layers.Dense(1), run_eagerly=True)
    history = fit(model, X_BAD, Y, monitor)
    # Of 40 predictions and as many slopes, one of each.
    assert history["not_finite"] == pytest.approx([2 / 80])
    assert "loss_ms" not in history and "loss_share" not in history


def test_labels_that_count_have_a_share() -> None:
    weight = (np.arange(N) % 4 != 0).astype(np.float32)
    model = net("mse", run_eagerly=True)
    assert fit(model, X, Y, LossMonitor(), sample_weight=weight)["counted"] == [0.75]
    classes = np.where(np.arange(N) % 5 == 0, -1, 2)
    for module in (fl, keras.losses):
        loss = module.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
        model = net(loss, keras.layers.Dense(3), run_eagerly=True)
        history = fit(model, X, classes, LossMonitor(), sample_weight=weight)
        assert history["counted"] == [pytest.approx(0.6)]


def test_masked_steps_do_not_count() -> None:
    model = keras.Sequential([keras.Input((4, 2)), keras.layers.Masking(), keras.layers.Dense(1)])
    model.compile("sgd", fl.MeanSquaredError(), run_eagerly=True)
    x = np.ones((BATCH, 4, 2), np.float32)
    x[:, 3] = 0
    y = np.ones((BATCH, 4, 1), np.float32)
    assert fit(model, x, y, LossMonitor())["counted"] == [0.75]


def test_no_ignored_class_is_seen_where_labels_cannot_hold_it() -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-100)
    model = net(loss, keras.layers.Dense(200), run_eagerly=True)
    y = np.full(N, 156, np.uint8)  # -100 in eight bits
    assert fit(model, X, y, LossMonitor())["counted"] == [1]


def test_learned_weights_of_tasks_are_watched() -> None:
    loss = fl.MultiTask({0: fl.MeanSquaredError(), 1: fl.Huber()}, "uncertainty")
    x = keras.Input((3,))
    model = loss.attach(keras.Model(x, keras.layers.Dense(2)(x)))
    model.compile("sgd", loss, run_eagerly=True)
    with pytest.warns(UserWarning, match="leaves out loss_ms, as the loss fails outside"):
        history = fit(model, X, np.repeat(Y, 2, -1), LossMonitor())
    assert history["grad_norm"][0] > 0 and "loss_ms" not in history


def two_outputs(**compiled: Any) -> keras.Model:
    x = keras.Input((3,))
    outputs = {"a": keras.layers.Dense(1, name="a")(x), "b": keras.layers.Dense(1, name="b")(x)}
    model = keras.Model(x, outputs)
    losses = {"a": fl.MeanSquaredError() + fl.Huber(), "b": "mae"}
    model.compile("sgd", losses, loss_weights={"a": 1.0, "b": 0.5}, **compiled)
    return model


def test_outputs_are_told_apart() -> None:
    monitor = LossMonitor()
    history = fit(two_outputs(run_eagerly=True), X, {"a": Y, "b": Y}, monitor, epochs=2)
    assert {"a_grad_norm", "b_grad_norm", "a_huber_loss", "a_loss", "b_loss"} <= set(history)
    assert "grad_norm" not in history and monitor.report is None
    total = np.add(history["a_loss"], 0.5 * np.array(history["b_loss"]))
    np.testing.assert_allclose(history["loss"], total, rtol=1e-5)


def test_the_report_names_the_output() -> None:
    monitor = LossMonitor()
    fit(two_outputs(run_eagerly=True), X, {"a": Y, "b": Y_BAD}, monitor)
    assert list(monitor.batches) == ["b"]
    (found,) = monitor.report.findings
    assert (found.name, found.terms) == ("nan_in_labels", ("b",))
    assert "output 'b': the loss" in str(monitor.report)


# Where the numbers go.


def test_lines_csv_tensorboard_and_progress_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monitor = LossMonitor(
        every=2, print_lines=True, csv=tmp_path / "loss.csv", tensorboard=tmp_path / "events"
    )
    loss = fl.MeanSquaredError() + fl.Huber()
    history = fit(net(loss), X, Y, monitor, epochs=2, verbose=2)
    with open(tmp_path / "loss.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["step"]) for row in rows] == [
        *(("0", "2"), ("0", "4"), ("0", "")),
        *(("1", "1"), ("1", "3"), ("1", "5"), ("1", "")),
    ]
    assert [float(row["loss"]) for row in rows if not row["step"]] == history["loss"]
    assert float(rows[2]["huber_loss"]) == history["huber_loss"][0]
    assert float(rows[2]["loss_ms"]) > 0 and rows[0]["loss_ms"] == ""

    out = capsys.readouterr().out
    assert f"epoch 1: loss {history['loss'][0]:.4g}  mean_squared_error " in out
    assert "epoch 1 step 2: loss " in out and "epoch 2 step 5: loss " in out
    assert " - grad_norm: " in out and " - loss_ms: " in out

    scalars = {}
    for path in (tmp_path / "events").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                scalars[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
                assert value.metadata.plugin_data.plugin_name == "scalars"
    assert scalars["loss_monitor/loss", 5] == pytest.approx(history["loss"][0])
    assert scalars["loss_monitor/grad_norm", 10] == pytest.approx(history["grad_norm"][1])
    assert ("loss_monitor_steps/loss", 6) in scalars


def test_names_that_are_in_the_logs_stay() -> None:
    loss = fl.MeanSquaredError() + fl.Huber()
    history = fit(net(loss, metrics=loss.metrics(), run_eagerly=True), X, Y, LossMonitor())
    model = net(loss, metrics=loss.metrics(), run_eagerly=True)
    assert history["huber_loss"] == fit(model, X, Y)["huber_loss"]


# Coming and going.


class Breaks(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 1:
            raise KeyboardInterrupt


def test_a_training_that_broke_off_leaves_nothing_behind() -> None:
    model = net("mse", run_eagerly=True)
    with pytest.raises(KeyboardInterrupt):
        fit(model, X, Y, LossMonitor(), Breaks())
    fit(model, X_BAD, Y)
    assert is_as_before(model) and not is_finite(model)


def test_a_monitor_may_follow_one_that_broke_off() -> None:
    model = net("mse", run_eagerly=True)
    with pytest.raises(KeyboardInterrupt):
        fit(model, X, Y, LossMonitor(), Breaks())
    monitor = LossMonitor()
    fit(model, X_BAD, Y, monitor)
    assert first(monitor) == "nan_in_inputs" and is_as_before(model)


def test_one_monitor_serves_one_training_after_the_other() -> None:
    monitor = LossMonitor()
    model = net("mse", run_eagerly=True)
    fit(model, X, Y_BAD, monitor)
    assert first(monitor) == "nan_in_labels"
    fit(model, X, Y, monitor)
    assert monitor.report is None and monitor.batches == {}


class OwnStep(keras.Sequential):
    def train_step(self, data: Any) -> Any:
        return {"own": tf.zeros([])}


def test_arguments_and_models_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="on_nonfinite is 'pause'; expected one of 'stop'"):
        LossMonitor(on_nonfinite="pause")
    with pytest.raises(ValueError, match="every is 0; expected a positive number"):
        LossMonitor(every=0)
    model = net(None, keras.layers.ActivityRegularization(1.0))
    with pytest.raises(ValueError, match="compiled without a loss"):
        fit(model, X, Y, LossMonitor())
    own = OwnStep([keras.Input((3,)), keras.layers.Dense(1)])
    own.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(ValueError, match=r"train_step of .* does not call the compiled loss"):
        fit(own, X, Y, LossMonitor())
    with pytest.raises(ValueError, match="two LossMonitors watch one training"):
        fit(net("mse", run_eagerly=True), X, Y, LossMonitor(), LossMonitor())
