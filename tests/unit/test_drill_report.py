"""The page that a drill leaves."""

from __future__ import annotations

from tests.chaos.report import Row, page

ROWS = [Row("media server killed", "The telephone server itself is killed", 12, 9, 4, 3.24)]


def test_a_passed_drill() -> None:
    text = page(ROWS, 321, [], "2026-01-02 03:04 UTC", "2 cores")
    assert "The drill is passed." in text
    assert "all 321 calls" in text
    assert "<td>The telephone server itself is killed</td><td>12</td><td>3</td><td>9</td>" in text
    assert "3.2 s" in text
    assert 'class="bad"' not in text


def test_findings_are_said_first_and_escaped() -> None:
    text = page(ROWS, 321, ["phone <a> is rung"], "now", "here")
    assert "The drill is not passed." in text
    assert "The drill is passed." not in text
    assert text.index("phone &lt;a&gt; is rung") < text.index("<table>")
