"""Before bytes leave: what is too long goes to the wider model, or is refused at no cost; so is what nobody can do."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from scribe_router.cli import app
from scribe_router.errors import ContextLengthExceeded, InvalidRequest
from scribe_router.exchange import Call, Exchange
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from tests.support.served import served
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
PRICE = "input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6"
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aWNo"}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object", "properties": {}}}}
SOUND = {"type": "input_audio", "input_audio": {"data": "aWNo", "format": "wav"}}


def config(url: str, *, own: str = "gpt-5", facts: str = "", provider: str = "openai") -> str:
    return f"""
model_list:
  - model_name: small
    litellm_params: {{model: {provider}/{own}, api_base: {url}/v1, api_key: k}}
    model_info: {{id: small, max_input_tokens: 1000, {PRICE}{facts}}}
  - model_name: large
    litellm_params: {{model: openai/echo, api_base: {url}/v1, api_key: k}}
    model_info: {{id: large, max_input_tokens: 5000, {PRICE}, supports_vision: true, supports_audio_input: true}}
  - model_name: aside
    litellm_params: {{model: openai/aside, api_base: {url}/v1, api_key: k}}
    model_info: {{id: aside, max_input_tokens: 900000, {PRICE}}}
router_settings:
  fallbacks: [{{small: [aside]}}]
  context_window_fallbacks: [{{small: [large]}}]
"""


def words(count: int) -> list[dict[str, Any]]:
    """A message of so many tokens of OpenAI's newer models."""
    return [{"role": "user", "content": "word" + " word" * (count - 1)}]


async def ask(one: Router, **body: Any) -> Exchange:
    answer = await one.serve(Call("chat", {"model": "small", **body}))
    if isinstance(answer, AnswerStream):
        async for _ in answer:
            pass
    return answer.exchange


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_what_is_too_long_goes_to_the_wider_model_at_once(
    sandbox: Sandbox, router: RouterFrom, stream: bool
) -> None:
    exchange = await ask(router(config(sandbox.url)), messages=words(1500), stream=stream)
    assert [each.deployment for each in exchange.attempts] == ["large"]
    assert exchange.warnings == ["the request is too long for small; its context-window fallbacks serve"]
    assert len(sandbox.received) == 1


async def test_the_last_token_that_fits(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router(config(sandbox.url))
    assert (await ask(one, messages=words(997))).attempts[0].deployment == "small"
    assert (await ask(one, messages=words(998))).attempts[0].deployment == "large"


async def test_too_long_for_all_is_refused_before_anything_is_sent_or_spent(
    sandbox: Sandbox, router: RouterFrom
) -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        await ask(router(config(sandbox.url)), messages=words(9000), tools=[TOOL])
    error = caught.value
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert "> window 1,000, counted by o200k_base, its own, with 1 tool (small)" in error.message
    assert error.message.endswith("(large); try aside")
    assert sandbox.received == []
    assert error.exchange.attempts == []
    assert error.exchange.cost == 0


async def test_over_http(sandbox: Sandbox, router: RouterFrom) -> None:
    body = {"model": "small", "messages": words(9000)}
    with served(router(config(sandbox.url))) as url:
        async with httpx.AsyncClient() as client:
            reply = await client.post(f"{url}/v1/chat/completions", json=body, timeout=30)
    assert (reply.status_code, reply.headers["x-should-retry"]) == (400, "false")
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "context_length_exceeded")
    assert "needs 9,003 tokens > window 1,000" in error["message"]


async def test_an_estimate_leaves_the_provider_to_say_so(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router(config(sandbox.url, own="long-1+echo"))
    assert (await ask(one, messages=words(1500))).attempts[0].deployment == "small"
    assert (await ask(one, messages=words(1700))).attempts[0].deployment == "large"


async def test_a_cap_takes_room_where_the_provider_counts_it(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router(config(sandbox.url, own="gpt-oss", provider="hosted_vllm"))
    assert (await ask(one, messages=words(497), max_tokens=500)).attempts[0].deployment == "small"
    assert (await ask(one, messages=words(498), max_tokens=500)).attempts[0].deployment == "large"


@pytest.mark.parametrize(
    ("ability", "code", "needs"),
    [
        ("vision", "vision_unavailable", {"messages": [{"role": "user", "content": [PICTURE]}]}),
        ("audio_input", "audio_unavailable", {"messages": [{"role": "user", "content": [SOUND]}]}),
        ("function_calling", "tools_unavailable", {"messages": words(1), "tools": [TOOL]}),
        ("response_schema", "json_schema_unavailable", {"messages": words(1), "response_format": SCHEMA}),
    ],
)
async def test_what_a_model_lacks_is_not_asked_of_it(
    sandbox: Sandbox, router: RouterFrom, ability: str, code: str, needs: dict[str, Any]
) -> None:
    one = router(config(sandbox.url, own="echo", facts=f", supports_{ability}: false"))
    assert [each.deployment for each in (await ask(one, **needs)).attempts] == ["aside"]
    sandbox.clear()
    with pytest.raises(InvalidRequest) as caught:
        await ask(one, **needs, fallback_enabled=False)
    assert (caught.value.status, caught.value.code) == (400, code)
    assert sandbox.received == []
    assert ("; try large" in caught.value.message) == (ability in ("vision", "audio_input"))


async def test_others_go_on_while_a_tokenizer_is_asked(sandbox: Sandbox, router: RouterFrom) -> None:
    """The loop turns while the text is counted: in one go it would not once."""
    one, turns = router(config(sandbox.url)), 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    turning = asyncio.create_task(turn())
    with pytest.raises(ContextLengthExceeded):
        await ask(one, messages=[{"role": "user", "content": "word " * 200_000}])
    turning.cancel()
    assert turns > 20


async def test_explain_says_how_it_was_counted(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router(config(sandbox.url))
    short = one.explain(model="small", messages=words(2), tools=[TOOL])
    assert "input: 104 tokens at most, since it has as many bytes, with 1 tool; no tokenizer was asked" in short
    long = one.explain(model="small", messages=words(1500))
    assert "input: 1,500 tokens of text by o200k_base\n" in long
    assert "small  window: needs 1,503 tokens > window 1,000, counted by o200k_base, its own" in long


async def test_a_past_plan_is_made_again_of_what_was_counted(
    sandbox: Sandbox, router: RouterFrom, tmp_path: Path
) -> None:
    one = router(config(sandbox.url), {"store": "{ledger: sqlite:ledger.db, journal: j.jsonl}"})
    exchange = await ask(one, messages=words(1500))
    await one.aclose()
    made = tmp_path / "router-1" / "litellm_config.yaml"
    told = CliRunner().invoke(app, ["explain", "--id", exchange.id, "--config", str(made)])
    assert "input: 1,500 tokens of text by o200k_base\n" in told.stdout
    assert "the same plan" in told.stdout
