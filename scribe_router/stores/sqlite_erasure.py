"""Taking a user out of the ledger in SQLite. Each step is one transaction of the writer's thread: before and after it
every counter is what its rows say, whoever reserves and settles meanwhile."""

import json
import sqlite3
from collections import Counter

from scribe_router.stores import erasure

MINE = """SELECT attempt, user, principal, unit, charges, state, coalesce(cost, 0) FROM attempts
    WHERE user = ? ORDER BY opened LIMIT ?"""
ADD = """INSERT INTO counters (name, settled, reserved) VALUES (?, ?, ?) ON CONFLICT (name)
    DO UPDATE SET settled = settled + excluded.settled, reserved = reserved + excluded.reserved"""
EMPTY = "DELETE FROM counters WHERE name = ? AND settled = 0 AND reserved = 0"
FOLDED = """INSERT INTO checkpoints (name, settled) VALUES (?, ?) ON CONFLICT (name)
    DO UPDATE SET settled = settled + excluded.settled"""
Moves = Counter[tuple[str, str]]  # (counter, settled or reserved) -> nano-dollars


def erase(connection: sqlite3.Connection, user: str, instead: str, most: int) -> int:
    """Take a user out of so many of its rows; how many there were."""
    rows = connection.execute(MINE, (user, most)).fetchall()
    moves: Moves = Counter()
    for attempt, *named, charges, state, cost in rows:
        changed: dict[str, str] = erasure.columns(
            dict(zip(("user", "principal", "unit"), named, strict=True)), user, instead
        )
        before = json.loads(charges)
        after = [erasure.charge(each, user, instead) for each in before]
        for old, new in zip(before, after, strict=True):
            amount = cost if state == "settled" else old["amount"]
            moves[old["counter"], state] -= amount
            moves[new["counter"], state] += amount
        changed["charges"] = json.dumps(after)
        settings = ", ".join(f"{name} = :{name}" for name in changed)
        connection.execute(f"UPDATE attempts SET {settings} WHERE attempt = :attempt", {**changed, "attempt": attempt})  # noqa: S608
    _move(connection, moves)
    return len(rows)


def erase_sums(connection: sqlite3.Connection, user: str, instead: str) -> None:
    """Take a user out of what was folded of its rows, and out of notes."""
    moves: Moves = Counter()
    for name, settled in connection.execute("SELECT name, settled FROM checkpoints").fetchall():
        other = erasure.renamed(name, user, instead)
        if other != name:
            connection.execute("DELETE FROM checkpoints WHERE name = ?", (name,))
            connection.execute(FOLDED, (other, settled))
            moves[name, "settled"] -= settled
            moves[other, "settled"] += settled
    _move(connection, moves)
    for (name,) in connection.execute("SELECT name FROM counters").fetchall():
        if erasure.renamed(name, user, instead) != name:
            connection.execute(EMPTY, (name,))
    for name, text in connection.execute("SELECT name, text FROM notes").fetchall():
        other, said = erasure.renamed(name, user, instead), erasure.note(text, user, instead)
        if (other, said) != (name, text):
            connection.execute("DELETE FROM notes WHERE name = ?", (name,))
            connection.execute("INSERT OR IGNORE INTO notes (name, text) VALUES (?, ?)", (other, said))


def _move(connection: sqlite3.Connection, moves: Moves) -> None:
    for (name, state), amount in moves.items():
        if amount:
            sums = (amount, 0) if state == "settled" else (0, amount)
            connection.execute(ADD, (name, *sums))
