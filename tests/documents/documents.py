"""Documents, their fenced blocks, headings and links.

What a block is, is told by its language:

    console   lines that begin with `$ ` are commands, run by a shell in the document's order and place
    python    run as a script, after the blocks above it; one that begins with a comment `# name.py` is that file
    text      what a command printed, or a table: shown, not compared, because times and seeds differ
    mermaid   a drawing
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
LANGUAGES = ("console", "python", "text", "mermaid")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FILE = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    document: Path
    line: int
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands of a console block."""
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]

    @property
    def file(self) -> str | None:
        """The name of the file that a python block is, or None for a script."""
        found = _FILE.match(self.text)
        return found[1] if found else None

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks_of(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = document.read_text()
    return [Block(document, text[: m.start()].count("\n") + 1, m[1], m[2]) for m in _FENCE.finditer(text)]


def links_of(document: Path) -> Iterator[str]:
    """The targets of a document's links and images, without those in blocks."""
    for match in _LINK.finditer(_FENCE.sub("", document.read_text())):
        yield match[1]


def anchors_of(document: Path) -> set[str]:
    """What `#...` may name in a document: its headings as GitHub spells them."""
    headings = _HEADING.findall(_FENCE.sub("", document.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
