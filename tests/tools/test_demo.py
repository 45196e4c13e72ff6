"""What the demos train on, and that both of a demo's losses are the same loss."""

from __future__ import annotations

from types import ModuleType

import keras
import numpy as np
import pytest
import tensorflow as tf

from fastloss.tools.demo import digits, segmentation
from fastloss.tools.demo.training import KERAS, OURS, Settings


@pytest.mark.parametrize("demo", [digits, segmentation])
def test_losses_agree(demo: ModuleType) -> None:
    generator = np.random.default_rng(3)
    if demo is digits:
        y_true, y_pred = generator.random((8, 784)), generator.standard_normal((8, 784))
    else:
        y_true = generator.integers(0, 3, (4, 16, 16))
        y_pred = generator.standard_normal((4, 16, 16, 3))
    labels = tf.constant(y_true, tf.float32 if demo is digits else tf.uint8)
    predictions = tf.constant(y_pred, tf.float32)
    found = {}
    for name, loss in demo.make_losses().items():
        with tf.GradientTape() as tape:
            tape.watch(predictions)
            value = loss(labels, predictions)
        found[name] = float(value), tape.gradient(value, predictions).numpy()
    assert list(found) == [KERAS, OURS]
    (theirs, their_gradient), (ours, our_gradient) = found.values()
    assert ours == pytest.approx(theirs, rel=1e-6)
    assert np.any(our_gradient)
    np.testing.assert_allclose(our_gradient, their_gradient, rtol=1e-4, atol=1e-9)


def test_scores_of_tissues() -> None:
    truth = np.array([[0, 1, 1], [2, 2, 0]])
    answer = np.array([[0, 1, 2], [2, 2, 2]])
    assert segmentation.dice_scores(truth, answer) == pytest.approx([2 / 3, 4 / 6])


def test_slices_hold_every_class_and_validation_is_apart() -> None:
    for package in ("nilearn", "nibabel"):
        pytest.importorskip(package)
    training, validation = segmentation.load_slices(Settings(1, 6, 108, 1))
    assert training.images.shape == (108, 112, 96, 1)
    assert validation.images.shape == (24, 112, 96, 1)
    for slices in (training, validation):
        assert slices.labels.shape == slices.images.shape[:-1]
        assert slices.images.dtype == np.float32
        assert 0 <= slices.images.min() < slices.images.max() <= 1
        assert set(np.unique(slices.labels)) == {0, 1, 2}
        # White matter is brighter than grey in a T1 image.
        grey, white = (slices.images[..., 0][slices.labels == tissue].mean() for tissue in (1, 2))
        assert 0.3 < grey < white
    nearest = min(np.abs(one - training.images).mean((1, 2, 3)).min() for one in validation.images)
    assert nearest > 0.01
    few, same = segmentation.load_slices(Settings(1, 6, 5, 1))
    assert len(few.images) == 5
    assert np.array_equal(same.images, validation.images)


def test_unet_answers_each_pixel_with_each_class() -> None:
    keras.utils.set_random_seed(1)
    model = segmentation.make_model()
    assert model(np.zeros((2, 112, 96, 1), np.float32)).shape == (2, 112, 96, 3)
