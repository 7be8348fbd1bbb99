"""Anthropic's wire through the official client, and its events as they go over the socket."""

import json
from typing import Any

import anthropic
import httpx
import pytest

from tests.sandbox.asks import ARGUMENTS, DOCUMENT, MESSAGES, PARAMETERS, SCHEMA, TEXT, ask, events

Client = anthropic.AsyncAnthropic
TOOLS: list[Any] = [{"name": name, "description": "d", "input_schema": PARAMETERS} for name in ("weather", "news")]
RESULT: list[Any] = [
    *MESSAGES,
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "weather", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "sunny 21"}]},
]


async def message(client: Client, model: str, **more: Any) -> Any:
    return await client.messages.create(**{"model": model, "max_tokens": 1000, "messages": MESSAGES, **more})


async def final(client: Client, model: str, **more: Any) -> Any:
    """The message that the client puts together from the stream."""
    async with client.messages.stream(**{"model": model, "max_tokens": 1000, "messages": MESSAGES, **more}) as stream:
        return await stream.get_final_message()


ANSWER = {True: final, False: message}


@pytest.mark.parametrize("stream", [False, True])
async def test_text(anthropic_client: Client, stream: bool) -> None:
    reply = await ANSWER[stream](anthropic_client, "echo", system="be brief")
    assert [(block.type, block.text) for block in reply.content] == [("text", TEXT)]
    assert (reply.role, reply.model, reply.stop_reason) == ("assistant", "echo", "end_turn")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (5, 3)


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking(anthropic_client: Client, stream: bool) -> None:
    reply = await ANSWER[stream](anthropic_client, "think-3")
    assert [block.type for block in reply.content] == ["thinking", "text"]
    assert reply.content[0].thinking == "step-1 step-2 step-3 "
    assert reply.content[0].signature
    assert reply.usage.output_tokens == 6
    assert reply.usage.output_tokens_details.thinking_tokens == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_tools(anthropic_client: Client, stream: bool) -> None:
    reply = await ANSWER[stream](anthropic_client, "tools-2", tools=TOOLS)
    assert [(block.name, block.input) for block in reply.content] == [("weather", ARGUMENTS), ("news", ARGUMENTS)]
    assert reply.stop_reason == "tool_use"
    assert len({block.id for block in reply.content}) == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"type": "any"}, "weather"),
        ({"type": "tool", "name": "news"}, "news"),
        ({"type": "auto"}, None),
        ({"type": "none"}, None),
    ],
)
async def test_choice_of_tools(anthropic_client: Client, stream: bool, choice: Any, name: str | None) -> None:
    reply = await ANSWER[stream](anthropic_client, "echo", tools=TOOLS, tool_choice=choice)
    assert [block.name for block in reply.content if block.type == "tool_use"] == ([name] if name else [])


async def test_result_of_a_tool(anthropic_client: Client) -> None:
    reply = await message(anthropic_client, "tool", tools=TOOLS, messages=RESULT)
    assert [block.text for block in reply.content] == ["sunny 21"]


async def test_history_without_text(anthropic_client: Client) -> None:
    next_turn = [*RESULT, {"role": "assistant", "content": []}, {"role": "user", "content": "again"}]
    reply = await message(anthropic_client, "tool", tools=TOOLS, messages=next_turn)
    assert reply.content[0].input["city"] == "again"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["output_config", "output_format"])
async def test_json(anthropic_client: Client, stream: bool, name: str) -> None:
    wanted: Any = {"type": "json_schema", "schema": SCHEMA}
    more = {"extra_body": {name: {"format": wanted} if name == "output_config" else wanted}}
    reply = await ANSWER[stream](anthropic_client, "echo", **more)
    assert json.loads(reply.content[0].text) == DOCUMENT


@pytest.mark.parametrize("stream", [False, True])
async def test_cap(anthropic_client: Client, stream: bool) -> None:
    reply = await ANSWER[stream](anthropic_client, "long-4096", max_tokens=7)
    assert (reply.usage.output_tokens, reply.stop_reason) == (7, "max_tokens")


@pytest.mark.parametrize("stream", [False, True])
async def test_given_usage(anthropic_client: Client, stream: bool) -> None:
    usage = (await ANSWER[stream](anthropic_client, "usage-1000-200+cached-300")).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (700, 300, 200)


async def test_events(http: httpx.AsyncClient) -> None:
    request = ask("anthropic", "echo", stream=True)
    reply = await http.post(request.path, json=request.body)
    names = [line.removeprefix("event: ") for line in reply.text.splitlines() if line.startswith("event: ")]
    assert names == [
        "message_start", "ping", "content_block_start", *["content_block_delta"] * 3, "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    assert [event["type"] for event in events("anthropic", reply.text)] == names
    assert reply.headers["request-id"] == "req_sandbox_1"


async def test_either_header_carries_the_key(sandbox: Any) -> None:
    async with anthropic.AsyncAnthropic(base_url=sandbox.url + "/anthropic", auth_token="any", max_retries=0) as client:
        assert (await message(client, "echo")).content[0].text == TEXT


BAD: list[dict[str, Any]] = [
    {"max_tokens": None},
    {"max_tokens": 0},
    {"messages": None},
    {"model": None},
    {"tools": [{"name": 7, "input_schema": {}}]},
    {"tool_choice": {"type": "tool", "name": "unheard-of"}},
]


@pytest.mark.parametrize("changes", BAD)
async def test_bad_request(http: httpx.AsyncClient, changes: dict[str, Any]) -> None:
    request = ask("anthropic", "echo")
    reply = await http.post(request.path, json={**request.body, **changes})
    assert (reply.status_code, reply.json()["type"]) == (400, "error")
    assert reply.json()["error"]["type"] == "invalid_request_error"
