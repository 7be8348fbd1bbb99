"""The wire lane: requests in OpenAI's format forwarded to hosts that speak it, through one pooled client for each loop.

Knows bytes, headers and the event-stream format; translates nothing.
"""

import asyncio
import json
import weakref
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from scribe_router import __version__
from scribe_router.exchange import AttemptFailed, Category, Json, Reached
from scribe_router.upstream.events import DONE
from scribe_router.upstream.failures import from_exception, from_reply, from_stream_error
from scribe_router.upstream.shape import Shaped
from scribe_router.upstream.sse import EventParser, EventTooLarge

PATHS = {"chat": "/chat/completions", "embeddings": "/embeddings"}
CONNECT_SECONDS = 10.0
LARGEST_REPLY = 256 * 1024 * 1024
_ERRORS = (aiohttp.ClientError, ConnectionError, TimeoutError, aiohttp.InvalidURL)


class WireLane:
    """Sends shaped requests as they are. One instance may be used from several event loops."""

    def __init__(self) -> None:
        self._sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = (
            weakref.WeakKeyDictionary()
        )

    async def call(self, shaped: Shaped) -> Json:
        """One plain call: the parsed reply. Raises `AttemptFailed`."""
        try:
            async with self._post(shaped) as response:
                body = await response.read()
        except _ERRORS as error:
            raise from_exception(error) from None
        if response.status != 200:
            raise from_reply(response.status, body, _headers(response))
        return _parsed(body)

    async def stream(self, shaped: Shaped) -> AsyncIterator[Json]:
        """One stream: parsed chunks, and `DONE` for the end mark. Raises `AttemptFailed`."""
        try:
            async with self._post(shaped) as response:
                if response.status != 200:
                    raise from_reply(response.status, await response.read(), _headers(response))
                if "event-stream" not in response.headers.get("content-type", "event-stream"):
                    raise AttemptFailed(Category.SERVER, Reached.LOST, "the provider's reply is not an event stream")
                async for chunk in _chunks(response):
                    yield chunk
        except _ERRORS as error:
            raise from_exception(error) from None

    def _post(self, shaped: Shaped) -> Any:
        deployment = shaped.deployment
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"scribe-router/{__version__}",
            **({"Authorization": f"Bearer {deployment.api_key}"} if deployment.api_key else {}),
            **deployment.headers,
        }
        url = f"{deployment.api_base}{PATHS[shaped.api]}"
        return self._session().post(url, data=shaped.encoded(), headers=headers, allow_redirects=False)

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
            session = aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=True, auto_decompress=True)
            self._sessions[loop] = session
        return session

    async def aclose(self) -> None:
        """Close the connections of this loop; those of loops that have ended are dropped."""
        loop = asyncio.get_running_loop()
        session = self._sessions.pop(loop, None)
        if session is not None:
            await session.close()


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _parsed(body: bytes) -> Json:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise AttemptFailed(Category.SERVER, Reached.LOST, "the provider's reply is not json")
    if isinstance(parsed.get("error"), Mapping) and "choices" not in parsed and "data" not in parsed:
        code = parsed["error"].get("code")
        raise from_reply(code if isinstance(code, int) and 400 <= code < 600 else 500, body, {})
    return parsed


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
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise AttemptFailed(Category.STREAM, Reached.STREAMED, "the provider sent an event that is not json")
    if chunk.get("error") and not chunk.get("choices"):
        raise from_stream_error(chunk["error"])
    return chunk
