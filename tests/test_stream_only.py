"""Models that answer in parts alone: a plain call is a stream on its way up, and a plain answer, with the same bill and
the same failures, on its way back."""

import asyncio
import json
from typing import Any

import pytest

from scribe_router.errors import DeadlineExceeded, RequestError
from scribe_router.exchange import Call, CallOptions, Json
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.stream import Answer, AnswerStream
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
lanes = pytest.mark.parametrize("lane", ["wire", "litellm"])
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("f", "g")]
ENTRY = """
  - model_name: {name}
    litellm_params: {{model: "dashscope/{model}", api_base: "{base}/v1", api_key: k}}
    model_info: {{id: {name}, lane: {lane}, max_input_tokens: 9000, input_cost_per_token: 1.0e-6,
      output_cost_per_token: 2.0e-6}}"""


def built(router: RouterFrom, sandbox: Sandbox, behaviour: str, lane: str, **policies: str) -> Router:
    """`parts` answers in parts alone, `whole` behaves like it but answers a plain call, `next` is a fallback."""
    models = {"parts": f"qwq+{behaviour}", "whole": f"any+{behaviour}", "next": "any"}
    entries = [ENTRY.format(name=name, model=models[name], base=sandbox.url, lane=lane) for name in models]
    text = f"model_list:{''.join(entries)}\nrouter_settings: {{fallbacks: [{{parts: [next]}}]}}"
    return router(text, {"retries": "server: {retries: 0}", **policies})


async def answered(one: Router, model: str, **more: Any) -> Answer:
    body = {"model": model, "messages": [{"role": "user", "content": "hello big world"}], **more}
    answer = await one.serve(Call("chat", body))
    assert isinstance(answer, Answer)
    return answer


def said(answer: Answer) -> Any:
    """The answer, without what two answers never have in common, and what one leaves out and the other calls empty."""
    return full({name: value for name, value in answer.body.items() if name not in ("created", "model")})


def full(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: full(each) for name, each in value.items() if each not in (None, "", []) and name != "id"}
    return [full(each) for each in value] if isinstance(value, list) else value


@lanes
@pytest.mark.parametrize(
    ("behaviour", "more"),
    [
        ("echo", {}),
        ("think-3", {}),
        ("think-3+long-40", {"max_tokens": 20}),
        ("tools-2", {"tools": TOOLS}),
        ("think-2+tool", {"tools": TOOLS}),
        ("cached-2", {"n": 2}),
        ("empty", {}),
    ],
)
async def test_the_answer_is_the_one_that_would_have_come_whole(
    router: RouterFrom, sandbox: Sandbox, lane: str, behaviour: str, more: Json
) -> None:
    one = built(router, sandbox, behaviour, lane)
    parts, whole = [await answered(one, name, **more) for name in ("parts", "whole")]
    first, second = [json.loads(received.body) for received in sandbox.received]
    assert (first["stream"], first["stream_options"]) == (True, {"include_usage": True})
    assert "stream" not in second or second["stream"] is False
    assert said(parts) == said(whole)
    assert (parts.body["model"], parts.body["object"]) == ("parts", "chat.completion")
    assert parts.exchange.cost == whole.exchange.cost
    receipt = Receipt.of(parts.exchange)
    assert (receipt.deployment, receipt.attempts, receipt.mark, receipt.warnings) == ("parts", 1, "computed", ())


@lanes
async def test_a_stream_stays_a_stream(router: RouterFrom, sandbox: Sandbox, lane: str) -> None:
    one = built(router, sandbox, "echo", lane)
    body = {"model": "parts", "messages": [{"role": "user", "content": "hello big world"}], "stream": True}
    answer = await one.serve(Call("chat", body))
    assert isinstance(answer, AnswerStream)
    chunks = [chunk async for chunk in answer]
    assert (
        "".join(each["delta"].get("content") or "" for chunk in chunks for each in chunk["choices"])
        == "hello big world"
    )


@lanes
async def test_thinking_is_hidden_from_who_does_not_want_it(router: RouterFrom, sandbox: Sandbox, lane: str) -> None:
    one = built(router, sandbox, "think-3", lane)
    answer = await answered(one, "parts", hide_thinking=True)
    message = answer.body["choices"][0]["message"]
    assert (message["content"], "reasoning_content" in message) == ("hello big world", False)
    assert answer.body["usage"]["completion_tokens"] == 6


@lanes
@pytest.mark.parametrize(
    ("behaviour", "mark"),
    [
        ("error-500", "zero"),
        ("error-429", "zero"),
        ("garbage", None),
        ("cut-after-0", None),
        ("cut-after-2", "bound"),
        ("error-mid-2", "bound"),
        ("no-end", "bound"),
    ],
)
async def test_what_breaks_goes_on_to_the_next(
    router: RouterFrom, sandbox: Sandbox, lane: str, behaviour: str, mark: str | None
) -> None:
    one = built(router, sandbox, behaviour, lane)
    answer = await answered(one, "parts")
    assert answer.body["choices"][0]["message"]["content"] == "hello big world"
    assert [each.deployment for each in answer.exchange.attempts] == ["parts", "next"]
    rows = {row["deployment"]: row for row in await one.ledger.rows(exchange=answer.exchange.id)}
    assert {row["state"] for row in rows.values()} == {"settled"}
    assert rows["next"]["mark"] == "computed"
    if mark is not None:
        assert rows["parts"]["mark"] == mark
        assert rows["parts"]["cost"] == (0 if mark == "zero" else rows["parts"]["granted"])


async def test_an_error_of_the_request_is_told_as_ever(router: RouterFrom, sandbox: Sandbox) -> None:
    one = built(router, sandbox, "error-400", "wire")
    with pytest.raises(RequestError) as parts:
        await answered(one, "parts")
    with pytest.raises(RequestError) as whole:
        await answered(one, "whole")
    assert (parts.value.code, str(parts.value)) == (whole.value.code, str(whole.value))


@lanes
async def test_without_usage_the_bound_counts(router: RouterFrom, sandbox: Sandbox, lane: str) -> None:
    one = built(router, sandbox, "no-usage", lane)
    answer = await answered(one, "parts", max_tokens=50)
    [attempt] = answer.exchange.attempts
    assert (attempt.mark, attempt.cost) == ("bound", attempt.granted)
    assert "usage" not in answer.body


async def test_the_deadline_holds_while_parts_come(router: RouterFrom, sandbox: Sandbox) -> None:
    one = built(router, sandbox, "pace-300ms+long-200", "wire", providers="dashscope: {doubt: zero}")
    body = {"model": "parts", "messages": [{"role": "user", "content": "hi"}]}
    with pytest.raises(DeadlineExceeded):
        await one.serve(Call("chat", body, CallOptions(timeout=1.0)))
    [row] = await one.ledger.rows()
    assert (row["outcome"], row["mark"], row["cost"]) == ("timeout", "bound", row["granted"])  # it began to answer


async def test_a_client_that_leaves_ends_nothing(router: RouterFrom, sandbox: Sandbox) -> None:
    one = built(router, sandbox, "pace-50ms+long-8", "wire")
    task = asyncio.ensure_future(answered(one, "parts"))
    await asyncio.sleep(0.2)  # the stream takes twice as long
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(500):
        [row] = await one.ledger.rows()
        if row["state"] == "settled":
            break
        await asyncio.sleep(0.02)
    assert (row["mark"], row["outcome"]) == ("computed", "answered")


async def test_below_a_limit_the_stream_is_part_of_what_is_measured(router: RouterFrom, sandbox: Sandbox) -> None:
    one = built(
        router, sandbox, "max-bill", "wire", budgets="limits: [{id: day, scope: user, window: day, usd: 0.005}]"
    )
    answer = await answered(one, "parts", max_tokens=5_000)
    [attempt] = answer.exchange.attempts
    assert attempt.cap_origin == "clamped"
    assert attempt.ceiling >= len(sandbox.received[-1].body)
    assert (attempt.cost or 0) <= attempt.granted <= 5_000_000


@pytest.mark.parametrize(("ask", "streams"), [({}, True), ({"reasoning_effort": "none"}, False)])
async def test_open_models_stream_while_they_think(
    router: RouterFrom, sandbox: Sandbox, ask: Json, *, streams: bool
) -> None:
    entry = ENTRY.format(name="open", model="qwen3-32b", base=sandbox.url, lane="wire")
    await answered(router(f"model_list:{entry}"), "open", **ask)
    assert json.loads(sandbox.received[-1].body).get("stream", False) is streams
