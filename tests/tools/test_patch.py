"""Keras's names under `fl.patch_keras`: ours everywhere, and afterwards what they were."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import fastloss as fl
from fastloss.losses.base import FusedLoss

CLASSES = sorted(
    name
    for name in fl.losses.__all__
    if inspect.isclass(getattr(fl, name)) and hasattr(keras.losses, name)
)
FUNCTIONS = sorted(
    name for name in fl.losses.__all__ if name.islower() and hasattr(keras.losses, name)
)
ABBREVIATIONS = ("mse", "MSE", "mae", "MAPE", "msle", "kld", "bce", "BCE")
compile_utils = importlib.import_module("keras.src.trainers.compile_utils")
STRINGS = sorted(set(importlib.import_module("keras.src.losses").ALL_OBJECTS_DICT))
# Keras's own tests that fail under the patch: docs/differences.md has the first four, and our
# messages are worded otherwise.
KERAS_TESTS_THAT_DIFFER = {
    "CosineSimilarityTest::test_config",
    "HuberLossTest::test_config",
    "SparseCategoricalCrossentropyTest::test_binary_segmentation_different_axis",
    "SparseCategoricalCrossentropyTest::test_multi_class_segmentation_different_axis",
    "BinaryCrossentropyTest::test_shape_mismatch",
    "CategoricalCrossentropyTest::test_shape_mismatch",
}


@pytest.fixture
def patch():
    with fl.patch_keras() as patch:
        yield patch


def small_model(activation="softmax"):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation=activation)])


def data(loss):
    """Inputs and labels that every loss takes from a softmax of three classes."""
    random = np.random.default_rng(3)
    x = random.normal(size=(16, 4)).astype("float32")
    classes = random.integers(0, 3, 16)
    sparse = loss.lower().startswith("sparse")
    return x, classes if sparse else np.eye(3, dtype="float32")[classes]


def ours_of(name):
    """Names of Keras that are ours now; the rest it keeps."""
    return name in fl.losses.__all__


@pytest.mark.parametrize("name", [*CLASSES, *FUNCTIONS])
def test_name_is_ours_and_goes_back(name):
    places = [keras.losses, tf.keras.losses, keras.metrics]
    before = [getattr(place, name, None) for place in places]
    with fl.patch_keras():
        assert getattr(keras.losses, name) is getattr(fl, name)
        for place, original in zip(places, before, strict=True):
            if original is keras.losses.Loss or original is None:
                continue
            is_metric = inspect.isclass(original) and place is keras.metrics
            assert getattr(place, name) is (original if is_metric else getattr(fl, name))
    assert all(getattr(place, name, None) is x for place, x in zip(places, before, strict=True))


def test_every_table_goes_back_to_the_identical_objects():
    core = importlib.import_module("keras.src.losses")
    exports = importlib.import_module("keras.src.api_export").REGISTERED_NAMES_TO_OBJS
    modules = [
        module
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0] == "keras" and module is not None
    ]
    tables = [*map(vars, modules), core.ALL_OBJECTS_DICT, exports]
    before = [dict(table) for table in tables]
    fl.patch_keras()
    try:
        changed = sum(
            table[key] is not value
            for table, copy in zip(tables, before, strict=True)
            for key, value in copy.items()
        )
        assert changed > len(CLASSES) + len(FUNCTIONS)
    finally:
        fl.unpatch_keras()
    for table, copy in zip(tables, before, strict=True):
        assert list(table) == list(copy)
        assert all(table[key] is value for key, value in copy.items())


def test_keras_own_module_keeps_the_originals(patch):
    own = importlib.import_module("keras.src.losses.losses")
    assert own.Huber is not fl.Huber
    assert keras.metrics.MeanSquaredError()._fn is own.mean_squared_error


@pytest.mark.parametrize("string", STRINGS)
def test_string_is_found_by_get(string, patch):
    if string in ("Loss", "LossFunctionWrapper"):
        pytest.skip("no loss that can be had by its string")
    found = keras.losses.get(string)
    if ours_of(string):
        expected = getattr(fl, string)
        assert isinstance(found, expected) if inspect.isclass(expected) else found is expected
    else:
        assert type(found).__module__.startswith("keras") or found.__module__.startswith("keras")


@pytest.mark.parametrize("name", [name for name in CLASSES if name in STRINGS])
def test_compile_by_string_trains_as_keras_does(name):
    x, y = data(name)
    values = []
    for patched in (False, True):
        keras.utils.set_random_seed(5)
        model = small_model("sigmoid" if name.startswith("Binary") else "softmax")
        if patched:
            fl.patch_keras()
        try:
            model.compile(keras.optimizers.SGD(0.1), loss=name, run_eagerly=True)
            values.append([float(model.train_on_batch(x, y)) for _ in range(2)])
        finally:
            fl.unpatch_keras()
    assert type(model._compile_loss._flat_losses[0].loss) is getattr(fl, name)
    np.testing.assert_allclose(values[1], values[0], rtol=1e-5)


@pytest.mark.parametrize("string", [*FUNCTIONS, *ABBREVIATIONS])
def test_function_compiled_by_its_string_is_computed_like_the_class(string, patch):
    if string not in STRINGS:
        pytest.skip("Keras has no such string")
    loss = compile_utils.get_loss(string, None, None)
    assert isinstance(loss, FusedLoss) and loss.name == string
    assert keras.losses.deserialize(string) is getattr(fl, string)


def test_crossentropy_by_the_shape_of_the_labels(patch):
    for name, expected in (
        ("sparse_categorical", fl.SparseCategoricalCrossentropy),
        ("categorical", fl.CategoricalCrossentropy),
    ):
        model = small_model()
        model.compile("sgd", loss="crossentropy")
        model.train_on_batch(*data(name))
        assert type(model._compile_loss._flat_losses[0].loss) is expected


def test_function_with_arguments_stays_a_function(patch):
    core = importlib.import_module("keras.src.losses")
    loss = core.LossFunctionWrapper(fl.huber, name="wide", delta=2.0)
    assert not isinstance(loss, FusedLoss) and isinstance(loss, core.LossFunctionWrapper)
    y_true, y_pred = np.zeros((2, 3), "float32"), np.full((2, 3), 3.0, "float32")
    assert float(loss(y_true, y_pred)) == float(fl.Huber(delta=2.0)(y_true, y_pred))


@pytest.mark.parametrize("name", CLASSES)
def test_class_saved_by_keras_loads_as_ours(name):
    saved = keras.saving.serialize_keras_object(getattr(keras.losses, name)(name="mine"))
    with fl.patch_keras():
        for loaded in (
            keras.saving.deserialize_keras_object(saved),
            keras.losses.deserialize({"class_name": name, "config": {"name": "mine"}})
            if name in STRINGS
            else None,
        ):
            assert loaded is None or (type(loaded) is getattr(fl, name) and loaded.name == "mine")
        again = keras.saving.serialize_keras_object(getattr(keras.losses, name)())
    assert type(keras.saving.deserialize_keras_object(again)) is getattr(fl, name)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("loss", ["mse", "Huber", "function"])
def test_model_saved_by_keras_loads_with_ours(loss, suffix, tmp_path):
    given = {"Huber": keras.losses.Huber(), "function": keras.losses.huber}.get(loss, loss)
    model = small_model()
    model.compile("sgd", loss=given)
    x, y = data(loss)
    model.train_on_batch(x, y)
    model.save(tmp_path / f"model.{suffix}")
    with fl.patch_keras():
        loaded = keras.models.load_model(tmp_path / f"model.{suffix}")
        loaded.evaluate(x, y, verbose=0)
        assert isinstance(loaded._compile_loss._flat_losses[0].loss, FusedLoss)


def test_metrics_stay_those_of_keras(patch):
    model = small_model()
    model.compile("sgd", loss="mse", metrics=["mse", "mae"])
    x, y = data("mse")
    history = model.fit(x, y, verbose=0).history
    assert {"mse", "mae"} <= set(history)
    saved = keras.saving.serialize_keras_object(keras.metrics.MeanSquaredError())
    assert type(keras.saving.deserialize_keras_object(saved)) is keras.metrics.MeanSquaredError


def test_subclass_of_a_patched_name(patch):
    class Doubled(keras.losses.MeanSquaredError):
        def call(self, y_true, y_pred):
            return 2 * super().call(y_true, y_pred)

    y_true, y_pred = np.zeros((2, 3), "float32"), np.ones((2, 3), "float32")
    assert float(Doubled()(y_true, y_pred)) == 2.0


def test_patch_tells_and_a_second_one_changes_nothing():
    with fl.patch_keras() as patch:
        assert {"keras.losses", "keras.metrics", "strings", "saved models"} <= set(patch.places)
        assert "Huber" in patch.places["keras.losses"] and "mse" in patch.places["strings"]
        assert "Huber" in str(patch) and "mean_squared_error" in str(patch)
        with fl.patch_keras() as second:
            assert second.places == {} and "already" in str(second)
        assert keras.losses.Huber is fl.Huber
        fl.unpatch_keras()
        assert keras.losses.Huber is not fl.Huber
    assert keras.losses.Huber is not fl.Huber


def test_script_runs_with_keras_patched(tmp_path):
    script = tmp_path / "train.py"
    (tmp_path / "beside.py").write_text("")
    script.write_text(
        "import sys\n"
        "import beside\n"
        "from keras.losses import MeanSquaredError\n"
        "print(__name__, sys.argv[1:], MeanSquaredError.__module__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "fastloss", str(script), "--epochs", "3"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[0] == "__main__ ['--epochs', '3'] fastloss.losses.regression"
    assert "losses of Keras replaced" in done.stderr


def test_script_that_is_not_there(monkeypatch):
    from fastloss.tools.patch import run_script

    with pytest.raises(SystemExit, match=r"nowhere\.py is no file"):
        run_script("nowhere.py", [])
    assert keras.losses.Huber is not fl.Huber


class Failures:
    """Collects what Keras's own tests say."""

    def __init__(self):
        self.failed, self.passed = set(), 0

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.add(report.nodeid.partition("::")[2])
        elif report.when == "call" and report.passed:
            self.passed += 1


@pytest.mark.skipif(
    importlib.util.find_spec("keras.src.losses.losses_test") is None,
    reason="this Keras comes without its tests",
)
def test_keras_own_tests_pass():
    keras_tests = importlib.import_module("keras.src.losses.losses_test")
    own = keras_tests.losses
    failures = Failures()
    with fl.patch_keras():
        keras_tests.losses = SimpleNamespace(
            **{name: getattr(keras.losses, name, x) for name, x in vars(own).items()}
        )
        try:
            options = "-q --no-header --tb=no -p no:cacheprovider -o addopts= --pyargs"
            pytest.main([*options.split(), "keras.src.losses.losses_test"], plugins=[failures])
        finally:
            keras_tests.losses = own
    assert failures.passed > 100
    assert failures.failed <= KERAS_TESTS_THAT_DIFFER
