"""The site has every page, and only messages that the program says; the README stays short."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from documents import ROOT, links_of

DOCS = ROOT / "docs"
PAGES = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
_FEW_WORDS = 900


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= _FEW_WORDS


def test_every_page_is_in_the_navigation_once() -> None:
    named = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(PAGES)


def test_every_page_is_linked_from_the_first_one() -> None:
    assert {link.partition("#")[0] for link in links_of(DOCS / "index.md")} >= PAGES - {"index.md"}


def messages() -> Iterator[str]:
    """The strings of the sources; a sign that no text has stands for each value in them."""
    for path in (*(ROOT / "tuning").rglob("*.py"), *(ROOT / "search_spaces").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def quoted(page: Path) -> list[str]:
    """The messages in the first column of a page's tables."""
    return re.findall(r"^\| `([^`]+)` \|", page.read_text(), re.MULTILINE)


def is_said(message: str, strings: list[str]) -> bool:
    """Whether a string has all the message's words in their order; `…` stands for anything, such as a value."""
    pattern = re.compile(".*".join(re.escape(part.strip()) for part in message.split("…")), re.DOTALL)
    return any(pattern.search(string) for string in strings)


def test_the_messages_that_are_explained_are_those_that_are_said() -> None:
    strings = list(messages())
    explained = quoted(DOCS / "faq.md")
    assert len(explained) > 20
    assert [message for message in explained if not is_said(message, strings)] == []
    assert not is_said("The model … must be blue; got …", strings)
