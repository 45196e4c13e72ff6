"""The losses in pure TensorFlow: their definition, the fallback, and the oracle of every check."""

from fastloss.reference.elementwise import LOSSES, elementwise

__all__ = ["LOSSES", "elementwise"]
