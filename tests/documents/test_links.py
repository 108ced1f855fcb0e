"""Every link of the documents leads somewhere; addresses on the network are checked by their form alone."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from documents import DOCUMENTS, LANGUAGES, ROOT, anchors_of, blocks_of, links_of

LINKS = [(document, link) for document in DOCUMENTS for link in links_of(document)]


def name_of(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


def is_sound(document: Path, link: str) -> bool:
    """Whether a link has the form of an address, or names a file of the repository and a heading in it."""
    parts = urlsplit(link)
    if parts.scheme:
        return parts.scheme == "https" and "." in parts.netloc
    target = (document.parent / parts.path).resolve() if parts.path else document
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not parts.fragment or parts.fragment in anchors_of(target)


@pytest.mark.parametrize(("document", "link"), LINKS, ids=name_of)
def test_a_link_leads_somewhere(document: Path, link: str) -> None:
    assert is_sound(document, link)


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    assert not is_sound(ROOT / "README.md", "docs/no_such_page.md")
    assert not is_sound(ROOT / "README.md", "#no-such-heading")
    assert not is_sound(ROOT / "README.md", "https://nowhere")
    assert not is_sound(ROOT / "README.md", str(tmp_path))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_block_says_what_it_is(document: Path) -> None:
    assert document.read_text().count("\n```") == 2 * len(blocks_of(document))
    for block in blocks_of(document):
        assert block.language in LANGUAGES, block


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_outputs_fit_80_columns(document: Path) -> None:
    for block in blocks_of(document):
        if block.language == "text":
            assert max(map(len, block.text.splitlines())) <= 80, block


def test_the_readme_links_to_the_page_that_links_to_all() -> None:
    assert "docs/index.md" in links_of(ROOT / "README.md")
