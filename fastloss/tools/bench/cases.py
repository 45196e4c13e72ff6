"""What is measured: the losses, the shapes and dtypes, and the bytes that each loss must move."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fastloss.tools.bench.inputs import DOMAINS

ITEM_SIZE: Mapping[str, int] = MappingProxyType(
    {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
)

# Below this, the time of a call is its overhead and a bandwidth would only mislead.
BANDWIDTH_BOUND_BYTES = 1 << 20


@dataclass(frozen=True)
class Case:
    """Shape and dtype of the predictions; what the labels are, the loss says."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """How many predictions there are."""
        return math.prod(self.shape)

    @property
    def shape_text(self) -> str:
        """The shape as the command line takes it: `16384x1024`."""
        return "x".join(str(extent) for extent in self.shape)


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

# Vocabularies, a row longer than a cache, a row in a few registers, ImageNet, a small classifier.
CROSSENTROPY_CASES: tuple[Case, ...] = (
    Case((2048, 32000), "float32"),
    Case((64, 262144), "float32"),
    Case((65536, 256), "float32"),
    Case((262144, 16), "float32"),
    Case((14000, 1000), "float32"),
    Case((2048, 32000), "bfloat16"),
    Case((32, 10), "float32"),
)
ROWWISE_CASES: tuple[Case, ...] = (
    Case((65536, 256), "float32"),
    Case((32, 10), "float32"),
)
QUICK_ROWWISE_CASES: tuple[Case, ...] = (
    Case((1024, 4096), "float32"),
    Case((32, 10), "float32"),
)
# Probabilities of a batch of images; logits of a street scene and of a volume; one small image.
OVERLAP_CASES: tuple[Case, ...] = (
    Case((6, 512, 512, 8), "float32"),
    Case((6, 512, 512, 8), "bfloat16"),
    Case((1, 32, 32, 3), "float32"),
)
SEGMENTATION_CASES: tuple[Case, ...] = (
    Case((4, 512, 512, 19), "float32"),
    Case((1, 96, 96, 96, 14), "float32"),
    Case((1, 32, 32, 3), "float32"),
)
# A number beside a few labels, and beside those of a detector.
TASK_CASES: tuple[Case, ...] = (
    Case((2097152, 5), "float32"),
    Case((200000, 85), "float32"),
    Case((32, 5), "float32"),
)
QUICK_TASK_CASES: tuple[Case, ...] = (
    Case((524288, 5), "float32"),
    Case((32, 5), "float32"),
)
CUSTOM_CASES: tuple[Case, ...] = (
    Case((16384, 1024), "float32"),
    Case((32, 10), "float32"),
)
QUICK_OVERLAP_CASES: tuple[Case, ...] = (
    Case((4, 256, 256, 8), "float32"),
    Case((1, 32, 32, 3), "float32"),
)
# The boxes of many images, and a handful.
BOX_CASES: tuple[Case, ...] = (
    Case((2097152, 4), "float32"),
    Case((2097152, 4), "bfloat16"),
    Case((32, 4), "float32"),
)
QUICK_BOX_CASES: tuple[Case, ...] = (
    Case((524288, 4), "float32"),
    Case((32, 4), "float32"),
)


@dataclass(frozen=True)
class LossSpec:
    """One loss of the family, with the arguments it is measured with.

    Attributes:
        name: The name used at every level of the library, `mean_squared_error`.
        class_name: The Keras class, `MeanSquaredError`; empty for a loss that is composed.
        family: `regression`, `classification`, `rowwise`, `overlap`, `sums`, `boxes` or
            `custom`.
        domain: Which kind of inputs the loss takes, a key of `DOMAINS`.
        arguments: Keyword arguments of the class, as pairs.
        cases: What it is measured on, unless the user chooses.
        quick_cases: The same for a quick run.
    """

    name: str
    class_name: str
    family: str
    domain: str
    arguments: tuple[tuple[str, object], ...] = ()
    cases: tuple[Case, ...] = DEFAULT_CASES
    quick_cases: tuple[Case, ...] = QUICK_CASES

    @property
    def argument_text(self) -> str:
        """The arguments as they would be typed: `from_logits=True`."""
        return ", ".join(f"{key}={value!r}" for key, value in self.arguments)

    @property
    def label(self) -> str:
        """The name, with the arguments where there are any."""
        return f"{self.name}({self.argument_text})" if self.arguments else self.name

    def bytes_moved(self, case: Case, *, forward_only: bool) -> int:
        """The bytes that must move: each input read once and, with it, the gradient written once.

        Labels count with the bytes they have, and the gradient has those of the predictions: with a
        gradient that is 3 matrices where labels are a matrix, and 2 and the labels where they are
        class numbers. The scalar loss counts as nothing.
        """
        item_size = ITEM_SIZE[case.dtype]
        labels = DOMAINS[self.domain].label_bytes(case.shape, item_size)
        return labels + (1 if forward_only else 2) * case.elements * item_size


def _rowwise(
    name: str,
    class_name: str,
    domain: str,
    *arguments: tuple[str, object],
    cases: tuple[Case, ...] = ROWWISE_CASES,
) -> LossSpec:
    return LossSpec(name, class_name, "rowwise", domain, arguments, cases, QUICK_ROWWISE_CASES)


def _overlap(name: str, class_name: str) -> LossSpec:
    domain = "probabilities"
    return LossSpec(name, class_name, "overlap", domain, (), OVERLAP_CASES, QUICK_OVERLAP_CASES)


def _sum(
    name: str, domain: str, cases: tuple[Case, ...], quick_cases: tuple[Case, ...]
) -> LossSpec:
    return LossSpec(name, "", "sums", domain, (), cases, quick_cases)


def _custom(name: str, domain: str) -> LossSpec:
    return LossSpec(name, "", "custom", domain, (), CUSTOM_CASES, QUICK_CASES)


def _boxes(name: str, class_name: str) -> LossSpec:
    return LossSpec(name, class_name, "boxes", "boxes", (), BOX_CASES, QUICK_BOX_CASES)


_FROM_LOGITS = ("from_logits", True)

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
        "binary_crossentropy", "BinaryCrossentropy", "classification", "logits", (_FROM_LOGITS,)
    ),
    LossSpec(
        "binary_focal_crossentropy", "BinaryFocalCrossentropy", "classification", "probabilities"
    ),
    LossSpec(
        "binary_focal_crossentropy",
        "BinaryFocalCrossentropy",
        "classification",
        "logits",
        (_FROM_LOGITS,),
    ),
    _rowwise(
        "sparse_categorical_crossentropy",
        "SparseCategoricalCrossentropy",
        "classes and logits",
        _FROM_LOGITS,
        cases=CROSSENTROPY_CASES,
    ),
    _rowwise(
        "sparse_categorical_focal_crossentropy",
        "SparseCategoricalFocalCrossentropy",
        "classes and logits",
        _FROM_LOGITS,
    ),
    _rowwise(
        "categorical_generalized_cross_entropy",
        "CategoricalGeneralizedCrossEntropy",
        "classes and probabilities",
    ),
    _rowwise(
        "categorical_crossentropy",
        "CategoricalCrossentropy",
        "one-hot and logits",
        _FROM_LOGITS,
        cases=CROSSENTROPY_CASES,
    ),
    _rowwise(
        "categorical_focal_crossentropy",
        "CategoricalFocalCrossentropy",
        "one-hot and logits",
        _FROM_LOGITS,
    ),
    _rowwise("categorical_hinge", "CategoricalHinge", "one-hot and logits"),
    _rowwise("cosine_similarity", "CosineSimilarity", "real"),
    _rowwise("kl_divergence", "KLDivergence", "logits twice", _FROM_LOGITS),
    _rowwise("jensen_shannon_divergence", "JensenShannonDivergence", "logits twice"),
    _overlap("dice", "Dice"),
    _overlap("tversky", "Tversky"),
    _sum("mean_squared_error+mean_absolute_error+huber", "real", DEFAULT_CASES, QUICK_CASES),
    _sum("multi_task(huber,binary_crossentropy)", "logits", TASK_CASES, QUICK_TASK_CASES),
    _sum("dice+binary_crossentropy", "logits", SEGMENTATION_CASES, QUICK_OVERLAP_CASES),
    _sum(
        "dice+sparse_categorical_crossentropy",
        "classes and logits",
        SEGMENTATION_CASES,
        QUICK_OVERLAP_CASES,
    ),
    _boxes("box_iou", "BoxIoU"),
    _boxes("generalized_box_iou", "GeneralizedBoxIoU"),
    _boxes("distance_box_iou", "DistanceBoxIoU"),
    _boxes("complete_box_iou", "CompleteBoxIoU"),
    *(_custom(name, "real") for name in ("charbonnier", "wing", "general_robust")),
    _custom("quantile_huber", "real"),
    *(_custom(name, "logits") for name in ("asymmetric", "focal_dice")),
)

_QUICK_LABELS = (
    "mean_squared_error",
    "huber",
    "poisson",
    "binary_crossentropy(from_logits=True)",
    "sparse_categorical_crossentropy(from_logits=True)",
    "dice",
    "dice+sparse_categorical_crossentropy",
    "generalized_box_iou",
    "charbonnier",
)
# One of each kind of arithmetic: none, a branch, a logarithm, the classifiers and the detector that
# most train with, and a function of a user.
QUICK_LOSSES: tuple[LossSpec, ...] = tuple(loss for loss in LOSSES if loss.label in _QUICK_LABELS)
