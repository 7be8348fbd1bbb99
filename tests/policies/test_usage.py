"""Usage as each provider reports it, and as none should."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scribe_router.exchange import Usage
from scribe_router.policies.usage import MOST_TOKENS, normalise
from tests.support.examples import examples

OPENAI = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}


def details(**parts: Any) -> dict[str, Any]:
    return {**OPENAI, "prompt_tokens_details": parts}


REPORTED: list[tuple[str, dict[str, Any], Usage]] = [
    ("OpenAI", OPENAI, Usage(100, 50)),
    ("OpenAI, details", {**details(cached_tokens=60, audio_tokens=0), "completion_tokens_details":
        {"reasoning_tokens": 40, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}},
        Usage(100, 50, cache_read=60, reasoning=40)),
    ("OpenAI, cache writes", details(cached_tokens=20, cache_write_tokens=30),
        Usage(100, 50, cache_read=20, cache_write=30)),
    ("OpenAI, embeddings", {"prompt_tokens": 8, "total_tokens": 8}, Usage(8)),
    ("Anthropic, as LiteLLM reads it", {**details(cached_tokens=40, cache_creation_tokens=30, text_tokens=30),
        "cache_read_input_tokens": 40, "cache_creation_input_tokens": 30},
        Usage(100, 50, cache_read=40, cache_write=30)),
    ("Anthropic, five minutes and one hour", {**details(cached_tokens=0, cache_creation_tokens=70,
        cache_creation_token_details={"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 50}),
        "cache_creation_input_tokens": 70}, Usage(100, 50, cache_write=20, cache_write_1h=50)),
    ("Anthropic, its own count without the cached", {"prompt_tokens": 1_000, "completion_tokens": 100,
        "cache_read_input_tokens": 100_000, "cache_creation_input_tokens": 500},
        Usage(101_500, 100, cache_read=100_000, cache_write=500)),
    ("Gemini, as LiteLLM reads it", {**details(cached_tokens=10, text_tokens=90, image_tokens=0),
        "completion_tokens_details": {"reasoning_tokens": 30, "text_tokens": 20}},
        Usage(100, 50, cache_read=10, reasoning=30)),
    ("OpenRouter", {**details(cached_tokens=10, cache_write_tokens=5), "cost": 0.00095, "is_byok": False,
        "cost_details": {"upstream_inference_cost": None}, "completion_tokens_details": {"reasoning_tokens": 7}},
        Usage(100, 50, cache_read=10, cache_write=5, reasoning=7, reported_cost=950_000)),
    ("OpenRouter, a key of one's own", {**OPENAI, "cost": 0.0001, "is_byok": True,
        "cost_details": {"upstream_inference_cost": 0.002}}, Usage(100, 50, reported_cost=2_100_000)),
    ("OpenRouter, a key of one's own and nothing said", {**OPENAI, "cost": 0, "is_byok": True}, Usage(100, 50)),
    ("OpenRouter, cost without tokens", {"cost": 0.001}, Usage(reported_cost=1_000_000)),
    ("a reported part of a nano-dollar", {**OPENAI, "cost": Decimal("0.0000000001")}, Usage(100, 50, reported_cost=1)),
    ("Moonshot", {**OPENAI, "cached_tokens": 60}, Usage(100, 50, cache_read=60)),
    ("Moonshot, newer", {**details(cached_tokens=60), "cached_tokens": 60}, Usage(100, 50, cache_read=60)),
    ("Dashscope", {**details(cached_tokens=60), "completion_tokens_details": {"reasoning_tokens": 50}},
        Usage(100, 50, cache_read=60, reasoning=50)),
    ("Dashscope, explicit cache", details(cached_tokens=0, cache_creation_input_tokens=90),
        Usage(100, 50, cache_write=90)),
    ("DeepSeek", {**OPENAI, "prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 40},
        Usage(100, 50, cache_read=60)),
    ("Mistral", {**OPENAI, "num_cached_tokens": 60}, Usage(100, 50, cache_read=60)),
    ("Mistral, details", details(cached_tokens=60), Usage(100, 50, cache_read=60)),
    ("MiniMax", {**OPENAI, "total_characters": 0, "completion_tokens_details": {"reasoning_tokens": 9}},
        Usage(100, 50, reasoning=9)),
    ("vLLM", {**OPENAI, "prompt_tokens_details": None}, Usage(100, 50)),
    ("Ollama, as LiteLLM reads it", {**OPENAI, "prompt_tokens_details": None, "completion_tokens_details": None},
        Usage(100, 50)),
    ("xAI leaves reasoning out of the output", {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 150,
        "completion_tokens_details": {"reasoning_tokens": 40}}, Usage(100, 50, reasoning=40)),
    ("xAI, as LiteLLM reads it", {**OPENAI, "completion_tokens_details": {"reasoning_tokens": 40}},
        Usage(100, 50, reasoning=40)),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "expected"), [row[1:] for row in REPORTED], ids=[row[0] for row in REPORTED])
def test_reported(raw: dict[str, Any], expected: Usage) -> None:
    assert normalise(raw) == expected


STRANGE: list[tuple[str, Any, Usage | None]] = [
    ("nothing", None, None),
    ("empty", {}, None),
    ("a list", [1, 2], None),
    ("a text", "many", None),
    ("all zero", {"prompt_tokens": 0, "completion_tokens": 0}, None),
    ("nulls", {"prompt_tokens": None, "completion_tokens": None}, None),
    ("a negative input", {"prompt_tokens": -5, "completion_tokens": 5}, None),
    ("a negative output", {"prompt_tokens": 5, "completion_tokens": -5}, None),
    ("true is not one", {"prompt_tokens": True, "completion_tokens": 5}, None),
    ("a text for a count", {"prompt_tokens": "12", "completion_tokens": 5}, None),
    ("not a number", {"prompt_tokens": math.nan, "completion_tokens": 5}, None),
    ("infinite", {"prompt_tokens": 5, "completion_tokens": math.inf}, None),
    ("more than can be", {"prompt_tokens": MOST_TOKENS + 1, "completion_tokens": 5}, None),
    ("the most that can be", {"prompt_tokens": MOST_TOKENS}, Usage(MOST_TOKENS)),
    ("counts as floats", {"prompt_tokens": 12.0, "completion_tokens": 4.5}, Usage(12, 5)),
    ("no input", {"completion_tokens": 5}, Usage(0, 5)),
    ("details that are none", {**OPENAI, "prompt_tokens_details": "x", "completion_tokens_details": [1]},
        Usage(100, 50)),
    ("details of other kinds", details(cached_tokens="60", cache_creation_tokens=-3), Usage(100, 50)),
    ("more reasoning than output", {**OPENAI, "completion_tokens_details": {"reasoning_tokens": 90}},
        Usage(100, 50, reasoning=50)),
    ("more written for an hour than written", details(cache_creation_tokens=5,
        cache_creation_token_details={"ephemeral_1h_input_tokens": 20}), Usage(100, 50, cache_write_1h=20)),
    ("a cost in words", {**OPENAI, "cost": "0.5"}, Usage(100, 50)),
    ("a cost of parts (Perplexity)", {**OPENAI, "cost": {"total_cost": 0.5}}, Usage(100, 50)),
    ("true is no cost", {**OPENAI, "cost": True}, Usage(100, 50)),
    ("a negative cost", {**OPENAI, "cost": -0.5}, Usage(100, 50)),
    ("an infinite cost", {**OPENAI, "cost": math.inf}, Usage(100, 50)),
    ("a cost that is no number", {**OPENAI, "cost": Decimal("sNaN")}, Usage(100, 50)),
    ("a cost that nobody has", {**OPENAI, "cost": 1e30}, Usage(100, 50)),
    ("a cost of nothing", {**OPENAI, "cost": 0}, Usage(100, 50, reported_cost=0)),
    ("a negative cost behind it", {**OPENAI, "cost": 0.1, "is_byok": True,
        "cost_details": {"upstream_inference_cost": -1}}, Usage(100, 50)),
    ("a cost without counts that can be true", {"prompt_tokens": -1, "cost": 0.001}, Usage(reported_cost=1_000_000)),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "expected"), [row[1:] for row in STRANGE], ids=[row[0] for row in STRANGE])
def test_strange(raw: Any, expected: Usage | None) -> None:
    assert normalise(raw) == expected


NAMES = (
    "prompt_tokens completion_tokens total_tokens cached_tokens num_cached_tokens prompt_cache_hit_tokens cost is_byok "
    "cache_read_input_tokens cache_creation_input_tokens cache_creation_tokens cache_write_tokens reasoning_tokens "
    "ephemeral_5m_input_tokens ephemeral_1h_input_tokens upstream_inference_cost prompt_tokens_details "
    "completion_tokens_details cache_creation_token_details cost_details"
).split()
values: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, 1_000), st.integers(), st.floats(), st.none(), st.booleans(), st.text(max_size=3)
)
parts = st.dictionaries(st.sampled_from(NAMES), values, max_size=6)
deep = st.dictionaries(st.sampled_from(NAMES), st.one_of(values, parts), max_size=10)
raws = st.dictionaries(st.sampled_from(NAMES), st.one_of(values, parts, deep), max_size=12)


@given(raws)
@settings(max_examples=examples(150), deadline=None)
def test_whatever_comes_the_parts_are_within_their_wholes(raw: dict[str, Any]) -> None:
    usage = normalise(raw)
    if usage is None:
        return
    counts = (usage.input, usage.output, usage.cache_read, usage.cache_write, usage.cache_write_1h, usage.reasoning)
    assert [type(count) for count in counts] == [int] * 6
    assert min(counts) >= 0
    assert usage.cache_read + usage.cache_write + usage.cache_write_1h <= usage.input
    assert usage.reasoning <= usage.output
    assert usage.reported_cost is None or (type(usage.reported_cost) is int and usage.reported_cost >= 0)
    assert not usage.empty or usage.reported_cost is not None
