"""The tables of tasks and traits on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastloss.tools.guide.tables import TASKS, TRAITS


def print_tables(console: Console) -> None:
    """Prints both tables."""
    tasks = Table(title="What the task asks for", title_justify="left")
    tasks.add_column("task, labels")
    tasks.add_column("losses", style="cyan", no_wrap=True)
    tasks.add_column("or", overflow="fold")
    for task in TASKS:
        name = Text.assemble((task.name, "bold"), "\n", task.labels)
        others = "\n".join(f"{other}: {when}" for other, when in task.alternatives)
        tasks.add_row(name, "\n".join(task.losses), others, end_section=True)
    traits = Table(title="What a trait of data or aim asks for", title_justify="left")
    traits.add_column("trait", style="bold")
    traits.add_column("losses", style="cyan", no_wrap=True)
    traits.add_column("why")
    for trait in TRAITS:
        traits.add_row(trait.name, "\n".join(trait.losses), trait.why, end_section=True)
    console.print(tasks)
    console.print(traits)
    console.print("Look at data: fastloss guide FILE, or fl.recommend(y_true, y_pred).")
