"""What every loss is: the one place that says it. Imports nothing of TensorFlow.

A loss has one name at every level: that of its public function, its reference and its kernels, of
which one from logits ends in `_from_logits`. Its class has the same name in capitals. Ops, sums,
tools, documentation and tests read what they need to know about a loss here; the C library exports
the same facts of its kernels, and a test holds both equal.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache
from typing import Any, NamedTuple


class Pattern(Enum):
    """How a loss goes through memory."""

    ELEMENTWISE = "elementwise"  # an element by itself
    ROWWISE = "rowwise"  # the classes of a row together
    OVERLAP = "overlap"  # sums over regions
    BOXES = "boxes"  # pairs of boxes
    SORTED = "sorted"  # a whole image in order; TensorFlow ops alone


class Labels(Enum):
    """What one label says."""

    NUMBER = "a number"
    NOT_NEGATIVE = "a number from 0"
    SIGN = "-1 or 1, or 0 or 1"
    PROBABILITY = "0 or 1, or a probability"
    CLASS = "a class number"
    ONE_HOT = "a one-hot row, or a row of probabilities"
    LOGITS = "a row of logits"
    VECTOR = "a vector"
    BOX = "a box"
    REGION = "a mask, or class numbers"


class Predictions(Enum):
    """What y_pred holds."""

    NUMBERS = "numbers"
    POSITIVE = "numbers above 0"
    SCORES = "scores of any size, as logits"
    PROBABILITIES = "probabilities, or logits with from_logits=True"


class Kernel(NamedTuple):
    """One computation of a loss, as the C library and the reference name it.

    Attributes:
        name: Its name.
        pattern: How it goes through memory.
        parameters: The names of its parameters, in order.
        labels: What one label says.
        from_logits: Whether it takes logits where its loss may take probabilities too.
        row_reduction: "mean" or "sum": how the elements of a row become the row's loss.
        needs_all_labels: Whether the first value depends on all labels.
        has_dense_form: Whether a loss of class numbers also takes rows of labels, as smoothing
            makes them of the numbers.
        couples_classes: Whether all classes have one loss together.
        counts_positions: Whether it depends on how many positions there are.
        fuses_with_overlap: Whether it can be computed in the pass of an overlap loss: an
            elementwise loss of labels as they are, or a rowwise one that needs no more than the
            softmax.
    """

    name: str
    pattern: Pattern
    parameters: tuple[str, ...] = ()
    labels: Labels = Labels.NUMBER
    from_logits: bool = False
    row_reduction: str = "mean"
    needs_all_labels: bool = False
    has_dense_form: bool = True
    couples_classes: bool = False
    counts_positions: bool = False
    fuses_with_overlap: bool = False

    @property
    def sparse(self) -> bool:
        """Whether a label is a class number, one for each row."""
        return self.labels is Labels.CLASS


class Loss(NamedTuple):
    """A public loss.

    Attributes:
        class_name: The public class.
        pattern: How it goes through memory.
        labels: What one label says.
        predictions: What y_pred holds.
        kernels: Its computations; none for a loss of TensorFlow ops.
        aliases: Other public names, of the function or the class.
        family: What it is for: the module, or the package, of `fastloss.losses` that it is in.
    """

    class_name: str
    pattern: Pattern
    labels: Labels
    predictions: Predictions
    kernels: tuple[Kernel, ...] = ()
    aliases: tuple[str, ...] = ()
    family: str = ""

    @property
    def name(self) -> str:
        """The public function."""
        return snake(self.class_name)

    @property
    def public_names(self) -> tuple[str, ...]:
        """Class, function and aliases."""
        return (self.class_name, self.name, *self.aliases)


def snake(class_name: str) -> str:
    """The function that goes with a class: "box_iou" of "BoxIoU"."""
    bounds = "(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
    return re.sub(bounds, "_", class_name.replace("IoU", "Iou")).lower()


def _loss(
    class_name: str,
    labels: Labels,
    predictions: Predictions,
    *kernels: Kernel,
    aliases: tuple[str, ...] = (),
) -> Loss:
    """A loss that goes through memory as the last of its kernels does."""
    return Loss(class_name, kernels[-1].pattern, labels, predictions, kernels, aliases)


def _of_logits(kernel: Kernel) -> Kernel:
    return kernel._replace(name=f"{kernel.name}_from_logits", from_logits=True)


def _elementwise(
    class_name: str,
    *parameters: str,
    labels: Labels = Labels.NUMBER,
    predictions: Predictions = Predictions.NUMBERS,
    aliases: tuple[str, ...] = (),
) -> Loss:
    """A loss of elements; one of probabilities has a kernel for logits, without epsilon."""
    signs = labels is Labels.SIGN
    name, pattern = snake(class_name), Pattern.ELEMENTWISE
    kernel = Kernel(name, pattern, parameters, labels, needs_all_labels=signs)
    kernel = kernel._replace(fuses_with_overlap=not signs)
    kernels: tuple[Kernel, ...] = (kernel,)
    if predictions is Predictions.PROBABILITIES:
        kernels = (kernel._replace(parameters=(*parameters, "epsilon")), _of_logits(kernel))
    return _loss(class_name, labels, predictions, *kernels, aliases=aliases)


def _rowwise(name: str, labels: Labels, *parameters: str) -> Kernel:
    return Kernel(name, Pattern.ROWWISE, parameters, labels, row_reduction="sum")


def _crossentropy(
    class_name: str, labels: Labels, *parameters: str, has_dense_form: bool = True
) -> Loss:
    """A loss of rows of classes; where labels may be rows, probabilities are clipped by epsilon."""
    kernel = _rowwise(snake(class_name), labels, *parameters)
    kernel = kernel._replace(has_dense_form=has_dense_form)
    clips = ("epsilon",) if has_dense_form else ()
    of_probabilities = kernel._replace(parameters=(*parameters, *clips))
    of_logits = _of_logits(kernel)._replace(fuses_with_overlap=True)
    return _loss(class_name, labels, Predictions.PROBABILITIES, of_probabilities, of_logits)


def _margin(class_name: str, labels: Labels) -> Loss:
    return _loss(class_name, labels, Predictions.SCORES, _rowwise(snake(class_name), labels))


def _overlap(class_name: str, *parameters: str, **facts: Any) -> Loss:
    parameters = (*parameters, "smooth_numerator", "smooth_denominator")
    kernel = Kernel(snake(class_name), Pattern.OVERLAP, parameters, Labels.REGION)
    kernel = kernel._replace(**facts)
    return _loss(class_name, Labels.REGION, Predictions.PROBABILITIES, kernel)


def _sorted(class_name: str, labels: Labels, predictions: Predictions) -> Loss:
    return Loss(class_name, Pattern.SORTED, labels, predictions)


def _box(class_name: str) -> Loss:
    kernel = Kernel(snake(class_name), Pattern.BOXES, ("epsilon",), Labels.BOX)
    return _loss(class_name, Labels.BOX, Predictions.NUMBERS, kernel)


_FOCAL = ("label_smoothing", "gamma", "base", "balance")
_SIGNS: dict[str, Any] = {"labels": Labels.SIGN, "predictions": Predictions.SCORES}
_YES_OR_NO: dict[str, Any] = {
    "labels": Labels.PROBABILITY,
    "predictions": Predictions.PROBABILITIES,
}
_RATES: dict[str, Any] = {"labels": Labels.NOT_NEGATIVE, "predictions": Predictions.POSITIVE}

_KL = Kernel("kl_divergence", Pattern.ELEMENTWISE, ("epsilon",), Labels.ONE_HOT)
_KL = _KL._replace(row_reduction="sum", fuses_with_overlap=True)
_KL_OF_LOGITS = _of_logits(_rowwise("kl_divergence", Labels.LOGITS))
_REVERSE_KL = _of_logits(_rowwise("reverse_kl_divergence", Labels.LOGITS))
_KL_ALIASES = ("kld", "KLD", "kullback_leibler_divergence")
_JENSEN_SHANNON = _of_logits(_rowwise("jensen_shannon_divergence", Labels.LOGITS, "beta"))
_COSINE = _rowwise("cosine_similarity", Labels.VECTOR, "epsilon")

_FAMILIES: dict[str, tuple[Loss, ...]] = {
    "regression": (
        _elementwise("MeanSquaredError", aliases=("mse", "MSE")),
        _elementwise("MeanAbsoluteError", aliases=("mae", "MAE")),
        _elementwise("MeanAbsolutePercentageError", "epsilon", aliases=("mape", "MAPE")),
        _elementwise("MeanSquaredLogarithmicError", "epsilon", **_RATES, aliases=("msle", "MSLE")),
        _elementwise("Huber", "delta"),
        _elementwise("SmoothL1", "beta"),
        _elementwise("LogCosh", aliases=("logcosh",)),
        _elementwise("Pinball", "tau", aliases=("quantile", "Quantile")),
    ),
    "classification": (
        _elementwise("BinaryCrossentropy", "label_smoothing", **_YES_OR_NO, aliases=("bce", "BCE")),
        _elementwise("BinaryFocalCrossentropy", *_FOCAL, **_YES_OR_NO),
        _elementwise("Hinge", **_SIGNS),
        _elementwise("SquaredHinge", **_SIGNS),
    ),
    "categorical": (
        _crossentropy("CategoricalCrossentropy", Labels.ONE_HOT),
        _crossentropy("SparseCategoricalCrossentropy", Labels.CLASS),
        _crossentropy("CategoricalFocalCrossentropy", Labels.ONE_HOT, "alpha", "gamma"),
        _crossentropy("SparseCategoricalFocalCrossentropy", Labels.CLASS, "alpha", "gamma"),
        _crossentropy(
            "CategoricalGeneralizedCrossEntropy", Labels.CLASS, "q", has_dense_form=False
        ),
        _margin("CategoricalHinge", Labels.ONE_HOT),
        _margin("SparseCategoricalHinge", Labels.CLASS),
    ),
    "distribution": (
        _loss(
            "KLDivergence",
            Labels.ONE_HOT,
            Predictions.PROBABILITIES,
            *(_KL, _KL_OF_LOGITS, _REVERSE_KL),
            aliases=_KL_ALIASES,
        ),
        _loss("JensenShannonDivergence", Labels.LOGITS, Predictions.SCORES, _JENSEN_SHANNON),
        _elementwise("Poisson", "epsilon", **_RATES),
    ),
    "similarity": (_loss("CosineSimilarity", Labels.VECTOR, Predictions.NUMBERS, _COSINE),),
    "segmentation": (
        _overlap("Dice"),
        _overlap("Tversky", "alpha", "beta"),
        _overlap("Jaccard"),
        _overlap("FocalTversky", "alpha", "beta", "gamma"),
        _overlap("LogCoshDice"),
        _overlap("GeneralizedDice", "power", couples_classes=True),
        _overlap("Matthews", counts_positions=True),
        _sorted("LovaszSoftmax", Labels.CLASS, Predictions.PROBABILITIES),
        _sorted("LovaszHinge", Labels.PROBABILITY, Predictions.SCORES),
    ),
    "detection": (
        _box("BoxIoU"),
        _box("GeneralizedBoxIoU"),
        _box("DistanceBoxIoU"),
        _box("CompleteBoxIoU"),
    ),
}

LOSSES = tuple(
    loss._replace(family=family) for family, losses in _FAMILIES.items() for loss in losses
)
# Losses of losses, which no pattern has.
COMPOSED = ("MultiTask", "Regularized", "WeightedSum")
# All names of `fastloss.losses`.
PUBLIC_NAMES = (
    *(name for loss in LOSSES for name in loss.public_names),
    *COMPOSED,
    *("RowMetrics", "linear_sparse_categorical_crossentropy"),
)

_BY_NAME = {name: loss for loss in LOSSES for name in loss.public_names}
_BY_KERNEL = {kernel.name: loss for loss in LOSSES for kernel in loss.kernels}
_KERNELS = {kernel.name: kernel for loss in LOSSES for kernel in loss.kernels}


def find(name: str) -> Loss | None:
    """The loss with this public name, of a function or a class; or None."""
    return _BY_NAME.get(name)


def kernel(name: str) -> Kernel:
    """The kernel of this name.

    Raises:
        KeyError: If there is none.
    """
    return _KERNELS[name]


def loss_of_kernel(name: str) -> Loss:
    """The public loss that a kernel computes.

    Raises:
        KeyError: If there is no such kernel.
    """
    return _BY_KERNEL[name]


@cache
def kernels(pattern: Pattern) -> tuple[Kernel, ...]:
    """All kernels of a pattern, in order."""
    return tuple(kernel for kernel in _KERNELS.values() if kernel.pattern is pattern)
