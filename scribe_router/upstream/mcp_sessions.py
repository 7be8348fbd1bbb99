"""Sessions with MCP servers: opened when they are needed, shared, opened anew after they broke; their tools, and calls.

Knows the official client and what a server answers; never who asks, nor what a call costs.
"""

import asyncio
import logging
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import Any

from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import (
    CONNECTION_CLOSED,
    REQUEST_TIMEOUT,
    Implementation,
    ToolListChangedNotification,
)

from scribe_router import __version__
from scribe_router.policies.mcp import Listed, McpPolicy, McpServer, Tool
from scribe_router.upstream.mcp_results import ToolReply, cut, reported, text_of
from scribe_router.upstream.mcp_stdio import started

log = logging.getLogger("scribe_router.mcp")
START_SECONDS = 30.0
LIST_SECONDS = 60.0  # how long a list of tools is good for, where nobody tells that it changed
FIRST_REST, LONGEST_REST = 1.0, 60.0  # after starts that failed
MOST_SILENT = 3  # calls in a row that ran out of time, after which the session is opened anew
MOST_PAGES, MOST_TOOLS = 50, 1000


class Away(Exception):
    """A server cannot be asked; the text says why, for an operator."""


class McpSessions:
    """The sessions of one router, in each event loop its own: a session lives where it was opened."""

    def __init__(self, policy: McpPolicy) -> None:
        self._policy = policy
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Session]] = (
            weakref.WeakKeyDictionary()
        )

    async def listed(
        self, servers: Collection[str], within: float = inf
    ) -> tuple[dict[str, list[Listed]], dict[str, str]]:
        """The tools of each server that answers within so many seconds, and of the others why not. All are asked at
        once."""
        names = list(servers)
        work = (self._session(name).listed(within) for name in names)
        found = await asyncio.gather(*work, return_exceptions=True)
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
    """One server. A task of its own holds the client, since its connection belongs to the task that opened it; and who
    waits for it to open may leave without ending that for others."""

    def __init__(self, name: str, row: McpServer) -> None:
        self.name, self._row = name, row
        self._gate, self._asking = asyncio.Semaphore(row.concurrent), asyncio.Lock()
        self._client: Client | None = None
        self._opening: asyncio.Task[Client] | None = None
        self._holders: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._tools: tuple[float, list[Listed]] | None = None
        self._changes = 0
        self._failures, self._rests_until, self._problem = 0, 0.0, ""
        self._silent = 0
        self._complaints: deque[str] = deque(maxlen=5)

    async def listed(self, within: float) -> list[Listed]:
        """Its tools, as it said within the last minute. Raises `Away`."""
        try:
            async with asyncio.timeout(None if within == inf else within), self._asking:
                if self._tools is None or time.monotonic() - self._tools[0] >= LIST_SECONDS:
                    return await self._list()
                return self._tools[1]
        except TimeoutError:
            raise Away(f"MCP server {self.name} does not list its tools within {within:.3g} seconds") from None

    async def _list(self) -> list[Listed]:
        client, changes = await self._open(), self._changes
        try:
            async with asyncio.timeout(START_SECONDS):
                tools = await _pages(client)
        except Exception as error:  # noqa: BLE001  (whatever it is, its tools cannot be offered)
            self._broken(client)
            raise Away(f"MCP server {self.name} does not list its tools: {_words(error)}") from None
        if changes == self._changes:  # else it told of a change in the meantime
            self._tools = (time.monotonic(), tools)
        return tools

    async def call(self, tool: str, arguments: Mapping[str, Any], within: float) -> ToolReply:
        until = time.monotonic() + within
        client, seconds = None, within
        try:
            async with asyncio.timeout(None if within == inf else within):
                opened = await self._open()
            seconds = min(self._row.timeout_seconds, until - time.monotonic())
            if seconds <= 0:
                return self._late(None, within)
            async with asyncio.timeout(seconds), self._gate:
                client = opened  # from here on it may have been sent
                result = await client.call_tool(tool, dict(arguments), read_timeout_seconds=seconds)
        except Away as away:
            return ToolReply("not_connected", str(away))
        except TimeoutError:
            return self._late(client, seconds)
        except MCPError as error:
            return self._error(client, seconds, error)
        except Exception as error:  # noqa: BLE001  (a result that is none, or a connection that ended)
            self._unheard(client)
            return ToolReply("lost", f"the tool's answer was lost: {_words(error)}")
        self._silent = 0
        text = cut(text_of(result), self._row.result_bytes)
        return ToolReply("failed" if result.is_error else "answered", text, reported(result))

    def _late(self, client: Client | None, seconds: float) -> ToolReply:
        if client is None:
            return ToolReply("not_connected", f"MCP server {self.name} had no time for the call")
        self._unheard(client)
        return ToolReply("timeout", f"the tool did not answer within {seconds:.3g} seconds")

    def _unheard(self, client: Client | None) -> None:
        """A call had no answer that could be read. One is that call's matter, several in a row are the session's."""
        self._silent += 1
        if client is not None and self._silent >= MOST_SILENT:
            self._broken(client)

    def _error(self, client: Client | None, seconds: float, error: MCPError) -> ToolReply:
        if error.code == REQUEST_TIMEOUT:
            return self._late(client, seconds)
        if error.code == CONNECTION_CLOSED:
            if client is not None:
                self._broken(client)
            return ToolReply("lost", "the tool's server ended before it answered")
        self._silent = 0
        return ToolReply("failed", cut(f"error: {_words(error)}", self._row.result_bytes))

    async def _open(self) -> Client:
        """The client, opened now where it is not. Raises `Away`, at once while failed starts are a moment ago."""
        if self._client is not None:
            return self._client
        if self._opening is None or self._opening.done():
            if time.monotonic() < self._rests_until:
                raise Away(self._problem)
            self._opening = asyncio.create_task(self._start())
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._opening)

    async def _start(self) -> Client:
        """Open it, for everybody who waits. Raises `Away`."""
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        holder = asyncio.create_task(self._hold(ready, self._over))
        self._holders.add(holder)
        holder.add_done_callback(self._holders.discard)
        try:
            async with asyncio.timeout(START_SECONDS):
                client = await asyncio.shield(ready)
        except asyncio.CancelledError:
            holder.cancel()
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, it cannot be reached)
            holder.cancel()
            self._failures += 1
            self._rests_until = time.monotonic() + min(LONGEST_REST, FIRST_REST * 2.0 ** min(self._failures - 1, 10))
            said = f" ({'; '.join(self._complaints)})" if self._complaints else ""
            self._problem = f"MCP server {self.name} cannot be reached: {_words(error)}{said}"
            log.warning("%s", self._problem)
            raise Away(self._problem) from None
        self._failures, self._client = 0, None if holder.done() else client
        return client

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
            self._changes += 1
            self._tools = None

    def _broken(self, client: Client) -> None:
        """The next call opens it anew, unless somebody has."""
        if self._client is client:
            self._client, self._tools, self._silent = None, None, 0
            self._over.set()

    async def aclose(self) -> None:
        """End the session, and those before it whose end is still under way."""
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
        self._over.set()
        if self._holders:
            _, late = await asyncio.wait(self._holders, timeout=START_SECONDS)
            for holder in late:
                holder.cancel()


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


def _first(error: BaseException) -> Exception:
    """The cause in a group of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, Exception) else RuntimeError(type(error).__name__)


def _words(error: BaseException) -> str:
    """What went wrong, on one line and short."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    return "".join(letter if letter.isprintable() else " " for letter in str(text))[:300]
