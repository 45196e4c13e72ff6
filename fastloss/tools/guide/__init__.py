"""Help in choosing a loss: what the data are, and which loss suits them."""

from fastloss.tools.guide.recommend import recommend
from fastloss.tools.guide.recommendation import Recommendation, Recommendations
from fastloss.tools.guide.tables import TASKS, TRAITS, Alternative, Task, Trait

__all__ = [
    "TASKS",
    "TRAITS",
    "Alternative",
    "Recommendation",
    "Recommendations",
    "Task",
    "Trait",
    "recommend",
]
