"""What `import fastloss` does, and what it leaves for later."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from cases import run_python

import fastloss as fl
from fastloss import registry

LOADED = "print([x for x in ('keras', 'numpy', 'tensorflow') if x in sys.modules])"


def test_import_loads_neither_tensorflow_nor_keras():
    program = (
        "import sys, fastloss\n"
        "names = dir(fastloss)\n"
        "assert 'Huber' in names and 'plot' in names and 'fuse' in fastloss.__all__\n"
        "assert isinstance(fastloss.__version__, str)\n"
    )
    assert "[]" in run_python(program + LOADED)


def test_all_public_names_are_there():
    for name in fl.__all__:
        assert getattr(fl, name) is not None, name
    assert set(fl.losses.__all__) == set(registry.PUBLIC_NAMES) <= set(fl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Hubert'"):
        _ = fl.Hubert


def test_star_import():
    program = (
        "from fastloss import *\n"
        "print(float(Huber()([[0.0]], [[0.0]])), recommend.__name__, layers.__name__)"
    )
    assert "0.0 recommend fastloss.layers" in run_python(program)


@pytest.mark.parametrize(
    "imports",
    [
        "import fastloss, keras",
        "import keras, fastloss",
        "import fastloss, tensorflow as tf; keras = tf.keras",
        "from fastloss.losses import Dice; import keras",
        # Who asks whether Keras is installed does not import it.
        "import fastloss; from importlib.util import find_spec; find_spec('keras'); import keras",
    ],
)
def test_saved_model_loads(imports, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", fl.Huber() + 0.5 * fl.Dice(squared=True))
    model.fit(np.zeros((4, 3), np.float32), np.zeros((4, 1), np.float32), verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    program = f"{imports}\nprint('loss', keras.models.load_model({str(path)!r}).loss.name)"
    assert "loss weighted_sum" in run_python(program)
