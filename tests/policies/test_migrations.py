"""Old names: the successor, the warning, and circles."""

from datetime import date

import pytest
from pydantic import ValidationError

from scribe_router.policies.migrations import Migration, MigrationsKnowledge, ending, migrate, successor

ROWS = {
    "gpt-4": Migration(to="gpt-5"),
    "gpt-5": Migration(to="gpt-6", retires=date(2026, 12, 11), note="effort minimal becomes low"),
    "o/dd": Migration(to="gpt-6"),
}


@pytest.mark.parametrize(
    ("name", "today", "expected"),
    [
        ("gpt-4", date(2026, 11, 20), ("gpt-6", "gpt-4 is served by gpt-6")),
        (
            "gpt-5",
            date(2026, 12, 10),
            ("gpt-6", "gpt-5 (retires 2026-12-11) is served by gpt-6; effort minimal becomes low"),
        ),
        (
            "gpt-5",
            date(2026, 12, 11),
            ("gpt-6", "gpt-5 (retired 2026-12-11) is served by gpt-6; effort minimal becomes low"),
        ),
        ("openai/gpt-4", date(2026, 11, 20), ("gpt-6", "gpt-4 is served by gpt-6")),
        ("openrouter/openai/gpt-4", date(2026, 11, 20), ("gpt-6", "gpt-4 is served by gpt-6")),
        ("o/dd", date(2026, 11, 20), ("gpt-6", "o/dd is served by gpt-6")),
        ("gpt-6", date(2026, 11, 20), None),
        ("dd", date(2026, 11, 20), None),
        ("", date(2026, 11, 20), None),
    ],
)
def test_old_name(name: str, today: date, expected: tuple[str, str] | None) -> None:
    found = migrate(ROWS, name, today)
    assert (None if found is None else (found.name, found.warning)) == expected


@pytest.mark.parametrize(
    ("rows", "circle"),
    [
        ({"a": {"to": "a"}}, "a -> a"),
        ({"a": {"to": "b"}, "b": {"to": "c"}, "c": {"to": "b"}}, "a -> b -> c -> b"),
    ],
)
def test_a_circle_is_refused_when_it_is_read(rows: dict[str, object], circle: str) -> None:
    with pytest.raises(ValidationError, match=f"run in a circle: {circle}"):
        MigrationsKnowledge.model_validate(rows)


def test_the_end_of_a_chain() -> None:
    assert [successor(ROWS, name) for name in ("gpt-4", "gpt-5", "gpt-6", "other")] == ["gpt-6"] * 3 + ["other"]


@pytest.mark.parametrize(
    ("name", "today", "expected"),
    [
        ("gpt-5", date(2026, 11, 10), None),
        ("gpt-5", date(2026, 11, 11), "gpt-5 (retires 2026-12-11): its successor is gpt-6; effort minimal becomes low"),
        (
            "openai/gpt-5",
            date(2027, 1, 1),
            "gpt-5 (retired 2026-12-11): its successor is gpt-6; effort minimal becomes low",
        ),
        ("gpt-4", date(2027, 1, 1), None),
        ("gpt-6", date(2027, 1, 1), None),
    ],
)
def test_a_model_near_its_end(name: str, today: date, expected: str | None) -> None:
    assert ending(ROWS, name, today) == expected
