"""Makes the pages that come from the source: losses, tools and measurements. Imports nothing of it.

`generate(docs)` writes them beside the others; git ignores them.
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
