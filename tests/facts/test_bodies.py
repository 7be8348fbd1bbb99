"""Facts about what else of a request arrives, and where."""

import json

import pytest

from scribe_router.exchange import Json
from tests.facts.conftest import Fact

pytestmark = pytest.mark.asyncio(loop_scope="session")
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
THOUGHT = "what claude thought"
HISTORY: list[Json] = [
    {"role": "user", "content": "weather?"},
    {
        "role": "assistant",
        "content": "sunny",
        "reasoning_content": THOUGHT,
        "thinking_blocks": [{"type": "thinking", "thinking": THOUGHT, "signature": "c2lnbmVk"}],
    },
    {"role": "user", "content": "so?"},
]


async def test_what_is_anthropics_own_reaches_it(fact: Fact) -> None:
    """A deployment of Anthropic's with `extra_body: {inference_geo: us}`: what arrives."""
    seen = await fact.ask("anthropic/claude-opus-5-5", params={"extra_body": {"inference_geo": "us"}})
    fact.shows(seen.sent("extra_body", "inference_geo"))


async def test_thoughts_stay_with_their_vendor(fact: Fact) -> None:
    """A conversation with what Claude thought goes on at another vendor's: whether the thought arrives there."""
    models = (
        "openai/gpt-5",
        "moonshot/kimi-k3",
        "deepseek/deepseek-flash",
        "dashscope/qwen3.8-max",
        "openrouter/vendor/new-model",
        "minimax/MiniMax-M3",
        "mistral/mistral-large-4",
    )
    asked = {model: await fact.ask(model, messages=HISTORY) for model in models}
    fact.shows({model: THOUGHT in json.dumps(seen.body) for model, seen in asked.items()})


async def test_tools_go_where_the_model_takes_them(fact: Fact) -> None:
    """gpt-6-sol with a tool and `store: false`, by effort: where it arrives, and whether that is still said there."""
    asked = {
        level: await fact.ask("openai/gpt-6-sol", tools=[TOOL], store=False, reasoning_effort=level)
        for level in ("low", "none")
    }
    fact.shows({level: [seen.paths[-1], seen.bodies[-1].get("store")] for level, seen in asked.items()})
