"""Pictures of trainings and losses: what they show, read back from the Axes."""

from __future__ import annotations

import inspect
import io
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import fastloss as fl

pytest.importorskip("matplotlib")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COMPOSED = {"MultiTask", "Regularized", "RowMetrics", "WeightedSum"}
CLASSES = [
    name
    for name in fl.losses.__all__
    if inspect.isclass(getattr(fl, name)) and name not in COMPOSED
]


def lines(axes: Axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The labelled lines."""
    return {
        str(line.get_label()): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
    }


def png(axes: Axes) -> bytes:
    file = io.BytesIO()
    axes.figure.savefig(file, format="png")
    return file.getvalue()


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


# The shape of a loss.


@pytest.mark.parametrize(
    ("loss", "x", "value", "slope"),
    [
        (fl.MeanSquaredError(), "error", lambda e: e**2, lambda e: 2 * e),
        (
            keras.losses.Huber(delta=0.5),
            "error",
            lambda e: np.where(abs(e) < 0.5, e**2 / 2, 0.5 * abs(e) - 0.125),
            lambda e: np.clip(e, -0.5, 0.5),
        ),
        (
            fl.BinaryCrossentropy(from_logits=True),
            "margin",
            lambda z: np.log1p(np.exp(-z)),
            lambda z: -1 / (1 + np.exp(z)),
        ),
        (fl.binary_crossentropy, "probability", lambda p: -np.log(p), lambda p: -1 / p),
        (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "margin",
            lambda z: np.log1p(np.exp(-z)),
            lambda z: -1 / (1 + np.exp(z)),
        ),
        (
            fl.CategoricalCrossentropy(axis=1),
            "probability",
            lambda p: -np.log(p),
            lambda p: -1 / p,
        ),
        (
            fl.SquaredHinge(),
            "margin",
            lambda z: np.maximum(1 - z, 0) ** 2,
            lambda z: -2 * np.maximum(1 - z, 0),
        ),
        # A quarter of the pixels is of the region: 1 - 2 p / (p + 3 (1 - p) + 1).
        (
            keras.losses.Dice(),
            "probability",
            lambda p: 1 - 2 * p / (4 - 2 * p),
            lambda p: -8 / (4 - 2 * p) ** 2,
        ),
        (
            fl.KLDivergence(),
            "probability",
            lambda p: 0.7 * np.log(0.7 / p) + 0.3 * np.log(0.3 / (1 - p)),
            lambda p: -0.7 / p + 0.3 / (1 - p),
        ),
        (fl.CosineSimilarity(), "angle", lambda a: -np.cos(a), np.sin),
        (
            fl.BoxIoU(box_format="cxcywh"),
            "shift",
            lambda d: 1 - np.maximum(1 - abs(d), 0) / np.minimum(1 + abs(d), 2),
            lambda d: np.where(abs(d) < 1, 2 * np.sign(d) / (1 + abs(d)) ** 2, 0),
        ),
        (fl.Poisson(), "error", lambda e: 2 + e - 2 * np.log(2 + e), lambda e: 1 - 2 / (2 + e)),
    ],
    ids=lambda x: getattr(x, "name", None) or getattr(x, "__name__", None),
)
def test_shape_draws_value_and_gradient(loss: Any, x: str, value: Any, slope: Any) -> None:
    axes = fl.plot.shape(loss, points=40)
    assert axes.shape == (2,)
    ((at, values),) = lines(axes[0]).values()
    ((_, gradients),) = lines(axes[1]).values()
    assert len(at) == 40
    np.testing.assert_allclose(values, value(at), rtol=1e-4, atol=1e-5)
    kept = np.isfinite(gradients)
    assert kept.sum() == 40
    np.testing.assert_allclose(gradients[kept], slope(at), rtol=1e-4, atol=1e-5)
    for each in axes:
        assert x in each.get_xlabel()
    assert axes[0].get_ylabel() == "loss"
    assert axes[1].get_ylabel() == "gradient"


@pytest.mark.parametrize("name", CLASSES)
def test_every_loss_has_a_shape(name: str) -> None:
    """It is least where the prediction is right, of ours and of Keras's."""
    loss = getattr(fl, name)()
    axes = fl.plot.shape(loss, points=9)
    ((at, values),) = lines(axes[0]).values()
    assert np.isfinite(values).all()
    best = at[np.argmin(values)]
    label = axes[0].get_xlabel()
    if "first class" in label:
        assert abs(best - (np.log(0.7 / 0.3) if "margin" in label else 0.7)) < 0.5
    elif "margin" in label or "probability" in label:
        assert values[-1] == values.min() < values[0]
    else:
        assert abs(best) < 0.6


def test_shapes_lie_beside_each_other_and_tell_arguments_that_differ() -> None:
    axes = fl.plot.shape(fl.Huber(), fl.Huber(delta=2.0), "mse", points=20)
    assert list(lines(axes[0])) == [
        "huber_loss, delta=1",
        "huber_loss, delta=2",
        "mean_squared_error",
    ]
    assert len({line.get_color() for line in axes[0].lines}) == 3
    labels = fl.plot.shape(fl.Huber(), fl.LogCosh(), labels=["a", "b"], points=5)
    assert list(lines(labels[1])) == ["a", "b"]
    total = fl.MeanSquaredError() - 0.5 * fl.Huber()
    axes = fl.plot.shape(total, points=5)
    assert axes[0].get_title(loc="left") == "mean_squared_error - 0.5 * huber_loss"
    bound = fl.plot.shape(partial(fl.huber, delta=3), fl.mse, points=5)
    assert "huber, delta=3" in lines(bound[0])


def test_equal_losses_are_both_seen() -> None:
    axes = fl.plot.shape(fl.MeanSquaredError(), keras.losses.MeanSquaredError(), points=9)
    first, second = axes[0].lines
    assert first.get_linestyle() == "-"
    assert second.get_linestyle() == "--"


def test_logits_and_probabilities_are_drawn_against_the_margin() -> None:
    both = fl.BinaryCrossentropy(from_logits=True), fl.BinaryCrossentropy()
    axes = fl.plot.shape(*both, points=21)
    (_, logits), (_, probabilities) = lines(axes[0]).values()
    np.testing.assert_allclose(logits, probabilities, rtol=1e-4)
    axes = fl.plot.shape(*both, against="probability", points=21)
    (at, logits), (_, probabilities) = lines(axes[0]).values()
    np.testing.assert_allclose(logits, -np.log(at), rtol=1e-4)
    np.testing.assert_allclose(probabilities, -np.log(at), rtol=1e-4)


def test_the_other_label_and_more_classes() -> None:
    weighted = fl.BinaryCrossentropy(from_logits=True, pos_weight=3.0)
    for target, factor in ((1, 3), (0, 1)):
        axes = fl.plot.shape(weighted, target=target, points=9)
        ((at, values),) = lines(axes[0]).values()
        np.testing.assert_allclose(values, factor * np.log1p(np.exp(-at)), rtol=1e-4)
    five = fl.SparseCategoricalCrossentropy(from_logits=True, class_weights=[2, 1, 1, 1, 1])
    ((at, values),) = lines(fl.plot.shape(five, points=9)[0]).values()
    np.testing.assert_allclose(values, 2 * np.log1p(4 * np.exp(-at)), rtol=1e-4)
    ((at, values),) = lines(fl.plot.shape(five, against="probability", points=9)[0]).values()
    np.testing.assert_allclose(values, -2 * np.log(at), rtol=1e-4)


def test_a_loss_of_ones_own_is_of_numbers_unless_told() -> None:
    def own(y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_mean((1 - y_pred) ** 2 * y_true, axis=-1)

    ((at, values),) = lines(fl.plot.shape(own, target=2, points=9)[0]).values()
    np.testing.assert_allclose(values, 2 * (1 - (2 + at)) ** 2, rtol=1e-4)
    told = fl.plot.shape(own, kind="binary", points=9)
    assert "probability" in told[0].get_xlabel()
    ((at, values),) = lines(told[0]).values()
    np.testing.assert_allclose(values, (1 - at) ** 2, rtol=1e-4)
    told = fl.plot.shape(own, kind="binary", from_logits=True, between=(-1, 1), points=9)
    ((at, values),) = lines(told[0]).values()
    assert (at[0], at[-1]) == (-1, 1)
    np.testing.assert_allclose(values, (1 - at) ** 2, rtol=1e-4, atol=1e-6)


def test_no_line_crosses_a_jump_of_the_gradient() -> None:
    axes = fl.plot.shape(fl.MeanAbsoluteError())
    ((x, gradient),) = lines(axes[1]).values()
    assert np.isnan(gradient).sum() == np.isnan(x).sum() == 1
    assert set(gradient[np.isfinite(gradient)]) == {-1, 1}


@pytest.mark.parametrize(
    ("losses", "options", "words"),
    [
        ((fl.Huber(), fl.Hinge()), {}, ("huber_loss", "error", "hinge", "margin", "kind=")),
        ((fl.Huber(),), {"against": "margin"}, ("huber_loss", "margin", "'error'")),
        ((fl.Huber(),), {"against": "size"}, ("'size'", "'error'", "'margin'")),
        ((fl.Huber(),), {"kind": "numbers"}, ("'numbers'", "'number'")),
        ((fl.Huber(),), {"labels": ["a", "b"]}, ("2 names", "1")),
        ((fl.Huber(),), {"points": 1}, ("points is 1",)),
        ((fl.MultiTask({0: fl.Huber(), 1: fl.Huber()}),), {}, ("2 tasks", "one by one")),
    ],
)
def test_what_has_no_common_shape_is_refused(losses: Any, options: Any, words: Any) -> None:
    with pytest.raises(ValueError) as error:
        fl.plot.shape(*losses, **options)
    for word in words:
        assert word in str(error.value)


# Loss curves.


LOGS = {
    "loss": [4.0, 2.0, 1.0, 0.9],
    "val_loss": [5.0, 3.0, 2.5, 2.8],
    "huber_loss": [2.0, 1.0, 0.5, 0.4],
    "accuracy": [0.1, 0.5, 0.7, 0.8],
    "val_accuracy": [0.2, 0.4, 0.6, 0.5],
    "learning_rate": [1e-3] * 4,
}


def test_history_draws_the_loss_and_its_terms_and_marks_the_best_epoch() -> None:
    axes = fl.plot.history(LOGS)
    drawn = lines(axes)
    assert list(drawn) == [
        "loss, training",
        "loss, validation",
        "huber_loss, training",
        "best val_loss: 2.5 in epoch 3",
    ]
    assert drawn["loss, validation"][0].tolist() == [1, 2, 3, 4]
    assert drawn["loss, validation"][1].tolist() == LOGS["val_loss"]
    assert [float(x[0]) for x in drawn["best val_loss: 2.5 in epoch 3"]] == [3, 2.5]
    assert axes.get_xlabel() == "epoch"
    entries = [text.get_text() for text in axes.get_legend().get_texts()]
    assert entries == ["loss", "huber_loss", "validation", "best val_loss: 2.5 in epoch 3"]


def test_history_draws_what_is_named_and_knows_what_is_better() -> None:
    drawn = lines(fl.plot.history(LOGS, "accuracy"))
    assert "best val_accuracy: 0.6 in epoch 3" in drawn
    assert "best val_accuracy: 0.2 in epoch 1" in lines(
        fl.plot.history(LOGS, "accuracy", best="min")
    )
    assert list(lines(fl.plot.history(LOGS, "accuracy", best=None))) == [
        "accuracy, training",
        "accuracy, validation",
    ]
    # A similarity that is a loss is best at its least.
    falling = {"cosine_similarity": [-0.1, -0.9, -0.5]}
    assert "best cosine_similarity: -0.9 in epoch 2" in lines(
        fl.plot.history(falling, "cosine_similarity")
    )


def test_history_is_logarithmic_where_that_helps() -> None:
    assert fl.plot.history(LOGS).get_yscale() == "linear"
    wide = {"loss": [100.0, 1.0, 0.1]}
    assert fl.plot.history(wide).get_yscale() == "log"
    assert fl.plot.history(wide, log=False).get_yscale() == "linear"
    assert fl.plot.history(LOGS, log=True).get_yscale() == "log"
    assert fl.plot.history({"loss": [100.0, 1.0, -0.1]}).get_yscale() == "linear"
    with pytest.raises(ValueError, match=r"loss is -0\.1 in epoch 3"):
        fl.plot.history({"loss": [100.0, 1.0, -0.1]}, log=True)


def test_history_shows_where_a_training_broke() -> None:
    nan = float("nan")
    broken = fl.plot.history({"loss": [2.0, 1.0, nan, nan], "val_loss": [2.0, 1.5, 1.0, nan]})
    assert "loss is not finite from epoch 3 on" in lines(broken)
    assert "best val_loss: 1 in epoch 3" in lines(broken)
    once = lines(fl.plot.history({"loss": [2.0, float("inf"), 1.0]}))
    assert "loss is not finite in epoch 2" in once
    assert png(fl.plot.history({"loss": [nan, nan]}))


def test_a_single_epoch_is_a_dot() -> None:
    axes = fl.plot.history({"loss": [0.5], "val_loss": [0.7]})
    dots = [tuple(map(float, point)) for dot in axes.collections for point in dot.get_offsets()]
    assert dots == [(1, 0.5), (1, 0.7)]


def test_history_of_a_training_and_of_its_csv_file(tmp_path: Path) -> None:
    loss = fl.MeanSquaredError() + 0.5 * fl.LogCosh(name="soft")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", loss=loss, metrics=[*loss.metrics(), "mae"])
    x, y = np.random.default_rng(0).standard_normal((2, 16, 3)).astype(np.float32)
    path = tmp_path / "log.csv"
    history = model.fit(
        x,
        y[:, :1],
        epochs=4,
        validation_data=(x, y[:, :1]),
        validation_freq=2,
        callbacks=[keras.callbacks.CSVLogger(path)],
        verbose=0,
    )
    drawn = lines(fl.plot.history(history))
    # The model says which quantities are terms.
    best = next(name for name in drawn if name.startswith("best val_loss"))
    assert set(drawn) == {
        *("loss, training", "loss, validation", best),
        *("mean_squared_error, training", "mean_squared_error, validation"),
        *("soft, training", "soft, validation"),
    }
    assert drawn["loss, training"][0].tolist() == [1, 2, 3, 4]
    assert drawn["loss, validation"][0].tolist() == [2, 4]
    np.testing.assert_allclose(drawn["loss, validation"][1], history.history["val_loss"])
    from_file = lines(fl.plot.history(path, "loss", "soft"))
    assert from_file["loss, training"][0].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(from_file["soft, training"][1], history.history["soft"], rtol=1e-5)


def test_a_csv_file_with_gaps_and_a_second_training(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("epoch;loss;val_loss\n0;3;NA\n1;2;2.5\n0;1;NA\n1;nan;1.5\n")
    drawn = lines(fl.plot.history(str(path)))
    assert drawn["loss, training"][0].tolist() == [1, 2, 3, 4]
    assert drawn["loss, validation"][0].tolist() == [2, 4]
    assert drawn["loss, validation"][1].tolist() == [2.5, 1.5]
    assert "loss is not finite from epoch 4 on" in drawn


@pytest.mark.parametrize(
    ("history", "names", "options", "error", "words"),
    [
        (LOGS, ("f1",), {}, ValueError, ("'f1'", "'accuracy'")),
        ({}, (), {}, ValueError, ("no epoch",)),
        ([1, 2], (), {}, TypeError, ("[1, 2]", "model.fit")),
        (LOGS, (), {"best": "most"}, ValueError, ("'most'", "'max'")),
        ({"loss": [1.0] * 5, "val_loss": [1.0]}, (), {}, ValueError, ("validation_freq",)),
        (
            {"loss": [1.0] * 5, "val_loss": [1.0]},
            (),
            {"validation_freq": 2},
            ValueError,
            ("validation_freq=2", "1 values", "5 epochs"),
        ),
    ],
)
def test_histories_that_cannot_be_drawn_are_refused(
    history: Any, names: Any, options: Any, error: Any, words: Any
) -> None:
    with pytest.raises(error) as raised:
        fl.plot.history(history, *names, **options)
    for word in words:
        assert word in str(raised.value)


def test_validation_freq_places_the_validation() -> None:
    axes = fl.plot.history({"loss": [1.0] * 5, "val_loss": [1.0]}, validation_freq=4)
    assert lines(axes)["loss, validation"][0].tolist() == [4]


# The loss of each class.


def bars(axes: Axes) -> list[float]:
    return [patch.get_width() for patch in axes.patches]


@pytest.fixture(scope="module")
def classes() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    return random.choice(3, 200, p=[0.7, 0.2, 0.1]), random.normal(size=(200, 4)).astype(np.float32)


@pytest.mark.parametrize("package", [fl, keras.losses], ids=["fastloss", "keras"])
def test_loss_per_class_number_and_one_hot_row(package: Any, classes: Any) -> None:
    y_true, y_pred = classes
    shares = np.exp(y_pred) / np.exp(y_pred).sum(-1, keepdims=True)
    rows = -np.log(shares[np.arange(200), y_true])
    expected = [rows[y_true == k].mean() for k in range(3)]
    loss = package.SparseCategoricalCrossentropy(from_logits=True)
    axes = fl.plot.per_class(loss, y_true, y_pred, names=["sky", "road", "car", "boat"])
    np.testing.assert_allclose(bars(axes), [*expected, 0], rtol=1e-5)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sky", "road", "car", "boat"]
    for k in range(3):
        assert f"{expected[k]:.3g}" in texts(axes)
        assert str(np.sum(y_true == k)) in texts(axes)
    assert "none" in texts(axes)
    one_hot = np.eye(4, dtype=np.float32)[y_true]
    loss = package.CategoricalCrossentropy(from_logits=True)
    np.testing.assert_allclose(
        bars(fl.plot.per_class(loss, one_hot, y_pred)), [*expected, 0], rtol=1e-5
    )


def test_ignored_labels_count_for_no_class(classes: Any) -> None:
    y_true, y_pred = classes
    ignoring = np.where(np.arange(200) % 3, y_true, 255)
    loss = fl.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    kept = ignoring != 255
    some = fl.plot.per_class(loss, ignoring, y_pred)
    same = fl.plot.per_class(loss, y_true[kept], y_pred[kept])
    np.testing.assert_allclose(bars(some), bars(same), rtol=1e-6)
    first = fl.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0)
    assert bars(fl.plot.per_class(first, y_true, y_pred))[0] == 0


def test_loss_of_two_classes_and_of_many_labels() -> None:
    random = np.random.default_rng(3)
    y_true, y_pred = (random.random(100) < 0.2), random.random(100).astype(np.float32)
    rows = -np.log(np.where(y_true, y_pred, 1 - y_pred))
    expected = [rows[~y_true].mean(), rows[y_true].mean()]
    for shape in ((100,), (100, 1)):
        axes = fl.plot.per_class(
            fl.BinaryCrossentropy(),
            y_true.reshape(shape).astype(np.float32),
            y_pred.reshape(shape),
        )
        np.testing.assert_allclose(bars(axes), expected, rtol=1e-4)
        assert str(y_true.sum()) in texts(axes)
    y_true, y_pred = random.random((50, 3)) < 0.4, random.random((50, 3)).astype(np.float32)
    axes = fl.plot.per_class(keras.losses.BinaryCrossentropy(), y_true.astype(np.float32), y_pred)
    expected = -np.log(np.where(y_true, y_pred, 1 - y_pred)).mean(0)
    np.testing.assert_allclose(bars(axes), expected, rtol=1e-4)


def test_loss_of_regions_and_of_sums() -> None:
    random = np.random.default_rng(4)
    y_true = random.choice(3, (2, 8, 8), p=[0.8, 0.1, 0.1])
    y_pred = random.normal(size=(2, 8, 8, 3)).astype(np.float32)
    shares = tf.nn.softmax(y_pred).numpy()
    one_hot = np.eye(3, dtype=np.float32)[y_true]
    axes = (0, 1, 2)
    dice = 1 - 2 * (shares * one_hot).sum(axes) / (shares.sum(axes) + one_hot.sum(axes))
    rows = -np.log(shares[one_hot > 0].reshape(y_true.shape))
    entropy = np.array([rows[y_true == k].mean() for k in range(3)])
    ours = fl.Dice(sparse=True, from_logits=True)
    np.testing.assert_allclose(bars(fl.plot.per_class(ours, y_true, y_pred)), dice, rtol=1e-4)
    theirs = fl.plot.per_class(keras.losses.Dice(), one_hot, shares)
    np.testing.assert_allclose(bars(theirs), dice, rtol=1e-4)
    total = ours + 0.5 * fl.SparseCategoricalCrossentropy(from_logits=True)
    both = fl.plot.per_class(total, y_true, y_pred)
    np.testing.assert_allclose(bars(both), dice + 0.5 * entropy, rtol=1e-4)
    regularized = fl.Regularized(total, [tf.Variable([[9.0]])], l2=1.0)
    np.testing.assert_allclose(
        bars(fl.plot.per_class(regularized, y_true, y_pred)), bars(both), rtol=1e-6
    )
    inner = fl.Dice(sparse=True, from_logits=True, include_background=False)
    np.testing.assert_allclose(
        bars(fl.plot.per_class(inner, y_true, y_pred)), [0, *dice[1:]], rtol=1e-4
    )


def test_of_many_classes_the_worst_are_shown() -> None:
    random = np.random.default_rng(5)
    y_true, y_pred = random.choice(40, 400), random.normal(size=(400, 40)).astype(np.float32)
    loss = fl.SparseCategoricalCrossentropy(from_logits=True)
    everything = bars(fl.plot.per_class(loss, y_true, y_pred, most=40))
    axes = fl.plot.per_class(loss, y_true, y_pred, most=5)
    assert sorted(bars(axes)) == sorted(everything)[-5:]
    shown = [int(label.get_text()) for label in axes.get_yticklabels()]
    assert bars(axes) == [everything[k] for k in shown]
    assert "5 largest of 40" in axes.get_title(loc="left")


def test_what_has_no_classes_is_refused(classes: Any) -> None:
    y_true, y_pred = classes
    with pytest.raises(ValueError, match="expected classes"):
        fl.plot.per_class(fl.Huber(), np.linspace(0, 1, 200), y_pred[:, 0])
    masks = np.zeros((1, 4, 4), int)
    with pytest.raises(ValueError, match="scores all classes together"):
        fl.plot.per_class(
            fl.GeneralizedDice(sparse=True, from_logits=True),
            masks,
            np.zeros((1, 4, 4, 2), np.float32),
        )
    loss = fl.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match="2 names"):
        fl.plot.per_class(loss, y_true, y_pred, names=["a", "b"])
    with pytest.raises(ValueError, match="most is 0"):
        fl.plot.per_class(loss, y_true, y_pred, most=0)
    with pytest.raises(ValueError, match="same"):
        fl.plot.per_class(fl.CategoricalCrossentropy(), np.zeros((200, 3)), y_pred)


# Where it is drawn.


def test_given_axes_are_drawn_on() -> None:
    figure = Figure()
    (top, middle), (left, right) = figure.subplots(2, 2)
    assert fl.plot.history(LOGS, ax=top) is top
    y_true, y_pred = np.array([0, 1, 1]), np.array([0.1, 0.8, 0.4], np.float32)
    assert fl.plot.per_class(fl.BinaryCrossentropy(), y_true, y_pred, ax=middle) is middle
    drawn = fl.plot.shape(fl.Huber(), fl.LogCosh(), ax=(left, right), points=5)
    assert list(drawn) == [left, right]
    assert left.get_legend() is not None
    assert len(lines(right)) == 2
    assert png(top).startswith(b"\x89PNG")
    for wrong in (left, [left], [left, 3]):
        with pytest.raises(TypeError, match="two Axes"):
            fl.plot.shape(fl.Huber(), ax=wrong)
    with pytest.raises(TypeError, match="Axes"):
        fl.plot.history(LOGS, ax=figure)


def run(code: str) -> str:
    source = f"import sys\nsys.path.insert(0, {str(Path(fl.__file__).parents[1])!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_drawing_needs_no_display_and_leaves_pyplot_alone() -> None:
    printed = run(
        "import os\n"
        "os.environ.pop('DISPLAY', None)\n"
        "import keras\n"
        "before = set(sys.modules)\n"
        "import fastloss as fl\n"
        "print({'matplotlib', 'fastloss.plot'} & set(sys.modules) - before)\n"
        "before = set(sys.modules)\n"
        "fl.plot.history({'loss': [2.0, 1.0]}).figure.savefig(os.devnull, format='png')\n"
        "print({'matplotlib.pyplot'} & set(sys.modules) - before)\n"
        "import matplotlib.pyplot as plt\n"
        "print(plt.get_fignums())\n"
    )
    assert printed.split() == ["set()", "set()", "[]"]


def test_without_matplotlib_the_cure_is_named() -> None:
    printed = run(
        "import importlib.util as util\n"
        "import fastloss as fl\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name: None if name == 'matplotlib' else found(name)\n"
        "try:\n"
        "    fl.plot\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    assert "pip install matplotlib" in printed


def test_the_blocks_of_the_documentation_draw_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "plot.md"
    if not page.is_file():
        pytest.skip("the documentation is not here")
    text = page.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(block, names)
    shown = set(re.findall(r"pictures/(\w+\.png)", text))
    assert len(shown) == 4
    assert {path.name for path in tmp_path.iterdir()} == shown
    # The source distribution leaves them out.
    pictures = page.parent / "pictures"
    assert not pictures.is_dir() or all((pictures / name).is_file() for name in shown)
