"""The embedded ledger: one SQLite file, exact for one or several processes on one machine.

A reservation that was answered is committed: it survives `kill -9`. Losing power can take back the last commits, never
the file's consistency; `full_sync` closes that gap for one disk flush per group. Put the file on a local disk.

This module knows the contract, and what is answered to whom. It must never know statements, threads or locks.
"""

import asyncio
import json
import sqlite3
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from scribe_router.stores.contract import Counter, Granted, Refused, Row, Settlement
from scribe_router.stores.sqlite_book import Book, Tally, as_dict, open_book, read_only
from scribe_router.stores.sqlite_writer import Operation, Writer, explained

LARGEST = 10**18
FLUSHING = 5.0
COUNTERS = "SELECT name, settled, reserved FROM counters"
RECOUNT = """SELECT json_extract(charge.value, '$.counter') AS name,
    sum(CASE state WHEN 'settled' THEN coalesce(cost, 0) ELSE 0 END),
    sum(CASE state WHEN 'reserved' THEN json_extract(charge.value, '$.amount') ELSE 0 END)
    FROM attempts, json_each(attempts.charges) AS charge GROUP BY name"""

T = TypeVar("T")


class SqliteLedger:
    """A `Ledger` in a file. Amounts are nano-dollars, times float seconds since the epoch.

    It opens at first use, so it may be built before a fork, but not used on both sides of one. `sweep_every` is in
    seconds. Dropping it, or a normal end of the interpreter, closes it: what was handed to `settle` is written.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        full_sync: bool = False,
        sweep_every: float = 10.0,
    ) -> None:
        self._path = path.resolve()
        self._place = f"ledger {self._path}"
        self._tally = tally = Tally()

        def open_session(path: Path = self._path) -> Book:
            return open_book(path, full_sync=full_sync, clock=clock, tally=tally)

        self._writer = Writer(self._place, open_session, every=sweep_every)
        weakref.finalize(self, self._writer.close)

    @property
    def unknown(self) -> int:
        """How many settlements with a cost named an attempt that has no row; each was logged as an error."""
        return self._tally.unknown

    async def reserve(self, row: Row, floor: int) -> Granted | Refused:
        """Reserve `row.bound`, or as much as every charge has left if that is at least `floor`.

        When the caller is cancelled while it waits, the reservation may still be written: settle the attempt at zero,
        which is right in either case. Raises `StoreUnavailable`; `ValueError` for amounts that make no sense.
        """
        _check(row, floor)
        price = json.dumps(row.price, default=str)
        return cast("Granted | Refused", await self._writer.call(lambda book: book.reserve(row, price, floor)))

    def settle(self, settlement: Settlement) -> None:
        """Queue the settlement and return; the first for an attempt counts, one more may replace a sweep's. A cost of
        None counts as zero.

        From any thread. Once it has returned, the settlement is written even if the disk is full for a while, unless
        the process is killed. Raises `StoreUnavailable` after `close`, `ValueError` for a negative cost.
        """
        _amounts(f"settlement of {settlement.attempt}", cost=settlement.cost or 0)
        usage, raw_usage = _json(settlement.usage), _json(settlement.raw_usage)
        self._writer.submit(Operation(lambda book: book.settle(settlement, usage, raw_usage), keep=True))

    async def flush(self) -> None:
        """Wait until everything handed to `settle` so far is committed; `StoreUnavailable` after five seconds."""
        await self._writer.call(lambda book: None, patience=FLUSHING, keep=True)

    async def sweep(self) -> int:
        """Settle provisionally what ended processes had reserved; how many rows. It also runs by itself."""
        return cast("int", await self._writer.call(lambda book: book.sweep()))

    async def counters(self) -> dict[str, Counter]:
        """Every counter by name, all settlements so far included."""
        return await self._read(_counters)

    async def rows(self, *, exchange: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """Rows, newest first, with charges, price and usage as objects."""
        return await self._read(lambda reader: _rows(reader, exchange, limit))

    async def check(self) -> list[str]:
        """Compare counters with rows; one line for each difference."""
        return await self._read(_differences)

    def close(self) -> None:
        """Commit what is pending, end the thread, let go of the files. What is still reserved becomes a sweep's."""
        self._writer.close()

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        await self.flush()
        return await asyncio.to_thread(self._read_now, read)

    def _read_now(self, read: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with read_only(self._path) as reader:
                reader.row_factory = sqlite3.Row
                reader.execute("BEGIN")
                return read(reader)
        except sqlite3.Error as problem:
            raise explained(self._place, problem) from problem


def _counters(reader: sqlite3.Connection) -> dict[str, Counter]:
    return {row[0]: Counter(*row) for row in reader.execute(COUNTERS)}


def _rows(reader: sqlite3.Connection, exchange: str | None, limit: int) -> list[dict[str, Any]]:
    where, values = ("WHERE exchange = ? ", (exchange,)) if exchange is not None else ("", ())
    query = f"SELECT * FROM attempts {where}ORDER BY rowid DESC LIMIT ?"  # noqa: S608  (no part is foreign)
    return [as_dict(row) for row in reader.execute(query, (*values, limit))]


def _differences(reader: sqlite3.Connection) -> list[str]:
    counters = _counters(reader)
    recounted = {row[0]: Counter(*row) for row in reader.execute(RECOUNT)}
    pairs = [
        (counters.get(name, Counter(name, 0, 0)), recounted.get(name, Counter(name, 0, 0)))
        for name in sorted(counters.keys() | recounted.keys())
    ]
    return [
        f"{counter.name}: counter says settled {counter.settled}, reserved {counter.reserved}; "
        f"rows say settled {rows.settled}, reserved {rows.reserved}"
        for counter, rows in pairs
        if counter != rows
    ]


def _check(row: Row, floor: int) -> None:
    place = f"attempt {row.attempt}"
    _amounts(place, bound=row.bound, floor=floor, **{f"cap of {charge.counter}": charge.cap for charge in row.charges})
    if floor > row.bound:
        raise ValueError(f"{place}: floor {floor} is above the bound {row.bound}")
    if len({charge.counter for charge in row.charges}) < len(row.charges):
        raise ValueError(f"{place}: two charges count against the same counter")


def _amounts(place: str, **amounts: int) -> None:
    for name, amount in amounts.items():
        if type(amount) is not int or not 0 <= amount <= LARGEST:
            raise ValueError(f"{place}: {name} is {amount!r}, not a whole number from 0 to {LARGEST}")


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, default=str)
