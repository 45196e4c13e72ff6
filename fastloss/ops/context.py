"""What TensorFlow is doing around a call: recording a tape, compiling for XLA."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import tensorflow as tf

try:
    from tensorflow.python.eager import record as _record
except ImportError:
    _record = None

_xla_context = getattr(tf.__internal__, "get_enclosing_xla_context", None)


def is_recorded(tensor: tf.Tensor) -> bool:
    """Whether a tape watches the tensor, so that its gradient may be asked for.

    Without TensorFlow's own answer it is yes: then a gradient may be computed in vain.
    """
    return _record is None or _record.should_record_backprop((tensor,))


def not_recorded() -> AbstractContextManager[None]:
    """No tape records what is called in the block: a function then keeps nothing for a gradient.

    Without TensorFlow's own switch it is recorded in vain.
    """
    return nullcontext() if _record is None else _record.stop_recording()


def is_compiled_by_xla() -> bool:
    """Whether this is being traced for `tf.function(jit_compile=True)`."""
    return _xla_context is not None and _xla_context() is not None


def has_gpu() -> bool:
    """Whether TensorFlow may place this on a GPU, where XLA compiles for that."""
    return bool(tf.config.list_logical_devices("GPU"))
