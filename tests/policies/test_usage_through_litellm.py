"""The providers' own usage shapes, through LiteLLM's reading of them, as an attempt in its lane delivers them."""

from typing import Any

import pytest

from scribe_router.exchange import Usage
from scribe_router.policies.usage import normalise

ANTHROPIC = [
    ({"input_tokens": 1_000, "output_tokens": 100}, Usage(1_000, 100)),
    (
        {"input_tokens": 1_000, "output_tokens": 100, "cache_read_input_tokens": 100_000},
        Usage(101_000, 100, cache_read=100_000),
    ),
    (
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_input_tokens": 7,
            "cache_creation_input_tokens": 80,
            "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 50},
        },
        Usage(97, 5, cache_read=7, cache_write=30, cache_write_1h=50),
    ),
]


@pytest.mark.parametrize(("raw", "expected"), ANTHROPIC)
def test_anthropic(raw: dict[str, Any], expected: Usage) -> None:
    from litellm.llms.anthropic.chat.transformation import AnthropicConfig

    usage = AnthropicConfig().calculate_usage(usage_object=raw, reasoning_content=None)
    assert normalise(usage.model_dump(mode="json", exclude_none=True)) == expected


def test_gemini() -> None:
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import VertexGeminiConfig

    raw = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
        "cachedContentTokenCount": 40,
        "totalTokenCount": 150,
    }
    reply: Any = {"usageMetadata": raw}
    usage = VertexGeminiConfig._calculate_usage(completion_response=reply)
    assert normalise(usage.model_dump(mode="json", exclude_none=True)) == Usage(100, 50, cache_read=40, reasoning=30)
