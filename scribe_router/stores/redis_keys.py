"""Virtual keys on the Redis of the ledger, for all machines. All are in one slot, so that one script may see them all:
a proxy remembers the keys that it has seen, and asks a few times a second what has changed.

What it acknowledged it must keep, as for the ledger: a Redis that forgets would open a door that was closed.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.keys import CHANGES, PAGE, Changes, Kept
from scribe_router.stores.redis_calls import Call
from scribe_router.stores.redis_cluster import SCHEMES, Cluster
from scribe_router.stores.redis_link import Fault, Link, OneServer, Waiting

SOON, PATIENT = 0.050, 5.0  # seconds
PREFIX = "scribe:{keys}:"
# Texts by id; ids by version; `name id` in the order of names; the newest version.
KEYS = tuple(f"{PREFIX}{name}" for name in ("texts", "versions", "names", "version"))
NEWEST = "local newest = tonumber(redis.call('GET', KEYS[4]) or 0)\n"
# ARGV: id.
FIND = f"""{NEWEST}
return {{newest, redis.call('ZSCORE', KEYS[2], ARGV[1]), redis.call('HGET', KEYS[1], ARGV[1])}}
"""
# ARGV: name.
NAMED = """
local found = redis.call('ZRANGEBYLEX', KEYS[3], '[' .. ARGV[1] .. ' ', '(' .. ARGV[1] .. '!', 'LIMIT', 0, 1)[1]
if not found then return false end
local id = string.sub(found, #ARGV[1] + 2)
return {id, redis.call('ZSCORE', KEYS[2], id), redis.call('HGET', KEYS[1], id)}
"""
# ARGV: id, name, text, the version that it is at.
WRITE = """
if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or 0) ~= tonumber(ARGV[4]) then return 0 end
local named = redis.call('ZRANGEBYLEX', KEYS[3], '[' .. ARGV[2] .. ' ', '(' .. ARGV[2] .. '!', 'LIMIT', 0, 1)[1]
if ARGV[4] == '0' and named or ARGV[4] ~= '0' and named ~= ARGV[2] .. ' ' .. ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[4]), ARGV[1])
redis.call('ZADD', KEYS[3], 0, ARGV[2] .. ' ' .. ARGV[1])
return 1
"""
# ARGV: version, most.
CHANGED = f"""{NEWEST}
return {{newest, redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])}}
"""
# ARGV: where to begin, most.
SOME = """
local page = {}
for _, found in ipairs(redis.call('ZRANGEBYLEX', KEYS[3], ARGV[1], '+', 'LIMIT', 0, ARGV[2])) do
  local name, id = string.match(found, '^(%S+) (%S+)$')
  page[#page + 1] = {name, id, redis.call('ZSCORE', KEYS[2], id), redis.call('HGET', KEYS[1], id)}
end
return page
"""


class RedisKeys:
    """`Keys` on `redis://`, `rediss://` or `redis+cluster://`. It connects at first use; `deadline` is how long the
    server may be silent, in seconds."""

    def __init__(self, url: str, *, accepted_loss: bool = False, deadline: float = SOON) -> None:
        parts = urlsplit(url)
        self._place = f"keys at {parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        kind = Cluster if parts.scheme in SCHEMES else OneServer
        self._link: Link = kind(url, waiting=Waiting(deadline), accepted_loss=accepted_loss, writes=True)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scribe-keys")
        weakref.finalize(self, _end, self._thread, self._link)

    async def find(self, identity: str) -> tuple[int, Kept | None]:
        newest, version, text = await self._ask(FIND, identity)
        return int(newest), None if text is None else _kept(identity, version, text)

    async def named(self, name: str) -> Kept | None:
        found = await self._ask(NAMED, name)
        return None if found is None else _kept(*found)

    async def write(self, identity: str, name: str, text: str, before: int) -> bool:
        return bool(await self._ask(WRITE, identity, name, text, before))

    async def changed(self, since: int) -> Changes:
        newest, ids = await self._ask(CHANGED, since, CHANGES + 1)
        return Changes(int(newest), None if len(ids) > CHANGES else tuple(ids))

    async def every(self) -> AsyncIterator[Kept]:
        begin = "-"
        while page := await self._ask(SOME, begin, PAGE):
            for _, *kept in page:
                yield _kept(*kept)
            begin = f"({page[-1][0]} {page[-1][1]}"

    def close(self) -> None:
        _end(self._thread, self._link)

    async def _ask(self, script: str, *arguments: str | int) -> Any:
        call = Call(PREFIX, ("EVAL", script, len(KEYS), *KEYS, *arguments))
        try:
            running = self._thread.submit(self._link.run, [call])
        except RuntimeError as problem:
            raise StoreUnavailable(f"{self._place}: closed; open a new one") from problem
        (answer,) = await asyncio.wrap_future(running)
        if isinstance(answer, Fault):
            raise StoreUnavailable(f"{self._place}: {answer}") from answer
        return answer


def _kept(identity: str, version: str, text: str) -> Kept:
    return Kept(identity, int(version), text)


def _end(thread: ThreadPoolExecutor, link: Link) -> None:
    thread.shutdown(wait=True)
    link.close()
