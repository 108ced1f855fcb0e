from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from tuning.show.canvas import heading, paragraphs, table, warnings


def test_a_table_is_sound_escaped_and_stresses_one_row() -> None:
    found = ElementTree.fromstring(table(("a", "b"), [("1", "<x>"), ("2", "y & z")], strong=1))
    assert [cell.text for cell in found.iter("td")] == ["1", "<x>", "2", "y & z"]
    assert ["bold" in (cell.get("style") or "") for cell in found.iter("td")] == [False, False, True, True]


def test_words_are_escaped_and_an_empty_list_is_nothing() -> None:
    assert heading("a < b") == "<h4>a &lt; b</h4>"
    assert paragraphs(["one", "two"]) == "<p>one</p><p>two</p>"
    assert "⚠ a &amp; b" in warnings(["a & b"])
    assert warnings([]) == ""
