"""Links from the names of losses on a page to their pages."""

from __future__ import annotations

import re

from generate.groups import groups
from generate.source import public_items, snake

_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
# Not what is linked or titles a section already.
_NAME = re.compile(r"(?<!\[)`(?:fl\.)?([\w.]+)`(?!\])")


def linked(text: str) -> str:
    """The Markdown, each loss and tool outside of code linked to its page in `api/`."""
    pages = _pages()

    def link(match: re.Match[str]) -> str:
        page = pages.get(match[1])
        return match[0] if page is None else f"[{match[0]}](api/{page})"

    parts = _CODE.split(text)
    # Every other part is code.
    return "".join(x if i % 2 else _NAME.sub(link, x) for i, x in enumerate(parts))


def _pages() -> dict[str, str]:
    """The page of every name and alias; that of a function is its class's."""
    items = public_items()
    own = {name: f"{group.folder}/{snake(name)}.md" for group in groups() for name in group.names}
    by_function = {snake(name): page for name, page in own.items()}
    found = dict(own)
    for name, item in items.items():
        page = own.get(name) or by_function[name]
        found |= {known: page for known in (name, *item.aliases)}
    return found
