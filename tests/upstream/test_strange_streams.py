"""Streams that no sandbox sends, over both lanes: what ends in an error, and what is an answer all the same."""

import asyncio
import json
from typing import Any

import pytest

from scribe_router.errors import RequestError, StreamError
from scribe_router.router import Router
from tests.support.raw_server import http, replying
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
lanes = pytest.mark.parametrize("lane", ["wire", "litellm"])
CONFIG = """
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "{url}/v1", api_key: k}}
    model_info: {{id: m, lane: {lane}, max_input_tokens: 1000, input_cost_per_token: 1.0e-6,
                  output_cost_per_token: 1.0e-6}}
"""
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def event(payload: Any, end: str = "\n\n") -> str:
    return f"data: {payload if isinstance(payload, str) else json.dumps(payload)}{end}"


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "x", "choices": [choice], **more}


HELLO = event(chunk({"role": "assistant", "content": "hello"}))
END = event(chunk(finish="stop"))
DONE = event("[DONE]")
TOLD = event({**chunk(), "choices": [], "usage": USAGE})


def reply(*events: str, kind: str = "text/event-stream") -> bytes:
    return http("200 OK", "".join(events).encode(), f"Content-Type: {kind}")


async def read(one: Router) -> tuple[str, str | None, dict[str, Any]]:
    """The text, the code of the error that ended it, and the row."""
    text, code = "", None
    try:
        async with asyncio.timeout(5):
            answer = await one.acompletion(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
            async for part in answer:
                text += (part.choices[0].delta.content or "") if part.choices else ""
    except StreamError as error:
        code = error.code
    except RequestError as error:
        code = f"before: {error.code}"
    [row] = await one.ledger.rows()
    return text, code, row


ANSWERED: dict[str, tuple[bytes, str]] = {
    "as usual": (reply(HELLO, END, TOLD, DONE), "computed"),
    "carriage returns": (reply(*(each.replace("\n", "\r\n") for each in (HELLO, END, TOLD, DONE))), "computed"),
    "comments and names between": (reply(": hi\n\n", "event: x\n", HELLO, "id: 1\n", END, TOLD, DONE), "computed"),
    "usage beside the finish": (reply(HELLO, event(chunk(finish="stop", usage=USAGE)), DONE), "computed"),
    "usage in every chunk": (
        reply(event(chunk({"content": "hello"}, usage={**USAGE, "completion_tokens": 1})), END, TOLD, DONE),
        "computed",
    ),
    "no usage": (reply(HELLO, END, DONE), "bound"),
    "no end mark, but a finish": (reply(HELLO, END, TOLD), "computed"),
    "no last empty line": (reply(HELLO, END, TOLD, "data: [DONE]"), "computed"),
    "a charset": (reply(HELLO, END, TOLD, DONE, kind="text/event-stream; charset=utf-8"), "computed"),
}


@lanes
@pytest.mark.parametrize("name", ANSWERED)
async def test_an_answer(router: RouterFrom, lane: str, name: str) -> None:
    sent, mark = ANSWERED[name]
    async with replying(sent) as server:
        text, code, row = await read(router(CONFIG.format(url=server.url, lane=lane)))
    assert (text, code, row["outcome"], row["mark"]) == ("hello", None, "answered", mark)
    assert row["cost"] == (row["granted"] if mark == "bound" else 12_000)


BROKEN: dict[str, tuple[bytes, str, str]] = {
    "an error event": (reply(HELLO, event({"error": {"message": "m", "code": None}})), "hello", "stream_interrupted"),
    "an error beside a choice": (
        reply(HELLO, event(chunk(finish="error", error={"message": "m", "code": 502})), DONE),
        "hello",
        "stream_interrupted",
    ),
    "an error first": (reply(event({"error": {"message": "m", "code": None}})), "", "before: stream"),
    "a rate limit first": (reply(event({"error": {"message": "m", "code": 429}})), "", "before: upstream_rate_limited"),
    "no json": (reply(HELLO, event("{not json"), END, DONE), "hello", "stream_interrupted"),
    "no chunk": (reply(HELLO, event({"choices": [None]}), END, DONE), "hello", "stream_interrupted"),
    "a list": (reply(HELLO, event([1, 2]), END, DONE), "hello", "stream_interrupted"),
    "nothing": (reply(), "", "before: stream"),
    "no content and no end": (reply(event(chunk({"role": "assistant"}))), "", "before: stream"),
}


@lanes
@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_one(router: RouterFrom, lane: str, name: str) -> None:
    sent, said, ended = BROKEN[name]
    async with replying(sent) as server:
        text, code, row = await read(router(CONFIG.format(url=server.url, lane=lane)))
    assert (text, code) == (said, ended)
    assert (row["state"], row["cost"]) == ("settled", row["granted"])


@lanes
async def test_an_end_mark_alone_ends_it(router: RouterFrom, lane: str) -> None:
    """LiteLLM keeps the mark to itself, so on its lane only a finish reason counts."""
    async with replying(reply(HELLO, TOLD, DONE)) as server:
        text, code, _ = await read(router(CONFIG.format(url=server.url, lane=lane)))
    assert (text, code) == ("hello", None if lane == "wire" else "stream_interrupted")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"message": "m", "code": 429}}, "before: upstream_rate_limited"),
        ({"error": {"message": "m", "code": "x"}}, "before: server"),
        ({"choices": [{"index": 0, "message": {"content": "whole"}, "finish_reason": "stop"}]}, "before: server"),
    ],
)
async def test_a_whole_reply_where_a_stream_was_asked_for(router: RouterFrom, body: Any, code: str) -> None:
    async with replying(http("200 OK", json.dumps(body).encode(), "Content-Type: application/json")) as server:
        _, said, _ = await read(router(CONFIG.format(url=server.url, lane="wire")))
    assert said == code
