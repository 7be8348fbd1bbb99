"""An HTTP proxy that ends the TLS of every host itself, notes what arrives there, and has the sandbox answer.

So requests go to providers' true addresses and stay on this machine. Its certificates are signed by a CA made on the
spot, which clients trust through `SSL_CERT_FILE`.
"""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from scribe_router.exchange import Json
from scribe_router.sandbox import Sandbox, running_sandbox
from tests.golden.authority import Authority

# How a provider's path ends, and where the sandbox answers that.
ROUTES = {
    "/chat/completions": "/v1/chat/completions",
    "/fim/completions": "/v1/fim/completions",
    "/completions": "/v1/completions",
    "/embeddings": "/v1/embeddings",
    "/v1/messages": "/anthropic/v1/messages",
    "/api/chat": "/ollama/api/chat",
    "/api/show": "/ollama/api/show",
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "completed",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "hi", "annotations": []}],
        }
    ],
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "metadata": {},
    "usage": {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 2,
    },
}


@dataclass
class Tunnel:
    """`url` is the proxy's, `received` what arrived: host, path with its query, headers in small letters, JSON body."""

    authority: Authority
    sandbox: Sandbox
    url: str = ""
    received: list[dict[str, Any]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            line, _ = await _head(reader)
            host = line[1].removesuffix(":443")
            if line[0] != "CONNECT":
                self.received.append({"host": line[1], "path": "", "headers": {}, "body": {}})
                raise ConnectionError("nobody is called without TLS")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await writer.start_tls(self.authority.context(host))
            while True:
                (_, path, _), headers = await _head(reader)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                arrived = json.loads(body or b"{}")
                self.received.append({"host": host, "path": path, "headers": headers, "body": arrived})
                writer.write(
                    _response(arrived) if path.endswith("/responses") else await self._answer(path, headers, body)
                )
        writer.close()

    async def _answer(self, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """What the sandbox says to it. HTTP 1.0, so that it closes and sends no chunks."""
        upstream = urlsplit(self.sandbox.url)
        answers, asks = await asyncio.open_connection(upstream.hostname, upstream.port)
        lines = [
            f"POST {_route(path)} HTTP/1.0",
            *(f"{name}: {value}" for name, value in headers.items() if name != "connection"),
        ]
        asks.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head, _, said = (await answers.read()).partition(b"\r\n\r\n")
        asks.close()
        kind = next(line for line in head.decode().split("\r\n") if line.lower().startswith("content-type:"))
        return _whole(kind.partition(": ")[2], said, int(head.split()[1]))


@contextmanager
def tunnelling(authority: Authority) -> Iterator[Tunnel]:
    """A proxy on a free port, in front of a sandbox, in a thread: some clients block their loop."""
    with running_sandbox(Sandbox(require_key=False)) as sandbox:
        tunnel, loop = Tunnel(authority, sandbox), asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        starting = asyncio.run_coroutine_threadsafe(asyncio.start_server(tunnel.serve, "127.0.0.1", 0), loop)
        tunnel.url = f"http://127.0.0.1:{starting.result(10).sockets[0].getsockname()[1]}"
        yield tunnel
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


async def _head(reader: asyncio.StreamReader) -> tuple[list[str], dict[str, str]]:
    first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    pairs = (line.partition(":") for line in rest)
    return first.split(), {name.lower(): value.strip() for name, _, value in pairs}


def _route(path: str) -> str:
    if "/models/" in path:
        return "/gemini/v1beta/models/" + path.partition("/models/")[2]
    return next((route for end, route in ROUTES.items() if path.endswith(end)), "/")


def _response(asked: Json) -> bytes:
    """An answer of OpenAI's Responses API, which the sandbox does not speak."""
    if not asked.get("stream"):
        return _whole("application/json", json.dumps(RESPONSE).encode())
    delta = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "hi", "logprobs": []}
    events: list[Json] = [
        {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": []}},
        {"type": "response.output_text.delta", **delta},
        {"type": "response.completed", "response": RESPONSE},
    ]
    text = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events)
    return _whole("text/event-stream", text.encode())


def _whole(kind: str, body: bytes, status: int = 200) -> bytes:
    return f"HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
