"""What is made for each request: as good as a frozen dataclass, where types are checked."""

from dataclasses import replace

import pytest

from scribe_router.values import value


@value
class Point:
    x: int
    y: int = 0


def test_a_value_is_equal_to_its_like_and_stands_in_sets() -> None:
    assert Point(1, 2) == Point(1, 2) != Point(1)
    assert {Point(1, 2), Point(1, 2)} == {Point(1, 2)}
    assert repr(replace(Point(1, 2), x=3)) == "Point(x=3, y=2)"


def test_a_value_has_its_fields_and_no_others() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 3  # type: ignore[attr-defined]


def test_the_type_checker_refuses_a_change() -> None:
    """Strict mypy fails on a comment that silences nothing."""
    Point(1).x = 3  # type: ignore[misc]
