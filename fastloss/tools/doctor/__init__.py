"""`fastloss doctor`: what is installed, which code serves and why, and what to do about it.

This package imports nothing of the one around it and no TensorFlow: both are looked at from
outside, in a process of their own (`probe.py`), since importing them may fail or even end it.
"""

from .examine import examine
from .finding import Finding, Report

__all__ = ["Finding", "Report", "examine"]
