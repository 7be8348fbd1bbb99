"""The rules of the ledger as SQL: what may be reserved, what a settlement moves, what a sweep takes over.

It runs inside a transaction of the writer's thread. It knows rows, counters and owners. It must never know threads,
event loops, retries, or what a limit means.
"""

import json
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from scribe_router.counters import Charge
from scribe_router.exchange import Mark
from scribe_router.stores.contract import Granted, Refused, Row, Settlement, StoreUnavailable
from scribe_router.stores.delivery import Tally
from scribe_router.stores.selfcheck import charge_dict
from scribe_router.stores.sqlite_owners import Owner, bury, owners
from scribe_router.stores.sqlite_upkeep import seed

VERSION = 5
SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
    attempt TEXT PRIMARY KEY, exchange TEXT NOT NULL, principal TEXT NOT NULL, user TEXT NOT NULL,
    model TEXT NOT NULL, deployment TEXT NOT NULL, provider TEXT NOT NULL, lane TEXT NOT NULL,
    opened REAL NOT NULL, bound INTEGER NOT NULL, charges TEXT NOT NULL, price TEXT NOT NULL, cap INTEGER,
    owner TEXT NOT NULL, granted INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'reserved',
    provisional INTEGER NOT NULL DEFAULT 0, exceeded INTEGER NOT NULL DEFAULT 0,
    cost INTEGER, mark TEXT, outcome TEXT, closed REAL, usage TEXT, raw_usage TEXT,
    team TEXT NOT NULL DEFAULT '', model_name TEXT NOT NULL DEFAULT '', experiment TEXT NOT NULL DEFAULT '',
    arm TEXT NOT NULL DEFAULT '', unit TEXT NOT NULL DEFAULT '', reported TEXT, tool TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS attempts_by_opening ON attempts (opened);
CREATE INDEX IF NOT EXISTS attempts_of_exchange ON attempts (exchange);
CREATE INDEX IF NOT EXISTS reserved_by_owner ON attempts (owner) WHERE state = 'reserved';
CREATE TABLE IF NOT EXISTS counters (
    name TEXT PRIMARY KEY, settled INTEGER NOT NULL, reserved INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoints (name TEXT PRIMARY KEY, settled INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL UNIQUE, text TEXT NOT NULL) WITHOUT ROWID;
"""
# From a version to the next.
MIGRATIONS = {
    1: """ALTER TABLE attempts ADD COLUMN team TEXT NOT NULL DEFAULT '';
        ALTER TABLE attempts ADD COLUMN model_name TEXT NOT NULL DEFAULT '';""",
    2: "CREATE TABLE notes (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;",
    3: """ALTER TABLE attempts ADD COLUMN experiment TEXT NOT NULL DEFAULT '';
        ALTER TABLE attempts ADD COLUMN arm TEXT NOT NULL DEFAULT '';
        ALTER TABLE attempts ADD COLUMN unit TEXT NOT NULL DEFAULT '';
        ALTER TABLE attempts ADD COLUMN reported TEXT;""",
    4: """ALTER TABLE attempts ADD COLUMN tool TEXT NOT NULL DEFAULT '';
        CREATE TABLE keys (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL UNIQUE, text TEXT NOT NULL)
        WITHOUT ROWID;""",
}
# One row, since each step of a statement is a turn of the interpreter's lock, which the event loop wants as well.
BEFORE = """SELECT (SELECT granted FROM attempts WHERE attempt = ?),
    (SELECT json_group_object(name, json_array(settled, reserved)) FROM counters WHERE name IN ({names}))"""
INSERT = """INSERT INTO attempts (attempt, exchange, principal, user, model, deployment, provider, lane, opened, bound,
    charges, price, cap, owner, granted, team, model_name, experiment, arm, unit, tool)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
TAKE = """INSERT INTO counters (name, settled, reserved) VALUES {counters} ON CONFLICT (name)
    DO UPDATE SET reserved = reserved + excluded.reserved"""
MOVE = """UPDATE counters SET settled = settled + ?, reserved = reserved - ?
    WHERE name IN (SELECT json_extract(charge.value, '$.counter')
        FROM attempts, json_each(attempts.charges) AS charge WHERE attempt = ?)"""
STATE = "SELECT state, provisional, granted, cost, mark FROM attempts WHERE attempt = ?"
SETTLE = """UPDATE attempts SET state = 'settled', provisional = ?, exceeded = ?, cost = ?, mark = ?, outcome = ?,
    closed = ?, usage = ?, raw_usage = ?, cap = coalesce(?, cap) WHERE attempt = ?"""
RESERVING = "SELECT DISTINCT owner FROM attempts WHERE state = 'reserved'"
RESERVED = "SELECT attempt, granted FROM attempts WHERE state = 'reserved' AND owner = ?"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Book:
    """An open database, its owner, and the rules."""

    connection: sqlite3.Connection
    owner: Owner
    folder: Path
    clock: Callable[[], float]
    tally: Tally

    def reserve(self, row: Row, price: str, floor: int) -> Granted | Refused:
        """Write the row with as much of its bound as every charge has left, or refuse and write nothing."""
        names = [charge.counter for charge in row.charges]
        query = BEFORE.format(names=", ".join("?" * len(names)))
        known, found = self.connection.execute(query, (row.attempt, *names)).fetchone()
        if known is not None:
            return Granted(known)
        counters = json.loads(found)
        decision = decide(
            row, floor, [counters.get(each.counter) or seed(self.connection, each) for each in row.charges]
        )
        if isinstance(decision, Granted):
            self._write(row, price, decision.amount)
        return decision

    def _write(self, row: Row, price: str, amount: int) -> None:
        values = (
            *(row.attempt, row.exchange, row.principal, row.user, row.model, row.deployment, row.provider, row.lane),
            *(row.opened, row.bound, charges_json(row.charges, amount), price, row.cap, self.owner.id, amount),
            *(row.team, row.model_name, row.experiment, row.arm, row.unit, row.tool),
        )
        self.connection.execute(INSERT, values)
        if row.charges:
            query = TAKE.format(counters=", ".join(["(?, 0, ?)"] * len(row.charges)))
            self.connection.execute(query, [value for charge in row.charges for value in (charge.counter, amount)])

    def settle(self, settlement: Settlement, usage: str | None, raw_usage: str | None) -> bool:
        """Apply the settlement if it is the first, or the first true one after a sweep; whether it was applied."""
        found = self.connection.execute(STATE, (settlement.attempt,)).fetchone()
        if found is None:
            self.tally.miss(settlement, "no such row, its cost of %d is not counted; reserve before settling")
            return False
        state, provisional, granted, cost, mark = found
        swept = settlement.mark is Mark.SWEPT
        if state == "settled" and (swept or not provisional):
            if mark == Mark.RELEASED:
                self.tally.miss(settlement, "was released at zero, its cost of %d is not counted")
            return False
        truth = settlement.cost or 0
        moved = (truth - (cost or 0), granted if state == "reserved" else 0, settlement.attempt)
        self.connection.execute(MOVE, moved)
        values = (swept, truth > granted, settlement.cost, str(settlement.mark), settlement.outcome)
        self.connection.execute(
            SETTLE, (*values, settlement.closed, usage, raw_usage, settlement.cap, settlement.attempt)
        )
        return True

    def sweep(self) -> int:
        """Settle what dead owners had reserved, provisionally, at the granted amounts; how many rows."""
        reserving = {owner for (owner,) in self.connection.execute(RESERVING)}
        others = (reserving | owners(self.folder)) - {self.owner.id}
        return sum(self._inherit(owner) for owner in sorted(others) if bury(self.folder, owner))

    def _inherit(self, owner: str) -> int:
        rows = self.connection.execute(RESERVED, (owner,)).fetchall()
        for attempt, granted in rows:
            self.settle(Settlement(attempt, granted, Mark.SWEPT, "crashed", self.clock()), None, None)
        return len(rows)

    def tick(self) -> int:
        """The recurring work of the writer's thread."""
        swept = self.sweep()
        if swept:
            logger.warning("%d reservations of ended processes are settled provisionally", swept)
        return swept

    def close(self) -> None:
        """Only when the connection is closed may others take this owner for dead."""
        self.connection.close()
        self.owner.release()


def decide(row: Row, floor: int, counters: list[tuple[int, int]]) -> Granted | Refused:
    """What may be reserved when each charge's counter stands at (settled, reserved)."""
    left = [charge.cap - sum(counter) for charge, counter in zip(row.charges, counters, strict=True)]
    least = min(left, default=row.bound)
    if least >= floor:
        return Granted(min(least, row.bound))
    tightest = left.index(least)
    return Refused(row.charges[tightest], *counters[tightest])


def charges_json(charges: tuple[Charge, ...], amount: int) -> str:
    """The charges as the row keeps them; settlement reads nothing else."""
    return f"[{', '.join(f'{_charge_json(charge)}{amount}}}' for charge in charges)}]"


@lru_cache(maxsize=4096)
def _charge_json(charge: Charge) -> str:
    """The same charges come again and again, only the amount differs."""
    return f'{json.dumps(charge_dict(charge))[:-1]}, "amount": '


def open_book(path: Path, *, full_sync: bool, clock: Callable[[], float], tally: Tally) -> Book:
    """Open or create the database, then claim an owner: its lock is held before its first row can be written."""
    connection = connected(path, full_sync=full_sync)
    folder = path.with_name(path.name + ".owners")
    try:
        return Book(connection, Owner(folder), folder, clock, tally)
    except BaseException:
        connection.close()
        raise


def connected(path: Path, *, full_sync: bool) -> sqlite3.Connection:
    """A connection that writes; the file and its tables are there, as of today."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=0.0, isolation_level=None)
    try:
        _prepare(connection, path, "FULL" if full_sync else "NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: str) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise StoreUnavailable(
            f"ledger {path}: has schema version {version}, this program knows {VERSION}; use a newer program"
        )
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreUnavailable(f"ledger {path}: no write-ahead log is possible here; put it on a local disk")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    if version < VERSION:
        _migrate(connection)


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to today's version. Of several processes that open the file, one does it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        steps = [MIGRATIONS[each] for each in range(version, VERSION)] if version else [SCHEMA]
        for statement in filter(str.strip, "".join(steps).split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
