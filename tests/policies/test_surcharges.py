"""Which parameters can cost more than the listed rates."""

from typing import Any

import pytest

from scribe_router.policies.surcharges import SURCHARGES, surcharge

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
    ],
)
def test_surcharges(body: dict[str, Any], named: str | None) -> None:
    assert surcharge(body) == named


def test_each_row_has_a_case_above() -> None:
    rows = test_surcharges.pytestmark[0].args[1]
    assert {named for _, named in rows} - {None} == set(SURCHARGES)
