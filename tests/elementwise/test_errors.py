"""Bad input is refused with a message that names it; it never crashes and never gives a number."""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
import textwrap
import warnings

import kernels
import numpy as np
import pytest
import tensorflow as tf
from cases import (
    CASES,
    IDS,
    LABEL_DTYPES,
    assert_close,
    find,
    numpy_dtype,
    run_python,
    value_and_gradient,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastloss as fl
from fastloss import c_api
from fastloss.ops import library as backends

REFUSALS = (ValueError, TypeError, tf.errors.InvalidArgumentError)

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)

# Arguments


BAD_ARGUMENTS = [
    *[("Huber", "delta", value) for value in (-1, -1e-9, float("nan"), "1x", None)],
    *[("Pinball", "tau", value) for value in (0, 1, -0.1, 1.5, float("nan"), None, "a")],
    *[
        (public, "label_smoothing", value)
        for public in ("BinaryCrossentropy", "BinaryFocalCrossentropy")
        for value in (-0.1, 1.1, float("nan"), None, "a")
    ],
    *[("BinaryFocalCrossentropy", "alpha", value) for value in (-0.1, 1.1, float("nan"), "a")],
    *[("BinaryFocalCrossentropy", "gamma", value) for value in (-1, float("nan"), "a")],
    *[
        ("BinaryCrossentropy", "pos_weight", value)
        for value in (-1.0, [1.0, -2.0], "a", float("nan"))
    ],
]


@pytest.mark.parametrize(("public", "argument", "value"), BAD_ARGUMENTS, ids=str)
def test_argument_out_of_range_is_named(public, argument, value):
    case = find(public)
    with pytest.raises(ValueError, match=argument):
        getattr(fl, public)(**{argument: value})
    y_true, y_pred = case.data((4, 2))
    with pytest.raises(ValueError, match=argument):
        getattr(fl, case.function)(y_true, y_pred, **{argument: value})


def test_pos_weight_that_does_not_fit_the_classes_is_refused():
    y_true, y_pred = find("BinaryCrossentropy").data((6, 4))
    for weight in ([1.0, 2.0], [1.0, 2.0, 3.0], np.ones((6, 4)).tolist(), []):
        with pytest.raises(ValueError, match="pos_weight"):
            fl.BinaryCrossentropy(pos_weight=weight)(y_true, y_pred)


@pytest.mark.parametrize("public", sorted({case.public for case in CASES}))
def test_unknown_arguments_and_reductions_are_refused(public):
    with pytest.raises(TypeError, match="unknown"):
        getattr(fl, public)(unknown=1)
    with pytest.raises(ValueError, match="reduction"):
        getattr(fl, public)(reduction="median")
    with pytest.raises((ValueError, TypeError)):
        getattr(fl, public)(dtype="no_such_dtype")


# Shapes and dtypes


@every_case
def test_mismatched_shapes_are_named_in_eager_and_while_tracing(case):
    y_true, y_pred = case.data((4, 3))
    for other in (y_pred[:3], y_pred[:, :2], np.stack([y_pred] * 2)[..., :2]):
        for reduction in ("sum_over_batch_size", "none"):
            loss = case.ours(reduction=reduction)
            for call in (loss, tf.function(loss), lambda t, p, c=case: c.ours().call(t, p)):
                with pytest.raises(ValueError) as error:
                    call(y_true, other)
                assert "(4, 3)" in str(error.value)
                assert str(tuple(other.shape)) in str(error.value)


@every_case
def test_mismatched_shapes_that_only_show_at_run_time_are_named(case):
    y_true, y_pred = case.data((4, 3))
    spec = tf.TensorSpec([None, None], tf.float32)
    for reduction in ("sum_over_batch_size", "none"):
        loss = tf.function(case.ours(reduction=reduction), input_signature=[spec, spec])
        for function in (loss, lambda t, p, f=loss: value_and_gradient(f, t, p)):
            with pytest.raises(tf.errors.InvalidArgumentError) as error:
                function(y_true, y_pred[:3, :2])
            assert "[4, 3]" in str(error.value)
            assert "[3, 2]" in str(error.value)


@every_case
def test_wrong_dtypes_are_named(case):
    y_true, y_pred = case.data((4, 3))
    for wrong in (y_pred.astype(np.complex64), y_pred.astype(str)):
        for function in (case.ours(), lambda t, p, c=case: getattr(fl, c.function)(t, p)):
            with pytest.raises(ValueError, match=r"y_pred has dtype (complex64|string)"):
                function(y_true, wrong)
            with pytest.raises(ValueError, match=r"y_true has dtype (complex64|string)"):
                function(wrong, y_pred)
    for axis in (7, -3, "x", 0.5):
        if "Binary" in case.public:
            with pytest.raises(REFUSALS):
                getattr(fl, case.public)(axis=axis)(y_true, y_pred)


def test_weights_that_do_not_broadcast_are_refused():
    y_true, y_pred = find("Huber").data((4, 3, 5))
    for shape in ((5,), (3, 4), (2, 3), (4, 3, 2), (4, 2)):
        weight = np.ones(shape, np.float32)
        for reduction in ("sum_over_batch_size", "mean_with_sample_weight", "none"):
            with pytest.raises(REFUSALS):
                fl.Huber(reduction=reduction)(y_true, y_pred, weight)


def test_weights_of_a_wrong_dtype_are_named():
    y_true, y_pred = find("Huber").data((4, 3))
    for weight in (np.full(4, "a"), np.ones(4, np.complex64)):
        with pytest.raises(ValueError, match=r"sample_weight has dtype (complex64|string)"):
            fl.Huber()(y_true, y_pred, weight)


def test_weights_that_turn_out_not_to_broadcast_are_refused():
    y_true, y_pred = find("Huber").data((5, 4, 3, 2, 6))
    specs = [tf.TensorSpec([None] * 5, tf.float32)] * 2 + [tf.TensorSpec([None] * 4, tf.float32)]
    for reduction in ("sum_over_batch_size", "sum", "none"):
        loss = tf.function(fl.Huber(reduction=reduction), input_signature=specs)
        for shape in ((3, 4, 1, 2), (7, 4, 1, 2), (5, 4, 3, 3), (5, 1, 2, 1), (2, 1, 3, 1)):
            with pytest.raises(tf.errors.InvalidArgumentError):
                loss(y_true, y_pred, np.ones(shape, np.float32))


# Backend


def test_backend_is_chosen_and_put_back():
    before = fl.backend()
    with fl.use_backend("reference"):
        assert fl.backend() == "reference"
        with fl.use_backend("fused"):
            assert fl.backend() == "fused"
    assert fl.backend() == before
    with pytest.raises(ValueError, match="backend is 'fast'; expected one of 'auto'"):
        fl.set_backend("fast")


@every_case
def test_reference_serves_in_the_place_of_the_kernels(case, backend):
    y_true, y_pred = case.data((4, 3, 5))
    weight = np.random.default_rng(0).uniform(0, 2, (4, 1)).astype(np.float32)
    ours = value_and_gradient(case.ours(), y_true, y_pred, weight)
    theirs = value_and_gradient(case.keras(), y_true, y_pred, weight)
    for x, y in zip(ours, theirs, strict=True):
        assert_close(x, y, 1e-5, backend)


def test_with_a_gpu_the_kernels_serve_where_they_are_built_for_it(monkeypatch):
    for gpus, lacking, expected in (
        (["GPU:0"], "it was built without CUDA", "reference"),
        (["GPU:0"], "", "fused"),
        ([], "it was built without CUDA", "fused"),
    ):
        backends._auto.cache_clear()
        with monkeypatch.context() as patched:
            patched.setattr(tf.config, "list_logical_devices", lambda _, gpus=gpus: gpus)
            patched.setattr(backends, "why_not_on_gpu", lambda lacking=lacking: lacking)
            with fl.use_backend("auto"):
                assert fl.backend() == expected
    backends._auto.cache_clear()


def test_unknown_backend_in_the_environment_is_named():
    program = "import fastloss; print('backend', fastloss.backend())"
    output = run_python(program, FASTLOSS_BACKEND="fast")
    assert "FASTLOSS_BACKEND is 'fast'" in output
    assert "backend fused" in output
    assert "backend reference" in run_python(program, FASTLOSS_BACKEND="reference")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["missing", "broken"])
def test_failed_load_warns_once_and_the_reference_serves(kind, tmp_path):
    library = tmp_path / "libfastloss_tensorflow.so"
    if kind == "broken":
        library.write_bytes(b"not a library")
    program = f"""
        import pathlib, warnings
        import numpy as np
        import fastloss as fl
        from fastloss.ops import library
        library.LIBRARY = pathlib.Path({str(library)!r})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                loss = fl.MeanSquaredError()(np.zeros((2, 2), "f"), np.ones((2, 2), "f"))
        texts = [str(w.message) for w in caught if "fastloss" in str(w.message)]
        print(len(texts), "warning;", float(loss), fl.backend(), texts[0])
        try:
            fl.set_backend("fused")
        except fl.LoadError as error:
            print("refused:", error)
    """
    output = run_python(textwrap.dedent(program), FASTLOSS_BACKEND="auto")
    assert "1 warning; 1.0 reference" in output
    assert "libfastloss_tensorflow.so" in output
    assert "einstall" in output
    assert "refused:" in output


# The C interface


def test_c_interface_refuses_and_says_why():
    y_true, y_pred = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    with pytest.raises(
        ValueError, match="loss 'hubert' is unknown; the elementwise losses are: mean"
    ):
        kernels.elementwise("hubert", y_true, y_pred, parameters=())
    with pytest.raises(ValueError, match=r"takes 1 parameters \(delta\), not 2"):
        kernels.elementwise("huber", y_true, y_pred, parameters=(1.0, 2.0))
    with pytest.raises(ValueError, match="replicas is 0"):
        kernels.elementwise("huber", y_true, y_pred, replicas=0)
    with pytest.raises(ValueError, match="reduction code 9"):
        kernels.elementwise("huber", y_true, y_pred, reduction=9)
    with pytest.raises(ValueError, match=r"isa|instruction"):
        c_api.set_isa("pentium")
    with pytest.raises(ValueError):
        c_api.scalar("no_such_function", y_pred)


# The raw ops


def bits(parameters):
    return [struct.unpack("<q", struct.pack("<d", value))[0] for value in parameters]


CRASHES = {
    "scale with an empty upstream": """
        kernels.fastloss_scale(tf.ones([8]), tf.zeros([0]))
    """,
    "scale with an upstream of two": """
        kernels.fastloss_scale(tf.ones([8]), tf.ones([2]))
    """,
    "scale of float64 with a float32 upstream": """
        kernels.fastloss_scale(tf.ones([8], tf.float64), tf.constant(2.0))
    """,
    "float32 loss of float64 predictions": """
        wide = tf.ones([4, 3], tf.float64)
        kernels.fastloss_elementwise(wide, wide, [], [], "huber", DELTA, "sum", tf.float32)
    """,
    "float64 losses per row of float32 predictions": """
        x = tf.ones([4, 3])
        kernels.fastloss_elementwise_rows(x, x, [], [], "huber", DELTA, "none", tf.float64)
    """,
    "float64 upstream of float32 predictions": """
        x, upstream = tf.ones([4, 3]), tf.constant(1.0, tf.float64)
        kernels.fastloss_elementwise_gradient(x, x, [], [], upstream, "huber", DELTA, "sum")
    """,
    "a reduced loss from the op of losses per row": """
        x = tf.ones([4, 3])
        kernels.fastloss_elementwise_rows(x, x, [], [], "huber", DELTA, "sum", tf.float32)
    """,
    "losses per row from the op of a reduced loss": """
        x = tf.ones([4, 3])
        kernels.fastloss_elementwise(x, x, [], [], "huber", DELTA, "none", tf.float32)
    """,
    "losses per row with their gradient": """
        x = tf.ones([4, 3])
        kernels.fastloss_elementwise_with_gradient(x, x, [], [], "huber", DELTA, "none", tf.float32)
    """,
    "weights that are too few in a dimension behind a repeated one": """
        x, weight = tf.ones([5, 4, 3, 2, 6]), tf.ones([3, 4, 1, 2])
        kernels.fastloss_elementwise(x, x, [weight], [], "huber", DELTA, "sum", tf.float32)
    """,
    "two weights": """
        x, weight = tf.ones([4, 3]), tf.ones([4])
        kernels.fastloss_elementwise(x, x, [weight, weight], [], "huber", DELTA, "sum", tf.float32)
    """,
    "no parameters": """
        x = tf.ones([4, 3])
        kernels.fastloss_elementwise(x, x, [], [], "huber", [], "sum", tf.float32)
    """,
    "a hundred parameters": """
        x = tf.ones([4, 3])
        kernels.fastloss_elementwise(x, x, [], [], "huber", DELTA * 100, "sum", tf.float32)
    """,
    "no replicas": """
        x = tf.ones([4, 3])
        kernels.fastloss_elementwise(x, x, [], [], "huber", DELTA, "sum", tf.float32, replicas=0)
    """,
    "replicas beyond 32 bits": """
        x = tf.ones([4, 3])
        args = (x, x, [], [], "huber", DELTA, "mean", tf.float32)
        kernels.fastloss_elementwise(*args, replicas=2**32 + 1)
    """,
    "an unknown loss": """
        x = tf.ones([4, 3])
        kernels.fastloss_elementwise(x, x, [], [], "hubert", DELTA, "sum", tf.float32)
    """,
    "an unknown reduction": """
        x = tf.ones([4, 3])
        kernels.fastloss_elementwise(x, x, [], [], "huber", DELTA, "median", tf.float32)
    """,
    "scalars": """
        x = tf.ones([])
        kernels.fastloss_elementwise(x, x, [], [], "huber", DELTA, "sum", tf.float32)
    """,
    "an upstream of the wrong shape": """
        x = tf.ones([4, 3])
        kernels.fastloss_elementwise_gradient(x, x, [], [], tf.ones([3]), "huber", DELTA, "none")
    """,
}


PROGRAM = """
import struct, sys
import tensorflow as tf
from fastloss.ops import library
kernels = library.kernels()
DELTA = [struct.unpack("<q", struct.pack("<d", 1.0))[0]]
for name, call in CALLS.items():
    print(name, end=": ", flush=True)
    try:
        exec(call)
        print("accepted", flush=True)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        print("refused", flush=True)
"""


@pytest.fixture(scope="module")
def answers():
    """What each call came to, in processes of their own, since it may bring its process down."""
    calls = {name: textwrap.dedent(call) for name, call in CRASHES.items()}
    found = {}
    while calls:
        done = subprocess.run(
            [sys.executable, "-c", f"CALLS = {calls!r}\n{PROGRAM}"],
            cwd=tempfile.gettempdir(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        answered = [line.split(": ") for line in done.stdout.splitlines() if ": " in line]
        assert answered, done.stderr
        for name, answer in answered:
            calls.pop(name)
            found[name] = answer.strip() or f"crashed with {done.returncode}"
        assert done.returncode or not calls, done.stderr
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CRASHES)
def test_raw_op_refuses(name, answers):
    assert answers[name] == "refused"


NUMPY = {
    "mean_squared_error": ((), np.mean, lambda t, p, c: (p - t) ** 2),
    "mean_absolute_error": ((), np.mean, lambda t, p, c: abs(p - t)),
    "huber": (
        (0.7,),
        np.mean,
        lambda t, p, c: np.where(abs(p - t) <= 0.7, (p - t) ** 2 / 2, 0.7 * abs(p - t) - 0.245),
    ),
    "kl_divergence": (
        (1e-7,),
        np.sum,
        lambda t, p, c: np.clip(t, 1e-7, 1) * np.log(np.clip(t, 1e-7, 1) / np.clip(p, 1e-7, 1)),
    ),
    "binary_crossentropy_from_logits": (
        (0.1,),
        np.mean,
        lambda t, p, c: (
            c * (0.9 * t + 0.05) * np.logaddexp(0, -p) + (0.95 - 0.9 * t) * np.logaddexp(0, p)
        ),
    ),
}


def expected_of(loss, y_true, y_pred, weight, columns, reduction, replicas):
    """In numpy and float64."""
    _, join, function = NUMPY[loss]
    t, p = (tf.cast(x, tf.float64).numpy() for x in (y_true, y_pred))
    c = np.ones(p.shape)
    if columns is not None and p.size:
        c = np.resize(tf.cast(columns, tf.float64).numpy().ravel(), p.size).reshape(p.shape)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        rows = join(function(t, p, c), axis=-1)
    if weight is not None:
        rows = rows * weight.astype(np.float64)
    if reduction == "none":
        return rows
    if reduction == "sum":
        return rows.sum()
    weighted = reduction == "mean_with_sample_weight" and weight is not None
    # As in Keras, the weights are summed as they come, before they are broadcast.
    divisor = weight.sum(dtype=np.float64) if weighted else rows.size
    return rows.sum() / (divisor * replicas) if divisor else 0.0


def repeatable(examples):
    """The same examples in every run, and no time limit."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


shapes = st.lists(st.integers(0, 5), min_size=0, max_size=5).map(tuple)
prediction_dtypes = st.sampled_from(["float32", "float64", "bfloat16", "float16"])
label_dtypes = st.sampled_from(LABEL_DTYPES)


@st.composite
def op_calls(draw):
    """Mostly calls that should work, with one flaw in some."""
    shape = draw(shapes)
    dtype = draw(prediction_dtypes)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def seldom(strategy, usual):
        return draw(strategy) if draw(st.integers(0, 9)) == 0 else usual

    true_shape = seldom(shapes, shape)
    y_true = random.integers(0, 2, true_shape).astype(numpy_dtype(draw(label_dtypes)))
    y_pred = random.uniform(0.1, 3, shape).astype(numpy_dtype(dtype))
    wide = "float64" if dtype == "float64" else "float32"
    weight = columns = None
    if draw(st.booleans()):
        rows = shape[:-1]
        kept = [d if draw(st.booleans()) else 1 for d in rows]
        kept = kept[draw(st.integers(0, len(kept))) :]
        weight_shape = seldom(shapes, tuple(kept))
        weight_dtype = seldom(st.sampled_from(["float32", "float64"]), wide)
        weight = random.uniform(0, 2, weight_shape).astype(weight_dtype)
    loss = draw(st.sampled_from(sorted(NUMPY)))
    if loss.endswith("logits") and draw(st.booleans()):
        count = seldom(st.integers(0, 7), draw(st.sampled_from([1, *shape[-1:]])))
        columns = random.uniform(0.5, 2, count).astype(seldom(prediction_dtypes, wide))
    reductions = ["none", "sum", "mean", "mean_with_sample_weight"]
    return {
        "loss": loss,
        "parameters": seldom(st.lists(st.floats(0, 1), max_size=9).map(tuple), NUMPY[loss][0]),
        "y_true": y_true,
        "y_pred": y_pred,
        "weight": weight,
        "columns": columns,
        "reduction": draw(st.sampled_from(reductions)),
        "replicas": seldom(st.integers(-2, 3), 1),
        "with_gradient": draw(st.booleans()),
    }


def is_sound(call):
    shape, wide = (
        call["y_pred"].shape,
        "float64" if call["y_pred"].dtype == "float64" else "float32",
    )
    sound = bool(shape) and call["y_true"].shape == shape and call["replicas"] >= 1
    sound &= len(call["parameters"]) == len(NUMPY[call["loss"]][0])
    for extra in (call["weight"], call["columns"]):
        sound &= extra is None or extra.dtype == wide
    if sound and call["weight"] is not None:
        try:
            sound = np.broadcast_shapes(call["weight"].shape, shape[:-1]) == shape[:-1]
        except ValueError:
            sound = False
    if sound and call["columns"] is not None:
        sound = call["columns"].size > 0 and call["y_pred"].size % call["columns"].size == 0
    return sound


def run_op(call):
    kernel = backends.kernels()
    inputs = [
        tf.constant(call["y_true"]),
        tf.constant(call["y_pred"]),
        *([] if call[x] is None else [tf.constant(call[x])] for x in ("weight", "columns")),
    ]
    wide = tf.float64 if call["y_pred"].dtype == "float64" else tf.float32
    rest = (call["loss"], bits(call["parameters"]), call["reduction"])
    options = {"A": wide, "replicas": call["replicas"]}
    if call["reduction"] == "none":
        return kernel.fastloss_elementwise_rows(*inputs, *rest, **options)
    if call["with_gradient"]:
        value, gradient = kernel.fastloss_elementwise_with_gradient(*inputs, *rest, **options)
        assert gradient.shape == call["y_pred"].shape
        return value
    return kernel.fastloss_elementwise(*inputs, *rest, **options)


@pytest.mark.slow
@repeatable(600)
@given(op_calls())
def test_fuzzed_ops_are_right_or_refuse(call):
    irregular = call["weight"] is not None and call["reduction"] == "mean_with_sample_weight"
    try:
        value = run_op(call)
    except REFUSALS as error:
        # The sum of weights that are spread irregularly is left to Python, which broadcasts them.
        assert not is_sound(call) or (irregular and "not supported" in str(error)), str(error)
        return
    assert is_sound(call), "accepted"
    if call["parameters"] != NUMPY[call["loss"]][0]:
        return
    names = ("loss", "y_true", "y_pred", "weight", "columns", "reduction", "replicas")
    expected = expected_of(*(call[name] for name in names))
    assert_close(value, expected, 1e-5, tiny=1e-5)


# Any shapes and dtypes through the public losses


@pytest.mark.slow
@repeatable(300)
@given(
    st.sampled_from(CASES),
    shapes,
    shapes,
    st.none() | shapes,
    prediction_dtypes,
    label_dtypes,
    st.sampled_from(["sum_over_batch_size", "sum", "mean_with_sample_weight", "none"]),
)
def test_fuzzed_losses_do_as_the_reference(case, true, pred, weight, dtype, label_dtype, reduction):
    y_true = case.data(true, "float32", label_dtype)[0]
    y_pred = case.data(pred, dtype)[1]
    extra = [] if weight is None else [np.random.default_rng(0).uniform(0, 2, weight)]
    results = []
    for name in ("fused", "reference"):
        with fl.use_backend(name):
            try:
                results.append(
                    value_and_gradient(case.ours(reduction=reduction), y_true, y_pred, *extra)
                )
            except (*REFUSALS, IndexError):
                results.append(None)
    ours, reference = results
    assert (ours is None) == (reference is None), f"fused {ours}, reference {reference}"
    if ours is not None:
        assert_close(ours[0], reference[0], 1e-5, tiny=1e-5)
        share = {"bfloat16": 1e-2, "float16": 2e-3}.get(dtype, 1e-5)
        assert_close(ours[1], reference[1], share, tiny=1e-6)
