"""Rows of providers: whose host, whose key, which models."""

from typing import Any

import pytest
from pydantic import ValidationError

from scribe_router.policies.providers import Provider, ProvidersKnowledge

ROW = Provider.model_validate(
    {
        "wire": "openai",
        "lane": "wire",
        "default_region": "world",
        "models_with_tools_on_responses": ["gpt-6*", "o9"],
        "regions": {
            "world": {"api_base": "https://api.example/v1", "keys": ["KEY", "SHARED"]},
            "east": {"api_base": "https://east.example/v1", "keys": ["EAST_KEY", "SHARED"]},
            "own": {"keys": []},
        },
    }
)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("https://api.example/v1", "world"),
        ("https://api.example:8443/v2/", "world"),
        ("https://EAST.example", "east"),
        ("https://elsewhere.example/v1", None),
        ("not an address", None),
    ],
)
def test_region_of_a_host(host: str, region: str | None) -> None:
    assert ROW.region_of_host(host) == region


@pytest.mark.parametrize(("key", "region"), [("KEY", "world"), ("EAST_KEY", "east"), ("SHARED", None), ("OTHER", None)])
def test_region_of_a_key(key: str, region: str | None) -> None:
    assert ROW.region_of_key(key) == region


@pytest.mark.parametrize(
    ("model", "expected"), [("gpt-6-luna", True), ("o9", True), ("o9-mini", False), ("GPT-6", False)]
)
def test_tools_on_responses(model: str, expected: bool) -> None:
    assert ROW.tools_on_responses(model) is expected


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"default_region": "moon"}, "default_region moon is not one of its regions"),
        ({"lane": "wire", "wire": "gemini"}, "this provider's wire is not openai"),
        ({"regions": {"r": {"price_factor": 0}}}, "greater than 0"),
        ({"region": {}}, "Extra inputs"),
    ],
)
def test_a_row_that_cannot_be(row: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ProvidersKnowledge.model_validate({"p": row})
