"""What every loss is: the one place that says it. Imports nothing of TensorFlow.

A loss has one name at every level: that of its public function, its reference and its kernels, of
which one from logits ends in `_from_logits`. Ops, sums, tools, documentation and tests read what
they need to know about a loss here; the C library exports the same facts of its kernels, and a test
holds both equal.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import NamedTuple


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
    VECTOR = "a vector"
    LOGITS = "a row of logits"
    BOX = "a box"
    REGION = "a mask, or class numbers"


class Predictions(Enum):
    """What y_pred holds."""

    NUMBERS = "numbers"
    POSITIVE = "numbers above 0"
    SCORES = "scores of any size, as logits"
    PROBABILITIES = "probabilities, or logits with from_logits=True"
    PROBABILITIES_ONLY = "probabilities"


class Range(NamedTuple):
    """What a parameter may be: bounds, which `open` leaves out, and a `sample` for tests."""

    low: float
    high: float
    sample: float
    open: bool = False


_INFINITY = float("inf")
PARAMETERS: dict[str, Range] = {
    "alpha": Range(0.0, _INFINITY, 0.3),
    "balance": Range(-1.0, 1.0, 0.25),
    "base": Range(0.0, 1.0, 0.5),
    "beta": Range(0.0, _INFINITY, 0.6),
    "delta": Range(0.0, _INFINITY, 0.7),
    "epsilon": Range(0.0, 1.0, 1e-7, open=True),
    "gamma": Range(0.0, _INFINITY, 1.5),
    "label_smoothing": Range(0.0, 1.0, 0.1),
    "power": Range(0.0, _INFINITY, 2.0),
    "q": Range(0.0, 1.0, 0.7, open=True),
    "smooth_denominator": Range(0.0, _INFINITY, 1.0),
    "smooth_numerator": Range(0.0, _INFINITY, 0.5),
    "tau": Range(0.0, 1.0, 0.3, open=True),
}


class Kernel(NamedTuple):
    """One computation of a loss, as the C library and the reference name it.

    Attributes:
        name: Its name.
        pattern: How it goes through memory.
        parameters: The names of its parameters, in order.
        from_logits: Whether it takes logits where its loss may take probabilities too.
        row_reduction: "mean" or "sum": how the elements of a row become the row's loss.
        needs_all_labels: Whether the first value depends on all labels.
        sparse: Whether a label is a class number, one for each row.
        has_dense_form: Whether a sparse loss also takes labels as rows, as smoothing makes them.
        couples_classes: Whether all classes have one loss together.
        fuses_with_overlap: Whether it can be computed in the pass of an overlap loss: an
            elementwise loss of labels as they are, or a rowwise one that needs no more than the
            softmax.
    """

    name: str
    pattern: Pattern
    parameters: tuple[str, ...] = ()
    from_logits: bool = False
    row_reduction: str = "mean"
    needs_all_labels: bool = False
    sparse: bool = False
    has_dense_form: bool = True
    couples_classes: bool = False
    fuses_with_overlap: bool = False


class Loss(NamedTuple):
    """A public loss.

    Attributes:
        name: The public function.
        class_name: The public class.
        family: What it is for: the module, or the package, of `fastloss.losses` that it is in.
        labels: What one label says.
        predictions: What y_pred holds.
        kernels: Its computations; none for a loss of TensorFlow ops.
        pattern: How it goes through memory.
        aliases: Other public names, of the function or the class.
    """

    name: str
    class_name: str
    family: str
    labels: Labels
    predictions: Predictions
    kernels: tuple[Kernel, ...]
    pattern: Pattern
    aliases: tuple[str, ...] = ()


def _elementwise(
    name: str,
    class_name: str,
    family: str,
    labels: Labels,
    predictions: Predictions,
    *parameters: str,
    row_reduction: str = "mean",
    needs_all_labels: bool = False,
    from_logits: tuple[str, ...] | None = None,
    aliases: tuple[str, ...] = (),
) -> Loss:
    """A loss of elements; `from_logits` names the parameters of its kernel for logits."""

    def kernel(name: str, parameters: tuple[str, ...], of_logits: bool = False) -> Kernel:
        return Kernel(
            name,
            Pattern.ELEMENTWISE,
            parameters,
            of_logits,
            row_reduction,
            needs_all_labels,
            fuses_with_overlap=not needs_all_labels,
        )

    kernels = [kernel(name, parameters)]
    if from_logits is not None:
        kernels.append(kernel(f"{name}_from_logits", from_logits, True))
    return Loss(
        name,
        class_name,
        family,
        labels,
        predictions,
        tuple(kernels),
        Pattern.ELEMENTWISE,
        aliases,
    )


def _crossentropy(
    name: str,
    class_name: str,
    *parameters: str,
    sparse: bool = False,
    has_dense_form: bool = True,
    of_probabilities: tuple[str, ...] = ("epsilon",),
) -> Loss:
    """A loss of rows of classes; `of_probabilities` are further parameters for probabilities."""
    common = {"sparse": sparse, "has_dense_form": has_dense_form, "row_reduction": "sum"}
    return Loss(
        name,
        class_name,
        "categorical",
        Labels.CLASS if sparse else Labels.ONE_HOT,
        Predictions.PROBABILITIES,
        (
            Kernel(name, Pattern.ROWWISE, (*parameters, *of_probabilities), **common),
            Kernel(
                f"{name}_from_logits",
                Pattern.ROWWISE,
                parameters,
                from_logits=True,
                fuses_with_overlap=True,
                **common,
            ),
        ),
        Pattern.ROWWISE,
    )


def _rowwise(
    name: str, *parameters: str, from_logits: bool = False, sparse: bool = False
) -> Kernel:
    return Kernel(
        name,
        Pattern.ROWWISE,
        parameters,
        from_logits=from_logits,
        row_reduction="sum",
        sparse=sparse,
    )


def _overlap(name: str, class_name: str, *parameters: str, couples_classes: bool = False) -> Loss:
    kernel = Kernel(name, Pattern.OVERLAP, parameters, couples_classes=couples_classes)
    return Loss(
        name,
        class_name,
        "segmentation",
        Labels.REGION,
        Predictions.PROBABILITIES,
        (kernel,),
        Pattern.OVERLAP,
    )


def _sorted(name: str, class_name: str, labels: Labels, predictions: Predictions) -> Loss:
    return Loss(name, class_name, "segmentation", labels, predictions, (), Pattern.SORTED)


def _box(name: str, class_name: str) -> Loss:
    kernel = Kernel(name, Pattern.BOXES, ("epsilon",))
    return Loss(
        name,
        class_name,
        "detection",
        Labels.BOX,
        Predictions.NUMBERS,
        (kernel,),
        Pattern.BOXES,
    )


_SMOOTHING = ("smooth_numerator", "smooth_denominator")
_FOCAL = ("label_smoothing", "gamma", "base", "balance")

LOSSES: tuple[Loss, ...] = (
    _elementwise(
        "mean_squared_error",
        "MeanSquaredError",
        "regression",
        Labels.NUMBER,
        Predictions.NUMBERS,
        aliases=("mse", "MSE"),
    ),
    _elementwise(
        "mean_absolute_error",
        "MeanAbsoluteError",
        "regression",
        Labels.NUMBER,
        Predictions.NUMBERS,
        aliases=("mae", "MAE"),
    ),
    _elementwise(
        "mean_absolute_percentage_error",
        "MeanAbsolutePercentageError",
        "regression",
        Labels.NUMBER,
        Predictions.NUMBERS,
        "epsilon",
        aliases=("mape", "MAPE"),
    ),
    _elementwise(
        "mean_squared_logarithmic_error",
        "MeanSquaredLogarithmicError",
        "regression",
        Labels.NOT_NEGATIVE,
        Predictions.POSITIVE,
        "epsilon",
        aliases=("msle", "MSLE"),
    ),
    _elementwise("huber", "Huber", "regression", Labels.NUMBER, Predictions.NUMBERS, "delta"),
    _elementwise(
        "log_cosh",
        "LogCosh",
        "regression",
        Labels.NUMBER,
        Predictions.NUMBERS,
        aliases=("logcosh",),
    ),
    _elementwise(
        "pinball",
        "Pinball",
        "regression",
        Labels.NUMBER,
        Predictions.NUMBERS,
        "tau",
        aliases=("quantile", "Quantile"),
    ),
    _elementwise(
        "poisson",
        "Poisson",
        "distribution",
        Labels.NOT_NEGATIVE,
        Predictions.POSITIVE,
        "epsilon",
    ),
    _elementwise(
        "hinge",
        "Hinge",
        "classification",
        Labels.SIGN,
        Predictions.SCORES,
        needs_all_labels=True,
    ),
    _elementwise(
        "squared_hinge",
        "SquaredHinge",
        "classification",
        Labels.SIGN,
        Predictions.SCORES,
        needs_all_labels=True,
    ),
    _elementwise(
        "binary_crossentropy",
        "BinaryCrossentropy",
        "classification",
        Labels.PROBABILITY,
        Predictions.PROBABILITIES,
        "label_smoothing",
        "epsilon",
        from_logits=("label_smoothing",),
        aliases=("bce", "BCE"),
    ),
    _elementwise(
        "binary_focal_crossentropy",
        "BinaryFocalCrossentropy",
        "classification",
        Labels.PROBABILITY,
        Predictions.PROBABILITIES,
        *_FOCAL,
        "epsilon",
        from_logits=_FOCAL,
    ),
    _crossentropy("categorical_crossentropy", "CategoricalCrossentropy"),
    _crossentropy("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy", sparse=True),
    _crossentropy(
        "categorical_focal_crossentropy", "CategoricalFocalCrossentropy", "alpha", "gamma"
    ),
    _crossentropy(
        "sparse_categorical_focal_crossentropy",
        "SparseCategoricalFocalCrossentropy",
        "alpha",
        "gamma",
        sparse=True,
    ),
    _crossentropy(
        "categorical_generalized_cross_entropy",
        "CategoricalGeneralizedCrossEntropy",
        "q",
        sparse=True,
        has_dense_form=False,
        of_probabilities=(),
    ),
    Loss(
        "categorical_hinge",
        "CategoricalHinge",
        "categorical",
        Labels.ONE_HOT,
        Predictions.SCORES,
        (_rowwise("categorical_hinge"),),
        Pattern.ROWWISE,
    ),
    Loss(
        "sparse_categorical_hinge",
        "SparseCategoricalHinge",
        "categorical",
        Labels.CLASS,
        Predictions.SCORES,
        (_rowwise("sparse_categorical_hinge", sparse=True),),
        Pattern.ROWWISE,
    ),
    Loss(
        "kl_divergence",
        "KLDivergence",
        "distribution",
        Labels.ONE_HOT,
        Predictions.PROBABILITIES,
        (
            Kernel(
                "kl_divergence",
                Pattern.ELEMENTWISE,
                ("epsilon",),
                row_reduction="sum",
                fuses_with_overlap=True,
            ),
            _rowwise("kl_divergence_from_logits", from_logits=True),
            _rowwise("reverse_kl_divergence_from_logits", from_logits=True),
        ),
        Pattern.ROWWISE,
        ("kld", "KLD", "kullback_leibler_divergence"),
    ),
    Loss(
        "jensen_shannon_divergence",
        "JensenShannonDivergence",
        "distribution",
        Labels.LOGITS,
        Predictions.SCORES,
        (_rowwise("jensen_shannon_divergence_from_logits", "beta", from_logits=True),),
        Pattern.ROWWISE,
    ),
    Loss(
        "cosine_similarity",
        "CosineSimilarity",
        "similarity",
        Labels.VECTOR,
        Predictions.NUMBERS,
        (_rowwise("cosine_similarity", "epsilon"),),
        Pattern.ROWWISE,
    ),
    _overlap("dice", "Dice", *_SMOOTHING),
    _overlap("tversky", "Tversky", "alpha", "beta", *_SMOOTHING),
    _overlap("jaccard", "Jaccard", *_SMOOTHING),
    _overlap("focal_tversky", "FocalTversky", "alpha", "beta", "gamma", *_SMOOTHING),
    _overlap("log_cosh_dice", "LogCoshDice", *_SMOOTHING),
    _overlap("generalized_dice", "GeneralizedDice", "power", *_SMOOTHING, couples_classes=True),
    _sorted("lovasz_softmax", "LovaszSoftmax", Labels.CLASS, Predictions.PROBABILITIES),
    _sorted("lovasz_hinge", "LovaszHinge", Labels.PROBABILITY, Predictions.SCORES),
    _box("box_iou", "BoxIoU"),
    _box("generalized_box_iou", "GeneralizedBoxIoU"),
    _box("distance_box_iou", "DistanceBoxIoU"),
    _box("complete_box_iou", "CompleteBoxIoU"),
)

_BY_NAME = {name: loss for loss in LOSSES for name in (loss.name, loss.class_name, *loss.aliases)}
_KERNELS = {kernel.name: kernel for loss in LOSSES for kernel in loss.kernels}
_LOSS_OF_KERNEL = {kernel.name: loss for loss in LOSSES for kernel in loss.kernels}


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
    return _LOSS_OF_KERNEL[name]


@cache
def kernels(pattern: Pattern) -> tuple[Kernel, ...]:
    """All kernels of a pattern, in order."""
    return tuple(kernel for kernel in _KERNELS.values() if kernel.pattern is pattern)
