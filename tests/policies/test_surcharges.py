"""Which parameters can cost more than the listed rates."""

from typing import Any

import pytest

from scribe_router.policies.surcharges import SURCHARGES, TERMS, Asked, asked

FUNCTION = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, None),
        ({"service_tier": "auto"}, None),
        ({"service_tier": "flex"}, None),
        ({"service_tier": "priority"}, "service_tier"),
        ({"service_tier": "a tier of tomorrow"}, "service_tier"),
        ({"service_tier": ["priority"]}, "service_tier"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"web_search_options": None}, None),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"modalities": ["text"]}, None),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"enable_search": True}, "enable_search"),
        ({"enable_search": False}, None),
        ({"models": ["a", "b"]}, "models"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
        ({"speed": "fast"}, "speed"),
        ({"inference_geo": "global"}, None),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"tools": [FUNCTION, {"type": "custom"}]}, None),
        ({"tools": []}, None),
        ({"tools": [FUNCTION, {"type": "openrouter:web_search"}]}, "tools"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ({"tools": ["nonsense"]}, "tools"),
        ({"tools": True}, "tools"),
        ({"tools": {"type": "web_search_20250305", "max_uses": 1}}, "tools"),
        ({"tools": None}, None),
    ],
)
def test_surcharges(body: dict[str, Any], named: str | None) -> None:
    assert asked(body, (), searchable=False) == Asked(named)


def test_each_row_has_a_case_above() -> None:
    rows = test_surcharges.pytestmark[0].args[1]
    assert {named for _, named in rows} - {None} == set(SURCHARGES)


SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"service_tier": "priority"}, Asked(terms={"service_tier": "priority"})),
        ({"service_tier": "ultrafast"}, Asked("service_tier")),
        ({"service_tier": ["priority"]}, Asked("service_tier")),
        (
            {"inference_geo": "us", "speed": "fast"},
            Asked(terms={"inference_geo": "us", "speed": "fast"}),
        ),
        ({"service_tier": "priority", "prediction": {}}, Asked(terms={"service_tier": "priority"})),
        (
            {"service_tier": "priority", "prediction": {"content": "x"}},
            Asked("prediction", {"service_tier": "priority"}),
        ),
        ({"tools": [SEARCH, FUNCTION]}, Asked(searches=3)),
        ({"tools": [SEARCH, SEARCH]}, Asked(searches=6)),
        ({"tools": True}, Asked("tools")),
        ({"tools": [{**SEARCH, "max_uses": None}]}, Asked("tools")),
        ({"tools": [{**SEARCH, "max_uses": True}]}, Asked("tools")),
        ({"tools": [{**SEARCH, "max_uses": 0}]}, Asked("tools")),
        ({"tools": [{**SEARCH, "max_uses": 10**9}]}, Asked("tools")),
        ({"tools": [SEARCH, {"type": "code_execution_20250522"}]}, Asked("tools")),
        ({"tools": [{"type": "web_fetch_20250910", "max_uses": 3}]}, Asked("tools")),
    ],
)
def test_what_the_price_bounds(body: dict[str, Any], expected: Asked) -> None:
    assert asked(body, ("priority", "us", "fast"), searchable=True) == expected


def test_terms_are_rows_of_the_table() -> None:
    assert set(TERMS) <= set(SURCHARGES)
