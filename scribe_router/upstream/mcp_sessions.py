"""Sessions with MCP servers: opened when they are needed, shared, opened anew after they broke; their tools, and calls.

Knows the official client and what a server answers; never who asks, nor what a call costs.
"""

import asyncio
import json
import logging
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, inf
from typing import Any

from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import (
    CONNECTION_CLOSED,
    REQUEST_TIMEOUT,
    CallToolResult,
    Implementation,
    TextResourceContents,
    ToolListChangedNotification,
)

from scribe_router import __version__
from scribe_router.exchange import ToolOutcome
from scribe_router.policies.mcp import NANO, Listed, McpPolicy, McpServer, Tool
from scribe_router.upstream.mcp_stdio import started

log = logging.getLogger("scribe_router.mcp")
START_SECONDS = 30.0
LIST_SECONDS = 60.0  # how long a list of tools is good for, where nobody tells that it changed
FIRST_REST, LONGEST_REST = 1.0, 60.0  # after starts that failed
MOST_SILENT = 3  # calls in a row that ran out of time, after which the session is opened anew
MOST_REPORTED = 10**18  # nano-dollars
MOST_PAGES, MOST_TOOLS = 50, 1000


class Away(Exception):
    """A server cannot be asked; the text says why, for an operator."""


@dataclass(frozen=True, slots=True)
class ToolReply:
    """What became of a call: what the model is told, and the price that the server reported, in nano-dollars."""

    outcome: ToolOutcome
    text: str
    reported: int | None = None


class McpSessions:
    """The sessions of one router, in each event loop its own: a session lives where it was opened."""

    def __init__(self, policy: McpPolicy) -> None:
        self._policy = policy
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Session]] = (
            weakref.WeakKeyDictionary()
        )

    async def listed(self, servers: Collection[str]) -> tuple[dict[str, list[Listed]], dict[str, str]]:
        """The tools of each server that answers, and of the others why not. All are asked at once."""
        names = list(servers)
        found = await asyncio.gather(*(self._session(name).listed() for name in names), return_exceptions=True)
        tools: dict[str, list[Listed]] = {}
        problems: dict[str, str] = {}
        for name, each in zip(names, found, strict=True):
            if isinstance(each, Away):
                problems[name] = str(each)
            elif isinstance(each, BaseException):
                raise each
            else:
                tools[name] = each
        return tools, problems

    async def call(self, tool: Tool, arguments: Mapping[str, Any], within: float = inf) -> ToolReply:
        """Call a tool, within so many seconds and the server's own time. Whatever becomes of it is a reply."""
        return await self._session(tool.server).call(tool.name, arguments, within)

    def _session(self, name: str) -> "_Session":
        sessions = self._loops.setdefault(asyncio.get_running_loop(), {})
        if name not in sessions:
            sessions[name] = _Session(name, self._policy.servers[name])
        return sessions[name]

    async def aclose(self) -> None:
        """End the sessions of this loop, and the processes behind them. Idempotent."""
        sessions = self._loops.pop(asyncio.get_running_loop(), {})
        await asyncio.gather(*(each.aclose() for each in sessions.values()))


class _Session:
    """One server. A task of its own holds the client, since its connection belongs to the task that opened it."""

    def __init__(self, name: str, row: McpServer) -> None:
        self.name, self._row = name, row
        self._opening, self._gate = asyncio.Lock(), asyncio.Semaphore(row.concurrent)
        self._client: Client | None = None
        self._holder: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._tools: tuple[float, list[Listed]] | None = None
        self._failures, self._rests_until, self._problem = 0, 0.0, ""
        self._silent = 0
        self._complaints: deque[str] = deque(maxlen=5)

    async def listed(self) -> list[Listed]:
        """Its tools, as it said within the last minute. Raises `Away`."""
        if self._tools is not None and time.monotonic() - self._tools[0] < LIST_SECONDS:
            return self._tools[1]
        client = await self._open()
        try:
            async with asyncio.timeout(START_SECONDS):
                tools = await _pages(client)
        except (MCPError, TimeoutError, ValueError, OSError) as error:
            self._broken(client)
            raise Away(f"MCP server {self.name} does not list its tools: {_words(error)}") from None
        self._tools = (time.monotonic(), tools)
        return tools

    async def call(self, tool: str, arguments: Mapping[str, Any], within: float) -> ToolReply:
        seconds = min(self._row.timeout_seconds, within)
        try:
            client = await self._open()
        except Away as away:
            return ToolReply("not_connected", str(away))
        sent = False
        try:
            async with asyncio.timeout(seconds), self._gate:
                sent = True
                result = await client.call_tool(tool, dict(arguments), read_timeout_seconds=seconds)
        except TimeoutError:
            return self._late(client, seconds, sent=sent)
        except MCPError as error:
            return self._error(client, seconds, error)
        except (ValueError, OSError, RuntimeError) as error:  # a result that is none, or a connection that ended
            self._broken(client)
            return ToolReply("lost", f"the tool's answer was lost: {_words(error)}")
        self._silent = 0
        text = _cut(_text(result), self._row.result_bytes)
        return ToolReply("failed" if result.is_error else "answered", text, _reported(result))

    def _late(self, client: Client, seconds: float, *, sent: bool) -> ToolReply:
        if not sent:
            return ToolReply("not_connected", f"MCP server {self.name} has too many calls at once")
        self._silent += 1
        if self._silent >= MOST_SILENT:  # not one slow call, but a server that answers nobody
            self._broken(client)
        return ToolReply("timeout", f"the tool did not answer within {seconds:g} seconds")

    def _error(self, client: Client, seconds: float, error: MCPError) -> ToolReply:
        if error.code == REQUEST_TIMEOUT:
            return self._late(client, seconds, sent=True)
        if error.code == CONNECTION_CLOSED:
            self._broken(client)
            return ToolReply("lost", "the tool's server ended before it answered")
        self._silent = 0
        return ToolReply("failed", _cut(f"error: {_words(error)}", self._row.result_bytes))

    async def _open(self) -> Client:
        """The client, opened now where it is not. Raises `Away`, at once while failed starts are a moment ago."""
        async with self._opening:
            if self._client is not None:
                return self._client
            if time.monotonic() < self._rests_until:
                raise Away(self._problem)
            ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
            self._over = asyncio.Event()
            self._holder = asyncio.create_task(self._hold(ready, self._over))
            try:
                async with asyncio.timeout(START_SECONDS):
                    self._client = await asyncio.shield(ready)
            except (Exception, asyncio.CancelledError) as error:
                self._holder.cancel()
                if isinstance(error, asyncio.CancelledError):
                    raise
                self._failures += 1
                self._rests_until = time.monotonic() + min(LONGEST_REST, FIRST_REST * 2.0 ** (self._failures - 1))
                said = f" ({'; '.join(self._complaints)})" if self._complaints else ""
                self._problem = f"MCP server {self.name} cannot be reached: {_words(error)}{said}"
                log.warning("%s", self._problem)
                raise Away(self._problem) from None
            self._failures = 0
            return self._client

    async def _hold(self, ready: "asyncio.Future[Client]", over: asyncio.Event) -> None:
        try:
            async with self._transport(over) as transport:
                info = Implementation(name="scribe-router", version=__version__)
                async with Client(transport, client_info=info, message_handler=self._heard, cache=None) as client:
                    if not ready.done():
                        ready.set_result(client)
                    await over.wait()
        except asyncio.CancelledError:
            ready.cancel()
            raise
        except BaseException as error:  # noqa: BLE001  (it is told to whoever waits; groups of errors among them)
            if not ready.done():
                ready.set_exception(_first(error))
        finally:
            if self._over is over:
                self._client = self._tools = None

    @asynccontextmanager
    async def _transport(self, over: asyncio.Event) -> AsyncIterator[Any]:
        """What the client speaks through."""
        row = self._row
        if row.command is not None:
            environment = {key: value.get_secret_value() for key, value in row.environment.items()}

            def too_long() -> None:
                if not over.is_set():
                    log.error("MCP server %s sent a message that is too long; it is started anew", self.name)
                    over.set()

            yield started(self.name, row.command, row.arguments, environment, row.folder, self._complaints, too_long)
            return
        headers = {"User-Agent": f"scribe-router/{__version__}"}
        headers |= {key: value.get_secret_value() for key, value in row.headers.items()}
        async with create_mcp_http_client(headers) as http:
            yield streamable_http_client(str(row.url), http_client=http)

    async def _heard(self, message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._tools = None

    def _broken(self, client: Client) -> None:
        """The next call opens it anew, unless somebody has."""
        if self._client is client:
            self._client, self._tools, self._silent = None, None, 0
            self._over.set()

    async def aclose(self) -> None:
        self._over.set()
        if self._holder is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(self._holder, return_exceptions=True), START_SECONDS)


async def _pages(client: Client) -> list[Listed]:
    tools: list[Listed] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += [Listed(each.name, each.description or "", each.input_schema) for each in page.tools]
        cursor = page.next_cursor
        if cursor is None or len(tools) >= MOST_TOOLS:
            break
    return tools[:MOST_TOOLS]


def _text(result: CallToolResult) -> str:
    """What a model is told of a result: its texts; of what is no text, what it is."""
    texts = []
    for part in result.content:
        if part.type == "text":
            texts.append(part.text)
        elif part.type == "resource" and isinstance(part.resource, TextResourceContents):
            texts.append(part.resource.text)
        else:
            kind = getattr(part, "mime_type", None) or part.type
            texts.append(f"[{kind}, which cannot be shown here]")
    if not texts and result.structured_content is not None:
        texts.append(json.dumps(result.structured_content, ensure_ascii=False))
    return "\n".join(texts)


def _cut(text: str, most: int) -> str:
    """The text, not longer than so many bytes in a JSON body, and what was left out."""
    size = len(json.dumps(text, ensure_ascii=False).encode(errors="replace"))
    if size <= most:
        return text
    note = f"\n[cut: {size} bytes, {most} are allowed]"
    kept = text[:most]
    while kept and len(json.dumps(kept + note, ensure_ascii=False).encode(errors="replace")) > most:
        kept = kept[: max(0, int(len(kept) * 0.9) - 1)]
    return kept + note


def _reported(result: CallToolResult) -> int | None:
    """The price in `_meta.cost.usd`, in nano-dollars rounded up; None where there is none, or it is no price."""
    cost = (result.meta or {}).get("cost")
    usd = cost.get("usd") if isinstance(cost, Mapping) else None
    if isinstance(usd, bool) or not isinstance(usd, int | float | str):
        return None
    try:
        amount = Decimal(str(usd)) * NANO
        return ceil(amount) if 0 <= amount <= MOST_REPORTED else None
    except ArithmeticError:
        return None


def _first(error: BaseException) -> Exception:
    """The cause in a group of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, Exception) else RuntimeError(type(error).__name__)


def _words(error: BaseException) -> str:
    """What went wrong, on one line and short."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    return "".join(letter if letter.isprintable() else " " for letter in str(text))[:300]
