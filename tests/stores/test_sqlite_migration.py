"""A ledger that an older program wrote is brought to today's version when it is opened, and loses nothing."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from scribe_router.stores.contract import Granted
from scribe_router.stores.sqlite import SqliteLedger
from scribe_router.stores.sqlite_book import MIGRATIONS, SCHEMA, VERSION
from tests.stores.ledger_rows import DAY, row, settlement

FIRST = """
CREATE TABLE attempts (
    attempt TEXT PRIMARY KEY, exchange TEXT NOT NULL, principal TEXT NOT NULL, user TEXT NOT NULL,
    model TEXT NOT NULL, deployment TEXT NOT NULL, provider TEXT NOT NULL, lane TEXT NOT NULL,
    opened REAL NOT NULL, bound INTEGER NOT NULL, charges TEXT NOT NULL, price TEXT NOT NULL, cap INTEGER,
    owner TEXT NOT NULL, granted INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'reserved',
    provisional INTEGER NOT NULL DEFAULT 0, exceeded INTEGER NOT NULL DEFAULT 0,
    cost INTEGER, mark TEXT, outcome TEXT, closed REAL, usage TEXT, raw_usage TEXT);
CREATE INDEX attempts_by_opening ON attempts (opened);
CREATE INDEX attempts_of_exchange ON attempts (exchange);
CREATE INDEX reserved_by_owner ON attempts (owner) WHERE state = 'reserved';
CREATE TABLE counters (name TEXT PRIMARY KEY, settled INTEGER NOT NULL, reserved INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoints (name TEXT PRIMARY KEY, settled INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO attempts VALUES ('old', 'x', 'local', 'ann', 'small', 'small', 'sandbox', 'wire', 1000.0, 10,
    '[{"counter": "team|blue|2030-01-01", "limit": "team", "scope": "blue", "window": "2030-01-01", "amount": 10}]',
    '{}', 64, 'gone', 10, 'settled', 0, 0, 4, 'computed', 'ok', 1001.0, '{}', '{}');
INSERT INTO counters VALUES ('team|blue|2030-01-01', 4, 0);
PRAGMA user_version = 1;
"""
# As they were when programs of those versions wrote ledgers.
LATER = {
    2: """ALTER TABLE attempts ADD COLUMN team TEXT NOT NULL DEFAULT '';
        ALTER TABLE attempts ADD COLUMN model_name TEXT NOT NULL DEFAULT '';""",
    3: "CREATE TABLE notes (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;",
    4: """ALTER TABLE attempts ADD COLUMN experiment TEXT NOT NULL DEFAULT '';
        ALTER TABLE attempts ADD COLUMN arm TEXT NOT NULL DEFAULT '';
        ALTER TABLE attempts ADD COLUMN unit TEXT NOT NULL DEFAULT '';
        ALTER TABLE attempts ADD COLUMN reported TEXT;""",
}


def columns(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return [(name, kind) for _, name, kind, *_ in connection.execute("PRAGMA table_info(attempts)")]


async def test_the_first_version_is_brought_up(tmp_path: Path) -> None:
    path, fresh = tmp_path / "old.db", tmp_path / "new.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST)
    several = [SqliteLedger(path) for _ in range(3)]
    answers = await asyncio.gather(*(each.reserve(row(f"new-{at}", 10, DAY), 10) for at, each in enumerate(several)))
    assert answers == [Granted(10)] * 3
    for at, each in enumerate(several):
        each.settle(settlement(f"new-{at}", 5))
        await each.flush()
    (counter,) = (await several[0].counters()).values()
    assert (counter.settled, counter.reserved) == (19, 0)
    assert [each["attempt"] for each in await several[0].rows()][-1] == "old"
    assert await several[0].check() == []
    assert sum(await asyncio.gather(*(each.note("who", str(at)) for at, each in enumerate(several)))) == 1
    new = SqliteLedger(fresh)
    await new.flush()
    for each in (*several, new):
        each.close()
    assert columns(path) == columns(fresh)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
async def test_what_is_new_is_kept_in_a_ledger_of_any_version(tmp_path: Path, version: int) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST + "".join(LATER[step] for step in range(2, version + 1)))
        connection.execute(f"PRAGMA user_version = {version}")
    ledger = SqliteLedger(path)
    given = replace(row("new", 10, DAY), tool="box__web", experiment="e", arm="a", unit="u", team="blue")
    assert await ledger.reserve(given, 10) == Granted(10)
    await ledger.flush()
    new, old = await ledger.rows()
    assert [new[name] for name in ("tool", "experiment", "arm", "unit", "team")] == ["box__web", "e", "a", "u", "blue"]
    assert (old["attempt"], old["tool"], old["experiment"]) == ("old", "", "")
    ledger.close()


def test_every_version_has_a_way_up() -> None:
    assert sorted(MIGRATIONS) == list(range(1, VERSION))
    assert "IF NOT EXISTS" in SCHEMA
