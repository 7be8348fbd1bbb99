"""Taking a user out of a ledger on Redis: its rows are written anew while nobody else may write, and then the counters
from the rows, as `rebuild` does. Cut off in the middle it is like a rebuild that was: do it again."""

import json
from typing import Any

from scribe_router.stores import erasure
from scribe_router.stores.redis_calls import INDEXED, Call, dumped
from scribe_router.stores.redis_epoch import replace
from scribe_router.stores.redis_reports import PAGE, Reports


def erase(reports: Reports, user: str, instead: str) -> int:
    """Take a user out of everything; how many rows there were. Raises `Fault`."""
    during = replace(reports.link, reports.shards, "rebuilding")
    count = 0
    for shard in reports.shards:
        while found := _page(reports, shard, user):
            for attempt, score in found:
                _rewrite(reports, shard, attempt, score, user, instead)
            count += len(found)
        _checkpoints(reports, shard, user, instead)
    _notes(reports, user, instead)
    _forget(reports, user, instead)
    reports.recount()
    replace(reports.link, reports.shards, "rebuilt", during)
    return count


def _page(reports: Reports, shard: str, user: str) -> list[tuple[str, str]]:
    key = f"{shard}by:user:{user}"
    flat = reports.ask([Call(key, ("ZRANGE", key, 0, PAGE - 1, "WITHSCORES"))])[0]
    return list(zip(flat[::2], flat[1::2], strict=True))


def _rewrite(reports: Reports, shard: str, attempt: str, score: str, user: str, instead: str) -> None:
    """One row under the other name. It leaves the index of the user last, so that it is found again if this is cut
    off."""
    key = f"{shard}row:{attempt}"
    text, charges = reports.ask([Call(key, ("HMGET", key, "row", "charges"))])[0]
    row: dict[str, Any] = json.loads(text) if text else {}
    after = row | erasure.columns(row, user, instead)
    if text:
        listed = [erasure.charge(each, user, instead) for each in json.loads(charges or "[]")]
        reports.ask([Call(key, ("HSET", key, "row", dumped(after), "charges", dumped(listed)))])
    moved = [name for name in INDEXED if name != "user" and row.get(name) != after.get(name)]
    calls = [_index(shard, "ZADD", "user", after.get("user"), score, attempt)] if text else []
    for name in moved:
        calls.append(_index(shard, "ZADD", name, after[name], score, attempt))
        calls.append(_index(shard, "ZREM", name, row[name], attempt))
    reports.ask(calls)
    reports.ask([_index(shard, "ZREM", "user", user, attempt)])


def _index(shard: str, command: str, name: str, value: Any, *rest: str) -> Call:
    key = f"{shard}by:{name}:{value}"
    return Call(key, (command, key, *rest))


def _checkpoints(reports: Reports, shard: str, user: str, instead: str) -> None:
    """Sums of folded rows; both names in one step."""
    key = f"{shard}checkpoints"
    flat = reports.ask([Call(key, ("HGETALL", key))])[0]
    for name, amount in zip(flat[::2], flat[1::2], strict=True):
        other = erasure.renamed(name, user, instead)
        if other != name:
            script = "redis.call('HINCRBY', KEYS[1], ARGV[2], ARGV[3]) return redis.call('HDEL', KEYS[1], ARGV[1])"
            reports.ask([Call(key, ("EVAL", script, 1, key, name, other, amount))])


def _notes(reports: Reports, user: str, instead: str) -> None:
    key = f"{reports.shards[0]}notes"
    for name, text in reports.notes("").items():
        other, said = erasure.renamed(name, user, instead), erasure.note(text, user, instead)
        if (other, said) != (name, text):
            reports.ask([Call(key, ("HSET", key, other, said))])
            if other != name:
                reports.ask([Call(key, ("HDEL", key, name))])


def _forget(reports: Reports, user: str, instead: str) -> None:
    """The counters of the user: no row names them any more."""
    for name in reports.counters():
        if erasure.renamed(name, user, instead) != name:
            key, entries = reports.places.counter(name), reports.places.entries(name)
            names = f"{reports.shards[reports.places.shard(name)]}names"
            reports.ask([Call(key, ("DEL", key, entries)), Call(names, ("SREM", names, name))])
