"""The signing client, with httpx and the official clients, against a server that lets only signed requests through."""

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from scribe_router.errors import RequestError
from scribe_router.policies.signing import NONCE, BadSignature, Signable, claim
from scribe_router.replay import demand
from scribe_router.server.boot import bind
from scribe_router.signing import SignedAuth
from scribe_router.stores.nonces import Nonces, SqliteNonces

KEY, SECRET = "k7Qm2", "a-secret-of-a-key"
AUTH = SignedAuth(KEY, SECRET)


@dataclass
class Server:
    """`seen` are the requests that came, `broken` how many of those that are let through still get a 500."""

    nonces: Nonces
    url: str = ""
    broken: int = 0
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        request = Request(scope, receive)  # type: ignore[arg-type]
        body = await request.body()
        self.seen.append((dict(request.headers), body))
        answer = await self._answer(request, body)
        await answer(scope, receive, send)  # type: ignore[arg-type]

    async def _answer(self, request: Request, body: bytes) -> Response:
        scope = request.scope
        sent = Signable(scope["method"], scope["raw_path"], scope["query_string"], body)
        try:
            claimed = claim(request.headers)
            if claimed is None or claimed.key != KEY:
                return JSONResponse({"error": {"message": "not signed"}}, 401)
            await demand(claimed, sent, (SECRET.encode(),), self.nonces, time.time())
        except (BadSignature, RequestError) as error:
            return JSONResponse({"error": {"message": str(error)}}, getattr(error, "status", 401))
        self.broken -= 1
        return JSONResponse({"error": "broken"}, 500) if self.broken >= 0 else _reply(scope["path"], body)


def _reply(path: str, body: bytes) -> Response:
    asked = json.loads(body) if body[:1] == b"{" else {}
    if asked.get("stream"):
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "echo"}
        parts = [{"index": 0, "delta": {"content": word}, "finish_reason": None} for word in ("good", " day")]
        lines = [f"data: {json.dumps({**chunk, 'choices': [part]})}\n\n" for part in parts]
        return Response("".join([*lines, "data: [DONE]\n\n"]), media_type="text/event-stream")
    if path.endswith("/messages"):
        content = [{"type": "text", "text": "good day"}]
        usage = {"input_tokens": 1, "output_tokens": 1}
        return JSONResponse({"id": "1", "type": "message", "role": "assistant", "model": "echo", "content": content,
                             "stop_reason": "end_turn", "stop_sequence": None, "usage": usage})  # fmt: skip
    choice = {"index": 0, "message": {"role": "assistant", "content": "good day"}, "finish_reason": "stop"}
    return JSONResponse({"id": "1", "object": "chat.completion", "created": 0, "model": "echo", "choices": [choice]})


@contextmanager
def serving(nonces: Nonces) -> Iterator[Server]:
    app, bound = Server(nonces), bind("127.0.0.1", 0)
    app.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False, ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield app
    finally:
        server.should_exit = True
        thread.join(20)
        bound.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    nonces = SqliteNonces(tmp_path / "nonces", time.time)
    with serving(nonces) as running:
        yield running
    nonces.close()


MESSAGES: Any = [{"role": "user", "content": "Grüße"}]


def test_httpx(server: Server) -> None:
    with httpx.Client(base_url=server.url, auth=AUTH, timeout=30) as client:
        assert client.get("/v1/models/a%2Fb~c d:e", params={"a": "1 2", "b": "ü&=+"}).status_code == 200
        assert client.get("").status_code == 200
        assert client.post("/v1/x", json={"a": "ü"}).status_code == 200
        assert client.post("/v1/x", content=(part for part in (b"one", b"two"))).status_code == 200
        assert client.post("/v1/x", files={"file": b"content"}).status_code == 200
        assert server.seen[-2][1] == b"onetwo"
    assert httpx.get(f"{server.url}/v1/models", timeout=30).json() == {"error": {"message": "not signed"}}


async def test_httpx_asynchronous(server: Server) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with httpx.AsyncClient(base_url=server.url, auth=AUTH, timeout=30) as client:
        assert (await client.post("/v1/x?q=a+b", content=parts())).status_code == 200
        assert server.seen[-1][1] == b"onetwo"


def test_openai(server: Server) -> None:
    from openai import OpenAI

    http = httpx.Client(auth=AUTH, timeout=30)
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", http_client=http, max_retries=2) as client:
        plain = client.chat.completions.create(model="echo", messages=MESSAGES)
        assert plain.choices[0].message.content == "good day"
        stream: Any = client.chat.completions.create(model="echo", messages=MESSAGES, stream=True)
        assert "".join(chunk.choices[0].delta.content for chunk in stream) == "good day"
        server.seen.clear()
        server.broken = 2
        again = client.chat.completions.create(model="echo", messages=MESSAGES)
        assert again.choices[0].message.content == "good day"
    assert len({headers[NONCE] for headers, _ in server.seen}) == 3, "each try has a nonce of its own"


def test_anthropic(server: Server) -> None:
    import httpx2
    from anthropic import Anthropic

    http = httpx2.Client(auth=AUTH, timeout=30)
    with Anthropic(base_url=server.url, api_key="none", http_client=http, max_retries=1) as client:
        server.broken = 1
        answer = client.messages.create(model="echo", max_tokens=9, messages=MESSAGES)
    assert getattr(answer.content[0], "text", None) == "good day"


def test_a_copy_of_a_request_is_refused_here_and_elsewhere(server: Server, tmp_path: Path) -> None:
    httpx.post(f"{server.url}/v1/x", json={"a": 1}, auth=AUTH, timeout=30)
    headers, body = server.seen[-1]
    nonces = SqliteNonces(tmp_path / "nonces", time.time)
    with serving(nonces) as replica:
        for each in (server, replica):
            copy = httpx.post(f"{each.url}/v1/x", headers=headers, content=body, timeout=30)
            assert copy.status_code == 401
            assert copy.json()["error"]["message"] == "a request with this nonce was here before; sign each one anew"
    nonces.close()


def test_without_its_store_nobody_is_let_in(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with serving(SqliteNonces(tmp_path / "file" / "nonces", time.time)) as running:
        answer = httpx.post(f"{running.url}/v1/x", json={}, auth=AUTH, timeout=30)
    assert answer.status_code == 503
    assert answer.json()["error"]["message"].startswith("whether this request is new cannot be told: ")
