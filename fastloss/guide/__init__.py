"""Help in choosing a loss: what the data are, and which loss suits them."""

from fastloss.guide.recommend import recommend
from fastloss.guide.recommendation import Recommendation, Recommendations
from fastloss.guide.tables import TASKS, TRAITS, Alternative, Task, Trait

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
