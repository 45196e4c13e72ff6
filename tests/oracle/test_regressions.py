"""The faults of issues 16 and 17 one by one: small inputs with the right values.

Those not mended yet are strict expected failures: whoever mends one takes its mark away.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import run_python
from oracle.lattice import BACKENDS, answers
from oracle.point import Wide
from oracle.rowwise import Options, right

import fastloss as fl

TENSORFLOW = ("reference", "jit")
KERNELS = ("kernel", "graph")
INFINITY, NAN = float("inf"), float("nan")


def backends(*wrong: str, reason: str) -> Any:
    """Every backend, of which some are known to be wrong."""
    fails = pytest.mark.xfail(strict=True, reason=reason, raises=AssertionError)
    return pytest.mark.parametrize(
        "backend", [pytest.param(x, marks=fails if x in wrong else ()) for x in BACKENDS]
    )


def answer(
    backend: str, loss: Any, y_true: Any, y_pred: Any, dtype: str = "float32", order: int = 1
) -> dict[str, np.ndarray]:
    """Value and derivatives of small arrays."""
    y_pred = np.asarray(y_pred, dtype)
    y_true = np.asarray(y_true)
    y_true = y_true.astype(dtype) if y_true.dtype.kind == "f" else y_true.astype(np.int32)
    return answers(backend, [loss], [(y_true, y_pred)], order)[0]


def slope(*arguments: Any, **more: Any) -> np.ndarray:
    return answer(*arguments, **more)["slope"]


# Issue 16, 1.1: a logit of exactly 0

ONE_SIDED = "1.1: tf.nn.weighted_cross_entropy_with_logits has the slope of one side at 0"
ZEROS = np.zeros((3, 1))
LABELS = np.array([[0.0], [1.0], [0.5]])
SLOPES = np.array([[0.5], [-0.5], [0.0]])


@backends(*TENSORFLOW, reason=ONE_SIDED)
def test_a_logit_of_zero(backend: str) -> None:
    loss = fl.BinaryCrossentropy(from_logits=True, reduction="sum")
    np.testing.assert_allclose(slope(backend, loss, LABELS, ZEROS), SLOPES, atol=1e-7)


@backends(*TENSORFLOW, reason=ONE_SIDED)
def test_a_logit_of_zero_with_pos_weight(backend: str) -> None:
    loss = fl.BinaryCrossentropy(from_logits=True, pos_weight=3.0, reduction="sum")
    expected = [[0.5], [-1.5], [-0.5]]
    np.testing.assert_allclose(slope(backend, loss, LABELS, ZEROS), expected, atol=1e-7)


@backends(*TENSORFLOW, reason=ONE_SIDED)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_logit_of_zero_in_focal_loss(backend: str, gamma: float) -> None:
    loss = fl.BinaryFocalCrossentropy(gamma=gamma, from_logits=True, reduction="sum")
    certain = 0.5**gamma * (0.5 + 0.5 * gamma * np.log(2))
    expected = [[certain], [-certain], [0]]
    np.testing.assert_allclose(slope(backend, loss, LABELS, ZEROS), expected, atol=1e-6)


@backends(*TENSORFLOW, reason=ONE_SIDED)
def test_a_logit_of_zero_behind_a_sigmoid(backend: str) -> None:
    loss = fl.BinaryCrossentropy(reduction="sum")

    def behind(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return loss(y_true, keras.activations.sigmoid(y_pred))

    np.testing.assert_allclose(slope(backend, behind, LABELS, ZEROS), SLOPES, atol=1e-7)


@backends(*TENSORFLOW, reason=ONE_SIDED)
def test_a_logit_of_zero_in_a_sum(backend: str) -> None:
    loss = fl.BinaryCrossentropy(from_logits=True) + 0.5 * fl.MeanSquaredError()
    expected = (SLOPES - LABELS) / 3
    np.testing.assert_allclose(slope(backend, loss, LABELS, ZEROS), expected, atol=1e-7)


@backends(*TENSORFLOW, reason=ONE_SIDED)
def test_a_logit_of_zero_in_many_tasks(backend: str) -> None:
    loss = fl.MultiTask({0: fl.BinaryCrossentropy(from_logits=True), 1: fl.MeanSquaredError()})
    columns = [np.concatenate([x, 0 * x], axis=1) for x in (LABELS, ZEROS, SLOPES / 3)]
    found = slope(backend, loss, *columns[:2])
    np.testing.assert_allclose(found, columns[2], atol=1e-7)


@pytest.mark.xfail(strict=True, reason=ONE_SIDED, raises=AssertionError)
def test_the_first_step_of_a_head_of_zeros() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    loss = fl.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss, jit_compile=True)
    model.fit(np.zeros((4, 2), np.float32), np.float32([[0], [0], [0], [1]]), 4, verbose=0)
    np.testing.assert_allclose(model.layers[-1].bias.numpy(), [-0.25], atol=1e-7)


@backends(*BACKENDS, reason=ONE_SIDED)
def test_the_second_derivative_at_a_logit_of_zero(backend: str) -> None:
    loss = fl.BinaryCrossentropy(from_logits=True, reduction="sum")
    found = answer(backend, loss, LABELS, ZEROS, order=2)["curvature"]
    np.testing.assert_allclose(found, np.full((3, 1), 0.25), rtol=1e-6)


@pytest.mark.xfail(strict=True, reason=ONE_SIDED, raises=AssertionError)
def test_check_of_logits_of_zero() -> None:
    report = fl.check(fl.BinaryCrossentropy(from_logits=True), LABELS[:2] * 1.0, ZEROS[:2])
    assert "wrong_gradient" not in str(report)


@backends(*TENSORFLOW, reason="1.1: (1 - y) x + softplus(-x) cancels")
def test_a_certain_right_answer_has_a_loss(backend: str) -> None:
    loss = fl.BinaryCrossentropy(from_logits=True, reduction="none")
    value = answer(backend, loss, [[0.0], [1.0]], [[-20.0], [20.0]])["value"]
    np.testing.assert_allclose(value, [2.0611537e-09] * 2, rtol=1e-5)


# Issue 16, 1.2 and 1.3: the edges of binary focal loss


@backends(*BACKENDS, reason="1.2: NaN for certain right answers of gamma below 1")
@pytest.mark.parametrize(("dtype", "size"), [("float32", 104.0), ("float64", 750.0)])
def test_focal_loss_of_certain_right_logits(backend: str, dtype: str, size: float) -> None:
    loss = fl.BinaryFocalCrossentropy(gamma=0.5, from_logits=True, reduction="sum", dtype=dtype)
    found = slope(backend, loss, [[0.0], [1.0]], [[-size], [size]], dtype)
    np.testing.assert_array_equal(abs(found) < 1e-30, True)


@backends(*TENSORFLOW, reason="1.2: NaN for certain right answers, gamma 0 too")
def test_focal_loss_of_gamma_zero_of_certain_right_logits(backend: str) -> None:
    loss = fl.BinaryFocalCrossentropy(gamma=0.0, from_logits=True, reduction="sum")
    found = slope(backend, loss, [[0.0], [1.0]], [[-104.0], [104.0]])
    np.testing.assert_array_equal(abs(found) < 1e-30, True)


@backends(*BACKENDS, reason="1.2: infinite or NaN where a probability is its label")
def test_focal_loss_of_certain_right_probabilities(backend: str) -> None:
    loss = fl.BinaryFocalCrossentropy(gamma=0.5, reduction="sum")
    found = slope(backend, loss, [[0.0], [1.0]], [[0.0], [1.0]])
    np.testing.assert_array_equal(found, [[0], [0]])


@backends(*KERNELS, reason="1.3: NaN 1 ulp above 1")
@pytest.mark.parametrize("gamma", [1.0, 3.0])
def test_focal_loss_one_ulp_above_one(backend: str, gamma: float) -> None:
    loss = fl.BinaryFocalCrossentropy(gamma=gamma, reduction="sum")
    found = answer(backend, loss, [[1.0]], [[1 + 2.0**-23]])
    assert abs(found["value"]) < 1e-6
    assert abs(found["slope"]) < 1e-6


# Issue 16, 1.4 to 1.7


@backends(*TENSORFLOW, reason="1.4: infinity times 0 in the branch not taken")
def test_huber_without_a_bend(backend: str) -> None:
    loss = fl.Huber(delta=INFINITY, reduction="sum")
    found = answer(backend, loss, [[0.0], [1.0]], [[3.0], [1.0]])
    assert found["value"] == 4.5
    np.testing.assert_array_equal(found["slope"], [[3], [0]])


@backends(*TENSORFLOW, reason="1.5: numbers near log(2) cancel")
def test_log_cosh_of_small_errors(backend: str) -> None:
    loss = fl.LogCosh(reduction="none")
    value = answer(backend, loss, [[0.0], [0.0]], [[1e-4], [-1e-4]])["value"]
    np.testing.assert_allclose(value, [5e-9, 5e-9], rtol=1e-5)


@backends(*BACKENDS, reason="1.6: 0 times infinity")
def test_categorical_hinge_beside_a_class_that_cannot_be(backend: str) -> None:
    loss = fl.SparseCategoricalHinge(reduction="sum")
    found = answer(backend, loss, np.array([0]), [[2.0, -INFINITY, 1.5]])
    np.testing.assert_allclose(found["value"], 0.5)
    np.testing.assert_array_equal(found["slope"], [[-1, 0, 1]])


@backends(*KERNELS, reason="1.6: 0 times infinity")
def test_cosine_similarity_of_no_elements(backend: str) -> None:
    loss = fl.CosineSimilarity(reduction="none")
    found = answer(backend, loss, np.zeros((2, 0)), np.zeros((2, 0)))
    np.testing.assert_array_equal(found["value"], [0, 0])


@backends(*BACKENDS, reason="1.6: squares overflow")
def test_cosine_similarity_of_huge_components(backend: str) -> None:
    loss = fl.CosineSimilarity(reduction="none")
    value = answer(backend, loss, [[3.0, 4.0]], [[1.5e19, 2e19]])["value"]
    np.testing.assert_allclose(value, [-1], rtol=1e-6)


@pytest.mark.parametrize("columns", [5, (3, 5), (1, 1), (2, 1)])
@pytest.mark.xfail(strict=True, reason="1.7: NaN without a word")
def test_tasks_beyond_the_columns(columns: Any) -> None:
    loss = fl.MultiTask({columns: fl.Huber()})
    with pytest.raises(ValueError, match=r"\b3\b"):
        loss(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32))


# Issue 17, 5: numbers at the edge of the range


@backends(*BACKENDS, reason="issue 17, 5: areas overflow")
@pytest.mark.parametrize(
    ("name", "expected"),
    [("BoxIoU", 1.0), ("GeneralizedBoxIoU", 1.0), ("DistanceBoxIoU", 1.25)],
)
def test_boxes_whose_areas_overflow(backend: str, name: str, expected: float) -> None:
    loss = getattr(fl, name)(reduction="none")
    small, huge = [0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 3e19, 3e19]
    found = answer(backend, loss, [small, huge], [huge, huge])
    np.testing.assert_allclose(found["value"], [expected, 0], rtol=1e-6)
    assert np.isfinite(found["slope"]).all()


@backends(*BACKENDS, reason="issue 17, 5: the sum overflows")
def test_a_mean_whose_sum_overflows(backend: str) -> None:
    loss = fl.MeanAbsoluteError(dtype="float64")
    y_pred = np.full((4, 2), 1.2e308)
    value = answer(backend, loss, np.zeros((4, 2)), y_pred, "float64")["value"]
    np.testing.assert_allclose(value, 1.2e308, rtol=1e-15)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("classes", [8, 100])
def test_jensen_shannon_of_a_large_beta(backend: str, classes: int) -> None:
    random = np.random.default_rng(1)
    y, x = random.normal(0, 3, (2, 200, classes))
    truth = right(
        "jensen_shannon_divergence_from_logits",
        Wide(y),
        Wide(x),
        np.float64,
        Options(),
        beta=0.9,
    )
    loss = fl.JensenShannonDivergence(beta=0.9, reduction="sum", dtype="float64")
    error = abs(slope(backend, loss, y, x, "float64") - truth.slope)
    # As docs/numerics.md has it; reference and kernels are within one unit.
    assert (error / truth.slope_terms).max() < 4 * np.finfo(np.float64).eps


@backends(*KERNELS, reason="issue 17, 5: a weight of 0 swallows NaN")
def test_a_class_weight_of_zero_times_nan(backend: str) -> None:
    loss = fl.CategoricalCrossentropy(True, class_weights=[0.0, 1.0], reduction="none")
    found = answer(backend, loss, [[1.0, 0.0]], [[0.5, NAN]])
    assert np.isnan(found["value"]).all()
    assert np.isnan(found["slope"]).all()


@pytest.mark.xfail(strict=True, reason="issue 17, 5: TensorFlow divides by 0 and dies")
def test_cosine_similarity_of_no_vectors_in_a_graph() -> None:
    run_python(
        """
import tensorflow as tf, fastloss as fl
@tf.function
def step(t, p):
    with tf.GradientTape() as tape:
        tape.watch(t)
        value = fl.CosineSimilarity()(t, p)
    return tape.gradient(value, t)
print(step(tf.zeros((0, 3)), tf.zeros((0, 3))))
""",
        PYTHONPATH=str(fl.__path__[0]).removesuffix("/fastloss"),
    )
