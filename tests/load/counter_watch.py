"""A process that looks at a ledger's counters every ten milliseconds, by the store's own means and none of ours:

`python counter_watch.py sqlite PATH` or `python counter_watch.py redis PORT PORT ...`, until its input ends; then it
prints how often it looked, and the highest settled + reserved that any counter had, in nano-dollars.
"""

import json
import select
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from redis import Redis

EVERY = 0.010

Sums = Iterator[int]


def of_sqlite(path: str) -> Callable[[], Sums]:
    """Reads settled + reserved of each counter; nothing while there is no ledger yet."""

    def look() -> Sums:
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
            yield from [total for (total,) in reader.execute("SELECT settled + reserved FROM counters")]

    return look


def of_redis(*ports: str) -> Callable[[], Sums]:
    """The same of one server, or of the masters of a cluster: each counter is one hash."""
    servers = [Redis(port=int(port), decode_responses=True) for port in ports]
    found: list[tuple[Redis, str]] = []

    def look() -> Sums:
        if not found:
            found.extend((server, key) for server in servers for key in server.scan_iter("*}:counter:*", count=10_000))
        for server, key in found:
            settled, reserved = server.hmget(key, "settled", "reserved")
            yield int(settled or 0) + int(reserved or 0)

    return look


def main(kind: str, *places: str) -> None:
    look = of_sqlite(*places) if kind == "sqlite" else of_redis(*places)
    looks = highest = 0
    next_look = time.monotonic()
    while not select.select([sys.stdin], [], [], max(0.0, next_look - time.monotonic()))[0]:
        next_look = max(next_look + EVERY, time.monotonic())
        highest = max(highest, *look(), 0)
        looks += 1
    print(json.dumps({"looks": looks, "highest": highest}))


if __name__ == "__main__":
    main(*sys.argv[1:])
