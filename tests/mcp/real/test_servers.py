"""MCP servers of others, unchanged: listing, calls, calls at once, errors; and a whole request."""

import asyncio
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from scribe_router.exchange import Call
from scribe_router.policies.mcp import McpPolicy, Tool
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from scribe_router.upstream.mcp_sessions import McpSessions
from tests.mcp.servers import free_port
from tests.support.yaml_text import registry_from

pytestmark = [pytest.mark.mcp, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
HERE = Path(__file__).parent
EVERYTHING = HERE / "node_modules" / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
PATIENCE = 60.0


def program(name: str) -> str:
    """A program of the environment that `make mcp` makes."""
    found = Path(os.environ.get("SCRIBE_MCP_BIN", "")) / name
    assert os.environ.get("SCRIBE_MCP_BIN"), "make mcp names the servers' environment"
    assert found.exists(), f"{found} is not there; make mcp installs it"
    return str(found)


def node() -> str:
    found = os.environ.get("SCRIBE_NODE") or shutil.which("node")
    assert found, "no node here; make mcp brings one"
    assert EVERYTHING.exists(), "the server is not installed; make mcp does that"
    return found


class Page(BaseHTTPRequestHandler):
    """A page for the server that fetches."""

    def do_GET(self) -> None:
        found = self.path == "/page"
        body = b"<html><body><article><h1>Routers</h1><p>A page about routers.</p></article></body></html>"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body if found else b"")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    (folder / "README").write_text("hello")
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
    for command in (("init", "-q", "-b", "main"), ("add", "README"), (*who, "commit", "-q", "-m", "the first")):
        subprocess.run(["git", *command], cwd=folder, check=True, timeout=60)
    return folder


@contextmanager
def everything_over_http() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [node(), str(EVERYTHING), "streamableHttp"],
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/mcp"
    try:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            assert process.poll() is None, "the MCP server ended"
            try:
                httpx.get(url, timeout=2.0)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="module")
def rows(repository: Path) -> Iterator[dict[str, Any]]:
    with everything_over_http() as url:
        yield {
            "time": {"command": program("mcp-server-time"), "arguments": ["--local-timezone", "UTC"]},
            "git": {"command": program("mcp-server-git"), "arguments": ["--repository", str(repository)]},
            "fetch": {
                "command": program("mcp-server-fetch"),
                "arguments": ["--ignore-robots-txt", "--allow-private-ips"],
                # Where it finds a Node, a library of its own installs packages for it in the middle of a call.
                "environment": {"PATH": str(Path(program("mcp-server-fetch")).parent)},
            },
            "node": {"command": node(), "arguments": [str(EVERYTHING), "stdio"]},
            "http": {"url": url},
        }


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sessions(rows: dict[str, Any]) -> AsyncIterator[McpSessions]:
    servers = {name: {**row, "price": "free"} for name, row in rows.items()}
    found = McpSessions(McpPolicy.model_validate({"servers": servers}))
    yield found
    await found.aclose()


def tool(server: str, name: str) -> Tool:
    return Tool(server, name, f"{server}__{name}", 0)


async def test_all_of_them_list_their_tools(sessions: McpSessions, rows: dict[str, Any]) -> None:
    tools, problems = await sessions.listed(list(rows))
    assert problems == {}
    found = {server: {each.name: each for each in listed} for server, listed in tools.items()}
    assert {"get_current_time", "convert_time"} <= found["time"].keys()
    assert {"git_status", "git_log", "git_diff"} <= found["git"].keys()
    assert found["fetch"].keys() == {"fetch"}
    assert found["fetch"]["fetch"].schema["properties"]["url"]["format"] == "uri", "a schema is not changed"
    assert (
        found["node"].keys() & {"echo", "get-sum"} == found["http"].keys() & {"echo", "get-sum"} == {"echo", "get-sum"}
    )
    assert found["node"]["echo"].schema["$schema"].startswith("http://json-schema.org/")


async def test_calls(sessions: McpSessions, repository: Path, page: str) -> None:
    clock = await sessions.call(
        tool("time", "convert_time"), {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    )
    assert (clock.outcome, "T21:00" in clock.text) == ("answered", True), clock
    log = await sessions.call(tool("git", "git_log"), {"repo_path": str(repository)})
    assert (log.outcome, "the first" in log.text) == ("answered", True), log
    fetched = await sessions.call(tool("fetch", "fetch"), {"url": f"{page}/page"})
    assert (fetched.outcome, "A page about routers." in fetched.text) == ("answered", True), fetched
    for server in ("node", "http"):
        assert "5" in (await sessions.call(tool(server, "get-sum"), {"a": 2, "b": 3})).text
        weather = await sessions.call(tool(server, "get-structured-content"), {"location": "Chicago"})
        assert (weather.outcome, json.loads(weather.text).keys() >= {"temperature"}) == ("answered", True), weather
        picture = await sessions.call(tool(server, "get-tiny-image"), {})
        assert "[image/png, which cannot be shown here]" in picture.text
        given = await sessions.call(tool(server, "get-resource-reference"), {"resourceType": "Blob", "resourceId": 1})
        assert given.outcome == "answered"


async def test_calls_at_once(sessions: McpSessions, repository: Path, page: str) -> None:
    each: list[tuple[Tool, dict[str, Any]]] = [
        *((tool("time", "get_current_time"), {"timezone": "UTC"}) for _ in range(5)),
        *((tool("git", "git_status"), {"repo_path": str(repository)}) for _ in range(5)),
        *((tool("fetch", "fetch"), {"url": f"{page}/page"}) for _ in range(3)),
        *((tool(server, "get-sum"), {"a": n, "b": 1}) for server in ("node", "http") for n in range(5)),
    ]
    replies = await asyncio.gather(*(sessions.call(which, arguments) for which, arguments in each))
    assert [reply.outcome for reply in replies] == ["answered"] * len(each)
    sums = [reply.text for reply in replies[-5:]]
    assert all(str(n + 1) in text for n, text in enumerate(sums)), sums


async def test_errors_are_the_models_to_read(sessions: McpSessions, page: str, tmp_path: Path) -> None:
    for which, arguments in (
        (tool("time", "get_current_time"), {"timezone": "Mars/Base"}),
        (tool("time", "get_current_time"), {}),
        (tool("git", "git_status"), {"repo_path": str(tmp_path)}),
        (tool("fetch", "fetch"), {"url": f"{page}/nothing"}),
        (tool("fetch", "fetch"), {"url": "no address"}),
        (tool("node", "get-sum"), {"a": "two"}),
        (tool("http", "get-sum"), {"a": "two"}),
        (tool("node", "no-such-tool"), {}),
        (tool("http", "no-such-tool"), {}),
    ):
        reply = await sessions.call(which, arguments)
        assert (reply.outcome, bool(reply.text)) == ("failed", True), (which.place, reply)


@pytest.mark.parametrize("server", ["node", "http"])
async def test_a_long_operation_ends_in_time(sessions: McpSessions, server: str) -> None:
    long = tool(server, "trigger-long-running-operation")
    reply = await sessions.call(long, {"duration": 60, "steps": 60}, within=1.0)
    assert reply.outcome == "timeout"
    assert "3" in (await sessions.call(tool(server, "get-sum"), {"a": 1, "b": 2})).text


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_whole_request(tmp_path: Path, rows: dict[str, Any], *, stream: bool) -> None:
    """The sandbox's model calls every tool that it is offered once, with its text for each of their fields."""
    servers = {"node": {**rows["node"], "prices": {"echo": 0.01}}, "http": {**rows["http"], "prices": {"echo": 0.02}}}
    async with Sandbox() as sandbox:
        model = {"model": "openai/tools-2", "api_base": f"{sandbox.url}/v1", "api_key": "k"}
        models = [
            {
                "model_name": "m",
                "litellm_params": model,
                "model_info": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6},
            }
        ]
        registry = registry_from(
            tmp_path, json.dumps({"model_list": models}), {"mcp": json.dumps({"servers": servers})}
        )
        async with Router(registry) as router:
            body = {"model": "m", "messages": [{"role": "user", "content": "say this"}], "mcp_tools": ["*"]}
            answer = await router.serve(Call("chat", {**body, "stream": stream}))
            if isinstance(answer, AnswerStream):
                text = "".join(
                    [(each["choices"][0]["delta"].get("content") or "") async for each in answer if each["choices"]]
                )
            else:
                text = answer.body["choices"][0]["message"]["content"]
            receipt = Receipt.of(answer.exchange)
    assert "Echo: say this" in text
    assert (receipt.tool_calls, receipt.tool_cost) == (2, 30_000_000)
