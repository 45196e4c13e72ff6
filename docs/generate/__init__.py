"""Makes the pages of losses, tools and measurements, from source, registry and records.

TensorFlow is not imported. `generate(docs)` writes them next to the other pages; git ignores them.
"""

from __future__ import annotations

from pathlib import Path

from generate.links import linked
from generate.pages import write_pages
from generate.performance import write_performance
from generate.source import ROOT

__all__ = ["generate", "linked", "write_pages", "write_performance"]


def generate(docs: Path) -> None:
    """Write `api/` and `performance.md` into the folder."""
    write_pages(docs / "api")
    write_performance(docs / "performance.md", ROOT / "bench" / "results")
