"""Asks hosts for what they list, to see whether they are there and take a key: bounded in time, size and number."""

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import aiohttp

from scribe_router import __version__
from scribe_router.exchange import AttemptFailed, Category, Reached
from scribe_router.upstream.failures import from_exception, from_reply
from scribe_router.upstream.wire import proxy_for

LARGEST_REFUSAL = 64 * 1024
_ERRORS = (aiohttp.ClientError, ConnectionError, TimeoutError, ValueError)  # a key may be no header
Asked = tuple[str, Mapping[str, str]]  # url and headers


async def ask_all(questions: Sequence[Asked], seconds: float, at_once: int) -> list[AttemptFailed | None]:
    """The failure of each, in their order; None where there is an answer. Each has `seconds`, and none is asked later
    than that, so it takes twice as long at most."""
    loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(at_once)
    until = loop.time() + seconds
    # No cookies: they would tie one key's requests to another's.
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def asked(question: Asked) -> AttemptFailed | None:
            async with gate:
                if loop.time() >= until:
                    return AttemptFailed(Category.INTERNAL, Reached.NOT_CONNECTED, "there was no time to ask it")
                try:
                    async with asyncio.timeout(seconds):
                        return await _ask(session, *question)
                except TimeoutError:
                    return AttemptFailed(Category.TIMEOUT, Reached.LOST, f"it did not answer within {seconds:g} s")

        return await asyncio.gather(*map(asked, questions))


async def _ask(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> AttemptFailed | None:
    """Read no more than tells: the head of an answer, the first part of a refusal."""
    sent = {"User-Agent": f"scribe-router/{__version__}", **headers}
    parts = urlsplit(url)
    proxy = proxy_for(f"{parts.scheme}://{parts.netloc}")
    try:
        async with session.get(url, headers=sent, proxy=proxy, allow_redirects=False) as response:
            if response.status == 200:
                return None
            body = await response.content.read(LARGEST_REFUSAL)
            return from_reply(response.status, body, {})
    except _ERRORS as error:
        return from_exception(error)
