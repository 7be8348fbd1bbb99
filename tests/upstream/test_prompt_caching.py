"""`model_info.prompt_caching`: marks as they arrive, what a write may cost, and which deployments cannot ask for it."""

from pathlib import Path
from typing import Any

import pytest

from scribe_router.errors import ConfigError
from scribe_router.exchange import Call, Json
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from tests.support.yaml_text import RouterFrom, registry_from

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONFIG = """
model_list:
  - model_name: m
    litellm_params: {{model: {model}, api_base: "{base}", api_key: k}}
    model_info: {{lane: {lane}{info}}}
"""
PRICE = ", input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6, cache_creation_input_token_cost: 1.25e-6"
LONG = "word " * 1_000
MESSAGES = [{"role": "system", "content": LONG}, {"role": "user", "content": "hello"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CLAUDE = "anthropic/claude-sonnet-5-5"


def marks(arrived: Json) -> list[Any]:
    """The marks of an arrived body: at the end of its tools, of its system text, of its last message."""
    ends = [arrived.get("tools"), arrived.get("system") or arrived["messages"][0]["content"]]
    ends.append(arrived["messages"][-1]["content"])
    return [end[-1].get("cache_control") if isinstance(end, list) else None for end in ends]


FIVE, HOUR = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("model", "lane", "ttl", "expected"),
    [
        (CLAUDE, "litellm", "1h", [HOUR] * 3),
        (CLAUDE, "litellm", "5m", [FIVE] * 3),
        ("openrouter/anthropic/claude-sonnet-5.5", "wire", "1h", [None, HOUR, HOUR]),
        ("openrouter/anthropic/claude-sonnet-5.5", "litellm", "1h", [None, HOUR, HOUR]),
        ("openrouter/qwen/qwen3-max", "wire", "5m", [None, FIVE, FIVE]),
        ("dashscope/qwen3-max", "wire", "5m", [None, FIVE, FIVE]),
        ("dashscope/qwen3-max", "litellm", "5m", [None, FIVE, FIVE]),
    ],
)
async def test_what_arrives(
    router: RouterFrom, sandbox: Sandbox, model: str, lane: str, ttl: str, expected: list[Any]
) -> None:
    base = sandbox.url + ("/anthropic" if model == CLAUDE else "/v1")
    info = f"{PRICE}, prompt_caching: {ttl}"
    one = router(CONFIG.format(model=model, base=base, lane=lane, info=info))
    body = {"model": "m", "messages": MESSAGES, "tools": [TOOL]}
    await one.serve(Call("chat", body))
    assert marks(sandbox.received[-1].json) == expected
    await one.serve(Call("chat", {**body, "enable_search": True}))
    assert marks(sandbox.received[-1].json)[1:] == expected[1:]
    await one.serve(Call("chat", {**body, "messages": MESSAGES[1:]}))
    assert "cache_control" not in sandbox.received[-1].body.decode()


@pytest.mark.parametrize("model", ["openai/gpt-4.1", "moonshot/kimi-k3"])
@pytest.mark.parametrize("lane", ["wire", "litellm"])
async def test_the_key_of_a_cache_passes_untouched(router: RouterFrom, sandbox: Sandbox, model: str, lane: str) -> None:
    one = router(CONFIG.format(model=model, base=f"{sandbox.url}/v1", lane=lane, info=PRICE))
    await one.serve(Call("chat", {"model": "m", "messages": MESSAGES, "prompt_cache_key": "mine"}))
    assert sandbox.received[-1].json["prompt_cache_key"] == "mine"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_write_for_an_hour_settles_within_its_bound(router: RouterFrom, *, stream: bool) -> None:
    """Twice the price of input; even if every byte were a token."""
    tokens = len(LONG)
    usage = {
        "input_tokens": 1,
        "output_tokens": 20,
        "cache_creation_input_tokens": tokens,
        "cache_creation": {"ephemeral_1h_input_tokens": tokens},
    }
    limit = {"budgets": "limits: [{id: day, scope: user, window: day, usd: 100, when_short: reject}]"}
    async with Sandbox([{"match": ".", "answer": "said", "usage": usage}]) as sandbox:
        base = f"{sandbox.url}/anthropic"
        one = router(CONFIG.format(model=CLAUDE, base=base, lane="litellm", info=", prompt_caching: 1h"), limit)
        answer = await one.serve(Call("chat", {"model": "m", "messages": MESSAGES, "max_tokens": 20, "stream": stream}))
        if isinstance(answer, AnswerStream):
            assert [chunk async for chunk in answer]
        assert sandbox.received[-1].json["system"][0]["cache_control"] == HOUR
    [attempt] = answer.exchange.attempts
    assert attempt.usage is not None
    assert (attempt.usage.cache_write_1h, attempt.mark) == (tokens, "computed")
    assert attempt.cost == tokens * 4_000 + 2_000 + 20 * 10_000
    assert attempt.cost <= attempt.granted == attempt.bound


@pytest.mark.parametrize(
    ("model", "info", "says"),
    [
        ("openai/gpt-4.1", ", prompt_caching: 5m", "openai reads no cache_control"),
        ("openrouter/openai/gpt-5", f"{PRICE}, prompt_caching: 5m", "this model reads no cache_control"),
        ("dashscope/qwen3-max", f"{PRICE}, prompt_caching: 1h", "it keeps prompts for 5m, not for 1h"),
        ("dashscope/qwen3-max", ", prompt_caching: 5m", "state cache_creation_input_token_cost"),
        (CLAUDE, ", prompt_caching: 2h", "expected one of 5m, 1h, found '2h'"),
    ],
)
async def test_who_cannot_ask_for_it(tmp_path: Path, model: str, info: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        registry_from(tmp_path, CONFIG.format(model=model, base="http://127.0.0.1:9/v1", lane="litellm", info=info))
    assert "model_list[0].model_info.prompt_caching" in str(caught.value)
