"""The tables of tasks and traits on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from fastloss.guide.tables import TASKS, TRAITS


def print_tables(console: Console) -> None:
    """Prints both tables."""
    tasks = Table(title="What the task asks for", title_justify="left")
    for column, style in (("task", "bold"), ("labels", ""), ("losses", "cyan"), ("or", "")):
        tasks.add_column(column, style=style, ratio=3 if column == "or" else None)
    for task in TASKS:
        others = "\n".join(f"{name}: {when}" for name, when in task.alternatives)
        tasks.add_row(task.name, task.labels, "\n".join(task.losses), others, end_section=True)
    traits = Table(title="What a trait of data or aim asks for", title_justify="left")
    for column, style in (("trait", "bold"), ("losses", "cyan"), ("why", "")):
        traits.add_column(column, style=style)
    for trait in TRAITS:
        traits.add_row(trait.name, "\n".join(trait.losses), trait.why, end_section=True)
    console.print(tasks)
    console.print(traits)
    console.print("Look at data: fastloss guide FILE, or fl.recommend(y_true, y_pred).")
