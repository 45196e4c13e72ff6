"""Pictures of trainings and losses, with matplotlib.

Every function draws on the Axes that it is given, or else on a figure of its own, and returns the
Axes. That figure is not pyplot's: it needs no display, leaves pyplot's current figure alone and
goes away with its last reference. `axes.figure` shows it in a notebook and
`axes.figure.savefig("a.png")` writes it; for a window, pass Axes that pyplot made.
"""

from fastloss.tools.install import require

require("fastloss.plot", "matplotlib")

from fastloss.tools.plot.classes import per_class  # noqa: E402
from fastloss.tools.plot.curves import history  # noqa: E402
from fastloss.tools.plot.profile import shape  # noqa: E402

__all__ = ["history", "per_class", "shape"]
