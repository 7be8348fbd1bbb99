"""Answers that were given before, and requests that are the same as one under way, which asks for them all.

Knows exchanges, keys and a store of bytes; never how an answer is obtained. A store that is away fails no request.
"""

import asyncio
import json
import logging
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scribe_router import __version__
from scribe_router.encoding import json_bytes
from scribe_router.errors import DeadlineExceeded, RequestError
from scribe_router.exchange import Exchange
from scribe_router.policies.cache import CachePolicy, as_chunks, lasting
from scribe_router.principals import Principal
from scribe_router.stores.answers import Answers, SqliteAnswers
from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stream import Answer, AnswerStream, Spawn, Tape

log = logging.getLogger("scribe_router.cache")
PATIENCE = 0.050  # how long a request waits for the store, in seconds
PAUSE = 1.0  # how long a store that failed is left alone, in seconds
PLAIN, STREAM = ":answer", ":chunks"  # how a key ends: one JSON text, or one on each line

T = TypeVar("T")
Found = bytes | Tape  # an answer as JSON, or the chunks of one
Place = tuple[str, bool, Principal, asyncio.AbstractEventLoop]
Forward = Callable[[], Awaitable[Answer | AnswerStream]]


@dataclass(frozen=True, slots=True)
class Flight:
    """A request under way that identical ones of its principal wait for, whose money it is; and what becomes of it
    (None: nothing that others can use)."""

    exchange: Exchange
    outcome: "asyncio.Future[Found | RequestError | None]"

    def land(self, outcome: Found | RequestError | None) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Cache:
    """One for each router. Requests of several event loops share what is stored, not what is under way."""

    def __init__(self, policy: CachePolicy, version: str, clock: Callable[[], float]) -> None:
        self._policy, self._version, self._clock = policy, f"{version} {__version__}", clock
        self._flights: dict[Place, Flight] = {}
        self._store = _opened(policy, clock) if policy.on else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scribe-cache")
        self._opening: Future[Any] | None = None
        self._away_until, self._said = 0.0, False
        if self._store is not None:
            weakref.finalize(self, self._store.close)

    async def serve(
        self, exchange: Exchange, deadline: float, forward: Forward, spawn: Spawn
    ) -> Answer | AnswerStream | Tape:
        """The answer that is stored, else that of an identical request under way, else what `forward` obtains, which
        is stored; a stream that this exchange does not pay for is a tape. Raises `RequestError`."""
        arm = exchange.exposure.label if exchange.exposure else ""  # an arm's answer is no other's
        version = f"{self._version} {arm}" if arm else self._version
        keeps = self._store is not None and not exchange.demand.keeps_nothing
        key = self._policy.key(exchange.call, exchange.principal, version, exchange.demand) if keeps else None
        if key is None:
            return await forward()
        place = key, exchange.call.stream, exchange.principal, asyncio.get_running_loop()
        fresh = exchange.call.options.cache == "no-cache"
        flight = None if fresh else self._flights.get(place)
        shared = await self._follow(flight, exchange, deadline) if flight is not None else None
        fresh = fresh or flight is not None
        found = shared or await self._lead(place, exchange, forward, spawn, fresh=fresh)
        return Answer(exchange, json.loads(found)) if isinstance(found, bytes) else found

    async def _lead(
        self, place: Place, exchange: Exchange, forward: Forward, spawn: Spawn, *, fresh: bool
    ) -> Found | Answer | AnswerStream:
        flight = self._flights[place] = Flight(exchange, place[3].create_future())
        exchange.cache, tape = "miss", None
        try:
            found = None if fresh else await self._stored(place)
            if found is not None:
                exchange.cache = "hit"
                flight.land(found)
                return found
            answer = await forward()
            if isinstance(answer, Answer):
                flight.land(entry := json_bytes(answer.body))
                await self._keep(place[0] + PLAIN, exchange, entry)
            elif (tape := answer.tape) is not None:
                flight.land(tape)
                spawn(self._record(place, flight, tape))
            return answer
        except RequestError as error:
            flight.land(error)
            raise
        finally:
            if tape is None:
                self._end(place, flight)

    async def _record(self, place: Place, flight: Flight, tape: Tape) -> None:
        """Store a stream once it has ended well."""
        try:
            if await tape.ended() is None:
                await self._keep(place[0] + STREAM, flight.exchange, b"\n".join(tape.chunks))
        finally:
            self._end(place, flight)

    def _end(self, place: Place, flight: Flight) -> None:
        flight.land(None)
        if self._flights.get(place) is flight:
            del self._flights[place]

    async def _follow(self, flight: Flight, exchange: Exchange, deadline: float) -> Found | None:
        """What the request under way obtains; None where that is of no use to this one."""
        leader = flight.exchange
        leader.callers.add(exchange.id)
        exchange.callers = leader.callers
        await asyncio.wait({flight.outcome}, timeout=max(0.0, deadline - self._clock()))
        if not flight.outcome.done():
            exchange.callers.discard(exchange.id)
            raise DeadlineExceeded("the deadline passed while an identical request was under way")
        outcome = flight.outcome.result()
        if outcome is None or isinstance(outcome, DeadlineExceeded):  # which is each one's own
            exchange.callers = leader.callers & {exchange.id}
            leader.callers.discard(exchange.id)
            return None
        if isinstance(outcome, RequestError):
            raise _twin(outcome)
        exchange.cache = "hit" if leader.cache == "hit" else "shared"
        return outcome

    async def _stored(self, place: Place) -> Found | None:
        """What is stored; a stream is made of a plain answer too."""
        key, stream, *_ = place
        chunks = await self._ask(lambda store: store.get(key + STREAM)) if stream else None
        if chunks is not None:
            return Tape(chunks.split(b"\n"))
        answer = await self._ask(lambda store: store.get(key + PLAIN))
        return Tape(map(json_bytes, as_chunks(json.loads(answer)))) if answer is not None and stream else answer

    async def _keep(self, key: str, exchange: Exchange, entry: bytes) -> None:
        if lasting(exchange):
            await self._ask(lambda store: store.put(key, entry, self._policy.ttl_seconds))

    async def _ask(self, work: Callable[[Answers], T]) -> T | None:
        """What the store says; None where it is away, which is said once."""
        store = self._store
        if store is None or time.monotonic() < self._away_until:
            return None
        try:
            if store.waits:
                done = await self._in_thread(work, store)
                if done is None:
                    return None
                answer = done.result()
            else:
                answer = work(store)
            self._said = False
            return answer
        except StoreUnavailable as problem:
            self._away_until = time.monotonic() + PAUSE
            if not self._said:
                log.error("the cache (%s) is away: %s; requests go on without it", store.place, problem)
            self._said = True
            return None

    async def _in_thread(self, work: Callable[[Answers], T], store: Answers) -> "asyncio.Future[T] | None":
        """What the store has done; None for what had no turn, which is about our own queue and not about the store."""
        self._opening = self._opening or self._thread.submit(store.get, "")  # it may take a disk more than PATIENCE
        running = self._thread.submit(work, store)
        waiting = asyncio.wrap_future(running)
        await asyncio.wait({waiting}, timeout=PATIENCE)
        if waiting.done():
            return waiting
        waiting.add_done_callback(lambda late: late.cancelled() or late.exception())
        if running.cancel():
            return None
        raise StoreUnavailable(f"no answer within {PATIENCE * 1000:.0f} ms")

    def close(self) -> None:
        """Let go of the store. Idempotent; from now on nothing is cached."""
        if self._store is not None:
            self._thread.submit(self._store.close)
        self._store = None
        self._thread.shutdown(wait=False)


def _opened(policy: CachePolicy, clock: Callable[[], float]) -> Answers:
    if policy.store == "redis":
        from scribe_router.stores.redis_answers import RedisAnswers

        return RedisAnswers(policy.redis)
    return SqliteAnswers(Path(policy.path) if policy.store == "disk" else None, policy.max_bytes, clock)


def _twin(error: RequestError) -> RequestError:
    """The same error for another exchange."""
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    return twin
