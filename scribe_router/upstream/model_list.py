"""A provider's own list of models, read over the network: bounded in time, size and pages. Knows no model."""

import asyncio
import json
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from scribe_router import __version__
from scribe_router.upstream.wire import proxy_for

SECONDS, LARGEST, MOST_PAGES = 30.0, 32 * 1024 * 1024, 50


def fetch(base: str, key: str | None = None) -> list[Any]:
    """All models of `base`/models, page after page. Raises `OSError` and `ValueError`."""
    return asyncio.run(_fetch(f"{base.rstrip('/')}/models", key))


async def _fetch(first: str, key: str | None) -> list[Any]:
    headers = {"User-Agent": f"scribe-router/{__version__}", **({"Authorization": f"Bearer {key}"} if key else {})}
    found: list[Any] = []
    url: str | None = first
    try:
        async with asyncio.timeout(SECONDS), aiohttp.ClientSession(headers=headers) as session:
            for _ in range(MOST_PAGES):
                models, following = _page(await _read(session, url or first))
                found += models
                url = urljoin(first, following) if following else None
                if url is None:
                    return found
                if urlsplit(url)[:2] != urlsplit(first)[:2]:
                    raise ValueError("its next page is on another host")
    except TimeoutError:
        raise OSError(f"no whole list within {SECONDS:g} seconds") from None
    except aiohttp.ClientError as error:
        raise OSError(str(error) or type(error).__name__) from None
    raise ValueError(f"it has more than {MOST_PAGES} pages")


async def _read(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url, proxy=proxy_for(url), allow_redirects=False) as response:
        if response.status != 200:
            raise OSError(f"HTTP {response.status}")
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > LARGEST:
                raise ValueError(f"it is larger than {LARGEST // 1024**2} MiB")
        return bytes(body)


def listed(content: bytes) -> list[Any]:
    """The models of a list that was saved. Raises `ValueError`."""
    return _page(content)[0]


def _page(content: bytes) -> tuple[list[Any], str | None]:
    """The models of a page, and the address of the next one. Decimals stay the text that was written."""
    try:
        page = json.loads(content, parse_float=str)
    except (ValueError, RecursionError):
        raise ValueError("it is not json") from None
    models = page.get("data") if isinstance(page, dict) else None
    if not isinstance(models, list) or not models:
        raise ValueError("it is no list of models: expected data, a list with at least one")
    links = page.get("links")
    following = links.get("next") if isinstance(links, dict) else None
    return models, following if isinstance(following, str) else None
