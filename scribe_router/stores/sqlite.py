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
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from scribe_router.stores import sqlite_erasure as erasure
from scribe_router.stores import sqlite_reports as reports
from scribe_router.stores import sqlite_upkeep as upkeep
from scribe_router.stores.checks import check_row, check_settlement
from scribe_router.stores.contract import Counter, Granted, Refused, Row, Settlement
from scribe_router.stores.delivery import Tally
from scribe_router.stores.sqlite_book import Book, open_book
from scribe_router.stores.sqlite_writer import Operation, Writer

FLUSHING = 5.0
REBUILDING = 60.0
FOLDING = 100

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
        check_row(row, floor)
        price = json.dumps(row.price, default=str)
        return cast("Granted | Refused", await self._writer.call(lambda book: book.reserve(row, price, floor)))

    def settle(self, settlement: Settlement) -> None:
        """Queue the settlement and return; the first for an attempt counts, one more may replace a sweep's. A cost of
        None counts as zero.

        From any thread. Once it has returned, the settlement is written even if the disk is full for a while, unless
        the process is killed. Raises `StoreUnavailable` after `close`, `ValueError` for a negative cost.
        """
        check_settlement(settlement)
        usage, raw_usage = _json(settlement.usage), _json(settlement.raw_usage)
        self._writer.submit(Operation(lambda book: book.settle(settlement, usage, raw_usage), keep=True))

    async def flush(self) -> None:
        """Wait until everything handed to `settle` so far is committed; `StoreUnavailable` after five seconds."""
        await self._writer.call(lambda book: None, patience=FLUSHING, keep=True)

    async def sweep(self) -> int:
        """Settle provisionally what ended processes had reserved; how many rows. It also runs by itself."""
        return cast("int", await self._writer.call(lambda book: book.sweep()))

    async def counters(self, names: Collection[str] | None = None) -> dict[str, Counter]:
        """Counters by name, every one or those of `names` that exist; all settlements so far are in them."""
        return await self._read(lambda reader: reports.counters(reader, names))

    async def rows(self, *, exchange: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """Rows, newest first, with charges, price and usage as objects."""
        return await self._read(lambda reader: reports.newest(reader, exchange, limit))

    async def export(self, since: float = 0.0) -> AsyncIterator[dict[str, Any]]:
        """The rows opened at or after `since`, in opening order, a page at a time."""
        last: int | None = 0
        while last is not None:
            page, last = await self._read(lambda reader, last=last: reports.after(reader, last, since))  # type: ignore[misc]
            for row in page:
                yield row

    async def check(self) -> list[str]:
        """Compare counters with rows; one line for each difference."""
        return await self._read(upkeep.differences)

    async def release(self, attempts: Sequence[str], at: float) -> int:
        """Settle rows whose cost is in doubt at zero, for good; how many."""
        return cast("int", await self._writer.call(lambda book: upkeep.release(book.connection, attempts, at)))

    async def rebuild(self) -> list[str]:
        """Write the counters anew from the rows; one line for each that changed. Reserving waits for it."""
        changed = await self._writer.call(lambda book: upkeep.rebuild(book.connection), patience=REBUILDING)
        return cast("list[str]", changed)

    async def erase(self, user: str, instead: str) -> int:
        """Put another name in a user's place, some rows at a time; how many rows."""
        erased = 0
        while count := await self._writer.call(lambda book: erasure.erase(book.connection, user, instead, FOLDING)):
            erased += count
        await self._writer.call(lambda book: erasure.erase_sums(book.connection, user, instead), patience=REBUILDING)
        return erased

    async def retain(self, before: float) -> int:
        """Fold settled rows opened before `before` into one checkpoint for each counter; how many rows."""
        folded = 0
        while count := await self._writer.call(lambda book: upkeep.fold(book.connection, before, FOLDING)):
            folded += count
        return folded

    async def report(self, attempt: str, said: dict[str, Any]) -> bool:
        """Keep with a row what a client says of the answer; whether there is such a row."""
        text = json.dumps(said)
        return cast("bool", await self._writer.call(lambda book: upkeep.report(book.connection, attempt, text)))

    async def note(self, name: str, text: str) -> bool:
        """Keep a note for good, unless its name is taken; whether this text is the one that is kept."""
        return cast("bool", await self._writer.call(lambda book: upkeep.note(book.connection, name, text)))

    async def notes(self, prefix: str) -> dict[str, str]:
        """The notes whose names begin with `prefix`, in the order of their names."""
        return await self._read(lambda reader: reports.notes(reader, prefix))

    async def backup(self, path: Path) -> None:
        """Copy the ledger to `path` while it is in use. What is reserved in it is swept when the copy is opened."""
        await self._read(lambda reader: reports.copy(reader, path.resolve()))

    def close(self) -> None:
        """Commit what is pending, end the thread, let go of the files. What is still reserved becomes a sweep's."""
        self._writer.close()

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        await self.flush()
        return await asyncio.to_thread(reports.read, self._path, self._place, read)


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, default=str)
