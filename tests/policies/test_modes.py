"""Which routing mode a request gets, and what that writes into it."""

from typing import Any

import pytest

from scribe_router.policies.modes import NO_MODES, Modes, moded
from scribe_router.policies.providers import Provider

ROUTED = Modes({"fast": {}, "cheap": {}}, {"cost": "cheap", "balance": None}, "fast")


@pytest.mark.parametrize(
    ("modes", "named", "wish", "chosen"),
    [
        (ROUTED, None, None, "fast"),
        (ROUTED, "cheap", None, "cheap"),
        (ROUTED, "fast", "cost", "fast"),
        (ROUTED, None, "cost", "cheap"),
        (ROUTED, None, "balance", None),
        (ROUTED, None, "nonsense", "fast"),
        (ROUTED, "nonsense", None, "fast"),
        (NO_MODES, "fast", "cost", None),
    ],
)
def test_chosen(modes: Modes, named: str | None, wish: str | None, chosen: str | None) -> None:
    assert modes.chosen(named, wish) == chosen


SORT = {"provider": {"sort": "price"}}
SEARCH = {"tools": [{"type": "vendor:search"}]}
FUNCTION = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("body", "fields", "expected"),
    [
        ({}, SORT, SORT),
        ({"provider": None}, SORT, SORT),
        ({"provider": {"zdr": True}}, SORT, {"provider": {"sort": "price", "zdr": True}}),
        ({"provider": {"sort": "latency"}}, SORT, {"provider": {"sort": "latency"}}),
        ({"provider": "odd"}, SORT, {"provider": "odd"}),
        ({"tools": [FUNCTION]}, SEARCH, {"tools": [FUNCTION, {"type": "vendor:search"}]}),
        ({"tools": [{"type": "vendor:search", "most": 1}]}, SEARCH, {"tools": [{"type": "vendor:search", "most": 1}]}),
        ({"tools": ["odd"]}, SEARCH, {"tools": ["odd", {"type": "vendor:search"}]}),
        ({"a": 1}, {}, {"a": 1}),
    ],
)
def test_moded(body: dict[str, Any], fields: dict[str, Any], expected: dict[str, Any]) -> None:
    before = repr((body, fields))
    assert moded(body, fields) == expected
    assert repr((body, fields)) == before


@pytest.mark.parametrize("row", [{"default_mode": "turbo"}, {"optimize_for": {"cost": "turbo"}}])
def test_a_mode_that_is_not_there(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="there is no mode turbo; it has fast"):
        Provider.model_validate({"modes": {"fast": {}}, **row})


def test_an_empty_default_is_none() -> None:
    assert Provider(default_mode="").default_mode is None
