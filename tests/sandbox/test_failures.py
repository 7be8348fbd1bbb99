"""What goes wrong, on every wire: statuses and shapes of errors, broken streams, silence. One table each."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from scribe_router.sandbox import Sandbox
from tests.sandbox.asks import TEXT, ask, events, words

WIRES = ("openai", "anthropic", "gemini", "ollama")
KEYED = WIRES[:3]

# status or behaviour: what each provider says, in the order of WIRES.
SHAPES: dict[str, tuple[int, tuple[str, str, str, str]]] = {
    "error-400": (400, ("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT", "invalid request")),
    "error-401": (401, ("invalid_api_key", "authentication_error", "UNAUTHENTICATED", "unauthorized")),
    "error-403": (403, ("permission_denied", "permission_error", "PERMISSION_DENIED", "forbidden")),
    "error-404": (404, ("model_not_found", "not_found_error", "NOT_FOUND", "try pulling it")),
    "error-418": (418, ("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT", "invalid request")),
    "error-429": (429, ("rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED", "too many requests")),
    "error-500": (500, ("server_error", "api_error", "INTERNAL", "terminated")),
    "error-503": (503, ("overloaded", "overloaded_error", "UNAVAILABLE", "server busy")),
    "error-504": (504, ("timeout", "timeout_error", "DEADLINE_EXCEEDED", "timed out")),
    "error-529": (529, ("overloaded", "overloaded_error", "UNAVAILABLE", "server busy")),
    "error-context": (400, ("context_length_exceeded", "prompt is too long", "exceeds the maximum", "context length")),
    "error-content": (400, ("content_policy_violation", "content filtering policy", "PROHIBITED_CONTENT", "policy")),
}


async def post(http: httpx.AsyncClient, wire: str, model: str, stream: bool = False) -> httpx.Response:
    request = ask(wire, model, stream)
    return await http.post(request.path, json=request.body)


def shaped(wire: str, document: Any) -> bool:
    """Whether an error has the provider's own shape."""
    error = document["error"]
    if wire == "ollama":
        return set(document) == {"error"} and isinstance(error, str)
    return (set(document), set(error)) == {
        "openai": ({"error"}, {"message", "type", "param", "code"}),
        "anthropic": ({"type", "error"}, {"type", "message"}),
        "gemini": ({"error"}, {"code", "message", "status"}),
    }[wire]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("model", SHAPES)
async def test_error(http: httpx.AsyncClient, model: str, wire: str, stream: bool) -> None:
    status, said = SHAPES[model]
    reply = await post(http, wire, model, stream)
    assert (reply.status_code, shaped(wire, reply.json())) == (status, True)
    assert said[WIRES.index(wire)] in reply.text


@pytest.mark.parametrize(
    ("model", "after"),
    [("error-429", "1"), ("error-429-after-7", "7"), ("error-503-after-2", "2"), ("error-500", None)],
)
async def test_retry_after(http: httpx.AsyncClient, model: str, after: str | None) -> None:
    assert (await post(http, "openai", model)).headers.get("retry-after") == after


@pytest.mark.parametrize("wire", KEYED)
@pytest.mark.parametrize("key", [None, "wrong-key"])
async def test_key(sandbox: Sandbox, wire: str, key: str | None) -> None:
    request = ask(wire, "echo")
    headers = {"Authorization": f"Bearer {key}"} if key else {"Authorization": "Basic abc"}
    async with httpx.AsyncClient(base_url=sandbox.url, headers=headers) as client:
        reply = await client.post(request.path, json=request.body)
    assert (reply.status_code, shaped(wire, reply.json())) == (401, True)


async def test_no_key_required() -> None:
    async with Sandbox(require_key=False) as sandbox, httpx.AsyncClient(base_url=sandbox.url) as client:
        assert (await post(client, "openai", "echo")).status_code == 200


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
async def test_body_that_is_no_object(http: httpx.AsyncClient, wire: str, body: bytes) -> None:
    reply = await http.post(ask(wire, "echo").path, content=body)
    assert (reply.status_code, shaped(wire, reply.json())) == (400, True)


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/anthropic/v1/complete", "/gemini/v1beta/files", "/ollama/x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unknown_path(http: httpx.AsyncClient, path: str, method: str) -> None:
    reply = await http.request(method, path)
    assert (reply.status_code, "error" in reply.json()) == (404, True)


async def test_body_too_large(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scribe_router.sandbox.server.BODY_LIMIT", 1000)
    async with Sandbox() as small:
        reply = await http.post(small.url + "/v1/chat/completions", content=b" " * 2000)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


async def read_until_broken(http: httpx.AsyncClient, wire: str, model: str) -> str:
    """The stream's text up to where the connection broke."""
    request, text = ask(wire, model, True), ""
    async with http.stream("POST", request.path, json=request.body) as reply:
        assert reply.status_code == 200
        try:
            async for piece in reply.aiter_text():
                text += piece
        except httpx.RemoteProtocolError:
            return text
    pytest.fail("the stream ended whole")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("after", [0, 1, 5])
async def test_cut_stream(http: httpx.AsyncClient, sandbox: Sandbox, wire: str, after: int) -> None:
    got = events(wire, await read_until_broken(http, wire, f"cut-after-{after}"))
    said = [word for event in got if (word := words(wire, event))]
    assert said == ["hello ", "big ", "world ", "word ", "word "][:after]
    assert (sandbox.received[0].finished, sandbox.received[0].status) == (False, 200)
    assert sandbox.received[0].replied_at is not None


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("model", "problem"), [("cut-after-5", "without sending"), ("refuse", "disconnected")])
async def test_broken_reply(http: httpx.AsyncClient, sandbox: Sandbox, wire: str, model: str, problem: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match=problem):
        await post(http, wire, model)
    assert (sandbox.received[0].finished, sandbox.received[0].status) == (False, 200 if "cut" in model else None)


@pytest.mark.parametrize("wire", WIRES)
async def test_error_in_a_stream(http: httpx.AsyncClient, wire: str) -> None:
    reply = await post(http, wire, "error-mid-2", stream=True)
    *before, last = events(wire, reply.text)
    assert (reply.status_code, shaped(wire, last)) == (200, True)
    assert [word for event in before if (word := words(wire, event))] == ["hello ", "big "]
    assert ("event: error" in reply.text) == (wire == "anthropic")


# model: what the last event of a stream looks like, in the order of WIRES.
ENDS: dict[str, tuple[str, str, str, str]] = {
    "echo": ("[DONE]", "message_stop", "finishReason", "done_reason"),
    "no-done": ("finish_reason", "message_delta", "finishReason", "done_reason"),
    "no-end": ("world", "content_block_stop", "world", "world"),
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("model", ENDS)
async def test_end_of_a_stream(http: httpx.AsyncClient, sandbox: Sandbox, wire: str, model: str) -> None:
    got = events(wire, (await post(http, wire, model, stream=True)).text)
    assert ENDS[model][WIRES.index(wire)] in json.dumps(got[-1])
    assert "".join(words(wire, event) for event in got) == TEXT
    assert sandbox.received[0].finished


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_no_usage(http: httpx.AsyncClient, sandbox: Sandbox, wire: str, stream: bool) -> None:
    text = (await post(http, wire, "no-usage", stream)).text
    assert not any(word in text for word in ('"usage', "eval_count"))
    billed = sandbox.received[0].billed
    assert billed is not None
    assert (billed.input, billed.output) == (3, 3)


async def test_no_usage_even_when_asked(http: httpx.AsyncClient) -> None:
    request = ask("openai", "no-usage", True, stream_options={"include_usage": True})
    assert '"usage' not in (await http.post(request.path, json=request.body)).text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_garbage(http: httpx.AsyncClient, wire: str, stream: bool) -> None:
    reply = await post(http, wire, "garbage", stream)
    assert (reply.status_code, "data:" in reply.text) == (200, False)
    with pytest.raises(json.JSONDecodeError):
        reply.json()


@pytest.mark.parametrize("wire", WIRES)
async def test_broken_event_in_a_stream(http: httpx.AsyncClient, wire: str) -> None:
    reply = await post(http, wire, "garbage-after-2", stream=True)
    before, broken, after = reply.text.partition('data: {"choices": [')
    assert (bool(broken), after.strip()) == (True, "")
    assert "".join(words(wire, event) for event in events(wire, before)) == "hello big "


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", WIRES)
async def test_an_error_that_says_200_and_nothing_at_all(http: httpx.AsyncClient, wire: str, stream: bool) -> None:
    reply = await post(http, wire, "error-in-200", stream)
    assert (reply.status_code, shaped(wire, reply.json())) == (200, True)
    assert (await post(http, wire, "blank", stream)).content == b""


async def test_reset(http: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.ReadError):
        await post(http, "openai", "reset")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["stall-after-2", "first-30s"])
async def test_silence_after_the_head(http: httpx.AsyncClient, model: str, stream: bool) -> None:
    request, came = ask("openai", model, stream), ""
    async with http.stream("POST", request.path, json=request.body, timeout=0.5) as reply:
        assert reply.status_code == 200
        with pytest.raises(httpx.ReadTimeout):  # noqa: PT012  (it is read up to the silence)
            async for piece in reply.aiter_text():
                came += piece
    assert bool(came) == (model == "stall-after-2")


@pytest.mark.parametrize("wire", WIRES)
async def test_html_and_empty(http: httpx.AsyncClient, wire: str) -> None:
    html = await post(http, wire, "html-502")
    assert (html.status_code, html.headers["content-type"], html.text[:6]) == (502, "text/html", "<html>")
    empty = await post(http, wire, "empty", stream=True)
    assert "".join(words(wire, event) for event in events(wire, empty.text)) == ""


async def test_flaky_counts_each_model_for_itself(http: httpx.AsyncClient) -> None:
    async def statuses(model: str, calls: int) -> list[int]:
        return [(await post(http, "openai", model)).status_code for _ in range(calls)]

    assert await statuses("flaky-3", 8) == [500, 500, 500, 200] * 2
    assert await statuses("flaky-1", 1) == [500]
    assert await statuses("a/flaky-1", 2) == [500, 200]
    assert await statuses("flaky-1", 1) == [200]


async def test_random_is_seeded() -> None:
    async def statuses(seed: int) -> list[int]:
        async with Sandbox(seed=seed, require_key=False) as sandbox, httpx.AsyncClient(base_url=sandbox.url) as client:
            return [(await post(client, "openai", "random-20pct")).status_code for _ in range(100)]

    first = await statuses(1)
    assert first == await statuses(1) != await statuses(2)
    assert 8 < first.count(500) < 32


@pytest.mark.parametrize("model", ["slow-200ms", "slow-200ms+error-500", "slow-0.2s+refuse"])
async def test_slow(http: httpx.AsyncClient, model: str) -> None:
    begun = time.monotonic()
    try:
        await post(http, "openai", model)
    except httpx.RemoteProtocolError:
        assert "refuse" in model
    assert 0.2 <= time.monotonic() - begun < 10


async def test_pace(http: httpx.AsyncClient) -> None:
    request = ask("openai", "pace-50ms", True)
    begun = time.monotonic()
    async with http.stream("POST", request.path, json=request.body) as reply:
        lines = [(line, time.monotonic()) async for line in reply.aiter_lines()]
    times = [at for line, at in lines if any(word in line for word in TEXT.split())]
    assert len(times) == len(set(times)) == 3
    assert times[-1] - begun >= 0.1


async def test_hang_until_the_client_leaves(http: httpx.AsyncClient, sandbox: Sandbox) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await http.post("/v1/chat/completions", json=ask("openai", "hang").body, timeout=0.1)
    (record,) = sandbox.received
    assert (record.model, record.replied_at, record.finished, record.status) == ("hang", None, False, None)


@pytest.mark.parametrize("model", ["hang", "slow-30s", "pace-30s"])
async def test_stop_ends_what_is_under_way(model: str) -> None:
    async with Sandbox(require_key=False) as sandbox, httpx.AsyncClient(base_url=sandbox.url) as client:
        call = asyncio.create_task(post(client, "openai", model, stream=True))
        await asyncio.sleep(0.2)
        assert [record.model for record in sandbox.received] == [model]
        begun = time.monotonic()
        await sandbox.stop()
        assert time.monotonic() - begun < 10
        with pytest.raises(httpx.RemoteProtocolError):
            await call
