"""Posts what is worth telling to one URL, behind everybody's back: nobody waits for it, and nothing is lost unsaid."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from urllib.parse import urlsplit

import aiohttp

from scribe_router.exchange import Json

log = logging.getLogger("scribe_router.alerts")
TIMEOUT = 10.0
PAUSES = (1.0, 4.0, 16.0)
WAITING = 1000
_LATER = (408, 429)


class Webhook:
    """`pauses` are the seconds before each further try. The URL may be a secret: only its host is ever logged."""

    def __init__(self, url: str, *, pauses: Sequence[float] = PAUSES) -> None:
        self._url, self._pauses = url, pauses
        self._host = urlsplit(url).hostname
        self._waiting: deque[Json] = deque()
        self._task: asyncio.Task[None] | None = None

    def post(self, payload: Json) -> None:
        """Queue a payload with an `id`. It is posted as JSON by a task of the running loop, one after another."""
        if len(self._waiting) >= WAITING:
            self._lost(payload, f"{WAITING} others wait")
            return
        self._waiting.append(payload)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self, grace: float) -> None:
        """Post what waits, for `grace` seconds at most; what is left is logged."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=grace)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        while self._waiting:
            self._lost(self._waiting.popleft(), "the router has ended")

    async def _run(self) -> None:
        while self._waiting:
            problem = await self._deliver(self._waiting[0])
            payload = self._waiting.popleft()
            if problem is not None:
                self._lost(payload, problem)

    async def _deliver(self, payload: Json) -> str | None:
        """Why it could not be posted; None when it was."""
        problem, again = await self._try(payload)
        for pause in self._pauses:
            if problem is None or not again:
                break
            await asyncio.sleep(pause)
            problem, again = await self._try(payload)
        return problem

    async def _try(self, payload: Json) -> tuple[str | None, bool]:
        """(why it failed, whether another try may succeed)."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
                session.post(self._url, json=payload, allow_redirects=False) as response,
            ):
                status = response.status
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            return type(error).__name__, True
        return (None, False) if status // 100 == 2 else (f"status {status}", status >= 500 or status in _LATER)

    def _lost(self, payload: Json, reason: str) -> None:
        log.error("alert %s was not posted to %s: %s", payload["id"], self._host, reason)
