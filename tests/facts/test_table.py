"""The table of facts is whole, and its page is made of it."""

import subprocess
import sys
from collections import Counter

from tests.facts.conftest import BY_TEST, ROWS
from tests.support.outside import ROOT


def test_each_fact_has_one_row() -> None:
    assert [row["fact"] for row in ROWS] == list(range(1, 23))
    assert len(BY_TEST) == len(ROWS)


def test_most_differ() -> None:
    holds = Counter(row["holds"] for row in ROWS)
    assert set(holds) == {"differs", "pinned", "data"}
    assert holds["differs"] >= 14


def test_a_row_says_what_plain_litellm_does_where_that_is_not_right() -> None:
    assert [row["fact"] for row in ROWS if ("plain" in row) != (row["holds"] != "pinned")] == []
    assert [row["fact"] for row in ROWS if row.get("plain", "pinned") == row["right"]] == []


def test_the_page_is_current_and_each_row_has_its_test() -> None:
    command = [sys.executable, "scripts/facts.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
