"""Cross-entropy of labels that are one of many classes."""

from __future__ import annotations

from typing import Any

import keras

from fastloss.calls import Tensor
from fastloss.losses.categorical.base import (
    CategoricalLoss,
    CrossEntropyArguments,
    rows_and_metrics,
    term,
)
from fastloss.terms.inputs import TensorLike, logits_behind, prediction
from fastloss.terms.rowwise import RowMetrics, Rowwise
from fastloss.terms.term import evaluate

serializable = keras.saving.register_keras_serializable("fastloss")


def _crossentropy(
    loss: str, y_pred: Tensor, arguments: CrossEntropyArguments, return_metrics: bool = False
) -> tuple[Rowwise, Tensor]:
    y_pred, from_logits = logits_behind(y_pred, arguments.from_logits, loss, "Softmax")
    arguments = arguments._replace(from_logits=from_logits)
    return term(loss, (), y_pred, arguments, return_metrics), y_pred


@serializable
def categorical_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    *,
    ignore_class: int | None = None,
    class_weights: Any = None,
    temperature: float = 1.0,
    logit_softcap: float | None = None,
    z_loss: float = 0.0,
    return_metrics: bool = False,
) -> Tensor | tuple[Tensor, RowMetrics]:
    """Cross-entropy of one-hot or soft labels, one value per row.

    Formula: `-sum(class_weights y log(p)) + z_loss log_sum_exp**2`; see `CategoricalCrossentropy`.

    Args:
        y_true: Labels, `(batch, d0, .. dN)`; boolean, integer or float.
        y_pred: Probabilities or logits of the same shape; float16, bfloat16, float32 or float64.
        from_logits: Whether y_pred holds logits.
        label_smoothing: From 0 to 1; moves the labels that far towards 1 / classes.
        axis: The axis of the classes.
        ignore_class: Rows whose labels outside this class are all 0 have loss 0.
        class_weights: One weight per class.
        temperature: Logits are divided by it.
        logit_softcap: Logits become cap * tanh(logits / cap).
        z_loss: Weight of the squared log-sum-exp of the logits.
        return_metrics: Whether to return what else is known of each row; from logits only.

    Returns:
        y_pred's shape without `axis`, float64 for float64 predictions, else float32; with
        `return_metrics` that and a `RowMetrics`.

    Raises:
        ValueError: If an argument is out of range, or needs logits and y_pred holds probabilities.
    """
    arguments = CrossEntropyArguments.of(locals())
    loss, y_pred = _crossentropy(
        "categorical_crossentropy", prediction(y_pred), arguments, return_metrics
    )
    if return_metrics:
        return rows_and_metrics(loss, y_true, y_pred, adjust_rank=False)
    return evaluate(loss, y_true, y_pred, adjust_rank=False)


@serializable
class CategoricalCrossentropy(CategoricalLoss):
    """Cross-entropy of one-hot or soft labels.

    Formula: `-sum(class_weights y log(p)) + z_loss log_sum_exp**2`, with `y` the smoothed label,
    `p = softmax(z)` and `log_sum_exp = log(sum(exp(z)))`. From logits, `z` is y_pred after softcap
    and temperature. Probabilities are divided by their sum and clipped to [epsilon, 1 - epsilon],
    `epsilon` = `keras.config.epsilon()`.

    Gradient of one value from logits (without options): `sum(y) softmax(y_pred) - y`

    Example:
        >>> loss = fl.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
        >>> round(float(loss([[0, 1, 0]], [[1.0, 3.0, 0.0]])), 4)
        0.3365

    Args:
        from_logits: Whether y_pred holds logits. Exact where probabilities round to 0 or 1; logits
            behind a softmax are found and used by themselves.
        label_smoothing: From 0 to 1; moves the labels that far towards 1 / classes.
        axis: The axis of the classes.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.
        ignore_class: Rows whose labels outside this class are all 0 have loss 0 and do not count in
            a mean; so a row of zeros is ignored whatever the class. None ignores no row.
        class_weights: One weight per class, for its term of the sum, as in PyTorch's
            CrossEntropyLoss; it does not enter the divisor of a mean. None is 1.
        temperature: Logits are divided by it, after the softcap.
        logit_softcap: Logits become cap * tanh(logits / cap), as in Gemma 2. None is no cap.
        z_loss: Weight of the squared log-sum-exp of the logits, as in PaLM; 1e-4 is usual. Neither
            `class_weights` nor the label touch it.

    Raises:
        ValueError: If an argument is out of range. When called: if `temperature`, `logit_softcap`
            or `z_loss` is given and y_pred holds probabilities.

    Reference: Szegedy et al., Rethinking the Inception architecture, 2015 (arXiv:1512.00567), for
    label smoothing; Chowdhery et al., PaLM, 2022 (arXiv:2204.02311), for the z-loss.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_crossentropy",
        dtype: Any = None,
        *,
        ignore_class: int | None = None,
        class_weights: Any = None,
        temperature: float = 1.0,
        logit_softcap: float | None = None,
        z_loss: float = 0.0,
    ) -> None:
        arguments = CrossEntropyArguments.of(locals())
        super().__init__(arguments, name, reduction, dtype)

    def _term(self, y_pred: Tensor) -> tuple[Rowwise, Tensor]:
        return _crossentropy("categorical_crossentropy", y_pred, self._arguments)


@serializable
def sparse_categorical_crossentropy(
    y_true: TensorLike,
    y_pred: TensorLike,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
    label_smoothing: float = 0.0,
    *,
    class_weights: Any = None,
    temperature: float = 1.0,
    logit_softcap: float | None = None,
    z_loss: float = 0.0,
    return_metrics: bool = False,
) -> Tensor | tuple[Tensor, RowMetrics]:
    """Cross-entropy of labels that are class numbers, one value per row.

    Formula: `-class_weights[t] log(p[t]) + z_loss log_sum_exp**2`, `t` the label (without
    smoothing); see `SparseCategoricalCrossentropy`.

    Example:
        >>> rows, metrics = fl.sparse_categorical_crossentropy(
        ...     [1, 0], [[1.0, 3.0, 0.0], [0.0, 2.0, 1.0]], from_logits=True, return_metrics=True
        ... )
        >>> [round(float(x), 4) for x in rows], metrics.hit.numpy().tolist()
        ([0.1698, 2.4076], [True, False])

    Args:
        y_true: Class numbers, of y_pred's shape without `axis` or with a 1 there; boolean, integer
            or float.
        y_pred: Probabilities or logits; float16, bfloat16, float32 or float64.
        from_logits: Whether y_pred holds logits.
        ignore_class: Rows with this label have loss 0. It need not be a class.
        axis: The axis of the classes in y_pred.
        label_smoothing: From 0 to 1; moves the labels that far towards 1 / classes.
        class_weights: One weight per class.
        temperature: Logits are divided by it.
        logit_softcap: Logits become cap * tanh(logits / cap).
        z_loss: Weight of the squared log-sum-exp of the logits.
        return_metrics: Whether to return what else is known of each row; from logits only.

    Returns:
        y_pred's shape without `axis`, float64 for float64 predictions, else float32; with
        `return_metrics` that and a `RowMetrics`.

    Raises:
        ValueError: If an argument is out of range, or needs logits and y_pred holds probabilities.
    """
    arguments = CrossEntropyArguments.of(locals())
    loss, y_pred = _crossentropy(
        "sparse_categorical_crossentropy", prediction(y_pred), arguments, return_metrics
    )
    if return_metrics:
        return rows_and_metrics(loss, y_true, y_pred, adjust_rank=True)
    return evaluate(loss, y_true, y_pred)


@serializable
class SparseCategoricalCrossentropy(CategoricalLoss):
    """Cross-entropy of labels that are class numbers.

    Formula: `-class_weights[t] log(p[t]) + z_loss log_sum_exp**2`, with `t` the label,
    `p = softmax(z)` and `log_sum_exp = log(sum(exp(z)))`. From logits, `z` is y_pred after softcap
    and temperature. Probabilities are clipped to [epsilon, 1 - epsilon], `epsilon` =
    `keras.config.epsilon()`, and then divided by their sum. Under `label_smoothing` it is the
    cross-entropy of the label's smoothed one-hot row.

    Gradient of one value from logits (without options): `softmax(y_pred) - one_hot(t)`

    Labels stay integers, however large; floating labels lose their fraction. A label that is no
    class is an error or, where the reference serves, makes the row's loss and gradient NaN.

    Example:
        >>> loss = fl.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
        >>> round(float(loss([1, -1], [[1.0, 3.0, 0.0], [9.0, 0.0, 0.0]])), 4)
        0.1698

    Args:
        from_logits: Whether y_pred holds logits. Exact where probabilities round to 0 or 1; logits
            behind a softmax are found and used by themselves.
        ignore_class: Rows with this label have loss 0 and do not count in a mean. It need not be a
            class: -1 and 255 are usual. None ignores no row.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None.
        axis: The axis of the classes in y_pred.
        label_smoothing: From 0 to 1; moves the labels that far towards 1 / classes.
        name: Name of the instance.
        dtype: Dtype of the result, the Keras float type by default. y_true and y_pred are read in
            the dtype they come in.
        class_weights: One weight per class, for its term of the sum, as in PyTorch's
            CrossEntropyLoss; it does not enter the divisor of a mean. None is 1.
        temperature: Logits are divided by it, after the softcap.
        logit_softcap: Logits become cap * tanh(logits / cap), as in Gemma 2. None is no cap.
        z_loss: Weight of the squared log-sum-exp of the logits, as in PaLM; 1e-4 is usual. Neither
            `class_weights` nor the label touch it.

    Raises:
        ValueError: If an argument is out of range. When called: if `temperature`, `logit_softcap`
            or `z_loss` is given and y_pred holds probabilities.

    Reference: Szegedy et al., Rethinking the Inception architecture, 2015 (arXiv:1512.00567), for
    label smoothing; Chowdhery et al., PaLM, 2022 (arXiv:2204.02311), for the z-loss.
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        label_smoothing: float = 0.0,
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
        *,
        class_weights: Any = None,
        temperature: float = 1.0,
        logit_softcap: float | None = None,
        z_loss: float = 0.0,
    ) -> None:
        arguments = CrossEntropyArguments.of(locals())
        super().__init__(arguments, name, reduction, dtype)

    def _term(self, y_pred: Tensor) -> tuple[Rowwise, Tensor]:
        return _crossentropy("sparse_categorical_crossentropy", y_pred, self._arguments)
