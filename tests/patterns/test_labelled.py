"""What is found in the labelled lines, of each kind, and what the page says of it."""

from pathlib import Path

import pytest

from scribe_router.patterns import KINDS, find
from tests.patterns.labelled import CASES, JOINT, Line, lines, scores, table

PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
LINES = list(lines())


def test_recall_and_precision() -> None:
    print(f"\n{table()}")
    found = scores()
    for kind in ("key", "token", "card"):
        assert found[kind].recall >= 0.95, kind
    right, wrong = (sum(getattr(each, name) for each in found.values()) for name in ("found", "wrong"))
    assert right / (right + wrong) >= 0.98
    assert min(each.recall for each in found.values()) >= 0.9


def test_half_of_the_lines_hold_nothing() -> None:
    assert len(LINES) >= 300
    assert sum(not line.private for line in LINES) >= len(LINES) / 2
    assert {each.kind for line in LINES for each in line.private} == set(KINDS)


def test_the_page_says_how_much_is_found() -> None:
    assert table() in PAGE
    assert f"{len(LINES)} lines" in PAGE
    assert f"{sum(not line.private for line in LINES)} of them" in PAGE


def test_no_secret_stands_whole_in_the_file() -> None:
    """Else whoever scans this repository would take the file for a leak."""
    for row in CASES.read_text(encoding="utf-8").splitlines():
        assert "⟦key:" not in row or JOINT in row


@pytest.mark.parametrize("line", [line for line in LINES if line.private], ids=lambda line: line.about)
def test_a_kind_is_found_alone_too(line: Line) -> None:
    """What is looked for decides nothing about what else is private: each kind finds its own."""
    for kind in {each.kind for each in line.private}:
        wanted = {(each.start, each.end) for each in line.private if each.kind == kind}
        assert wanted <= {(each.start, each.end) for each in find(line.text, [(kind, KINDS[kind])])}
