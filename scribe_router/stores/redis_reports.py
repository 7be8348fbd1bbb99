"""Reading a ledger on Redis, and what an operator does to it as a whole: pages, recounts, rebuilding, folding.

Each runs on a connection of its own, in a thread of the caller, so that reserving does not wait for it.
"""

import heapq
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from scribe_router.stores import redis_scripts as one
from scribe_router.stores.contract import Counter
from scribe_router.stores.redis_calls import Call, Session, dumped
from scribe_router.stores.redis_epoch import replace
from scribe_router.stores.redis_link import Fault, Link
from scribe_router.stores.selfcheck import Sums, compared

PAGE = 500
TAKEN, SWEPT, SETTLED, RELEASED = 1, 3, 4, 5
WHOLE = ("bound", "granted", "cost", "cap")
TEXTS = ("state", "owner", "mark", "outcome")
JSON = ("usage", "raw_usage", "reported")
# A row that was folded meanwhile does not come back.
REPORT = """if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'reported', ARGV[1])
return 1"""


class Reports:
    """A ledger to be read: its link, and where its shards are."""

    def __init__(self, link: Link, shards: Sequence[str]) -> None:
        self.link, self.shards = link, tuple(shards)
        self.places = Session(self.shards, ("",) * len(self.shards), "")

    def ask(self, calls: Iterable[Call]) -> list[Any]:
        """The answers. Raises `Fault`."""
        answers = self.link.run(list(calls))
        for answer in answers:
            if isinstance(answer, Fault):
                raise answer
        return answers

    def counters(self, names: Collection[str] | None = None) -> dict[str, Counter]:
        """Every counter by name, or those of `names` that exist."""
        if names is None:
            found = self.ask(Call(f"{shard}names", ("SMEMBERS", f"{shard}names")) for shard in self.shards)
            names = [name for names in found for name in names]
        names = sorted(names)
        keys = [self.places.counter(name) for name in names]
        sums = self.ask(Call(key, ("HMGET", key, "settled", "reserved")) for key in keys)
        pairs = ((name, pair) for name, pair in zip(names, sums, strict=True) if pair != [None, None])
        return {name: Counter(name, int(settled or 0), int(reserved or 0)) for name, (settled, reserved) in pairs}

    def report(self, attempt: str, said: dict[str, Any]) -> bool:
        """Keep with a row what is said of its answer; whether there is such a row."""
        key = self.places.row(attempt)
        return self.ask([Call(key, ("EVAL", REPORT, 1, key, dumped(said)))]) == [1]

    def note(self, name: str, text: str) -> bool:
        """Keep a note unless its name is taken; whether this text is the one that is kept."""
        key = f"{self.shards[0]}notes"
        _, kept = self.ask([Call(key, ("HSETNX", key, name, text)), Call(key, ("HGET", key, name))])
        return bool(kept == text)

    def notes(self, prefix: str) -> dict[str, str]:
        """Notes by name."""
        key = f"{self.shards[0]}notes"
        found = _pairs(self.ask([Call(key, ("HGETALL", key))])[0])
        return dict(sorted(pair for pair in found if pair[0].startswith(prefix)))

    def newest(self, exchange: str | None, limit: int) -> list[dict[str, Any]]:
        """Rows, newest first, of one exchange or of all."""
        index = "opened" if exchange is None else f"by:exchange:{exchange}"
        keys = [f"{shard}{index}" for shard in self.shards]
        pages = self.ask(Call(key, ("ZREVRANGE", key, 0, limit - 1, "WITHSCORES")) for key in keys)
        pairs = [(float(score), attempt) for page in pages for attempt, score in _pairs(page)]
        return self.rows([attempt for _, attempt in heapq.nlargest(limit, pairs)])

    def rows(self, attempts: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of these attempts, in their order; what is no reservation yet, or none any more, is left out."""
        keys = [self.places.row(attempt) for attempt in attempts]
        found = self.ask(Call(key, ("HGETALL", key)) for key in keys)
        read = [(attempt, dict(_pairs(values))) for attempt, values in zip(attempts, found, strict=True)]
        return [_as_dict(attempt, row) for attempt, row in read if row.get("state") in ("reserved", "settled")]

    def after(self, last: float) -> tuple[list[dict[str, Any]], float]:
        """A page of rows in opening order behind `last`, and the `last` of the next one; infinity at the end."""
        span = (f"({last!r}", "+inf", "WITHSCORES", "LIMIT", 0, PAGE)
        keys = [f"{shard}opened" for shard in self.shards]
        pages = [_pairs(page) for page in self.ask(Call(key, ("ZRANGEBYSCORE", key, *span)) for key in keys)]
        # Behind the end of a full page its shard may have more.
        reach = min((float(page[-1][1]) for page in pages if len(page) == PAGE), default=float("inf"))
        dated = sorted((float(score), attempt) for page in pages for attempt, score in page if float(score) <= reach)
        return self.rows([attempt for _, attempt in dated]), reach

    def every(self) -> Iterator[dict[str, Any]]:
        """All rows in opening order."""
        last = float("-inf")
        while last < float("inf"):
            page, last = self.after(last)
            yield from page

    def recounted(self) -> Sums:
        """What each counter should hold: its rows, and what was folded of older ones."""
        sums: Sums = {}
        folded = self.ask(Call(f"{shard}checkpoints", ("HGETALL", f"{shard}checkpoints")) for shard in self.shards)
        for name, amount in (pair for page in folded for pair in _pairs(page)):
            _add(sums, name, int(amount), 0)
        for row in self.every():
            held = (row["cost"] or 0, 0) if row["state"] == "settled" else (0, row["granted"])
            for charge in row["charges"]:
                _add(sums, charge["counter"], *held)
        return sums

    def differences(self) -> list[str]:
        """One line for each counter that is not what its rows say, whoever writes meanwhile: a difference that stays
        the same in three looks is one."""
        seen: dict[str, tuple[tuple[int, int], str]] = {}
        for look in range(3):
            now = compared(self.counters(), self.recounted())
            seen = {name: each for name, each in now.items() if not look or seen.get(name, ())[:1] == each[:1]}
            if not seen:
                break
        return [line for _, line in seen.values()]

    def rebuild(self) -> list[str]:
        """Write every counter anew from the rows, while nobody else may write; one line for each that changed."""
        during = replace(self.link, self.shards, "rebuilding")
        changed = self.recount()
        replace(self.link, self.shards, "rebuilt", during)
        return changed

    def recount(self) -> list[str]:
        """Write every counter anew, where nobody else may write; one line for each that changed."""
        before, sums = self.counters(), self.recounted()
        changed = [line for _, line in compared(before, sums).values()]
        for name in sorted(before.keys() | sums.keys()):
            self._write(name, *sums.get(name, (0, 0)))
        if len(self.shards) > 1:
            self._write_entries()
        return changed

    def _write(self, name: str, settled: int, reserved: int) -> None:
        key, entries = self.places.counter(name), self.places.entries(name)
        names = f"{self.shards[self.places.shard(name)]}names"
        values = ("settled", settled, "reserved", reserved, "born", "1")
        self.ask(
            [Call(key, ("DEL", key, entries)), Call(key, ("HSET", key, *values)), Call(key, ("SADD", names, name))]
        )

    def _write_entries(self) -> None:
        for row in self.every():
            version = SWEPT if row["provisional"] else RELEASED if row["mark"] == "released" else SETTLED
            settled = row["state"] == "settled"
            held = f"{version} 0 {row['cost'] or 0}" if settled else f"{TAKEN} {row['granted']} 0"
            keys = [self.places.entries(charge["counter"]) for charge in row["charges"]]
            self.ask(Call(key, ("HSET", key, row["attempt"], held)) for key in keys)

    def fold(self, epochs: Sequence[str], before: float) -> int:
        """Replace settled rows opened before `before` by one sum for each counter; how many."""
        session = Session(self.shards, tuple(epochs), "")
        return sum(self._fold(session, index, before) for index in range(len(self.shards)))

    def _fold(self, session: Session, index: int, before: float) -> int:
        folded = skipped = 0
        while True:
            call = session.everywhere(one.FOLD, int(before * 1e6), skipped, PAGE)[index]
            what, *rest = self.ask([call])[0]
            if what == "epoch" or rest[0] == 0:
                return folded
            pairs = _pairs(rest[1:])
            folded, skipped = folded + len(pairs), skipped + rest[0] - len(pairs)
            if len(self.shards) > 1:
                self._forget(pairs)

    def _forget(self, pairs: Iterable[tuple[str, str]]) -> None:
        charged = ((attempt, charge["counter"]) for attempt, charges in pairs for charge in json.loads(charges))
        keys = [(self.places.entries(counter), attempt) for attempt, counter in charged]
        self.ask(Call(key, ("HDEL", key, attempt)) for key, attempt in keys)


def _as_dict(attempt: str, found: dict[str, str]) -> dict[str, Any]:
    """A row with its JSON read, its amounts whole and its flags as booleans; as the other store gives it."""
    row: dict[str, Any] = {"attempt": attempt, **json.loads(found["row"])}
    row |= {name: found.get(name) for name in TEXTS}
    row |= {name: int(found[name]) if found.get(name) else row.get(name) for name in WHOLE}
    row |= {name: found.get(name) == "1" for name in ("provisional", "exceeded")}
    row |= {name: json.loads(found[name]) if found.get(name) else None for name in JSON}
    row["charges"] = [charge | {"amount": row["granted"]} for charge in json.loads(found["charges"])]
    row["closed"] = float(found["closed"]) if "closed" in found else None
    return row


def _add(sums: Sums, name: str, settled: int, reserved: int) -> None:
    before = sums.get(name, (0, 0))
    sums[name] = before[0] + settled, before[1] + reserved


def _pairs(flat: Sequence[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
