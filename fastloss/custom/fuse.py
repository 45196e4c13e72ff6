"""Losses of your own: a function of labels and predictions, compiled with its gradient."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from fastloss.calls import Tensor
from fastloss.custom.row_blocks import RowLoss
from fastloss.custom.value_and_gradient import ValueAndGradient
from fastloss.custom.xla import Compiler
from fastloss.sums.weighted_sum import Algebra
from fastloss.terms.inputs import TensorLike, in_dtype, label, prediction, same_rank
from fastloss.terms.reduction import merged_weight, reduce, replicas

__all__ = ["FusedFunction", "fuse"]

serializable = keras.saving.register_keras_serializable("fastloss")

_autograph = tf.__internal__.autograph
_UNSPECIFIED = _autograph.control_status_ctx()
_TENSORS = (np.ndarray, tf.Tensor, tf.Variable, keras.Variable)


def fuse(
    function: Any = None,
    *,
    reduction: str | None = "sum_over_batch_size",
    name: str | None = None,
    dtype: Any = None,
    package: str = "Custom",
    max_shapes: int = 16,
) -> Any:
    """Make a Keras loss of a function, its value and its gradient compiled together by XLA.

    ```python
    @fl.fuse
    def charbonnier(y_true, y_pred, epsilon=1e-3):
        return tf.reduce_mean(tf.sqrt((y_pred - y_true) ** 2 + epsilon**2), axis=-1)

    model.compile("adam", loss=charbonnier)
    model.compile("adam", loss=fl.MeanSquaredError() + charbonnier.with_(epsilon=0.01))
    ```

    The result takes labels, predictions, sample weights and masks as Keras does for a function
    given to `compile`: labels and predictions come to the function in the loss's dtype, and with
    ranks that differ by one adjusted. Forward and backward pass are one call of one compiled
    program; gradients of labels, weights, tensors among the parameters and variables that the
    function reads, and second gradients, are right as well. It works eagerly, in `tf.function`,
    in `model.fit` and inside `tf.function(jit_compile=True)`.

    XLA compiles a program for every shape of its inputs, which costs a fraction of a second. In a
    graph, inputs that are known to hold fewer than 32768 predictions run uncompiled, which is
    quicker. After `max_shapes` shapes, inputs of other shapes run uncompiled, and one warning says
    so. A function that XLA cannot compile runs uncompiled too; the warning names the op. On a CPU
    so does a function of little else than `sin`, `cos`, `asin`, `acos`, `atan` or `atan2`, for
    which XLA has no vector instructions.

    Args:
        function: `(y_true, y_pred, *parameters)` in TensorFlow or Keras ops, which gives one loss
            per row, as Keras expects it, or a scalar. It must be traceable by `tf.function`, and
            give the same for the same arguments: random numbers would be drawn anew for a
            gradient. A `functools.partial` of one with keywords binds parameters. A subclass of
            `keras.losses.Loss`, or an instance of one, is returned as it is. Without a function,
            `fuse` returns the decorator: `@fl.fuse(reduction="sum")`.
        reduction: "sum_over_batch_size" (the default) or "mean", "sum", "mean_with_sample_weight",
            "none" or None. A loss per row has its gradient computed in a second call.
        name: Name of the instance, the function's by default.
        dtype: Dtype that the loss is computed in, the Keras float type by default.
        package: The function is registered for saving under `package>name`.
        max_shapes: For how many shapes of its inputs the loss is compiled.

    Returns:
        A `FusedFunction`, a Keras loss.

    Raises:
        TypeError: If the function is not callable, does not begin with the parameters of labels and
            predictions, or is a partial of positional arguments.
        ValueError: If `max_shapes` is not positive.
    """
    if function is None:
        return partial(
            fuse,
            reduction=reduction,
            name=name,
            dtype=dtype,
            package=package,
            max_shapes=max_shapes,
        )
    is_class = inspect.isclass(function) and issubclass(function, keras.losses.Loss)
    if is_class or isinstance(function, keras.losses.Loss):
        return function
    parameters: dict[str, Any] = {}
    if isinstance(function, partial):
        if function.args:
            raise TypeError(
                f"function is a partial with positional arguments {function.args!r}; expected "
                "keywords only"
            )
        function, parameters = function.func, function.keywords
    _register(function, package)
    return FusedFunction(function, parameters, reduction, name, dtype, max_shapes)


class _Call(NamedTuple):
    """All that a compiled program depends on beside the shapes of its inputs."""

    dtypes: tuple[tf.DType, ...]
    ranks: tuple[int | None, ...]
    weighted: bool
    masked: bool
    reduction: str | None
    dtype: str
    replicas: int


@serializable
class FusedFunction(Algebra, keras.losses.Loss):
    """The loss that `fl.fuse` makes of a function.

    Args:
        function: `(y_true, y_pred, *parameters)`, or the name that such a function is registered
            under.
        parameters: Values of its parameters, by name. Tensors, arrays and variables are inputs of
            the compiled program and may change; all else is part of it. Variables receive
            gradients, but `model.fit` trains those of the model only. A saved loss keeps the value
            that a variable has.
        reduction: As in `fl.fuse`.
        name: As in `fl.fuse`.
        dtype: As in `fl.fuse`.
        max_shapes: As in `fl.fuse`.

    Attributes:
        function: The function itself.
        parameters: The bound parameters.

    Raises:
        TypeError: If the function does not take such arguments. When called: if a parameter without
            a default is not bound.
        ValueError: If no function is registered under the name, or `max_shapes` is not positive.
    """

    autograph_info__: Any = {}  # noqa: RUF012 - AutoGraph leaves calls to such objects alone

    def __init__(
        self,
        function: Callable[..., Any] | str,
        parameters: dict[str, Any] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        max_shapes: int = 16,
    ) -> None:
        if isinstance(function, str):
            function = _registered(function)
        self.function = function
        self.parameters = dict(parameters or {})
        _check(function, self.parameters)
        if max_shapes < 1:
            raise ValueError(f"max_shapes is {max_shapes!r}; expected a positive integer")
        self.max_shapes = max_shapes
        own_name = getattr(function, "__name__", type(function).__name__).strip("<>")
        super().__init__(name=name or own_name, reduction=reduction, dtype=dtype)
        self.__doc__ = getattr(function, "__doc__", None)
        self._inputs = {k: x for k, x in self.parameters.items() if isinstance(x, _TENSORS)}
        constants = {k: x for k, x in self.parameters.items() if k not in self._inputs}
        # AutoGraph converts what the user wrote, and nothing of what is around it. As a
        # `tf.function` of its own it would hand shapes to its gradient, for which XLA takes labels
        # and predictions of unknown shape for constants, and compiles them into the program.
        self._converted = _autograph.tf_convert(partial(function, **constants), _UNSPECIFIED)
        self._compiler = Compiler(self.name, max_shapes)
        self._programs: dict[_Call, ValueAndGradient] = {}

    def with_(self, **parameters: Any) -> FusedFunction:
        """The same loss with some of its parameters bound to these values.

        Raises:
            TypeError: If the function has no such parameter.
        """
        return FusedFunction(
            self.function,
            {**self.parameters, **parameters},
            self.reduction,
            self.name,
            self._dtype_policy,
            self.max_shapes,
        )

    def __call__(
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike = None
    ) -> Tensor:
        mask = getattr(y_pred, "_keras_mask", None)
        if tf.executing_eagerly():
            return self._evaluate(y_true, y_pred, sample_weight, mask, self.reduction)
        with tf.name_scope(self.name):
            return self._evaluate(y_true, y_pred, sample_weight, mask, self.reduction)

    def call(self, y_true: TensorLike, y_pred: TensorLike) -> Tensor:
        """One loss per row, as Keras's `call`."""
        return self._evaluate(y_true, y_pred, None, None, None)

    def get_config(self) -> dict[str, Any]:
        name = keras.saving.get_registered_name(self.function)
        if keras.saving.get_registered_object(name) is not self.function:
            raise ValueError(
                f"{self.name} cannot be saved, since its function has no name to be found by; "
                "define it with `def` at the top of a module, or register it with "
                "keras.saving.register_keras_serializable"
            )
        return {
            "function": name,
            "parameters": {
                k: keras.saving.serialize_keras_object(_constant(x))
                for k, x in self.parameters.items()
            },
            "name": self.name,
            "reduction": self.reduction,
            "dtype": self.dtype,
            "max_shapes": self.max_shapes,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FusedFunction:
        parameters = {
            k: keras.saving.deserialize_keras_object(x) for k, x in config["parameters"].items()
        }
        return cls(**{**config, "parameters": parameters})

    def _evaluate(
        self,
        y_true: TensorLike,
        y_pred: TensorLike,
        sample_weight: TensorLike,
        mask: TensorLike,
        reduction: str | None,
    ) -> Tensor:
        dtype = tf.as_dtype(self.dtype)
        inputs = [label(y_true), prediction(y_pred)]
        if sample_weight is not None:
            inputs.append(in_dtype("sample_weight", sample_weight, dtype))
        if mask is not None:
            inputs.append(tf.convert_to_tensor(mask))
        inputs.extend(tf.convert_to_tensor(x) for x in self._inputs.values())
        call = _Call(
            tuple(x.dtype for x in inputs),
            tuple(x.shape.rank for x in inputs),
            sample_weight is not None,
            mask is not None,
            reduction,
            self.dtype,
            replicas(reduction),
        )
        if call not in self._programs:
            self._programs[call] = ValueAndGradient(self._program(call), self._compiler)
        return self._programs[call](*inputs)

    def _program(self, call: _Call) -> RowLoss:
        dtype = tf.as_dtype(call.dtype)

        def prepare(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
            return same_rank(tf.cast(y_true, dtype), tf.cast(y_pred, dtype))

        def total(values: Tensor, *weights: Tensor) -> Tensor:
            rest = list(weights)
            sample_weight = rest.pop(0) if call.weighted else None
            mask = rest.pop(0) if call.masked else None
            weight = merged_weight(sample_weight, mask, call.reduction, dtype)
            return reduce(values, weight, call.reduction)

        return RowLoss(
            prepare,
            self._converted,
            total,
            reduces=call.reduction not in (None, "none"),
            weights=call.weighted + call.masked,
            parameters=tuple(self._inputs),
            dtype=dtype,
        )


def _check(function: Any, parameters: dict[str, Any]) -> None:
    """Whether the function takes labels, predictions and these parameters."""
    if not callable(function):
        raise TypeError(f"function is {function!r}; expected a callable (y_true, y_pred, ...)")
    try:
        inspect.signature(function).bind_partial(None, None, **parameters)
    except TypeError as error:
        name = getattr(function, "__name__", repr(function))
        raise TypeError(
            f"{name}{inspect.signature(function)} does not take y_true, y_pred"
            f"{''.join(f', {k}' for k in parameters)}: {error}"
        ) from None


def _register(function: Any, package: str) -> None:
    """Name the function for saving, unless it has no name of its own, or one already."""
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        return
    if keras.saving.get_registered_name(function) == function.__name__:
        keras.saving.register_keras_serializable(package)(function)


def _registered(name: str) -> Callable[..., Any]:
    found = keras.saving.get_registered_object(name)
    if found is None:
        found = keras.saving.get_registered_object(name.partition(">")[2])
    if found is None:
        raise ValueError(
            f"function is {name!r}, which is not registered; import the module that applies "
            "fl.fuse to it first, or name it in custom_objects"
        )
    return found.function if isinstance(found, FusedFunction) else found


def _constant(parameter: Any) -> Any:
    """The parameter as a number or an array, if it is a variable or a tensor."""
    if not isinstance(parameter, _TENSORS):
        return parameter
    array = np.asarray(parameter)
    return array.item() if array.ndim == 0 else array
