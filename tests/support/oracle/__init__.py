"""What every loss is, from its paper or from Keras: independent of the kernels and the reference.

Each module has one table, from the names of the kernels in `fastloss/registry.py` to a function of
labels, predictions and parameters. It computes in the widest floats of NumPy, from the exact values
of its arguments; clip bounds are those that the computing type has, `compute`. Derivatives are
written by hand; at a kink they are what Keras gives where Keras is right. Where the definition has
no value but a limit, the limit counts.
"""
