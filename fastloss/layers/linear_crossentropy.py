"""The last layer of a language model and its loss in one."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fastloss.losses.categorical.base import CrossEntropyArguments, config_of
from fastloss.losses.language import linear_sparse_categorical_crossentropy
from fastloss.ops.linear import MEMORY_BUDGET
from fastloss.terms.arguments import integer
from fastloss.terms.reduction import REDUCTIONS


@keras.saving.register_keras_serializable("fastloss")
class LinearCrossentropy(keras.layers.Layer):
    """A dense layer over classes with its cross-entropy, without ever holding all logits.

    Called on `(hidden, y_true)` it adds the loss to the model and returns it; called on `hidden`
    alone it returns the logits. So a model that is to be fitted takes the labels as an input and is
    compiled without a loss:

        hidden = backbone(tokens)
        loss = fl.layers.LinearCrossentropy(50257)(hidden, labels)
        model = keras.Model([tokens, labels], loss)
        model.compile("adam")
        model.fit((tokens, labels))

    Formula: `sparse_categorical_crossentropy(y_true, hidden @ kernel + bias, from_logits=True)`

    Gradient: exact, of hidden, kernel and bias, as `linear_sparse_categorical_crossentropy` has it

    Example:
        >>> layer = fl.layers.LinearCrossentropy(4, kernel_initializer="zeros")
        >>> hidden, labels = tf.ones([2, 3]), tf.constant([0, 3])
        >>> round(float(layer(hidden, labels)), 4), layer(hidden).shape.as_list()
        (1.3863, [2, 4])

    Args:
        units: How many classes there are.
        use_bias: Whether a bias is added.
        tied_to: An embedding layer whose `embeddings`, `(units, features)`, serve as the kernel;
            None for a kernel of its own, `(features, units)`.
        ignore_class: Tokens of this class have no loss and do not count in a mean.
        label_smoothing: From 0 to 1; moves the labels that far towards 1 / units.
        class_weights: One weight per class, for its term of the sum.
        temperature: Logits are divided by it.
        logit_softcap: Logits become cap * tanh(logits / cap).
        z_loss: Weight of the squared log-sum-exp of the logits.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum" or
            "mean_with_sample_weight".
        memory_budget: Bytes that a chunk of logits may take, 24 MiB by default.
        kernel_initializer: Initializer of the kernel; "glorot_uniform" by default.
        bias_initializer: Initializer of the bias; "zeros" by default.
        kernel_regularizer: Regularizer of the kernel.
        bias_regularizer: Regularizer of the bias.
        **arguments: Of `keras.layers.Layer`: name, dtype, trainable.

    Raises:
        ValueError: If an argument is out of range, or `tied_to` has another number of classes.

    Call arguments:
        hidden: `(batch, d0, .. dN, features)`; float16, bfloat16, float32 or float64.
        y_true: Class of each token, `(batch, d0, .. dN)`, an integer; None for the logits.
        sample_weight: One weight per token, or of a shape that broadcasts to y_true's.

    Reference: Wijmans et al., Cut your losses in large-vocabulary language models, 2024
    (arXiv:2411.09009).
    """

    def __init__(
        self,
        units: int,
        use_bias: bool = True,
        tied_to: keras.layers.Embedding | None = None,
        ignore_class: int | None = None,
        label_smoothing: float = 0.0,
        class_weights: Any = None,
        temperature: float = 1.0,
        logit_softcap: float | None = None,
        z_loss: float = 0.0,
        reduction: str = "sum_over_batch_size",
        memory_budget: int = MEMORY_BUDGET,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **arguments: Any,
    ) -> None:
        # Keras would cast class numbers and sample weights that are floats to a half type.
        super().__init__(**{**arguments, "autocast": False})
        units, memory_budget = integer("units", units), integer("memory_budget", memory_budget)
        if units < 1:
            raise ValueError(f"units is {units}; expected a positive integer")
        if memory_budget < 1:
            raise ValueError(
                f"memory_budget is {memory_budget}; expected a positive number of bytes"
            )
        cross_entropy = CrossEntropyArguments.of({**locals(), "from_logits": True})
        weights = cross_entropy.class_weights
        if weights is not None and len(weights) != units:
            raise ValueError(
                f"class_weights has {len(weights)} numbers; expected one for each of the {units} "
                "classes"
            )
        if tied_to is not None and tied_to.input_dim != units:
            raise ValueError(
                f"units is {units}, but tied_to embeds {tied_to.input_dim} classes; expected the "
                "same number"
            )
        if tied_to is not None and kernel_regularizer is not None:
            raise ValueError(
                "kernel_regularizer is given, but the kernel is that of tied_to; expected "
                "embeddings_regularizer of tied_to instead"
            )
        if reduction not in REDUCTIONS:
            raise ValueError(
                f"reduction is {reduction!r}; expected one that gives a scalar, which a model "
                f"needs: {', '.join(REDUCTIONS)}"
            )
        self.units = units
        self.use_bias = use_bias
        self.tied_to = tied_to
        self.ignore_class = cross_entropy.ignore_class
        self.label_smoothing = cross_entropy.label_smoothing
        self.class_weights = cross_entropy.class_weights
        self.temperature = cross_entropy.temperature
        self.logit_softcap = cross_entropy.logit_softcap
        self.z_loss = cross_entropy.z_loss
        self.reduction = reduction
        self.memory_budget = memory_budget
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.supports_masking = True

    def build(self, hidden_shape: Any, *_: Any) -> None:
        """Make the weights; a tied kernel is the embedding's."""
        features = hidden_shape[-1]
        if not isinstance(features, int):
            raise ValueError(
                f"hidden has shape {hidden_shape}; expected (..., features), and labels as a "
                "second argument: layer(hidden, y_true)"
            )
        if self.tied_to is None:
            self.kernel = self.add_weight(
                name="kernel",
                shape=(features, self.units),
                initializer=self.kernel_initializer,
                regularizer=self.kernel_regularizer,
            )
        elif self.tied_to.output_dim != features:
            raise ValueError(
                f"hidden has {features} features, but tied_to embeds into "
                f"{self.tied_to.output_dim}; expected the same number"
            )
        elif not self.tied_to.built:
            self.tied_to.build()
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )

    def call(self, hidden: Any, y_true: Any = None, sample_weight: Any = None) -> Any:
        """The loss, which is also added to the model; without labels the logits."""
        tied = self.tied_to is not None
        kernel = tf.convert_to_tensor(
            self.kernel if self.tied_to is None else self.tied_to.embeddings
        )
        hidden = self._in_compute_dtype(hidden)
        bias = tf.convert_to_tensor(self.bias) if self.use_bias else None
        if y_true is None:
            logits = tf.matmul(hidden, tf.cast(kernel, hidden.dtype), transpose_b=tied)
            return logits if bias is None else logits + tf.cast(bias, hidden.dtype)
        loss = linear_sparse_categorical_crossentropy(
            y_true,
            hidden,
            kernel,
            bias,
            self.ignore_class,
            self.label_smoothing,
            class_weights=self.class_weights,
            temperature=self.temperature,
            logit_softcap=self.logit_softcap,
            z_loss=self.z_loss,
            sample_weight=sample_weight,
            reduction=self.reduction,
            tied=tied,
            memory_budget=self.memory_budget,
        )
        self.add_loss(loss)
        return loss

    def _in_compute_dtype(self, hidden: Any) -> Any:
        if hidden.dtype == self.compute_dtype or not hidden.dtype.is_floating:
            return hidden
        cast = tf.cast(hidden, self.compute_dtype)
        cast._keras_mask = getattr(hidden, "_keras_mask", None)
        return cast

    def compute_output_spec(
        self, hidden: Any, y_true: Any = None, sample_weight: Any = None
    ) -> Any:
        """A scalar in the accumulation dtype with labels, else the logits."""
        if y_true is None:
            return keras.KerasTensor(self.compute_output_shape(hidden.shape), self.compute_dtype)
        wide = "float64" if self.compute_dtype == "float64" else "float32"
        return keras.KerasTensor((), wide)

    def compute_output_shape(
        self, hidden_shape: Any, y_true_shape: Any = None, sample_weight_shape: Any = None
    ) -> Any:
        """A scalar with labels, else that of the logits."""
        return () if y_true_shape is not None else (*hidden_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        tied_to = self.tied_to
        return {
            **super().get_config(),
            "units": self.units,
            "use_bias": self.use_bias,
            "tied_to": None if tied_to is None else keras.saving.serialize_keras_object(tied_to),
            "ignore_class": self.ignore_class,
            "label_smoothing": self.label_smoothing,
            "class_weights": config_of(self.class_weights),
            "temperature": self.temperature,
            "logit_softcap": self.logit_softcap,
            "z_loss": self.z_loss,
            "reduction": self.reduction,
            "memory_budget": self.memory_budget,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LinearCrossentropy:
        tied_to = config.get("tied_to")
        if isinstance(tied_to, dict):
            tied_to = keras.saving.deserialize_keras_object(tied_to)
        return cls(**{**config, "tied_to": tied_to})
