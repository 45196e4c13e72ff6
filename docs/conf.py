"""Sphinx's settings. `sphinx-build -W docs build/docs` makes the site; TensorFlow is not needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from generate import generate, linked  # noqa: E402

project = "fastloss"
author = "the authors of fastloss"
extensions = ["myst_parser"]
exclude_patterns = ["generate", "pictures", "style"]
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_block"]
# A block without a language is what a command prints.
highlight_language = "text"
html_theme = "furo"
html_static_path = ["style"]
html_css_files = ["fastloss.css"]
html_title = "fastloss"
html_copy_source = False
html_show_copyright = False


# Their tables need the whole width.
WIDE = ("differences", "guide", "migration", "performance")


def _read(app: Any, docname: str, source: list[str]) -> None:
    if not docname.startswith("api/"):
        source[0] = linked(source[0])
    if docname in WIDE:
        source[0] = f"---\nhide-toc: true\n---\n{source[0]}"


def setup(app: Any) -> None:
    """Make the pages that come from the source before Sphinx looks for pages."""
    app.connect("builder-inited", lambda _: generate(HERE))
    app.connect("source-read", _read)
