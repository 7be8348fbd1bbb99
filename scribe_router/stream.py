"""An answer that comes in parts. It owns what must happen when it ends: settlement, journal, and the rest of the bill.

When the client hangs up, the provider goes on billing; the stream is then read to its end in a task of its own.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from scribe_router.errors import StreamError
from scribe_router.exchange import AttemptFailed, Category, Exchange, Json, Reached
from scribe_router.upstream.events import DONE, Events, StreamReader, for_client
from scribe_router.upstream.failures import from_exception

Finish = Callable[[Json | None, AttemptFailed | None], None]


@dataclass(slots=True)
class Source:
    """The upstream side of a stream: read to its end, it is settled exactly once.

    `idle` bounds the silence between two chunks and `left` what is left of the deadline, both in seconds. `spawn`
    starts a task that outlives the client.
    """

    events: Events
    reader: StreamReader
    finish: Finish
    idle: float
    left: Callable[[], float]
    spawn: Callable[[Coroutine[Any, Any, None]], Any]
    settled: bool = False

    async def open(self) -> list[Json]:
        """Read until the stream commits: the first content, or a complete end without any.

        Raises `AttemptFailed` when it breaks, or ends incomplete, before that; the attempt may then fail over.
        """
        head: list[Json] = []
        async for chunk in self.events:
            self.reader.see(chunk)
            head.append(chunk)
            if self.reader.committed:
                return head
        if not self.reader.complete:
            raise _incomplete()
        return head

    async def next(self) -> Json | None:
        """The next chunk; None at the end. Raises `AttemptFailed` when the stream breaks, after settling it."""
        try:
            async with asyncio.timeout(self.idle):
                chunk = await anext(self.events, None)
            if chunk is not None:
                self.reader.see(chunk)
            elif not self.reader.complete:
                raise _incomplete()
        except AttemptFailed as failure:
            raise self.settle(_broken(failure)) from None
        except TimeoutError as error:
            raise self.settle(_broken(from_exception(error))) from None
        if chunk is None:
            self.settle(None)
        return chunk

    def settle(self, failure: AttemptFailed | None) -> Any:
        """Settle with what is known, once; hands the failure back."""
        if not self.settled:
            self.settled = True
            self.finish(self.reader.usage, failure)
        return failure

    def abandon(self) -> None:
        """Nobody reads on: read the rest in a task of its own, and settle with the truth."""
        if not self.settled:
            self.spawn(self._drain())

    async def _drain(self) -> None:
        failure: AttemptFailed | None = _incomplete()
        try:
            async with asyncio.timeout(max(self.left(), self.idle)):
                while await self.next() is not None:
                    pass
        except AttemptFailed as broken:
            failure = broken
        except TimeoutError as error:
            failure = from_exception(error)
        finally:
            self.settle(failure)


def _incomplete() -> AttemptFailed:
    return AttemptFailed(Category.STREAM, Reached.STREAMED, "the stream ended without its end mark")


def _broken(failure: AttemptFailed) -> AttemptFailed:
    return AttemptFailed(Category.STREAM, Reached.STREAMED, failure.detail, status=failure.status)


@dataclass(frozen=True, slots=True)
class Answer:
    """A plain answer: the body in OpenAI's format, and the exchange that led to it."""

    exchange: Exchange
    body: Json


class AnswerStream:
    """Chunks in OpenAI's format, as the client is meant to see them. `exchange` has the cost once it has ended."""

    def __init__(self, exchange: Exchange, head: list[Json], source: Source) -> None:
        self.exchange = exchange
        self._head, self._source = head, source
        self._wants_usage = bool((exchange.call.body.get("stream_options") or {}).get("include_usage"))
        self._loop = asyncio.get_running_loop()
        self._over = False

    def __aiter__(self) -> "AnswerStream":
        return self

    async def __anext__(self) -> Json:
        """The next chunk. Raises `StreamError` when the stream breaks or ends without its end mark."""
        while not self._over:
            try:
                chunk = self._head.pop(0) if self._head else await self._source.next()
            except AttemptFailed as failure:
                self._over = True
                raise StreamError(f"the stream was interrupted: {failure.detail}") from None
            self._over = chunk is None
            shown = self._shown(chunk)
            if shown is not None:
                return shown
        raise StopAsyncIteration

    def _shown(self, chunk: Json | None) -> Json | None:
        if chunk is None or chunk is DONE:
            return None
        return for_client(chunk, self.exchange.requested, wants_usage=self._wants_usage)

    async def aclose(self) -> None:
        """Stop reading. What the provider still sends is read on in the background, since it is billed."""
        self._over = True
        self._source.abandon()

    def __del__(self) -> None:
        if self._source.settled:
            return
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._source.abandon)
        else:
            self._source.settle(AttemptFailed(Category.STREAM, Reached.STREAMED, "the stream was dropped"))
