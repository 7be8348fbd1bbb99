"""The sandbox as an object: what it keeps of requests, over HTTP too, and its life in a loop or in a thread."""

import asyncio
import dataclasses
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from scribe_router.sandbox import Received, Sandbox, SandboxThread, running_sandbox, serve
from scribe_router.sandbox.received import Log
from tests.sandbox.asks import TEXT, ask

KEY = {"Authorization": "Bearer k"}


def chat(url: str, model: str = "echo", **more: Any) -> httpx.Response:
    request = ask("openai", model, **more)
    return httpx.post(url + request.path, json=request.body, headers=KEY)


async def test_a_record(http: httpx.AsyncClient, sandbox: Sandbox) -> None:
    body = b'{"model": "echo",  "messages": [{"role": "user", "content": "\xc3\xbc"}]}'
    await http.post("/v1/chat/completions?a=1&b=2", content=body, headers={"X-Mine": "yes"})
    (record,) = sandbox.received
    assert (record.method, record.path, record.query) == ("POST", "/v1/chat/completions", "a=1&b=2")
    assert record.model == "echo"
    assert (record.body, record.json["messages"][0]["content"]) == (body, "ü")
    assert (record.headers["x-mine"], record.headers["X-MINE"]) == ("yes", "yes")
    assert (record.finished, record.status) == (True, 200)
    assert record.replied_at is not None
    assert record.arrived_at <= record.replied_at <= time.monotonic()
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.model = "other"  # type: ignore[misc]


async def test_what_cannot_be_read_is_recorded_too(http: httpx.AsyncClient, sandbox: Sandbox) -> None:
    await http.post("/v1/chat/completions", content=b"{")
    await http.get("/v1/unheard-of")
    assert [(one.status, one.json, one.model) for one in sandbox.received] == [(400, None, ""), (404, None, "")]


async def test_records_over_http(http: httpx.AsyncClient, sandbox: Sandbox) -> None:
    request = ask("openai", "think-2")
    await http.post(request.path, json=request.body)
    (shown,) = (await http.get("/sandbox/received")).json()
    assert (shown["model"], shown["json"], shown["finished"]) == ("think-2", request.body, True)
    assert shown["billed"] == {"input": 3, "output": 5, "cached": 0, "reasoning": 2}
    assert "x-api-key" in {name.lower() for name, _ in shown["headers"]}
    assert (await http.delete("/sandbox/received")).status_code == 204
    assert (await http.get("/sandbox/received")).json() == sandbox.received == []
    assert (await http.get("/sandbox/health")).json() == {"status": "ok"}


async def test_the_clock_is_an_argument() -> None:
    ticks = iter(range(100, 200))
    async with Sandbox(clock=lambda: float(next(ticks)), require_key=False) as sandbox:
        await asyncio.to_thread(chat, sandbox.url)
        assert (sandbox.received[0].arrived_at, sandbox.received[0].replied_at) == (100, 101)


async def test_a_stream_is_finished_only_when_it_is(http: httpx.AsyncClient, sandbox: Sandbox) -> None:
    request = ask("openai", "pace-50ms", True)
    async with http.stream("POST", request.path, json=request.body) as reply:
        lines = reply.aiter_lines()
        await anext(lines)
        assert [(one.finished, one.replied_at, one.status) for one in sandbox.received] == [(False, None, 200)]
        assert [line async for line in lines][-2] == "data: [DONE]"
    assert sandbox.received[0].finished


async def test_a_stream_that_the_client_leaves(http: httpx.AsyncClient, sandbox: Sandbox) -> None:
    request = ask("openai", "long-4096+pace-1ms", True)
    async with http.stream("POST", request.path, json=request.body) as reply:
        await anext(reply.aiter_lines())
    await asyncio.sleep(0.1)
    assert [(one.finished, one.replied_at) for one in sandbox.received] == [(False, None)]


@pytest.mark.parametrize("model", ["echo", "error-500", "long-4096", "cut-after-5", "refuse"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_is_no_error_of_ours(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, model: str, stream: bool
) -> None:
    request = ask("openai", model, stream)
    body = json.dumps(request.body).encode()
    fields = f"Host: x\r\nAuthorization: Bearer k\r\nContent-Length: {len(body)}\r\n\r\n"
    for wait in (0, 0, 0.001):
        with socket.create_connection(("127.0.0.1", int(sandbox.url.rsplit(":", 1)[1]))) as left:
            left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            left.sendall(f"POST {request.path} HTTP/1.1\r\n{fields}".encode() + body)
            await asyncio.sleep(wait)
    await asyncio.sleep(0.05)
    assert caplog.records == []
    assert (await asyncio.to_thread(chat, sandbox.url)).status_code == 200


def record(body: bytes) -> Received:
    return Received("POST", "/", "", None, body, 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sizes", "kept"), [([1, 1, 1], [1, 1, 1]), ([1, 2, 3, 4], [2, 3, 4]), ([5, 5], [5, 5]), ([5, 6], [6]), ([11], [])]
)
def test_the_log_is_bounded_in_records_and_bytes(sizes: list[int], kept: list[int]) -> None:
    log = Log(size=3, most_bytes=10)
    for size in sizes:
        log.amend(log.open(record(b"x" * size)), status=200)
    assert [len(one.body) for one in log.records()] == kept
    log.clear()
    log.amend(1, status=500)
    assert log.records() == []


async def test_canned_answers(tmp_path: Path) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text("- {match: big, answer: canned}")
    async with Sandbox(path) as sandbox:
        reply = await asyncio.to_thread(chat, sandbox.url)
    assert reply.json()["choices"][0]["message"]["content"] == "canned"


async def test_life() -> None:
    sandbox = Sandbox()
    with pytest.raises(RuntimeError, match="start it first"):
        _ = sandbox.url
    await sandbox.stop()
    await sandbox.start()
    first = sandbox.url
    with pytest.raises(RuntimeError, match="stop it first"):
        await sandbox.start()
    with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
        await Sandbox().start(port=int(first.rsplit(":", 1)[1]))
    await sandbox.stop()
    await sandbox.start()
    assert (await asyncio.to_thread(chat, sandbox.url)).status_code == 200
    await sandbox.stop()


async def test_other_addresses() -> None:
    sandbox = Sandbox()
    for host, shown in (("::1", "[::1]"), ("localhost", "localhost")):
        await sandbox.start(host)
        assert sandbox.url.startswith(f"http://{shown}:")
        assert (await asyncio.to_thread(chat, sandbox.url)).status_code == 200
        await sandbox.stop()


async def test_many_at_once(http: httpx.AsyncClient, sandbox: Sandbox) -> None:
    request = ask("openai", "slow-100ms")
    begun = time.monotonic()
    replies = await asyncio.gather(*(http.post(request.path, json=request.body) for _ in range(50)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["id"] for reply in replies}) == len(sandbox.received) == 50
    assert time.monotonic() - begun < 4.5


def test_in_a_thread() -> None:
    before = set(threading.enumerate())
    with running_sandbox() as sandbox:
        for stream in (False, True):
            assert TEXT.split()[0] in chat(sandbox.url, stream=stream).text
            assert sandbox.received[-1].finished
    assert "sandbox" not in {thread.name for thread in set(threading.enumerate()) - before}


def test_a_thread_ends_what_hangs() -> None:
    with SandboxThread() as thread:
        url, request = thread.sandbox.url, ask("openai", "hang")
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url + request.path, json=request.body, headers=KEY, timeout=0.1)
        begun = time.monotonic()
    thread.stop()
    assert time.monotonic() - begun < 10


def test_a_thread_whose_port_is_taken() -> None:
    with running_sandbox() as sandbox:
        port = int(sandbox.url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"), running_sandbox(port=port):
            pass


async def test_serve() -> None:
    ready: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(port=0, answers={"m": "canned"}, ready=ready.set_result))
    sandbox = await asyncio.wait_for(ready, 5)
    assert "canned" in (await asyncio.to_thread(chat, sandbox.url, "m")).text
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    with pytest.raises(RuntimeError):
        _ = sandbox.url


def test_it_stands_alone() -> None:
    """Neither LiteLLM nor the router's own modules are behind it."""
    code = "import sys, scribe_router; b = set(sys.modules); import scribe_router.sandbox; print(*set(sys.modules) - b)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "scribe_router.sandbox.server" in loaded
    assert not [name for name in loaded if name.partition(".")[0] in ("litellm", "openai", "anthropic", "httpx")]
    own = [name for name in loaded if name.startswith("scribe_router.")]
    assert all(name.startswith("scribe_router.sandbox") for name in own)
