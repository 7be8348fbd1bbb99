"""What no client should send is a 400 that names it, and costs nothing: strange types, deep nesting, half a letter."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from scribe_router.errors import InvalidRequest, RequestError
from scribe_router.exchange import Call, CallOptions, Json
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from tests.support.served import served
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONFIG = """
model_list:
  - model_name: wire
    litellm_params: {model: openai/gpt-4o, api_base: BASE/v1, api_key: k}
    model_info: {id: wire, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - model_name: litellm
    litellm_params: {model: anthropic/claude-haiku-4-5, api_base: BASE/anthropic, api_key: k}
    model_info: {id: litellm, input_cost_per_token: 1.0e-6, output_cost_per_token: 5.0e-6}
"""
HALF = "\ud800"  # half of a surrogate pair, which JSON can say and UTF-8 cannot
PATIENCE = 30.0


def built(router: RouterFrom, sandbox: Sandbox, tmp_path: Path) -> Router:
    store = f"ledger: sqlite:ledger.db\njournal: {tmp_path / 'journal.jsonl'}"
    budgets = "limits: [{id: all, scope: all, usd: 1000}]"
    return router(CONFIG.replace("BASE", sandbox.url), {"store": store, "budgets": budgets})


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


async def asked(router: Router, body: Json) -> list[Json]:
    async with asyncio.timeout(PATIENCE):
        answer = await router.serve(Call("chat", body))
        return [chunk async for chunk in answer] if isinstance(answer, AnswerStream) else [answer.body]


def hello(model: str = "wire", **more: Any) -> Json:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}


@pytest.mark.parametrize("content", [5, -1, 1.5, True, {"type": "text", "text": "hi"}])
@pytest.mark.parametrize("model", ["wire", "litellm"])
async def test_content_that_is_no_content(
    router: RouterFrom, sandbox: Sandbox, tmp_path: Path, model: str, content: Any
) -> None:
    body = hello(model) | {"messages": [{"role": "user", "content": content}]}
    with pytest.raises(InvalidRequest, match=r"messages\[0\].content must be"):
        await asked(built(router, sandbox, tmp_path), body)


@pytest.mark.parametrize("name", ["tools", "functions"])
@pytest.mark.parametrize("value", [5, True, "x", {"type": "function"}])
async def test_tools_that_are_no_list(
    router: RouterFrom, sandbox: Sandbox, tmp_path: Path, name: str, value: Any
) -> None:
    with pytest.raises(InvalidRequest, match=f"{name} must be a list"):
        await asked(built(router, sandbox, tmp_path), hello(**{name: value}))


@pytest.mark.parametrize("model", ["wire", "litellm"])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
async def test_numbers_that_json_cannot_say(
    router: RouterFrom, sandbox: Sandbox, tmp_path: Path, model: str, value: float
) -> None:
    with pytest.raises(InvalidRequest, match="top_p must be a number") as refusal:
        await asked(built(router, sandbox, tmp_path), hello(model, top_p=value))
    assert (refusal.value.param, sandbox.received) == ("top_p", [])


@pytest.mark.parametrize("messages", [5, True, 1.5])
async def test_messages_that_are_no_list(router: RouterFrom, sandbox: Sandbox, tmp_path: Path, messages: Any) -> None:
    with pytest.raises(InvalidRequest, match="messages must be a list"):
        await asked(built(router, sandbox, tmp_path), {"model": "wire", "messages": messages})


@pytest.mark.parametrize("depth", [600, 5000])
@pytest.mark.parametrize("model", ["wire", "litellm"])
@pytest.mark.parametrize("where", ["stop", "messages"])
async def test_deep_nesting_is_refused_and_costs_nothing(
    router: RouterFrom, sandbox: Sandbox, tmp_path: Path, where: str, model: str, depth: int
) -> None:
    odd = built(router, sandbox, tmp_path)
    deep = nested(depth)
    more = {"stop": deep} if where == "stop" else {"messages": [{"role": "user", "content": [deep]}]}
    with pytest.raises(RequestError) as refusal:
        await asked(odd, hello(model) | more)
    assert refusal.value.status == 400
    assert {each.settled + each.reserved for each in (await odd.ledger.counters()).values()} <= {0}


@pytest.mark.parametrize("stream", [False, True])
async def test_half_a_letter_does_not_keep_an_answer_from_its_end(
    router: RouterFrom, sandbox: Sandbox, tmp_path: Path, stream: bool
) -> None:
    """Such a role and user stand in the journal's line, which is written when the answer ends."""
    odd = built(router, sandbox, tmp_path)
    body = hello(stream=stream, provider=HALF, metadata={"task": HALF})
    assert await asked(odd, body)
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == 1
    assert odd.journal.lost == 0


async def test_half_a_letter_in_the_name_of_a_model(router: RouterFrom, sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no model, group or alias"):
        await asked(built(router, sandbox, tmp_path), hello(HALF))


def paying(name: str, value: str) -> CallOptions:
    return CallOptions(user=value) if name == "user" else CallOptions(team=value)


@pytest.mark.parametrize("name", ["user", "team"])
@pytest.mark.parametrize("value", [HALF, "ann\x00", "ann\n"])
async def test_who_pays_has_a_name_that_every_store_keeps(
    router: RouterFrom, sandbox: Sandbox, tmp_path: Path, name: str, value: str
) -> None:
    odd = built(router, sandbox, tmp_path)
    with pytest.raises(InvalidRequest, match=f"{name} holds a control character"):
        await odd.serve(Call("chat", hello(), paying(name, value)))
    assert await odd.serve(Call("chat", hello(), paying(name, "Ännchen 👨‍👩‍👧|x")))
    assert await odd.ledger.check() == []


async def test_and_over_http_too(router: RouterFrom, sandbox: Sandbox, tmp_path: Path) -> None:
    odd = built(router, sandbox, tmp_path)
    with served(odd) as url:
        async with aiohttp.ClientSession() as session:
            for body in (hello(HALF), hello() | {"messages": [{"role": "user", "content": [nested(700)]}]}):
                async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                    assert (response.status // 100, "message" in (await response.json())["error"]) == (4, True)
