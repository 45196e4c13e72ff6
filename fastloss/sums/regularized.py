"""A loss with a penalty on the size of weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from fastloss import ops
from fastloss.calls import SUM, Inputs, KernelTerm, Tensor
from fastloss.sums.algebra import Algebra
from fastloss.terms.arguments import not_negative
from fastloss.terms.inputs import TensorLike

serializable = keras.saving.register_keras_serializable("fastloss")


@serializable
class Regularized(Algebra, keras.losses.Loss):
    """A loss plus `l1 sum(|w|) + l2 sum(w^2)` over the weights of a model.

    Formula: `loss + l1 sum(|w|) + l2 sum(w^2)`

    Gradient of one weight: `l1 sign(w) + 2 l2 w`, 0 at `w = 0`

    Value and gradient of each variable take one pass over it. Of a model, the trainable variables
    of two or more dimensions count: kernels and embeddings, neither biases nor the scales and
    offsets of normalizations. They are looked up when the loss is called, so that layers may be
    built later. Variables given as a list all count. The penalty is not scaled by sample weights.

    A saved loss holds no variables: after loading a model, `model.loss.attach(model)`.

    Example:
        >>> weights = [tf.Variable([[1.0, -2.0]])]
        >>> loss = fl.Regularized(fl.MeanSquaredError(), weights, l1=0.1, l2=0.01)
        >>> round(float(loss([[1.0]], [[1.0]])), 4)
        0.35

    Args:
        loss: A Keras loss.
        variables: A Keras model or layer, or variables. None asks for `attach` before the first
            call.
        l1: Factor of the absolute values, not negative.
        l2: Factor of the squares, not negative.
        name: Name of the instance.

    Raises:
        ValueError: If `l1` or `l2` is negative or not finite, or if `loss` has the reduction
            "none". When called: if there are no variables.
        TypeError: If `loss` is no Keras loss.

    Reference: Hoerl and Kennard, Ridge regression, 1970, for l2; Tibshirani, Regression shrinkage
    and selection via the lasso, 1996, for l1.
    """

    autograph_info__: Any = {}  # noqa: RUF012 - AutoGraph leaves calls to such objects alone

    def __init__(
        self,
        loss: keras.losses.Loss,
        variables: keras.layers.Layer | Iterable[Any] | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        name: str = "regularized",
    ) -> None:
        if not isinstance(loss, keras.losses.Loss):
            raise TypeError(f"{loss!r} is no Keras loss; expected a keras.losses.Loss")
        if loss.reduction in (None, "none"):
            raise ValueError(
                f"{loss.name} has the reduction {loss.reduction!r}; expected a reduction to a "
                "scalar, since the penalty belongs to no row"
            )
        super().__init__(name=name, reduction=loss.reduction, dtype=loss.dtype)
        self.loss = loss
        self.l1 = not_negative("l1", l1)
        self.l2 = not_negative("l2", l2)
        self._source: Any = None
        if variables is not None:
            self.attach(variables)

    def attach(self, variables: keras.layers.Layer | Iterable[Any]) -> None:
        """Penalize the weights of a model or layer, or these variables, instead of any others."""
        is_layer = isinstance(variables, keras.layers.Layer)
        self._source = variables if is_layer else list(variables)

    def __call__(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike = None
    ) -> Tensor:
        with tf.name_scope(self.name):
            return self.loss(y_true, y_pred, sample_weight) + self.penalty()

    def call(self, y_true: TensorLike, y_pred: TensorLike) -> Tensor:
        """One loss per row, as Keras's `call`, without the penalty."""
        return self.loss.call(y_true, y_pred)

    def penalty(self) -> Tensor:
        """The penalty alone.

        Raises:
            ValueError: If there are no variables.
        """
        variables = self._variables()
        if not variables:
            raise ValueError(
                f"{self.name}: there are no variables to penalize; give it a model or variables, "
                "after loading by loss.attach(model)"
            )
        norms = (("mean_absolute_error", self.l1), ("mean_squared_error", self.l2))
        terms = tuple(KernelTerm(norm, (), factor) for norm, factor in norms if factor)
        if not terms:
            return tf.zeros([], self.dtype)
        return tf.add_n([tf.cast(_sum(terms, w), self.dtype) for w in variables])

    def get_config(self) -> dict[str, Any]:
        return {
            "loss": keras.saving.serialize_keras_object(self.loss),
            "l1": self.l1,
            "l2": self.l2,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Regularized:
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})

    def _variables(self) -> list[Any]:
        if isinstance(self._source, keras.layers.Layer):
            return [w for w in self._source.trainable_variables if len(w.shape) > 1]
        return self._source or []


def _sum(terms: tuple[KernelTerm, ...], variable: Any) -> Tensor:
    """The sum of the losses of a variable's elements against 0: rows of one column."""
    w = tf.reshape(tf.convert_to_tensor(variable), [-1, 1])
    nothing = tf.zeros_like(w, tf.bool)
    return ops.elementwise_sum(terms, Inputs(nothing, w, None, SUM))[0]
