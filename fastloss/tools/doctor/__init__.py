"""`fastloss doctor`: what is installed, which code serves and why, and what to do about it.

TensorFlow, Keras and the losses are imported in a process of their own (`probe.py`), since
importing them may fail or even end it.
"""

from fastloss.tools.doctor.examine import examine
from fastloss.tools.doctor.finding import Finding, Report

__all__ = ["Finding", "Report", "examine"]
