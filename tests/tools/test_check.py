"""fl.check: what it finds in losses and data, and what it leaves alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import fastloss as fl
from fastloss.tools.diagnose import Report, Severity

ROOT = Path(fl.__file__).parent / "tools"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "monitoring.md"

N = 32
RANDOM = np.random.default_rng(0)
P = RANDOM.uniform(0.05, 0.95, (N, 1)).astype(np.float32)
BITS = (P > 0.5).astype(np.float32)
LOGITS = (2 * RANDOM.normal(size=(N, 5))).astype(np.float32)
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
CLASSES = np.arange(N) % 5
ROWS = np.eye(5, dtype=np.float32)[CLASSES]
ONES = np.ones((N, 1), np.float32)


def having(x: np.ndarray, value: Any, *samples: int) -> np.ndarray:
    x = x.copy()
    x[list(samples)] = value
    return x


def log_loss(y_true: Any, y_pred: Any) -> Any:
    return -tf.reduce_mean(y_true * tf.math.log(y_pred), axis=-1)


def distance(y_true: Any, y_pred: Any) -> Any:
    return tf.sqrt(tf.reduce_sum((y_true - y_pred) ** 2, axis=-1))


def ratio(y_true: Any, y_pred: Any) -> Any:
    return tf.reduce_mean(tf.abs(y_pred - y_true) / y_true, axis=-1)


def decisions(y_true: Any, y_pred: Any) -> Any:
    return tf.cast(tf.argmax(y_pred, -1), tf.float32)


def flat(y_true: Any, y_pred: Any) -> Any:
    return 1 + 0 * tf.reduce_mean(y_pred, axis=-1)


def squares(y_true: Any, y_pred: Any) -> Any:
    return tf.reduce_mean((y_true - y_pred) ** 2, axis=-1)


def one_number(y_true: Any, y_pred: Any) -> Any:
    return tf.reduce_mean((y_true - y_pred) ** 2)


def single_precision(y_true: Any, y_pred: Any) -> Any:
    error = tf.cast(y_true, tf.float32) - tf.cast(y_pred, tf.float32)
    return tf.reduce_mean(error**2, axis=-1)


def wrong_slope(y_true: Any, y_pred: Any) -> Any:
    @tf.custom_gradient
    def square(x: Any) -> Any:
        return x**2, lambda upstream: 3 * x * upstream

    return tf.reduce_mean(square(y_pred - y_true), axis=-1)


class Squares(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return squares(y_true, y_pred)


class Case(NamedTuple):
    """What is checked, the findings that are expected, and words of the first."""

    make: Callable[[], Any]
    y_true: Any
    y_pred: Any
    found: list[str]
    words: str = ""
    weight: Any = None


bce, sparse = fl.BinaryCrossentropy, fl.SparseCategoricalCrossentropy
keras_sparse = keras.losses.SparseCategoricalCrossentropy

CASES: dict[str, Case] = {
    # Nothing to complain of.
    "mse": Case(fl.MeanSquaredError, BITS, P, []),
    "keras bce": Case(lambda: keras.losses.BinaryCrossentropy(True), BITS, LOGITS[:, :1], []),
    "sparse": Case(lambda: sparse(from_logits=True), CLASSES, LOGITS, []),
    "softmax": Case(keras.losses.CategoricalCrossentropy, ROWS, SOFTMAX, []),
    "ignored labels": Case(
        lambda: sparse(from_logits=True, ignore_class=-1), having(CLASSES, -1, 3), LOGITS, []
    ),
    "sum": Case(lambda: bce(from_logits=True) + 0.5 * fl.Huber(), BITS, LOGITS[:, :1], []),
    "fuse": Case(lambda: fl.fuse(squares), BITS, P, []),
    "a name": Case(lambda: "mae", BITS, P, []),
    "float16": Case(fl.MeanSquaredError, BITS, P.astype(np.float16), []),
    "hinge": Case(fl.Hinge, 2 * BITS - 1, LOGITS[:, :1], []),
    "function in float32": Case(lambda: single_precision, BITS, P, []),
    "generalized": Case(fl.CategoricalGeneralizedCrossEntropy, CLASSES, SOFTMAX, []),
    "divergence of logits": Case(lambda: fl.KLDivergence(from_logits=True), LOGITS, 2 * LOGITS, []),
    # Logits and probabilities.
    "sigmoid as logits": Case(lambda: bce(from_logits=True), BITS, P, ["probabilities_as_logits"]),
    "softmax as logits": Case(
        lambda: keras_sparse(True), CLASSES, SOFTMAX, ["probabilities_as_logits"], "from_logits"
    ),
    "logits as probabilities": Case(
        keras.losses.CategoricalCrossentropy, ROWS, LOGITS, ["logits_as_probabilities"]
    ),
    "logits in all terms": Case(
        lambda: bce() + fl.Dice(), BITS, LOGITS[:, :1], ["logits_as_probabilities"]
    ),
    "sigmoids for classes": Case(
        keras_sparse, CLASSES, 0.9 * np.ones((N, 5), "f"), ["probabilities_do_not_sum_to_one"]
    ),
    "saturated": Case(bce, BITS, having(P, 1, 4), ["saturated_probabilities"], "1 of 32"),
    # Labels.
    "from one": Case(
        lambda: sparse(from_logits=True),
        CLASSES + 1,
        LOGITS,
        ["labels_out_of_range"],
        "numbered from 1 to 5",
    ),
    "too many classes": Case(
        lambda: keras_sparse(True), having(CLASSES, 9, 6), LOGITS, ["labels_out_of_range"], "9"
    ),
    "void": Case(
        lambda: keras_sparse(True),
        having(CLASSES, -100, 3, 7),
        LOGITS,
        ["labels_out_of_range"],
        "ignore_class=-100",
    ),
    "generalized from one": Case(
        fl.CategoricalGeneralizedCrossEntropy,
        CLASSES + 1,
        SOFTMAX,
        ["labels_out_of_range"],
        "numbered from 1 to 5",
    ),
    "void for Keras's generalized": Case(
        keras.losses.CategoricalGeneralizedCrossEntropy,
        having(CLASSES, -1, 3),
        SOFTMAX,
        ["labels_out_of_range"],
        "Leave these labels out",
    ),
    "fractions": Case(
        lambda: sparse(from_logits=True), CLASSES + 0.5, LOGITS, ["fractional_classes"]
    ),
    "signs": Case(bce, 2 * BITS - 1, P, ["signs_for_bits"], "(y_true + 1) / 2"),
    "8 bits": Case(bce, (255 * BITS).astype(np.uint8), P, ["unscaled_mask"], "255"),
    "numbers": Case(keras.losses.BinaryCrossentropy, 3 * P, P, ["labels_out_of_range"]),
    "classes for bits": Case(bce, CLASSES[:, np.newaxis], P, ["labels_out_of_range"], "0 to 4"),
    "no signs": Case(fl.Hinge, CLASSES[:, np.newaxis], P, ["labels_not_signs"]),
    "several ones": Case(
        lambda: fl.CategoricalCrossentropy(from_logits=True),
        ROWS + np.roll(ROWS, 1, -1),
        LOGITS,
        ["rows_do_not_sum_to_one"],
        "several ones",
    ),
    "negative counts": Case(fl.Poisson, BITS - 2, P, ["labels_out_of_range"], "negative"),
    "large targets": Case(fl.MeanAbsoluteError, 1e5 * BITS, P, ["unnormalized_targets"]),
    "exploding": Case(
        fl.MeanSquaredError, BITS, having(P, 1e6, 2), ["exploding_predictions"], "sample 2"
    ),
    # Numbers that are none.
    "NaN in y_true": Case(
        fl.MeanSquaredError, having(BITS, np.nan, 3), P, ["nan_in_labels"], "sample 3"
    ),
    "NaN in weights": Case(
        fl.MeanSquaredError, BITS, P, ["nan_in_weights"], "sample 5", having(ONES[:, 0], np.nan, 5)
    ),
    "NaN in y_pred": Case(
        keras.losses.MeanSquaredError, BITS, having(P, np.inf, 9), ["nan_in_predictions"], "network"
    ),
    "half infinity": Case(
        fl.MeanSquaredError,
        BITS,
        having(P.astype(np.float16), np.inf, 9),
        ["half_precision_overflow"],
        "65504",
    ),
    # Losses that are not defined.
    "log of zero": Case(lambda: log_loss, ONES, having(P, 0, 4, 9), ["log_of_zero"], "4 and 9"),
    "log of negative": Case(lambda: log_loss, ONES, having(P, -0.5, 4), ["log_of_negative"]),
    "root of zero": Case(
        lambda: distance, ROWS, having(LOGITS, ROWS[2], 2), ["division_by_zero"], "gradient"
    ),
    "zero label": Case(lambda: ratio, having(P, 0, 1), 0.5 * P, ["zero_labels"], "sample 1"),
    "half loss": Case(
        lambda: keras.losses.MeanSquaredError(dtype="float16"),
        BITS.astype(np.float16),
        having(P.astype(np.float16), 300, 3),
        ["half_precision_overflow"],
        "square",
    ),
    "overflow": Case(
        fl.MeanSquaredError, BITS, having(P, 1e25, 3), ["overflow", "exploding_predictions"]
    ),
    # Nothing counts.
    "one class": Case(
        lambda: keras_sparse(True), 0 * CLASSES, LOGITS[:, :1], ["one_class"], "BinaryCrossentropy"
    ),
    "all ignored": Case(
        lambda: sparse(from_logits=True, ignore_class=-1), CLASSES * 0 - 1, LOGITS, ["all_ignored"]
    ),
    "zero weights": Case(
        "mse".lower, BITS, P, ["weights_sum_to_zero"], "All 32", np.zeros(N, np.float32)
    ),
    "negative weights": Case(
        "mse".lower, BITS, P, ["negative_weights"], "maximised", having(ONES[:, 0], -1, 3)
    ),
    # Reductions.
    "reduction sum": Case(
        lambda: fl.MeanSquaredError(reduction="sum"), BITS, P, ["sum_reduction"], "32 times"
    ),
    "reduction none": Case(
        lambda: keras.losses.MeanSquaredError(reduction=None), BITS, P, ["no_reduction"], "(32,)"
    ),
    "mixed": Case(
        lambda: fl.MeanSquaredError(reduction="sum") + fl.Huber(), BITS, P, ["mixed_reductions"]
    ),
    "small weights": Case(
        "mse".lower, BITS, P, ["weights_scale_the_loss"], "0.01", np.full(N, 0.01)
    ),
    "weights of a scalar": Case(
        lambda: one_number, BITS, P, ["weights_without_rows"], "32 sample weights", 0.9 + 0.2 * P
    ),
    "weights along pixels": Case(
        "mse".lower,
        np.zeros((4, 4, 2)),
        RANDOM.random((4, 4, 2)).astype("f"),
        ["weights_along_last_axis"],
        "np.newaxis",
        np.linspace(0.9, 1.1, 4),
    ),
    "dominating": Case(
        lambda: fl.MeanSquaredError() + 1e-6 * fl.MeanAbsoluteError(), BITS, P, ["dominating_term"]
    ),
    # Shapes.
    "pairs": Case(Squares, BITS[:, 0], P, ["broadcast"], "(32, 32)"),
    "pairs if called": Case(lambda: squares, BITS[:, 0], P, ["broadcast_if_called"]),
    "repeated": Case("mse".lower, BITS, LOGITS, ["broadcast"], "y_true is repeated"),
    "numbers for rows": Case(
        lambda: keras.losses.CategoricalCrossentropy(True),
        CLASSES,
        LOGITS,
        ["class_numbers_for_rows"],
        "Use SparseCategoricalCrossentropy",
    ),
    "rows for numbers": Case(
        lambda: keras_sparse(True),
        ROWS,
        LOGITS,
        ["rows_for_class_numbers"],
        "Use CategoricalCrossentropy",
    ),
    "rows for generalized": Case(
        fl.CategoricalGeneralizedCrossEntropy,
        ROWS,
        SOFTMAX,
        ["rows_for_class_numbers"],
        "Use np.argmax",
    ),
    "numbers for a divergence": Case(
        fl.KLDivergence, CLASSES, SOFTMAX, ["class_numbers_for_rows"], "Use keras.ops.one_hot"
    ),
    "no shape": Case("mse".lower, BITS[:7], P, ["loss_fails"], "(7, 1)"),
    # Gradients.
    "decisions": Case(lambda: decisions, CLASSES, LOGITS, ["no_gradient"], "argmax"),
    "flat": Case(lambda: flat, BITS, P, ["zero_gradient"]),
    "wrong slope": Case(lambda: wrong_slope, BITS, P, ["wrong_gradient"], "central differences"),
}


def names(report: Report) -> list[str]:
    return [one.name for one in report.findings]


@pytest.mark.parametrize("name", CASES)
def test_it_finds_what_is_wrong_and_nothing_else(name: str) -> None:
    case = CASES[name]
    report = fl.check(case.make(), case.y_true, case.y_pred, case.weight)
    assert names(report) == case.found, str(report)
    is_noted = all(one.severity is Severity.NOTE for one in report.findings)
    assert report.ok is is_noted is bool(report)
    assert case.words in str(report.findings[0]).replace("\n         ", " ") if case.found else True


def test_terms_that_are_not_concerned_are_not_named() -> None:
    report = fl.check(fl.MeanSquaredError() + bce(from_logits=True), BITS, P)
    assert [(one.name, one.terms) for one in report.findings] == [
        ("probabilities_as_logits", ("binary_crossentropy",))
    ]


def test_each_task_is_looked_at_in_its_columns() -> None:
    loss = fl.MultiTask({0: fl.MeanSquaredError(), 1: bce(from_logits=True)})
    y_true = np.concatenate([having(BITS, np.nan, 4), BITS], axis=-1)
    (found,) = fl.check(loss, y_true, LOGITS[:, :2]).findings
    assert found.name == "nan_in_labels"
    assert found.terms == ("mean_squared_error of columns 0:1",)
    assert "1 of 32 values of y_true, of sample 4" in found.seen


def test_a_penalty_that_is_not_finite_is_found() -> None:
    weights = tf.Variable([[np.inf, 1.0]])
    report = fl.check(fl.Regularized(fl.MeanSquaredError(), [weights], l2=1.0), BITS, P)
    assert names(report) == ["weights_not_finite"]


def test_a_mask_counts() -> None:
    y_pred = tf.constant(P)
    y_pred._keras_mask = tf.zeros([N], tf.bool)
    assert names(fl.check(fl.MeanSquaredError(), BITS, y_pred)) == ["all_masked"]


def test_the_report_prints_facts_and_findings() -> None:
    report = fl.check(bce() + 0.5 * fl.MeanSquaredError(), 2 * BITS - 1, P)
    text = str(report)
    assert text.startswith("Check of the WeightedSum 'weighted_sum'\n  loss: ")
    assert "terms: 1 x " in text and "0.5 x " in text
    assert "y_true: float32, shape (32, 1), -1 to 1" in text
    assert "Found: 1 error." in text
    assert "error: signs_for_bits in binary_crossentropy\n  seen   The labels are -1 and 1" in text
    assert max(map(len, text.splitlines())) <= 92


def test_it_prints_with_rich_too() -> None:
    console = pytest.importorskip("rich.console").Console(width=200, record=True, file=None)
    with console.capture() as capture:
        console.print(fl.check(bce(), 2 * BITS - 1, P))
    assert "signs_for_bits" in capture.get() and "Make them 0 and 1" in capture.get()


def test_what_is_no_loss_and_no_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="loss is 3; expected a Keras loss, its name"):
        fl.check(3, BITS, P)
    with pytest.raises(ValueError, match="y_true holds text; expected numbers"):
        fl.check("mse", np.array(["a", "b"]), P)


class OwnArguments(keras.losses.Loss):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.scale * squares(y_true, y_pred)


def test_losses_with_arguments_of_their_own_are_compared_in_float64() -> None:
    report = fl.check(OwnArguments(3.0), BITS, P)
    assert report.ok and "differences at 4 entries: right" in report.facts[-1]


def test_the_documentation_names_all_findings() -> None:
    sources = [*ROOT.glob("diagnose/*.py"), ROOT / "monitor" / "report.py"]
    name = r'"([a-z_]+)",\n +(?:Severity|"A )'
    in_code = {x for path in sources for x in re.findall(name, path.read_text())}
    table = DOCS.read_text().partition("## What they find")[2]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert in_code == {x for row in rows for x in re.findall(r"`(\w+)`", row)}
