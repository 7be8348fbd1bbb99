"""Limits of rate that several processes share: one script for all draws of a request, on one Redis or one slot of a
cluster. What is in use belongs to a process, which says every few seconds that it lives: one that was killed frees it.

A thread of its own talks to Redis, so that silence is told from a busy event loop, as for the ledger.
"""

import logging
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import Any
from urllib.parse import urlsplit

from scribe_router.counters import Draw
from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.delivery import Answer, deliver
from scribe_router.stores.redis_calls import Call
from scribe_router.stores.redis_cluster import SCHEMES, Cluster
from scribe_router.stores.redis_jobs import Job
from scribe_router.stores.redis_line import Line
from scribe_router.stores.redis_link import Fault, Link, Lost, OneServer, Waiting
from scribe_router.stores.windows import SPAN, Look, Standing, Taken

PREFIX = "scribe:{limits}:"
PATIENCE = 5.0
GROUP = 128

log = logging.getLogger(__name__)

# A counter is a hash: seconds to amounts, or for what is in use processes to counts. ARGV[1]: now, or nothing.
COUNT = f"""
local now = tonumber(ARGV[1])
if not now then local t = redis.call('TIME'); now = t[1] + t[2] / 1000000 end
local second = math.floor(now)
local function open(key)
  local found, used, fields = {{}}, 0, redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local at, count = tonumber(fields[i], 10), tonumber(fields[i + 1])
    if string.sub(key, -10) == 'concurrent' then at = nil end
    if at and at >= second - {SPAN} or not at and redis.call('EXISTS', '{PREFIX}alive:' .. fields[i]) == 1 then
      used = used + count
      found[#found + 1] = {{at or false, count}}
    else
      redis.call('HDEL', key, fields[i])
    end
  end
  table.sort(found, function(a, b) return a[1] and a[1] < b[1] end)
  return used, found
end
"""
# ARGV: now, owner, lease in ms, and for each draw its limit, most and amount.
TAKE = f"""{COUNT}
local looks, granted = {{}}, 1
redis.call('SET', '{PREFIX}alive:' .. ARGV[2], 1, 'PX', ARGV[3])
for i = 1, #KEYS do
  local used, found = open(KEYS[i])
  local needed, frees = used + ARGV[3 * i + 3] - ARGV[3 * i + 2], false
  if needed > 0 then
    granted = 0
    redis.call('HINCRBY', '{PREFIX}hits', ARGV[3 * i + 1], 1)
  end
  for _, each in ipairs(found) do
    if needed > 0 then needed, frees = needed - each[2], each[1] end
  end
  looks[i] = {{used, frees, #found > 0 and found[#found][1]}}
end
for i = 1, granted * #KEYS do
  local concurrent = string.sub(KEYS[i], -10) == 'concurrent'
  redis.call('HINCRBY', KEYS[i], concurrent and ARGV[2] or second, ARGV[3 * i + 3])
  redis.call('EXPIRE', KEYS[i], concurrent and 86400 or {SPAN + 2})
  redis.call('ZADD', '{PREFIX}names', second, KEYS[i])
end
redis.call('ZREMRANGEBYSCORE', '{PREFIX}names', '-inf', second - 86400)
return {{string.format('%.6f', now), granted, looks}}
"""
# ARGV: for each draw the field and the change.
GIVE = """
for i = 1, #KEYS do
  local field, change = ARGV[2 * i - 1], ARGV[2 * i]
  if redis.call('HEXISTS', KEYS[i], field) == 1 and redis.call('HINCRBY', KEYS[i], field, change) <= 0 then
    redis.call('HDEL', KEYS[i], field)
  end
end
return 1
"""
# What this process has in use, as it knows it. ARGV: owner, lease in ms, and for each key the count.
BEAT = f"""
redis.call('SET', '{PREFIX}alive:' .. ARGV[1], 1, 'PX', ARGV[2])
for i = 1, #KEYS do
  redis.call('HSET', KEYS[i], ARGV[1], ARGV[i + 2])
  redis.call('EXPIRE', KEYS[i], 86400)
  redis.call('ZADD', '{PREFIX}names', redis.call('TIME')[1], KEYS[i])
  if ARGV[i + 2] == '0' then redis.call('HDEL', KEYS[i], ARGV[1]) end
end
return 1
"""
# Of the counters that were used last; more would keep the ledger waiting.
STANDING = f"""{COUNT}
local standing = {{}}
for _, key in ipairs(redis.call('ZREVRANGE', '{PREFIX}names', 0, 199)) do
  standing[#standing + 1] = {{key, (open(key))}}
end
return {{standing, redis.call('HGETALL', '{PREFIX}hits')}}
"""


class _Ask(Job):
    """One script. `held` is what is in use more, or less, once it has run; `unheard` undoes it for nobody."""

    def __init__(
        self, call: Call, held: Counter[str] | None = None, unheard: Callable[[Any], None] = lambda value: None
    ) -> None:
        super().__init__()
        self.call, self.held, self.unheard = call, held or Counter(), unheard


class RedisWindows:
    """`Windows` on `redis://`, `rediss://` or `redis+cluster://`. It connects at first use.

    `deadline` is how long the server may be silent, `lease` how long a process that is not heard keeps what it has in
    use; both in seconds, of the server's clock unless there is a `clock`.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float] | None = None, deadline: float = 0.050, lease: float = 15.0
    ) -> None:
        parts, owner = urlsplit(url), uuid.uuid4().hex
        place = f"limits of rate at {parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        kind = Cluster if parts.scheme in SCHEMES else OneServer
        connect = partial(kind, url, waiting=Waiting(deadline), accepted_loss=True, writes=False)
        self._clock, self._owner, self._lease = clock, owner, int(lease * 1000)
        self._line = Line(place, lambda line: _Thread(line, place, connect(), owner, lease).run())
        weakref.finalize(self, self._line.close)

    async def take(self, draws: tuple[Draw, ...]) -> Taken:
        def unheard(value: Any) -> None:
            if value is not None and value[1]:
                self.give(float(value[0]), [(draw, -draw.amount) for draw in draws])

        values = [each for draw in draws for each in (draw.limit, draw.most, draw.amount)]
        call = _call(TAKE, _keys(draws), self._now(), self._owner, self._lease, *values)
        now, granted, looks = await self._line.answered(_Ask(call, _in_use(draws), unheard), PATIENCE)
        return Taken(draws, tuple(Look(*look) for look in looks), float(now), granted == 1)

    def give(self, at: float, changes: Sequence[tuple[Draw, int]]) -> None:
        draws = [draw for draw, _ in changes]
        fields = [self._owner if draw.rate == "concurrent" else int(at) for draw in draws]
        values = [each for field, (_, change) in zip(fields, changes, strict=True) for each in (field, change)]
        held = Counter({draw.counter: change for draw, change in changes if draw.rate == "concurrent"})
        with suppress(StoreUnavailable):  # closed: the lease ends it
            self._line.submit(_Ask(_call(GIVE, _keys(draws), *values), held))

    async def standing(self) -> Standing:
        found, hits = await self._line.answered(_Ask(_call(STANDING, [], self._now())), PATIENCE)
        used = {name.removeprefix(PREFIX): count for name, count in found if count}
        return Standing(used, dict(zip(hits[::2], map(int, hits[1::2]), strict=True)))

    def close(self) -> None:
        self._line.close()

    def _now(self) -> str:
        return "" if self._clock is None else repr(self._clock())


class _Thread:
    """Whatever waits becomes one round trip. What is in use is told anew with each beat, so that no answer that was
    lost, and no server that forgot, leaves a count wrong for long."""

    def __init__(self, line: Line, place: str, link: Link, owner: str, lease: float) -> None:
        self._queue, self._place, self._link, self._owner, self._lease = line.queue, place, link, owner, lease
        self._held: Counter[str] = Counter()
        self._doubt: Counter[str] = Counter()  # for how many beats more a counter is told although it is zero
        self._beat_at = 0.0

    def run(self) -> None:
        while self._round():
            pass
        self._answers([Call(PREFIX, ("DEL", f"{PREFIX}alive:{self._owner}"))])
        self._link.close()

    def _round(self) -> bool:
        jobs: list[Any] = []
        with suppress(Empty):
            idle = not self._held and not self._doubt
            jobs.append(self._queue.get(timeout=None if idle else max(0.0, self._beat_at - time.monotonic())))
            while len(jobs) < GROUP:
                jobs.append(self._queue.get_nowait())
        asks = [job for job in jobs if job is not None]
        beats = time.monotonic() >= self._beat_at
        answers = self._answers([*([self._beat()] if beats else []), *(ask.call for ask in asks)])
        if beats:
            lost = isinstance(answers.pop(0), Fault)
            self._beat_at = time.monotonic() + self._lease / (30 if lost else 3)
            if not lost:
                self._held, self._doubt = +self._held, self._doubt - Counter({*self._doubt})
        deliver(self._told(ask, answer) for ask, answer in zip(asks, answers, strict=True))
        return len(asks) == len(jobs)

    def _answers(self, calls: list[Call]) -> list[Any]:
        try:
            return self._link.run(calls)
        except Exception as problem:
            log.exception("%s: a fault of the store itself", self._place)
            return [Lost(str(problem))] * len(calls)

    def _beat(self) -> Call:
        names = sorted({*self._held, *self._doubt})
        counts = [max(0, self._held[name]) for name in names]
        return _call(BEAT, [PREFIX + name for name in names], self._owner, int(self._lease * 1000), *counts)

    def _told(self, ask: _Ask, answer: Any) -> Answer:
        lost = isinstance(answer, Fault)
        if lost:
            self._doubt |= Counter(dict.fromkeys(ask.held, 2))
        if ask.future is None or (not lost and ask.held and answer[1]):
            self._held.update(ask.held)
        problem = StoreUnavailable(f"{self._place}: {answer}") if lost and ask.future is not None else None
        return Answer(ask.future, None if lost else answer, problem, lambda: ask.unheard(None if lost else answer))


def _call(script: str, keys: Sequence[str], *arguments: str | int) -> Call:
    return Call(PREFIX, ("EVAL", script, len(keys), *keys, *arguments))


def _keys(draws: Sequence[Draw]) -> list[str]:
    return [PREFIX + draw.counter for draw in draws]


def _in_use(draws: Sequence[Draw]) -> Counter[str]:
    return Counter(draw.counter for draw in draws if draw.rate == "concurrent")
