"""Answers. One that comes in parts owns what must happen when it ends: settlement, journal, and the rest of the bill.

The upstream side is read by a task of its own, so that a client that hangs up ends nothing: the provider goes on
billing, the rest is read and thrown away, and the attempt is settled with the truth.
"""

import asyncio
import itertools
import json
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from scribe_router import redaction
from scribe_router.encoding import json_bytes
from scribe_router.errors import RequestError, StreamError
from scribe_router.exchange import AttemptFailed, Category, Exchange, Json, Reached
from scribe_router.passages import Chunks, restoring
from scribe_router.policies.breaker import COUNTS
from scribe_router.redaction import Secrets
from scribe_router.upstream.assembly import Assembly
from scribe_router.upstream.events import DONE, Events, StreamReader, completed, for_client
from scribe_router.upstream.failures import from_exception
from scribe_router.upstream.thinking import Thoughts

log = logging.getLogger("scribe_router.stream")
Finish = Callable[[Json | None, AttemptFailed | None], None]
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
INTERRUPTED = "the stream was interrupted: "
AHEAD = 64  # chunks that are read before the client takes them; then the provider has to wait


@dataclass(frozen=True, slots=True)
class Answer:
    """A plain answer: the body in OpenAI's format, and the exchange that led to it."""

    exchange: Exchange
    body: Json


class Tape:
    """The chunks of a stream as JSON, kept as they come for whoever reads it, in one event loop; one with `chunks` has
    ended."""

    def __init__(self, chunks: Iterable[bytes] | None = None) -> None:
        self.chunks = list(chunks or ())
        self.over = chunks is not None
        self.failure: AttemptFailed | None = None
        self._more = asyncio.Event()

    def add(self, chunk: Json) -> None:
        if chunk is not DONE:
            self.chunks.append(json_bytes(chunk))
            self._wake()

    def end(self, failure: AttemptFailed | None) -> None:
        self.over, self.failure = True, failure
        self._wake()

    async def events(self) -> Events:
        """The chunks from the first one, and those that are still to come. Raises `AttemptFailed` where it broke."""
        for place in itertools.count():
            while place == len(self.chunks) and not self.over:
                await self._more.wait()
            if place == len(self.chunks):
                break
            yield json.loads(self.chunks[place])
        if self.failure is not None:
            raise self.failure
        yield DONE

    async def ended(self) -> AttemptFailed | None:
        """Wait for the end; why it broke, if it did."""
        while not self.over:
            await self._more.wait()
        return self.failure

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


class Source:
    """The upstream side of one stream; it calls `finish` (usage, failure) exactly once.

    `idle` bounds the silence between two chunks, `drain` how long the rest is read for nobody; both in seconds. With
    `abort` it is not read: the provider stops billing when its connection is closed. `thoughts` names what was thought,
    `edit` changes the words. A fault of ours is told in the log, with its text only if that may be `shown`.
    What goes on a `tape` is read to its end, and not as slowly as one client takes it: others may wait for it.
    """

    def __init__(
        self,
        events: Events,
        reader: StreamReader,
        finish: Finish,
        *,
        thoughts: Thoughts,
        idle: float | None,
        drain: float,
        abort: bool = False,
        tape: Tape | None = None,
        edit: Chunks | None = None,
        shown: bool = True,
    ) -> None:
        self._events, self._reader, self._finish = events, reader, finish
        self._thoughts, self.tape, self._edit, self._shown = thoughts, tape, edit, shown
        self._idle, self._drain, self._abort = idle, drain, abort and tape is None
        self._queue: asyncio.Queue[Json | AttemptFailed | None] = asyncio.Queue(AHEAD if tape is None else 0)
        self._task: asyncio.Task[None] | None = None
        self._abandoned = False
        self.settled = False

    async def open(self) -> list[Json]:
        """Read until the stream commits: the first content, or a complete end without any.

        Raises `AttemptFailed` when it breaks, or ends incomplete, before that; the attempt may then fail over.
        """
        head: list[Json] = []
        async for chunk in self._events:
            head.append(self._see(chunk))
            if self._reader.committed:
                return head
        if not self._reader.complete:
            raise _incomplete()
        return head

    def start(self, spawn: Spawn) -> None:
        """Read on in a task that outlives the client."""
        self._task = spawn(self._pump())

    async def next(self) -> Json | None:
        """The next chunk; None at the end. Raises `AttemptFailed` when the stream broke."""
        item = await self._queue.get()
        if isinstance(item, AttemptFailed):
            raise item
        return item

    def abandon(self) -> None:
        """Nobody takes the chunks any more."""
        if self._abandoned or self._task is None:
            return
        self._abandoned = True
        while not self._queue.empty():
            self._queue.get_nowait()
        late = asyncio.get_running_loop().call_later(0.0 if self._abort else self._drain, self._task.cancel)
        self._task.add_done_callback(lambda _: late.cancel())

    def settle(self, failure: AttemptFailed | None) -> None:
        """Settle with what is known, once."""
        if not self.settled:
            self.settled = True
            self._finish(self._reader.usage, failure)
            if self.tape is not None:
                self.tape.end(failure)

    async def _pump(self) -> None:
        cut = Reached.ABORTED if self._abort else Reached.STREAMED
        unread = "the stream was not read to its end"
        last: AttemptFailed | None = AttemptFailed(Category.STREAM, cut, unread, blameless=True)
        try:
            while (chunk := await self._read()) is not None:
                if not self._abandoned:
                    await self._queue.put(chunk)
            last = None
        except AttemptFailed as failure:
            # As the failure of a stream, whatever it was: but only some categories tell of the deployment.
            blameless = failure.blameless or failure.category not in COUNTS
            last = _broken(failure.detail, status=failure.status, blameless=blameless)
        except RequestError as refusal:  # of a later round
            last = _broken(refusal.message.removeprefix(INTERRUPTED), blameless=True)
        except Exception:
            log.error("a stream ended with a fault of the router", exc_info=self._shown)
            last = _broken("a fault of the router; its log has more", blameless=True)
        finally:
            self.settle(last)
        if not self._abandoned:
            await self._queue.put(last)

    async def _read(self) -> Json | None:
        try:
            async with asyncio.timeout(self._idle):
                chunk = await anext(self._events, None)
        except TimeoutError as error:
            raise from_exception(error) from None
        if chunk is not None:
            return self._see(chunk)
        if not self._reader.complete:
            raise _incomplete()
        return None

    def _see(self, chunk: Json) -> Json:
        self._reader.see(chunk)
        shown = self._thoughts.named(chunk)
        if self._edit is not None:
            shown = self._edit.rest() or DONE if shown is DONE else self._edit.chunk(shown)
        if self.tape is not None:
            self.tape.add(shown)
        return shown


async def assembled(events: Events, reader: StreamReader) -> Json:
    """The plain answer of a stream. Raises `AttemptFailed` when it breaks or ends incomplete."""
    assembly = Assembly()
    try:
        async for chunk in events:
            reader.see(chunk)
            assembly.add(chunk)
    except AttemptFailed as failure:
        failure.reached = Reached.STREAMED if reader.committed else failure.reached
        raise
    if not reader.complete:
        raise _incomplete()
    return assembly.answer()


def _broken(detail: str, *, status: int | None = None, blameless: bool = False) -> AttemptFailed:
    return AttemptFailed(Category.STREAM, Reached.STREAMED, detail, status=status, blameless=blameless)


def _incomplete() -> AttemptFailed:
    return _broken("the stream ended without its end mark")


class AnswerStream:
    """Chunks in OpenAI's format, as the client is meant to see them. `exchange` has the cost once it has ended."""

    def __init__(self, exchange: Exchange, head: list[Json], source: Source) -> None:
        self.exchange, self._head, self._source = exchange, head, source
        self._wants_usage = bool((exchange.call.body.get("stream_options") or {}).get("include_usage"))
        self._loop = asyncio.get_running_loop()
        self._over = False
        self._edit: Chunks | None = None

    def restore(self, secrets: Secrets) -> None:
        """Put back what placeholders stand for."""
        self._edit = restoring(secrets)

    @property
    def tape(self) -> Tape | None:
        return self._source.tape

    def __aiter__(self) -> "AnswerStream":
        return self

    async def __anext__(self) -> Json:
        """The next chunk. Raises `StreamError` when the stream breaks or ends without its end mark."""
        while not self._over:
            try:
                chunk = self._head.pop(0) if self._head else await self._source.next()
            except AttemptFailed as failure:
                self._over = True
                raise StreamError(f"{INTERRUPTED}{failure.detail}") from None
            self._over = chunk is None
            shown = self._shown(chunk)
            if shown is not None:
                return shown
        raise StopAsyncIteration

    def _shown(self, chunk: Json | None) -> Json | None:
        if chunk is None or chunk is DONE:
            return self._edit.rest() if self._edit is not None and chunk is None else None
        hides = self.exchange.call.body.get("hide_thinking") is True
        completes = self.exchange.call.api == "completions"
        chunk = completed(chunk) if completes else chunk
        shown = for_client(chunk, self.exchange.requested, wants_usage=self._wants_usage, hides_thinking=hides)
        return shown if shown is None or self._edit is None else self._edit.chunk(shown)

    async def aclose(self) -> None:
        """Stop reading. What the provider still sends is read on in the background, since it is billed."""
        self._over = True
        _leave(self.exchange, self._source)

    def __del__(self) -> None:
        if self._source.settled:
            return
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(_leave, self.exchange, self._source)
        else:
            self._source.settle(_broken("the stream was dropped", blameless=True))


def restored(answer: Answer | AnswerStream, secrets: Secrets) -> Answer | AnswerStream:
    """An answer in which the placeholders of its request are what they stand for."""
    if isinstance(answer, Answer):
        return Answer(answer.exchange, redaction.restored(answer.body, secrets)) if secrets else answer
    answer.restore(secrets)
    return answer


def _leave(exchange: Exchange, source: Source) -> None:
    if exchange.of is not None:  # who leaves a round of a request may stay for the next
        source.abandon()
        return
    exchange.callers.discard(exchange.id)
    if exchange.abandoned:
        source.abandon()
