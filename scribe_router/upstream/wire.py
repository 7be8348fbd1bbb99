"""The wire lane: requests in OpenAI's format forwarded to hosts that speak it, through one pooled client for each loop.

Knows bytes, headers and the event-stream format; translates nothing.
"""

import asyncio
import json
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import lru_cache
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from scribe_router import __version__
from scribe_router.exchange import AttemptFailed, Category, Json, Reached
from scribe_router.upstream.events import DONE
from scribe_router.upstream.failures import from_exception, from_reply, from_stream_error
from scribe_router.upstream.shape import Shaped, limits_in
from scribe_router.upstream.sse import EventParser, EventTooLarge

PATHS: Mapping[str, str] = {"chat": "/chat/completions", "embeddings": "/embeddings"}
ANSWERS = {"chat": "choices", "completions": "choices", "embeddings": "data"}
LARGEST_REPLY = 256 * 1024 * 1024
LARGEST_WRITE = 1024 * 1024
_ERRORS = (aiohttp.ClientError, ConnectionError, TimeoutError, aiohttp.InvalidURL)


class WireLane:
    """Sends shaped requests as they are. One instance may be used from several event loops.

    `connect` bounds the seconds until there is a connection, `headers` those from there to the head of a stream's
    answer; the head of a plain answer comes with it.
    """

    def __init__(self, connect: float | None = 10.0, headers: float | None = None) -> None:
        self._connect, self._headers = connect, headers
        self._sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}
        weakref.finalize(self, _let_go, self._sessions)

    async def call(self, shaped: Shaped) -> Json:
        """One plain call: the parsed reply. Raises `AttemptFailed`."""
        try:
            async with self._post(shaped) as response:
                shaped.upstream_limits.update(limits_in(response.headers))
                body = await _whole(response)
        except _ERRORS as error:
            raise from_exception(error) from None
        return _answer(response, body, ANSWERS[shaped.api])

    async def stream(self, shaped: Shaped) -> AsyncIterator[Json]:
        """One stream: parsed chunks, and `DONE` for the end mark. Raises `AttemptFailed`."""
        try:
            async with await self._head(shaped) as response:
                shaped.upstream_limits.update(limits_in(response.headers))
                if response.status != 200 or response.content_type == "application/json":
                    _answer(response, await _whole(response), ANSWERS[shaped.api])
                    raise AttemptFailed(Category.SERVER, Reached.LOST, "the provider's reply is not an event stream")
                async for chunk in _chunks(response):
                    yield chunk
        except _ERRORS as error:
            raise from_exception(error) from None

    async def _head(self, shaped: Shaped) -> aiohttp.ClientResponse:
        async with asyncio.timeout(None if self._headers is None else self._headers + (self._connect or 0.0)):
            response: aiohttp.ClientResponse = await self._post(shaped)
            return response

    def _post(self, shaped: Shaped) -> Any:
        deployment = shaped.deployment
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"scribe-router/{__version__}",
            **({"Authorization": f"Bearer {deployment.api_key}"} if deployment.api_key else {}),
            **shaped.headers,
        }
        text = deployment.completions if shaped.api == "completions" else None
        url = f"{deployment.api_base}{PATHS[shaped.api] if text is None else text.path}"
        body = shaped.encoded()
        data = BytesIO(body) if len(body) > LARGEST_WRITE else body  # aiohttp writes a file in parts
        proxy = proxy_for(str(deployment.api_base))
        return self._session().post(url, data=data, headers=headers, proxy=proxy, allow_redirects=False)

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            _let_go({each: self._sessions.pop(each) for each in tuple(self._sessions) if each.is_closed()})
            timeout = aiohttp.ClientTimeout(total=None, connect=self._connect)
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
            # No cookies: they would tie one principal's requests to another's.
            jar = aiohttp.DummyCookieJar()
            session = aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=jar)
            self._sessions[loop] = session
        return session

    async def aclose(self) -> None:
        """Close the connections of this loop. Those of other loops go when the lane is dropped."""
        loop = asyncio.get_running_loop()
        session = self._sessions.pop(loop, None)
        if session is not None:
            await session.close()


def _let_go(sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession]) -> None:
    """Close sessions from outside their loops."""
    for loop, session in tuple(sessions.items()):
        if loop.is_closed():
            with suppress(StopIteration):
                session.close().send(None)  # nothing is left to wait for: its transports went with the loop
        else:
            loop.call_soon_threadsafe(lambda loop, session: loop.create_task(session.close()), loop, session)
    sessions.clear()


@lru_cache(maxsize=1024)
def proxy_for(base: str) -> str | None:
    """The proxy that the environment names for a host. aiohttp would read ~/.netrc as well, for every request."""
    url = urlsplit(base)
    return None if proxy_bypass(url.hostname or "") else getproxies().get(url.scheme)


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > LARGEST_REPLY:
            raise AttemptFailed(Category.SERVER, Reached.LOST, f"a reply of more than {LARGEST_REPLY} bytes")
    return bytes(body)


def _answer(response: aiohttp.ClientResponse, body: bytes, expected: str) -> Json:
    """A whole reply, when it is an answer: some providers put an error into one that says 200."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.status != 200:
        raise from_reply(response.status, body, headers)
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise AttemptFailed(Category.SERVER, Reached.LOST, "the provider's reply is not json")
    parts = parsed.get(expected)
    if isinstance(parts, list) and all(isinstance(part, dict) for part in parts):
        return parsed
    error = parsed.get("error")
    if not error:
        raise AttemptFailed(Category.SERVER, Reached.LOST, f"the provider's reply has no {expected}")
    code = error.get("code") if isinstance(error, Mapping) else None
    raise from_reply(code if isinstance(code, int) and 400 <= code < 600 else 500, body, headers)


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    parser = EventParser()
    try:
        async for part in response.content.iter_any():
            for payload in parser.feed(part):
                yield _chunk(payload)
        for payload in parser.end():
            yield _chunk(payload)
    except EventTooLarge as error:
        raise AttemptFailed(Category.STREAM, Reached.STREAMED, str(error)) from None


def _chunk(payload: bytes) -> Json:
    if payload.strip() == b"[DONE]":
        return DONE
    try:
        chunk = json.loads(payload)
    except (ValueError, RecursionError):
        chunk = None
    if not isinstance(chunk, dict):
        raise AttemptFailed(Category.STREAM, Reached.STREAMED, "the provider sent an event that is not json")
    if chunk.get("error"):
        raise from_stream_error(chunk["error"])
    return chunk
