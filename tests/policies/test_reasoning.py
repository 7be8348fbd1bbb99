"""The scale of reasoning: which level stands for which, and budgets that leave room to answer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scribe_router.config.documents import load
from scribe_router.config.knowledge import SHIPPED
from scribe_router.exchange import Level
from scribe_router.policies.reasoning import (
    LEVELS,
    VISIBLE,
    Asked,
    Encoded,
    Family,
    ReasoningKnowledge,
    asked,
    encode,
    forced_tool,
    written,
)

SHIPPED_ROWS = ReasoningKnowledge.model_validate(load(SHIPPED / "policies" / "reasoning.yaml").data)
LEVELED: dict[str, Any] = {
    "providers": ["openai"],
    "none": {},
    "minimal": "low",
    "low": {"effort": "low"},
    "medium": "high",
    "high": {"effort": "high"},
    "xhigh": "high",
    "max": "high",
    "default": "low",
}


@pytest.mark.parametrize(
    ("provider", "model", "family"),
    [
        ("openai", "gpt-5", "gpt-5"),
        ("openai", "gpt-5-2025-08-07", "gpt-5"),
        ("openai", "gpt-5.1-codex", "gpt-5.1"),
        ("openai", "gpt-6.1-sol", "gpt-6-astra"),
        ("openai", "gpt-6.1-terra", "gpt-5.6"),
        ("openai", "gpt-7", None),
        ("anthropic", "claude-sonnet-5", "claude-5"),
        ("anthropic", "claude-sonnet-5-5", "claude-sonnet-5.5"),
        ("anthropic", "claude-sonnet-5-20260101", "claude-5"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-4.5"),
        ("anthropic", "claude-opus-4-5-20251101", "claude-opus-4.5"),
        ("dashscope", "qwen3-235b-a22b-thinking-2507", "qwq"),
        ("dashscope", "qwen3-235b-a22b", "qwen"),
        ("gemini", "gemini-3.1-pro-preview", "gemini-4"),
        ("gemini", "gemini-3.1-flash-lite", "gemini-3"),
        ("dashscope", "qwen3-coder-plus", "qwen-coder"),
        ("dashscope", "qwen3.8-max", "qwen"),
        ("minimax", "MiniMax-M3", "minimax-m3"),
        ("mistral", "mistral-large-4", "mistral-plain"),
        ("openrouter", "anthropic/claude-opus-5.5", "openrouter-always"),
        ("hosted_vllm", "meta/llama-4", None),
    ],
)
def test_the_family_of_a_model(provider: str, model: str, family: str | None) -> None:
    found = SHIPPED_ROWS.family(provider, model)
    assert found == (None if family is None else SHIPPED_ROWS.root[family])


@pytest.mark.parametrize(
    ("body", "native", "wish"),
    [
        ({}, (), None),
        ({"reasoning_effort": "max"}, (), Asked("max")),
        ({"reasoning_effort": "max", "thinking_budget": 5}, (), Asked("max")),
        ({"reasoning_effort": "auto", "thinking_budget": 5}, (), Asked("minimal", 5)),
        ({"thinking_budget": True}, (), None),
        ({"thinking_budget": -1}, (), None),
        ({"thinking": {"type": "enabled", "budget_tokens": 20_000}}, (), Asked("high", 20_000)),
        ({"thinking": {"type": "enabled", "budget_tokens": 20_000}}, ("thinking",), None),
        ({"thinking": {"type": "adaptive"}}, (), Asked("medium")),
        ({"thinking": "yes"}, (), None),
        ({"reasoning": {"max_tokens": 1_024}}, (), Asked("low", 1_024)),
        ({"reasoning": {"enabled": False}}, (), Asked("none")),
        ({"output_config": {"effort": "xhigh"}}, (), Asked("xhigh")),
        ({"enable_thinking": False}, (), Asked("none")),
        ({"think": "low"}, (), Asked("low")),
    ],
)
def test_what_is_asked(body: dict[str, Any], native: tuple[str, ...], wish: Asked | None) -> None:
    assert asked(body, native) == wish


@pytest.mark.parametrize(
    ("family", "body", "wish"),
    [
        ("claude-4.5", {"thinking": {"type": "disabled"}}, None),
        ("claude-4.5", {"thinking": {"type": "enabled", "budget_tokens": 5}}, Asked("minimal", 5, own=True)),
        ("claude-4.5", {"thinking": {"type": "enabled", "budget_tokens": 5}, "reasoning_effort": "low"}, Asked("low")),
        ("claude-5", {"thinking": {"type": "disabled"}}, None),
        ("claude-sonnet-5.5", {"thinking": {"type": "disabled"}}, Asked("none", own=True)),
        ("claude-always", {"thinking": {"type": "disabled"}}, Asked("none", own=True)),
        ("claude-always", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, None),
        ("gemini-2.5-flash", {"thinking": {"type": "disabled"}}, Asked("none", own=True)),
        ("openrouter-always", {"reasoning": {"effort": "none"}}, Asked("none", own=True)),
        ("openrouter-always", {"reasoning": {"effort": "high"}}, None),
    ],
)
def test_a_vendors_own_words_that_its_models_do_not_take(family: str, body: dict[str, Any], wish: Asked | None) -> None:
    assert SHIPPED_ROWS.root[family].wish(body) == wish


@pytest.mark.parametrize(
    ("family", "wish", "cap", "fields", "degraded"),
    [
        ("claude-4.5", Asked("high", 9_990, own=True), 10_000, {"type": "enabled", "budget_tokens": 9_990}, ""),
        (
            "claude-4.5",
            Asked("high", 10_000, own=True),
            10_000,
            {"type": "enabled", "budget_tokens": 8_976},
            "an output cap of 10000 tokens leaves 8976 to think",
        ),
        ("claude-4.6", Asked("medium", 5_000), 10_000, {"type": "enabled", "budget_tokens": 5_000}, ""),
        ("openrouter", Asked("medium", 5_000), 10_000, {"max_tokens": 5_000}, ""),
        ("openrouter", Asked("none", 0), 10_000, {"effort": "none"}, ""),
        ("gemini-2.5-flash-lite", Asked("none"), 10_000, {"type": "enabled", "budget_tokens": 0}, ""),
    ],
)
def test_a_number_of_tokens(family: str, wish: Asked, cap: int, fields: dict[str, Any], degraded: str) -> None:
    found = encode(SHIPPED_ROWS.root[family], wish, cap)
    assert (list(found.fields.values()), found.degraded) == ([fields], degraded)


def test_what_is_written_leaves_alone_what_says_something_else() -> None:
    low = Encoded({"thinking": {"type": "adaptive"}, "kwargs": {"think": True}}, "low")
    body = {
        "thinking": {"type": "enabled", "budget_tokens": 5, "display": "omitted"},
        "output_config": {"effort": "max", "format": 1},
        "reasoning": {"effort": "max"},
        "kwargs": {"type": 1, "think": False},
        "seed": 1,
    }
    assert written(body, low) == {
        "thinking": {"type": "adaptive", "display": "omitted"},
        "output_config": {"effort": "max", "format": 1},
        "kwargs": {"type": 1, "think": True},
        "seed": 1,
    }


@given(
    st.sampled_from(sorted(SHIPPED_ROWS.root)),
    st.sampled_from(LEVELS),
    st.none() | st.integers(0, 100_000),
    st.integers(1, 200_000),
)
def test_a_budget_leaves_room_to_answer(name: str, level: Level, tokens: int | None, cap: int) -> None:
    family = SHIPPED_ROWS.root[name]
    found = encode(family, Asked(level, tokens), cap)
    assert found.level == level or found.degraded
    assert found.fields == family.sent(found.level)[1] or family.budget is not None
    if family.budget is None:
        return
    said: Any = found.fields
    for part in family.budget.field.split("."):
        said = said.get(part, {}) if isinstance(said, dict) else None
    if isinstance(said, int) and (said or found.level != "none"):
        assert family.budget.least <= said <= (family.budget.most or said)
        assert said <= max(cap - VISIBLE, family.budget.least)
        assert tokens is None or said == tokens or found.degraded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minimal": "medium"}, "minimal stands for medium, which is no level that these models have"),
        ({"low": "lower"}, "Input should be"),
        ({"providers": []}, "at least 1 item"),
        ({"default": "auto"}, "Input should be"),
    ],
)
def test_a_family_that_makes_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Family.model_validate({**LEVELED, **change})


@pytest.mark.parametrize(
    ("takes", "none", "thinking", "forces"),
    [
        ("any", {}, True, "any"),
        ("required", {}, True, "required"),
        ("never", {}, False, "never"),
        ("unthinking", {}, True, "unthinking"),
        ("unthinking", {}, False, "any"),
        ("unthinking", "low", True, "never"),  # its thinking cannot give way
    ],
)
def test_forced_tools(takes: str, none: Any, forces: str, *, thinking: bool) -> None:
    family = Family.model_validate({**LEVELED, "minimal": "low", "none": none, "forced_tools": takes})
    assert family.forces(thinking=thinking) == forces


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, None),
        ({"tool_choice": "none"}, None),
        ({"tool_choice": "required"}, ""),
        ({"tool_choice": "any"}, ""),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "f"),
        ({"tool_choice": {"type": "custom", "custom": {"name": "c"}}}, "c"),
        ({"tool_choice": {"type": "function"}}, None),
        ({"tool_choice": {"function": {"name": 5}}}, None),
        ({"tool_choice": ["f"]}, None),
    ],
)
def test_which_tool_is_forced(body: dict[str, Any], name: str | None) -> None:
    assert forced_tool(body) == name


@pytest.mark.parametrize(
    ("family", "body", "level"),
    [
        ("claude-4.5", {}, "none"),
        ("claude-4.5", {"thinking": {"type": "enabled", "budget_tokens": 5_000}}, "medium"),
        ("kimi-k2.5", {}, "medium"),
        ("kimi-k2.5", {"thinking": {"type": "disabled"}}, "none"),
        ("claude-4.6", {"output_config": {"effort": "high"}}, "none"),
        ("claude-sonnet-5.5", {"thinking": {"type": "between_tools"}}, "high"),
    ],
)
def test_the_level_of_a_vendors_own_words(family: str, body: dict[str, Any], level: str) -> None:
    assert SHIPPED_ROWS.root[family].level(body) == level
