"""Which nonces were seen: in memory, or in a file for the processes of one machine. Each is told apart once, whoever
asks, until it ends. What has no room is refused, never forgotten early. Times are seconds since the epoch.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from heapq import heappop, heappush
from pathlib import Path
from typing import Protocol

from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.sqlite_file import created

MOST = 1_000_000
BUSY = 0.5  # how long another process may hold the file, in seconds
SWEPT = 100  # of those that have ended, at each look; more than come in
_PREPARE = """
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS nonces (number INTEGER PRIMARY KEY AUTOINCREMENT, nonce TEXT UNIQUE NOT NULL, ends REAL);
CREATE INDEX IF NOT EXISTS by_end ON nonces (ends);
"""
_SWEEP = "DELETE FROM nonces WHERE number IN (SELECT number FROM nonces WHERE ends <= ? ORDER BY ends LIMIT ?)"
FULL = "more signed requests than can be told apart; try again later"


class Nonces(Protocol):
    """The contract of the three stores."""

    async def remember(self, nonce: str, until: float) -> bool:
        """Whether this is the first time before `until`. Of all who ask at once, one is told yes. Raises
        `StoreUnavailable`; then nobody may be let in."""

    def close(self) -> None:
        """Let go of files and connections. Idempotent."""


class MemoryNonces:
    """For one process; they go with it. Any thread may ask."""

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._lock = threading.Lock()
        self._ends: dict[str, float] = {}
        self._order: list[tuple[float, str]] = []

    async def remember(self, nonce: str, until: float) -> bool:
        """As `Nonces`."""
        with self._lock:
            now = self._clock()
            while self._order and self._order[0][0] <= now:
                del self._ends[heappop(self._order)[1]]
            if nonce in self._ends:
                return False
            if len(self._ends) >= self._most:
                raise StoreUnavailable(FULL)
            self._ends[nonce] = until
            heappush(self._order, (until, nonce))
            return True

    def close(self) -> None:
        with self._lock:
            self._ends.clear()
            self._order.clear()


class SqliteNonces:
    """In a file, which opens at first use. They outlive the process; a loss of power may take the last ones."""

    def __init__(self, path: Path, clock: Callable[[], float], most: int = MOST) -> None:
        self._path, self._clock, self._most = path, clock, most
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    async def remember(self, nonce: str, until: float) -> bool:
        """As `Nonces`."""
        return await asyncio.to_thread(self._remember, nonce, until)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _remember(self, nonce: str, until: float) -> bool:
        try:
            with self._lock:
                self._connection = self._connection or created(self._path, _PREPARE, BUSY)
                return self._first(self._connection, nonce, until)
        except (sqlite3.Error, OSError) as problem:
            raise StoreUnavailable(f"{self._path}: {problem}") from problem

    def _first(self, rows: sqlite3.Connection, nonce: str, until: float) -> bool:
        with rows:
            rows.execute("DELETE FROM nonces WHERE nonce = ? AND ends <= ?", (nonce, self._clock()))
            rows.execute(_SWEEP, (self._clock(), SWEPT))
            added = rows.execute("INSERT OR IGNORE INTO nonces (nonce, ends) VALUES (?, ?)", (nonce, until)).rowcount
            oldest, newest = rows.execute("SELECT min(number), max(number) FROM nonces").fetchone()
            if added and newest - oldest >= self._most:  # numbers have gaps, so there are at most as many
                raise StoreUnavailable(FULL)
        return bool(added)


def open_nonces(url: str, clock: Callable[[], float]) -> Nonces:
    """Where the nonces of a ledger at `url` are kept: beside its file (`PATH.nonces`), or on its Redis."""
    scheme, _, path = url.partition(":")
    if scheme == "sqlite":
        return SqliteNonces(Path(f"{path}.nonces"), clock)
    from scribe_router.stores.redis_nonces import RedisNonces

    return RedisNonces(url, clock)
