"""Reading the ledger's file: on a connection of its own, so that readers do not hold up the writer."""

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from scribe_router.stores.contract import Counter
from scribe_router.stores.sqlite_writer import explained

PAGE = 500
JSON = ("charges", "price", "usage", "raw_usage", "reported")
COUNTERS = "SELECT name, settled, reserved FROM counters"
NAMED = "SELECT name, settled, reserved FROM counters WHERE name IN (SELECT value FROM json_each(?))"


T = TypeVar("T")


def read(path: Path, place: str, what: Callable[[sqlite3.Connection], T]) -> T:
    """What is read of one moment of the file. Raises `StoreUnavailable`, which names `place`."""
    try:
        with opened(path) as reader:
            return what(reader)
    except sqlite3.Error as problem:
        raise explained(place, problem) from problem


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees one moment of the file."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1.0, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        yield reader


def counters(reader: sqlite3.Connection, names: Collection[str] | None = None) -> dict[str, Counter]:
    """Every counter by name, or those of `names` that exist."""
    found = reader.execute(COUNTERS) if names is None else reader.execute(NAMED, (json.dumps(list(names)),))
    return {row[0]: Counter(*row) for row in found}


def notes(reader: sqlite3.Connection, prefix: str) -> dict[str, str]:
    """Notes by name."""
    return dict(
        reader.execute("SELECT name, text FROM notes WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix))
    )


def newest(reader: sqlite3.Connection, exchange: str | None, limit: int) -> list[dict[str, Any]]:
    """Rows, newest first, of one exchange or of all."""
    where, values = ("WHERE exchange = ? ", (exchange,)) if exchange is not None else ("", ())
    query = f"SELECT * FROM attempts {where}ORDER BY rowid DESC LIMIT ?"  # noqa: S608  (no part is foreign)
    return _dicts(reader.execute(query, (*values, limit)))


def after(reader: sqlite3.Connection, last: int, since: float) -> tuple[list[dict[str, Any]], int | None]:
    """A page of rows in opening order behind the row numbered `last`, and the `last` of the next one."""
    query = "SELECT rowid AS number, * FROM attempts WHERE rowid > ? AND opened >= ? ORDER BY rowid LIMIT ?"
    page = _dicts(reader.execute(query, (last, since, PAGE)))
    numbers = [row.pop("number") for row in page]
    return page, numbers[-1] if len(page) == PAGE else None


def copy(reader: sqlite3.Connection, path: Path) -> None:
    """Copy the database; `path` is whole or as it was, whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with closing(sqlite3.connect(unfinished)) as target:
            reader.backup(target)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _dicts(found: sqlite3.Cursor) -> list[dict[str, Any]]:
    names = [column[0] for column in found.description]
    return [_as_dict(dict(zip(names, row, strict=True))) for row in found]


def _as_dict(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its JSON read and its flags as booleans."""
    row |= {name: json.loads(row[name]) for name in JSON if row[name]}
    return row | {name: bool(row[name]) for name in ("provisional", "exceeded")}
