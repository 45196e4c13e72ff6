"""What is measured: the losses, the shapes and dtypes, and the bytes that each loss must move."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from fastloss import registry
from fastloss.registry import Pattern
from fastloss.tools.bench import keras_baselines, sums
from fastloss.tools.inputs import DOMAINS, domain_of

ITEM_SIZE: Mapping[str, int] = MappingProxyType(
    {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
)


@dataclass(frozen=True)
class Case:
    """Shape and dtype of the predictions; what the labels are, the loss says."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def elements(self) -> int:
        """How many predictions there are."""
        return math.prod(self.shape)

    @property
    def shape_text(self) -> str:
        """The shape as the command line takes it: `16384x1024`."""
        return "x".join(str(extent) for extent in self.shape)


@dataclass(frozen=True)
class Cases:
    """What a loss is measured on unless the user chooses, and in a quick run."""

    full: tuple[Case, ...]
    quick: tuple[Case, ...]


_SMALL = Case((32, 10))
# The quick cases are large enough to leave every common cache, and small enough for a whole family
# in half a minute.
ELEMENTWISE = Cases(
    (Case((16384, 1024)), Case((16384, 1024), "bfloat16"), _SMALL), (Case((4096, 1024)), _SMALL)
)
ROWWISE = Cases((Case((65536, 256)), _SMALL), (Case((1024, 4096)), _SMALL))
# Vocabularies, a row longer than a cache, a row in a few registers, ImageNet, a small classifier.
CROSSENTROPY = Cases(
    (
        Case((2048, 32000)),
        Case((64, 262144)),
        Case((65536, 256)),
        Case((262144, 16)),
        Case((14000, 1000)),
        Case((2048, 32000), "bfloat16"),
        _SMALL,
    ),
    ROWWISE.quick,
)
_SMALL_IMAGE = Case((1, 32, 32, 3))
# Probabilities of a batch of images.
OVERLAP = Cases(
    (Case((6, 512, 512, 8)), Case((6, 512, 512, 8), "bfloat16"), _SMALL_IMAGE),
    (Case((4, 256, 256, 8)), _SMALL_IMAGE),
)
# Logits of a street scene and of a volume.
SEGMENTATION = Cases(
    (Case((4, 512, 512, 19)), Case((1, 96, 96, 96, 14)), _SMALL_IMAGE), OVERLAP.quick
)
# A number beside a few labels, and beside those of a detector.
TASKS = Cases(
    (Case((2097152, 5)), Case((200000, 85)), Case((32, 5))), (Case((524288, 5)), Case((32, 5)))
)
BOXES = Cases(
    (Case((2097152, 4)), Case((2097152, 4), "bfloat16"), Case((32, 4))),
    (Case((524288, 4)), Case((32, 4))),
)
_CASES = {
    Pattern.ELEMENTWISE: ELEMENTWISE,
    Pattern.ROWWISE: ROWWISE,
    Pattern.OVERLAP: OVERLAP,
    Pattern.BOXES: BOXES,
}


@dataclass(frozen=True)
class LossSpec:
    """A loss, with the arguments it is measured with.

    Attributes:
        name: Its name in the registry, or that of a composed loss.
        family: What it is selected by: `regression`, `classification` or `distribution`, of losses
            of single values; else `rowwise`, `overlap`, `boxes` or `sums`.
        domain: Which kind of inputs it takes, a key of `DOMAINS`.
        cases: What it is measured on.
        arguments: Keyword arguments of the class, as pairs.
        ours: Makes the loss of fastloss, where it is composed; else its class does.
        baseline: The loss of a batch in the ops of Keras or TensorFlow, where Keras has no class.
    """

    name: str
    family: str
    domain: str
    cases: Cases
    arguments: tuple[tuple[str, object], ...] = ()
    ours: Callable[[], Any] | None = None
    baseline: Callable[[Any, Any], Any] | None = None

    @property
    def class_name(self) -> str:
        """The class in Keras and in fastloss."""
        loss = registry.find(self.name)
        if loss is None:
            raise ValueError(f"{self.name} is composed; expected a loss with a class.")
        return loss.class_name

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


def _spec(
    name: str,
    cases: Cases | None = None,
    domain: str | None = None,
    baseline: Callable[..., Any] | None = None,
    **arguments: object,
) -> LossSpec:
    """A loss of the registry."""
    loss = registry.find(name)
    assert loss is not None
    from_logits = bool(arguments.get("from_logits", False))
    kernels = [kernel for kernel in loss.kernels if kernel.from_logits == from_logits]
    pattern = (kernels or loss.kernels)[0].pattern
    return LossSpec(
        name,
        loss.family if pattern is Pattern.ELEMENTWISE else pattern.value,
        domain or domain_of(loss, from_logits),
        cases or _CASES[pattern],
        tuple(arguments.items()),
        baseline=None if baseline is None else partial(baseline, **arguments),
    )


def _sum(name: str, domain: str, cases: Cases, composed: sums.Composed) -> LossSpec:
    return LossSpec(name, "sums", domain, cases, ours=composed.ours, baseline=composed.baseline)


# What is not told by the registry.
_OWN: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        # No label is 0.
        "mean_absolute_percentage_error": {"domain": "positive"},
        "pinball": {"baseline": keras_baselines.pinball, "tau": 0.9},
        **{
            kind: {"baseline": partial(keras_baselines.box_loss, kind)}
            for kind in ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou")
        },
    }
)


def _specs(pattern: Pattern) -> Iterator[LossSpec]:
    """All losses of a pattern, those of probabilities from logits too."""
    for kernel in registry.kernels(pattern):
        name = registry.loss_of_kernel(kernel.name).name
        from_logits: dict[str, Any] = {"from_logits": True} if kernel.from_logits else {}
        yield _spec(name, **_OWN.get(name, {}), **from_logits)


LOSSES: tuple[LossSpec, ...] = (
    *_specs(Pattern.ELEMENTWISE),
    _spec("sparse_categorical_crossentropy", CROSSENTROPY, from_logits=True),
    _spec(
        "sparse_categorical_focal_crossentropy",
        baseline=keras_baselines.sparse_categorical_focal_crossentropy,
        from_logits=True,
    ),
    _spec("categorical_generalized_cross_entropy"),
    _spec("categorical_crossentropy", CROSSENTROPY, from_logits=True),
    _spec("categorical_focal_crossentropy", from_logits=True),
    _spec("categorical_hinge", domain="one-hot and logits"),
    _spec("cosine_similarity"),
    _spec("kl_divergence", baseline=keras_baselines.kl_divergence_from_logits, from_logits=True),
    _spec("jensen_shannon_divergence", baseline=keras_baselines.jensen_shannon_divergence),
    _spec("dice"),
    _spec("tversky"),
    _sum("mean_squared_error+mean_absolute_error+huber", "real", ELEMENTWISE, sums.THREE_ERRORS),
    _sum("multi_task(huber,binary_crossentropy)", "logits", TASKS, sums.TWO_TASKS),
    _sum("dice+binary_crossentropy", "logits", SEGMENTATION, sums.DICE_AND_BINARY_CROSSENTROPY),
    _sum(
        "dice+sparse_categorical_crossentropy",
        "classes and logits",
        SEGMENTATION,
        sums.DICE_AND_CROSSENTROPY,
    ),
    *_specs(Pattern.BOXES),
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
)
# One of each kind of arithmetic: none, a branch, a logarithm, and what most classifiers,
# segmentations and detectors train with.
QUICK_LOSSES: tuple[LossSpec, ...] = tuple(loss for loss in LOSSES if loss.label in _QUICK_LABELS)
