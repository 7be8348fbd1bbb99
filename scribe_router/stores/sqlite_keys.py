"""Virtual keys in the file of the SQLite ledger, in a table of their own.

One thread writes; each look is a connection of its own, which sees one moment of the file and waits for no writer.
"""

import asyncio
import sqlite3
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from scribe_router.stores import sqlite_reports as reports
from scribe_router.stores.keys import CHANGES, PAGE, Changes, Kept
from scribe_router.stores.sqlite_book import connected
from scribe_router.stores.sqlite_writer import Writer

NEWEST = "SELECT coalesce(max(version), 0) FROM keys"
SELECT = "SELECT id, version, text FROM keys WHERE"
SOME = "SELECT name, id, version, text FROM keys WHERE name > ? ORDER BY name LIMIT ?"
INSERT = """INSERT INTO keys SELECT :id, :name, coalesce(max(version), 0) + 1, :text FROM keys
    WHERE true HAVING NOT EXISTS (SELECT 1 FROM keys WHERE id = :id OR name = :name)"""
UPDATE = """UPDATE keys SET version = (SELECT max(version) FROM keys) + 1, text = :text
    WHERE id = :id AND name = :name AND version = :before"""
IDLE = 3600.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Session:
    """What the thread writes through."""

    connection: sqlite3.Connection

    def tick(self) -> None:
        """Nothing recurs."""

    def close(self) -> None:
        self.connection.close()

    def write(self, identity: str, name: str, text: str, before: int) -> bool:
        values = {"id": identity, "name": name, "text": text, "before": before}
        return self.connection.execute(UPDATE if before else INSERT, values).rowcount == 1


class SqliteKeys:
    """`Keys` in a file, which opens at first use. Several processes of one machine may share it."""

    def __init__(self, path: Path, *, full_sync: bool = False) -> None:
        self._path, self._place = path.resolve(), f"keys in {path.resolve()}"

        def open_session(path: Path = self._path) -> _Session:
            return _Session(connected(path, full_sync=full_sync))

        self._writer = Writer(self._place, open_session, every=IDLE)
        self._there = False
        weakref.finalize(self, self._writer.close)

    async def find(self, identity: str) -> tuple[int, Kept | None]:
        return await self._read(lambda rows: (_newest(rows), _one(rows, "id = ?", identity)))

    async def named(self, name: str) -> Kept | None:
        return await self._read(lambda rows: _one(rows, "name = ?", name))

    async def write(self, identity: str, name: str, text: str, before: int) -> bool:
        return cast("bool", await self._writer.call(lambda session: session.write(identity, name, text, before)))

    async def changed(self, since: int) -> Changes:
        def look(rows: sqlite3.Connection) -> Changes:
            found = rows.execute("SELECT id FROM keys WHERE version > ? LIMIT ?", (since, CHANGES + 1)).fetchall()
            return Changes(_newest(rows), None if len(found) > CHANGES else tuple(each for (each,) in found))

        return await self._read(look)

    async def every(self) -> AsyncIterator[Kept]:
        last = ""
        while page := await self._read(lambda rows, last=last: rows.execute(SOME, (last, PAGE)).fetchall()):  # type: ignore[misc]
            for _, *kept in page:
                yield Kept(*kept)
            last = page[-1][0]

    def close(self) -> None:
        self._writer.close()

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        if not self._there:  # the file, and its table
            await self._writer.call(lambda session: None)
            self._there = True
        return await asyncio.to_thread(reports.read, self._path, self._place, read)


def _newest(rows: sqlite3.Connection) -> int:
    return int(rows.execute(NEWEST).fetchone()[0])


def _one(rows: sqlite3.Connection, where: str, value: str) -> Kept | None:
    found = rows.execute(f"{SELECT} {where}", (value,)).fetchone()
    return None if found is None else Kept(*found)
