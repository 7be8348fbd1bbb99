"""What `auto` means for a request, and what is asked for when it says nothing."""

from typing import Any

import pytest
from pydantic import ValidationError

from scribe_router.config.documents import load
from scribe_router.config.knowledge import SHIPPED
from scribe_router.facts import Facts
from scribe_router.policies.effort import EffortPolicy

RULES = EffortPolicy.model_validate(
    {
        "defaults": {"openai": "low", "gpt-6-luna": "auto", "anthropic": ""},
        "auto": [
            {"task": ["math", "coding"], "tools": False, "effort": "max"},
            {"tools": True, "effort": "medium"},
            {"longer_than": 100, "effort": "high"},
        ],
    }
)


@pytest.mark.parametrize(
    ("request_facts", "level"),
    [
        ({"tools": False, "letters": 10, "task": "math"}, "max"),
        ({"tools": True, "letters": 10, "task": "math"}, "medium"),
        ({"tools": True, "letters": 1_000, "task": None}, "medium"),
        ({"tools": False, "letters": 101, "task": "poetry"}, "high"),
        ({"tools": False, "letters": 100, "task": None}, None),
    ],
)
def test_the_first_rule_that_holds_decides(request_facts: Any, level: str | None) -> None:
    assert RULES.chosen(Facts("chat", "m", **request_facts)) == level


@pytest.mark.parametrize(
    ("model", "provider", "level"),
    [
        ("gpt-6-luna", "openai", "auto"),
        ("gpt-6-sol", "openai", "low"),
        ("claude", "anthropic", None),
        ("other", "other", None),
    ],
)
def test_a_models_default_comes_before_its_providers(model: str, provider: str, level: str | None) -> None:
    assert RULES.default(model, provider) == level


@pytest.mark.parametrize(
    "wrong", [{"auto": [{"effort": "auto"}]}, {"defaults": {"openai": "lots"}}, {"auto": [{"tools": True}]}]
)
def test_what_is_no_level(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EffortPolicy.model_validate(wrong)


def test_the_shipped_rules_hold_for_everything() -> None:
    rules = load(SHIPPED / "policies" / "effort.yaml").data["auto"]
    shipped = EffortPolicy.model_validate({"auto": rules})
    assert shipped.chosen(Facts("chat", "m")) == "low"
    assert shipped.chosen(Facts("chat", "m", task="math")) == "high"
