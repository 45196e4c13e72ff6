"""What TensorFlow is doing around a call: recording a tape, compiling for XLA."""

from __future__ import annotations

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


def is_compiled_by_xla() -> bool:
    """Whether this is being traced for `tf.function(jit_compile=True)`."""
    return _xla_context is not None and _xla_context() is not None
