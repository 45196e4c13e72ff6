"""More than 2^31 elements: nothing counts in 32 bits."""

from __future__ import annotations

import fcntl
import gc
import pathlib

import kernels
import numpy as np
import pytest
import tensorflow as tf
from cases import BFLOAT16

import fastloss as fl

ROWS, COLUMNS = 65537, 32769
COUNT = ROWS * COLUMNS
assert COUNT > 2**31

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not pathlib.Path("/proc/meminfo").exists(), reason="free memory is read from /proc/meminfo"
    ),
]


@pytest.fixture(autouse=True)
def _one_at_a_time(tmp_path_factory):
    """Tests that run in parallel would take the memory from each other."""
    shared = tmp_path_factory.getbasetemp().parent
    with (shared / "large.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True)
def _enough_memory(_one_at_a_time):
    gc.collect()
    text = pathlib.Path("/proc/meminfo").read_text()
    free = int(text.split("MemAvailable:")[1].split()[0]) / 2**20
    if free < 16:
        pytest.skip(f"{free:.0f} GB of memory are free; this takes 11 GB, and asks for 16")
    yield
    gc.collect()


# Row and column of predictions that differ from all others; the last ones lie beyond 2^31.
EXCEPTIONS = {
    (0, 0): 2.0,
    (3, 17): -1.0,
    (ROWS - 1, COLUMNS - 2): 3.0,
    (ROWS - 1, COLUMNS - 1): 4.0,
}


def test_loss_and_gradient_beyond_2_to_the_31_through_the_c_interface():
    y_true = np.zeros((ROWS, COLUMNS), np.uint8)
    y_pred = np.zeros((ROWS, COLUMNS), BFLOAT16)
    for position, value in EXCEPTIONS.items():
        y_pred[position] = value
    y_true[ROWS - 1, 5] = 7
    loss, gradient = kernels.elementwise("mean_squared_error", y_true, y_pred, kernels.SUM)
    expected = (sum(value**2 for value in EXCEPTIONS.values()) + 49) / COLUMNS
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    for position, value in EXCEPTIONS.items():
        assert float(gradient[position]) == pytest.approx(2 * value / COLUMNS, rel=2**-8)
    assert float(gradient[ROWS - 1, 5]) == pytest.approx(-14 / COLUMNS, rel=2**-8)
    as_integers = gradient.view(np.uint16)
    assert sum(int(np.count_nonzero(part)) for part in np.array_split(as_integers, 64)) == 5


def test_loss_beyond_2_to_the_31_in_tensorflow():
    y_true = tf.zeros([ROWS, COLUMNS], tf.bool)
    y_pred = tf.fill([ROWS, COLUMNS], tf.constant(0.5, tf.bfloat16))
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        loss = fl.MeanSquaredError(reduction="sum")(y_true, y_pred)
    assert float(loss) == ROWS * 0.25
    gradient = tape.gradient(loss, y_pred)
    assert gradient.shape == (ROWS, COLUMNS)
    expected = float(tf.cast(tf.constant(1 / COLUMNS), tf.bfloat16))
    assert [float(x) for x in gradient[-1, -3:]] == [expected] * 3
    assert float(gradient[0, 0]) == expected


@pytest.mark.parametrize("shape", [(ROWS, COLUMNS), (1, COLUMNS, ROWS)], ids=["beside", "apart"])
def test_classes_beyond_2_to_the_31_with_the_gradient_in_place(shape):
    y_pred = np.zeros(shape, BFLOAT16)
    label = np.random.default_rng(0).integers(0, COLUMNS, ROWS, np.int32)
    label[[0, -1]] = [0, COLUMNS - 1]
    by_row = y_pred if len(shape) == 2 else y_pred[0].T
    by_row[0, 1] = by_row[ROWS - 1, COLUMNS - 2] = 16.0
    found = kernels.rowwise(
        "sparse_categorical_crossentropy_from_logits",
        label,
        y_pred,
        kernels.SUM,
        in_place=True,
        metrics=len(shape) == 2,
    )
    assert found.gradient is y_pred
    usual, special = np.log(COLUMNS), np.log(COLUMNS - 1 + np.exp(16.0))
    assert float(found.loss) == pytest.approx((ROWS - 2) * usual + 2 * special, rel=1e-6)
    if found.hit is not None:
        np.testing.assert_allclose(found.log_sum_exp[1:-1], usual, rtol=1e-6)
        np.testing.assert_allclose(found.log_sum_exp[[0, -1]], special, rtol=1e-6)
        assert np.array_equal(np.flatnonzero(found.hit), np.flatnonzero(label[1:-1] == 0) + 1)
    share = np.exp(16.0 - special)
    for row, other in ((0, 1), (ROWS - 1, COLUMNS - 2)):
        assert float(by_row[row, label[row]]) == pytest.approx(-1, rel=2**-8)
        assert float(by_row[row, other]) == pytest.approx(share, rel=2**-8)
    rows = np.arange(0, ROWS, 1021)
    np.testing.assert_allclose(by_row[rows[1:], label[rows[1:]]].astype(float), -1, rtol=2**-8)
    usual_bits = np.array(1 / COLUMNS).astype(BFLOAT16).view(np.uint16)
    as_integers = y_pred.reshape(-1).view(np.uint16)
    same = sum(int(np.count_nonzero(x == usual_bits)) for x in np.array_split(as_integers, 64))
    assert same == (ROWS - 2) * (COLUMNS - 1)
