"""A small SQLite file of our own beside the ledger: made when it is first needed, for its owner alone."""

import os
import sqlite3
from pathlib import Path


def created(path: Path | None, tables: str, busy: float) -> sqlite3.Connection:
    """A connection to the file, or to memory, with these tables; any thread may use it, one at a time. What writes
    takes the file at once, which another process may hold for `busy` seconds. Raises `OSError` and `sqlite3.Error`."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    place = path or ":memory:"
    connection = sqlite3.connect(place, timeout=busy, check_same_thread=False, isolation_level="IMMEDIATE")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(tables)
    except BaseException:
        connection.close()
        raise
    return connection
