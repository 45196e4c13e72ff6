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


