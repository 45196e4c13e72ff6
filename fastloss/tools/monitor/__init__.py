"""`fastloss.callbacks.LossMonitor`: the loss while a model trains."""
