"""Pictures of trainings and losses, with matplotlib.

Every function draws on the Axes that it is given, or else on a figure of its own, and returns the
Axes. That figure is not pyplot's: it needs no display, leaves pyplot's current figure alone and
goes away with its last reference. `axes.figure` shows it in a notebook and
`axes.figure.savefig("a.png")` writes it; for a window, pass Axes that pyplot made.
"""

from importlib.util import find_spec

if find_spec("matplotlib") is None:
    raise ImportError(
        "fastloss.plot draws with matplotlib, which is not installed. "
        "Install it with: pip install matplotlib"
    )

from fastloss.tools.plot.classes import per_class
from fastloss.tools.plot.curves import history
from fastloss.tools.plot.profile import shape

__all__ = ["history", "per_class", "shape"]
