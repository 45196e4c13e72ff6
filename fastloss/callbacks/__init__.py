"""Keras callbacks: the loss while a model trains."""

from fastloss.callbacks.loss_monitor import LossMonitor

__all__ = ["LossMonitor"]
