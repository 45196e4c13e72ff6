"""What is measured: the losses, the shapes and dtypes, and the bytes that each case must move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

ITEM_SIZE: Mapping[str, int] = MappingProxyType(
    {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
)

# Below this, the time of a call is its overhead and a bandwidth would only mislead.
BANDWIDTH_BOUND_BYTES = 1 << 20


@dataclass(frozen=True)
class LossSpec:
    """One loss of the family, with the arguments it is measured with.

    Attributes:
        name: The name used at every level of the library, `mean_squared_error`.
        class_name: The Keras class, `MeanSquaredError`.
        family: `regression` or `classification`.
        domain: Which kind of inputs the loss takes; see `make_inputs`.
        arguments: Keyword arguments of the class, as pairs.
    """

    name: str
    class_name: str
    family: str
    domain: str
    arguments: tuple[tuple[str, object], ...] = ()

    @property
    def argument_text(self) -> str:
        """The arguments as they would be typed: `from_logits=True`."""
        return ", ".join(f"{key}={value!r}" for key, value in self.arguments)

    @property
    def label(self) -> str:
        """The name, with the arguments where there are any."""
        return f"{self.name}({self.argument_text})" if self.arguments else self.name


LOSSES: tuple[LossSpec, ...] = (
    LossSpec("mean_squared_error", "MeanSquaredError", "regression", "real"),
    LossSpec("mean_absolute_error", "MeanAbsoluteError", "regression", "real"),
    LossSpec(
        "mean_absolute_percentage_error", "MeanAbsolutePercentageError", "regression", "positive"
    ),
    LossSpec(
        "mean_squared_logarithmic_error", "MeanSquaredLogarithmicError", "regression", "positive"
    ),
    LossSpec("huber", "Huber", "regression", "real"),
    LossSpec("log_cosh", "LogCosh", "regression", "real"),
    LossSpec("poisson", "Poisson", "regression", "positive"),
    LossSpec("pinball", "Pinball", "regression", "real", (("tau", 0.9),)),
    LossSpec("hinge", "Hinge", "classification", "signs"),
    LossSpec("squared_hinge", "SquaredHinge", "classification", "signs"),
    LossSpec("kl_divergence", "KLDivergence", "classification", "distributions"),
    LossSpec("binary_crossentropy", "BinaryCrossentropy", "classification", "probabilities"),
    LossSpec(
        "binary_crossentropy",
        "BinaryCrossentropy",
        "classification",
        "logits",
        (("from_logits", True),),
    ),
    LossSpec(
        "binary_focal_crossentropy", "BinaryFocalCrossentropy", "classification", "probabilities"
    ),
    LossSpec(
        "binary_focal_crossentropy",
        "BinaryFocalCrossentropy",
        "classification",
        "logits",
        (("from_logits", True),),
    ),
)

_QUICK_NAMES = ("mean_squared_error", "huber", "poisson", "binary_crossentropy")
# One of each kind of arithmetic: none, a branch, a logarithm, the classifier that most train with.
QUICK_LOSSES: tuple[LossSpec, ...] = tuple(
    loss
    for loss in LOSSES
    if loss.name in _QUICK_NAMES and (loss.name != "binary_crossentropy" or loss.domain == "logits")
)


@dataclass(frozen=True)
class Case:
    """A shape and a dtype; y_true and y_pred share both, as in a Keras training step."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """How many predictions there are."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def shape_text(self) -> str:
        """The shape as the command line takes it: `16384x1024`."""
        return "x".join(str(extent) for extent in self.shape)

    def bytes_moved(self, *, forward_only: bool) -> int:
        """The bytes that must move: each input read once and, with it, the gradient written once.

        With a gradient that is 3 x elements x item size, forward only 2 x. The scalar loss counts
        as nothing.
        """
        return (2 if forward_only else 3) * self.elements * ITEM_SIZE[self.dtype]

    def is_bandwidth_bound(self, *, forward_only: bool) -> bool:
        """Whether bytes per second say anything about this case."""
        return self.bytes_moved(forward_only=forward_only) >= BANDWIDTH_BOUND_BYTES


DEFAULT_CASES: tuple[Case, ...] = (
    Case((16384, 1024), "float32"),
    Case((16384, 1024), "bfloat16"),
    Case((32, 10), "float32"),
)
# Large enough to leave every common cache, small enough for a whole family in half a minute.
QUICK_CASES: tuple[Case, ...] = (
    Case((4096, 1024), "float32"),
    Case((32, 10), "float32"),
)


def parse_shape(text: str) -> tuple[int, ...]:
    """Reads `16384x1024` (or `16384,1024`).

    Args:
        text: Extents separated by `x` or commas.

    Returns:
        The shape.

    Raises:
        ValueError: The text is not a shape of positive extents.
    """
    parts = text.lower().replace(",", "x").strip("[]() ").split("x")
    try:
        shape = tuple(int(part) for part in parts)
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ValueError(
            f"shape is {text!r}, but must be positive whole numbers joined by 'x', "
            "as in 16384x1024."
        )
    return shape


def select_losses(names: Iterable[str]) -> tuple[LossSpec, ...]:
    """The losses of these names; all of them for no name.

    Args:
        names: Names as in `LossSpec.name`; a name stands for all its variants.

    Returns:
        The losses, in the order of `LOSSES`.

    Raises:
        ValueError: There is no loss of that name.
    """
    wanted = list(names)
    known = list(dict.fromkeys(loss.name for loss in LOSSES))
    for name in wanted:
        if name not in known:
            raise ValueError(f"loss is {name!r}, but must be one of {', '.join(known)}.")
    return tuple(loss for loss in LOSSES if not wanted or loss.name in wanted)


def select_cases(
    shapes: Iterable[str], dtypes: Iterable[str], *, quick: bool = False
) -> tuple[Case, ...]:
    """The cases for these shapes and dtypes.

    Args:
        shapes: Shapes as `parse_shape` reads them; none takes the default ones.
        dtypes: Names of float types; none takes float32, or the default cases if `shapes` is
            empty too.
        quick: Whether the smaller default cases are taken.

    Returns:
        Every shape with every dtype.

    Raises:
        ValueError: A shape or a dtype is not valid.
    """
    wanted_shapes = [parse_shape(text) for text in shapes]
    wanted_dtypes = list(dtypes)
    for dtype in wanted_dtypes:
        if dtype not in ITEM_SIZE:
            raise ValueError(f"dtype is {dtype!r}, but must be one of {', '.join(ITEM_SIZE)}.")
    defaults = QUICK_CASES if quick else DEFAULT_CASES
    if not wanted_shapes and not wanted_dtypes:
        return defaults
    wanted_shapes = wanted_shapes or list(dict.fromkeys(case.shape for case in defaults))
    wanted_dtypes = wanted_dtypes or ["float32"]
    return tuple(Case(shape, dtype) for dtype in wanted_dtypes for shape in wanted_shapes)


def make_inputs(domain: str, shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, ...]:
    """Draws y_true and y_pred of the kind that a loss takes.

    Args:
        domain: `real` (targets and predictions on the line), `positive` (both above zero),
            `signs` (labels -1 or 1, scores), `distributions` (rows that sum to 1),
            `probabilities` (labels 0 or 1, predictions inside (0, 1)) or `logits` (labels 0 or 1,
            predictions on the line).
        shape: Shape of both.
        seed: Seed of the draw.

    Returns:
        y_true and y_pred, float32.

    Raises:
        ValueError: There is no such domain.
    """
    generator = np.random.default_rng(seed)

    def normal(scale: float) -> np.ndarray:
        return generator.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    def uniform(low: float, high: float) -> np.ndarray:
        drawn = generator.random(shape, dtype=np.float32)
        return drawn * np.float32(high - low) + np.float32(low)

    def labels() -> np.ndarray:
        return (generator.random(shape, dtype=np.float32) < 0.5).astype(np.float32)

    if domain == "real":
        return normal(1.0), normal(1.0)
    if domain == "positive":
        return uniform(0.1, 4.0), uniform(0.1, 4.0)
    if domain == "signs":
        return 2 * labels() - 1, normal(1.0)
    if domain == "distributions":
        weights = uniform(0.05, 1.0), uniform(0.05, 1.0)
        return tuple(drawn / drawn.sum(axis=-1, keepdims=True) for drawn in weights)
    if domain == "probabilities":
        return labels(), uniform(0.01, 0.99)
    if domain == "logits":
        return labels(), normal(2.0)
    raise ValueError(
        f"domain is {domain!r}, but must be one of real, positive, signs, distributions, "
        "probabilities, logits."
    )
