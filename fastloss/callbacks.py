"""Keras callbacks: the loss while a model trains."""

from fastloss.tools.monitor.loss_monitor import LossMonitor

__all__ = ["LossMonitor"]
