"""Names and what they mean: a table."""

from typing import Any

import pytest

from scribe_router.sandbox.behaviour import Behaviour, parse

MEANINGS: dict[str, dict[str, Any]] = {
    "echo": {},
    "gpt-6.1-sol": {},
    "": {},
    "openai/echo": {},
    "slow-500ms": {"delay": 0.5},
    "slow-2s": {"delay": 2.0},
    "slow-1.5s": {"delay": 1.5},
    "slow-2h": {},
    "first-500ms": {"first": 0.5},
    "pace-20ms": {"pace": 0.02},
    "error-429": {"status": 429},
    "error-429-after-7": {"status": 429, "retry_after": 7},
    "error-503": {"status": 503},
    "error-200": {},
    "error-context": {"status": 400, "reason": "context"},
    "error-content": {"status": 400, "reason": "content"},
    "error-mid-5": {"error_after": 5},
    "error-in-200": {"disguised": True},
    "garbage-after-2": {"garbage_after": 2},
    "stall-after-2": {"stall_after": 2},
    "flaky-3": {"flaky": 3},
    "random-20pct": {"percent": 20},
    "random-100pct": {"percent": 100},
    "random-101pct": {},
    "cut-after-0": {"cut_after": 0},
    "cut-after-5": {"cut_after": 5},
    "refuse": {"refuse": True},
    "reset": {"refuse": True, "reset": True},
    "hang": {"hang": True},
    "garbage": {"garbage": True},
    "empty": {"empty": True},
    "blank": {"blank": True},
    "html-502": {"html": 502},
    "html-200": {"html": 200},
    "html-302": {},
    "no-usage": {"usage": False},
    "no-end": {"end": False},
    "no-done": {"done": False},
    "think": {"think": 10},
    "think-100": {"think": 100},
    "tool": {"tools": 1},
    "tools-2": {"tools": 2},
    "long-4096": {"words": 4096},
    "long-9999999": {},
    "usage-1000-200": {"input": 1000, "output": 200},
    "cached-300": {"cached": 300},
    "max-bill": {"max_bill": True},
    "max-bill-70": {"max_bill": True, "input": 70},
    "slow-500ms+no-usage": {"delay": 0.5, "usage": False},
    "think+tool": {"think": 10, "tools": 1},
    "vendor/x/think-3+no-done": {"think": 3, "done": False},
    "echo+unheard-of+hang": {"hang": True},
    "vendor/think:free": {"think": 10},
    "THINK": {},
}


@pytest.mark.parametrize("name", MEANINGS)
def test_name(name: str) -> None:
    assert parse(name) == Behaviour(**MEANINGS[name])


@pytest.mark.parametrize(
    ("name", "after", "least"),
    [("echo", None, 0), ("cut-after-0", 0, 1), ("error-mid-5", 5, 6), ("stall-after-2", 2, 3)],
)
def test_breaking(name: str, after: int | None, least: int) -> None:
    assert (parse(name).breaks_after, parse(name).least_words) == (after, least)
