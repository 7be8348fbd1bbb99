"""Models that take tools through OpenAI's Responses API only: LiteLLM's lane asks there, and the answer is a chat's."""

import json
from typing import Any

import pytest

from scribe_router.errors import RequestError, StreamError
from scribe_router.exchange import Call
from scribe_router.router import Router
from scribe_router.stream import Answer, AnswerStream
from tests.support.raw_server import http, replying
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONFIG = """
model_list:
  - model_name: m
    litellm_params: {{model: openai/gpt-6-sol, api_base: "{url}/v1", api_key: k}}
    model_info: {{id: m, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}}
"""
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASKED: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "tools": [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": PARAMETERS}}],
    "reasoning_effort": "low",
    "max_tokens": 99,
}
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 15,
}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "status": "completed"}
ARGUMENTS = '{"city":"x"}'
WHOLE = {**CALL, "arguments": ARGUMENTS}


def response(status: str, output: list[Any], usage: Any = None) -> dict[str, Any]:
    own = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-6-sol", "tools": [], "metadata": {}}
    return {
        **own,
        "status": status,
        "output": output,
        "usage": usage,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    }


def event(name: str, **fields: Any) -> str:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n"


def delta(part: str) -> str:
    return event("response.function_call_arguments.delta", item_id="fc_1", output_index=0, delta=part)


EVENTS = [
    event("response.created", response=response("in_progress", [])),
    event("response.output_item.added", output_index=0, item={**CALL, "arguments": ""}),
    delta(ARGUMENTS[:5]),
    delta(ARGUMENTS[5:]),
    event("response.function_call_arguments.done", item_id="fc_1", output_index=0, arguments=ARGUMENTS),
    event("response.output_item.done", output_index=0, item=WHOLE),
    event("response.completed", response=response("completed", [WHOLE], USAGE)),
]


def stream(events: list[str]) -> bytes:
    return http("200 OK", "".join(events).encode(), "Content-Type: text/event-stream")


async def chunks(one: Router) -> list[dict[str, Any]]:
    answer = await one.serve(Call("chat", {**ASKED, "stream": True}))
    assert isinstance(answer, AnswerStream)
    return [chunk async for chunk in answer]


async def test_plain(router: RouterFrom) -> None:
    body = json.dumps(response("completed", [WHOLE], USAGE)).encode()
    async with replying(http("200 OK", body, "Content-Type: application/json")) as server:
        one = router(CONFIG.format(url=server.url))
        answer = await one.serve(Call("chat", ASKED))
    assert not isinstance(answer, AnswerStream)
    [choice] = answer.body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "weather", "arguments": ARGUMENTS}
    [sent] = map(json.loads, server.requests)
    assert (sent["max_output_tokens"], sent["reasoning"]["effort"], sent["tools"][0]["name"]) == (99, "low", "weather")
    [row] = await one.ledger.rows()
    assert (row["lane"], row["mark"], row["cost"]) == ("litellm", "computed", 10 * 1000 + 5 * 2000)


THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "I thought"}],
    "encrypted_content": "gAAA",
}


async def test_what_it_thought_returns_to_it_alone(router: RouterFrom) -> None:
    """On Chat Completions the items are a 400, as they are at other vendors; hidden, they do not reach the client."""
    body = json.dumps(response("completed", [THOUGHT, WHOLE], USAGE)).encode()
    async with replying(http("200 OK", body, "Content-Type: application/json")) as server:
        one = router(CONFIG.format(url=server.url))
        shown, hidden = [await one.serve(Call("chat", {**ASKED, **more})) for more in ({}, {"hide_thinking": True})]
        assert isinstance(shown, Answer)
        assert isinstance(hidden, Answer)
        assert "I thought" not in json.dumps(hidden.body)
        message = shown.body["choices"][0]["message"]
        assert message["reasoning_items"] == [THOUGHT]
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "sunny"}
        again = {**ASKED, "messages": [*ASKED["messages"], message, result]}
        await one.serve(Call("chat", again))
        with pytest.raises(RequestError):  # the host answers in the words of the other API
            await one.serve(Call("chat", {**again, "reasoning_effort": "none"}))
    responses, chat = map(json.loads, server.requests[-2:])
    assert [item["type"] for item in responses["input"] if "type" in item].count("reasoning") == 1
    assert "reasoning_items" not in json.dumps(chat["messages"])


async def test_stream(router: RouterFrom) -> None:
    async with replying(stream(EVENTS)) as server:
        one = router(CONFIG.format(url=server.url))
        said = [chunk["choices"][0] for chunk in await chunks(one)]
    calls = [call["function"] for choice in said for call in choice["delta"].get("tool_calls") or ()]
    assert "".join(call.get("arguments") or "" for call in calls) == ARGUMENTS
    assert [call["name"] for call in calls if call.get("name")] == ["weather"]
    assert said[-1]["finish_reason"] == "tool_calls"
    [row] = await one.ledger.rows()
    assert (row["mark"], row["cost"]) == ("computed", 10 * 1000 + 5 * 2000)


FAILED = event(
    "response.failed", response={**response("failed", []), "error": {"code": "server_error", "message": "m"}}
)


@pytest.mark.parametrize("events", [EVENTS[:-1], EVENTS[:3], [*EVENTS[:3], FAILED]], ids=["no end", "cut", "failed"])
async def test_a_stream_that_does_not_end_well(router: RouterFrom, events: list[str]) -> None:
    async with replying(stream(events)) as server:
        one = router(CONFIG.format(url=server.url))
        with pytest.raises(StreamError):
            await chunks(one)
    [row] = await one.ledger.rows()
    assert (row["outcome"], row["mark"], row["cost"]) == ("stream", "bound", row["granted"])
