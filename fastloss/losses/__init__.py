"""The losses, by what they are for."""

from typing import TYPE_CHECKING

from fastloss.losses.categorical.crossentropy import (
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)
from fastloss.losses.categorical.focal import (
    CategoricalFocalCrossentropy,
    SparseCategoricalFocalCrossentropy,
    categorical_focal_crossentropy,
    sparse_categorical_focal_crossentropy,
)
from fastloss.losses.categorical.generalized import (
    CategoricalGeneralizedCrossEntropy,
    categorical_generalized_cross_entropy,
)
from fastloss.losses.categorical.hinge import (
    CategoricalHinge,
    SparseCategoricalHinge,
    categorical_hinge,
    sparse_categorical_hinge,
)
from fastloss.losses.classification import (
    BCE,
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    Hinge,
    SquaredHinge,
    bce,
    binary_crossentropy,
    binary_focal_crossentropy,
    hinge,
    squared_hinge,
)
from fastloss.losses.detection import (
    BoxIoU,
    CompleteBoxIoU,
    DistanceBoxIoU,
    GeneralizedBoxIoU,
    box_iou,
    complete_box_iou,
    distance_box_iou,
    generalized_box_iou,
)
from fastloss.losses.distribution import (
    KLD,
    JensenShannonDivergence,
    KLDivergence,
    Poisson,
    jensen_shannon_divergence,
    kl_divergence,
    kld,
    kullback_leibler_divergence,
    poisson,
)
from fastloss.losses.language import linear_sparse_categorical_crossentropy
from fastloss.losses.regression import (
    MAE,
    MAPE,
    MSE,
    MSLE,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Pinball,
    Quantile,
    SmoothL1,
    huber,
    log_cosh,
    logcosh,
    mae,
    mape,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    mse,
    msle,
    pinball,
    quantile,
    smooth_l1,
)
from fastloss.losses.segmentation.dice import Dice, LogCoshDice, dice, log_cosh_dice
from fastloss.losses.segmentation.generalized_dice import GeneralizedDice, generalized_dice
from fastloss.losses.segmentation.jaccard import Jaccard, jaccard
from fastloss.losses.segmentation.lovasz import (
    LovaszHinge,
    LovaszSoftmax,
    lovasz_hinge,
    lovasz_softmax,
)
from fastloss.losses.segmentation.matthews import Matthews, matthews
from fastloss.losses.segmentation.tversky import FocalTversky, Tversky, focal_tversky, tversky
from fastloss.losses.similarity import CosineSimilarity, cosine_similarity
from fastloss.registry import PUBLIC_NAMES
from fastloss.sums.multi_task import MultiTask
from fastloss.sums.regularized import Regularized
from fastloss.sums.weighted_sum import WeightedSum
from fastloss.terms.rowwise import RowMetrics

if not TYPE_CHECKING:
    __all__ = list(PUBLIC_NAMES)
