"""Where answers are kept: SQLite in memory, or in a file for the processes of one machine. What bytes mean it never
knows.

Content is overwritten when it has ended. Times are seconds since the epoch.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.sqlite_file import created

BUSY = 0.050  # how long another process may hold the file, in seconds
SWEEP = 1.0  # how long content may outlive its end, in seconds
_PREPARE = """
PRAGMA synchronous = OFF;
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, ends REAL NOT NULL, answer BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_end ON answers (ends);
CREATE TABLE IF NOT EXISTS held (bytes INTEGER NOT NULL);
INSERT INTO held SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM held);
CREATE TRIGGER IF NOT EXISTS more AFTER INSERT ON answers BEGIN
    UPDATE held SET bytes = bytes + length(new.answer);
END;
CREATE TRIGGER IF NOT EXISTS less AFTER DELETE ON answers BEGIN
    UPDATE held SET bytes = bytes - length(old.answer);
END;
"""


class Answers(Protocol):
    """A store of answers, each kept for so many seconds in place of the one before. Raises `StoreUnavailable`. Of one
    that `waits`, for a disk or a network, one thread at a time may ask. `close` is idempotent."""

    place: str
    waits: bool

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, answer: bytes, seconds: float) -> None: ...
    def close(self) -> None: ...


class SqliteAnswers:
    """At most `most` bytes of answers; what was stored first goes first. Without a `path` it is this process's alone.

    It opens at first use.
    """

    def __init__(self, path: Path | None, most: int, clock: Callable[[], float]) -> None:
        self.place, self.waits = str(path or "memory"), path is not None
        self._path, self._most, self._clock = path, most, clock
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._sweeper: threading.Timer | None = None

    def get(self, key: str) -> bytes | None:
        with self._transaction() as rows:
            found = rows.execute("SELECT answer FROM answers WHERE key = ? AND ends > ?", (key, self._clock()))
            row = found.fetchone()
        return row[0] if row else None

    def put(self, key: str, answer: bytes, seconds: float) -> None:
        with self._transaction() as rows:
            rows.execute("DELETE FROM answers WHERE key = ? OR ends <= ?", (key, self._clock()))
            if len(answer) <= self._most:
                rows.execute("INSERT INTO answers VALUES (?, ?, ?)", (key, self._clock() + seconds, answer))
            while rows.execute("SELECT bytes FROM held").fetchone()[0] > self._most:
                rows.execute("DELETE FROM answers WHERE key = (SELECT key FROM answers ORDER BY ends, rowid LIMIT 1)")
            if self._sweeper is None:
                self._sweep_after(seconds)

    def close(self) -> None:
        with self._lock:
            if self._sweeper is not None:
                self._sweeper.cancel()
            if self._connection is not None:
                self._connection.close()
            self._connection = self._sweeper = None

    def _sweep_after(self, seconds: float) -> None:
        self._sweeper = threading.Timer(max(SWEEP, seconds), self._sweep)
        self._sweeper.daemon = True
        self._sweeper.start()

    def _sweep(self) -> None:
        """Delete what has ended though nobody asks any more, and come again for the rest."""
        with suppress(StoreUnavailable), self._lock:
            if self._sweeper is None:  # closed
                return
            self._sweeper = None
            with self._transaction() as rows:
                rows.execute("DELETE FROM answers WHERE ends <= ?", (self._clock(),))
            rows.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log has the content too
            first = rows.execute("SELECT min(ends) FROM answers").fetchone()[0]
            if first is not None:
                self._sweep_after(first - self._clock())

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                self._connection = self._connection or self._opened()
                with self._connection:
                    yield self._connection
        except (sqlite3.Error, OSError) as problem:
            raise StoreUnavailable(str(problem)) from problem

    def _opened(self) -> sqlite3.Connection:
        connection = created(self._path, _PREPARE, BUSY)
        if self._sweeper is None:
            self._sweep_after(0.0)  # what an earlier process left
        return connection
