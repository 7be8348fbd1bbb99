"""What happens to the ledger's rows beside reserving and settling, as SQL: seeding, releasing, recounting, folding.

Each runs inside a transaction of the writer's thread, on its connection.
"""

import sqlite3
from collections.abc import Sequence

from scribe_router.counters import Charge
from scribe_router.exchange import Mark
from scribe_router.stores.selfcheck import Sums, charge_dict, compared
from scribe_router.stores.sqlite_reports import counters

DOUBTFUL = (Mark.BOUND, Mark.DOUBT, Mark.SWEPT)
LISTED = (
    """(SELECT 1 FROM json_each(attempts.charges) AS charge WHERE json_extract(charge.value, '$.counter') = :name)"""
)
ADOPT = """UPDATE attempts SET charges = json_insert(charges, '$[#]',
    json_object({pairs}, 'cap', :cap, 'amount', granted)) WHERE {where} AND NOT EXISTS {listed}"""
ADOPTED = """SELECT coalesce(sum(CASE state WHEN 'settled' THEN coalesce(cost, 0) ELSE 0 END), 0),
    coalesce(sum(CASE state WHEN 'reserved' THEN granted ELSE 0 END), 0) FROM attempts WHERE {where}"""
RECOUNT = """SELECT name, sum(settled), sum(reserved) FROM (
    SELECT json_extract(charge.value, '$.counter') AS name,
        CASE state WHEN 'settled' THEN coalesce(cost, 0) ELSE 0 END AS settled,
        CASE state WHEN 'reserved' THEN json_extract(charge.value, '$.amount') ELSE 0 END AS reserved
        FROM attempts, json_each(attempts.charges) AS charge
    UNION ALL SELECT name, settled, 0 FROM checkpoints) GROUP BY name"""
WRITE = """INSERT INTO counters (name, settled, reserved) VALUES (?, ?, ?) ON CONFLICT (name)
    DO UPDATE SET settled = excluded.settled, reserved = excluded.reserved"""
GIVE_BACK = """UPDATE counters SET settled = settled - coalesce((SELECT cost FROM attempts WHERE attempt = :attempt), 0)
    WHERE name IN (SELECT json_extract(charge.value, '$.counter')
        FROM attempts, json_each(attempts.charges) AS charge WHERE attempt = :attempt)"""
RELEASE = "UPDATE attempts SET cost = 0, mark = ?, provisional = 0, closed = ? WHERE attempt = ?"
MARKED = "SELECT mark FROM attempts WHERE attempt = ? AND state = 'settled'"
OLDEST = "SELECT attempt FROM attempts WHERE opened < ? AND state = 'settled' ORDER BY opened LIMIT ?"
FOLD = """INSERT INTO checkpoints (name, settled)
    SELECT json_extract(charge.value, '$.counter'), coalesce(cost, 0)
    FROM attempts, json_each(attempts.charges) AS charge WHERE attempt = ?
    ON CONFLICT (name) DO UPDATE SET settled = settled + excluded.settled"""
NOTE = "INSERT INTO notes (name, text) VALUES (?, ?) ON CONFLICT DO NOTHING"
NOTED = "SELECT text FROM notes WHERE name = ?"
REPORT = "UPDATE attempts SET reported = ? WHERE attempt = ?"
DELETE = "DELETE FROM attempts WHERE attempt = ?"


def seed(connection: sqlite3.Connection, charge: Charge) -> tuple[int, int]:
    """Create a counter with what the rows of its window hold, (settled, reserved); they list the charge from now on."""
    if charge.since is None and not charge.match:
        return 0, 0
    where = " AND ".join(["opened >= :since", *(f"{name} = :match_{name}" for name, _ in charge.match)])
    values = {"since": charge.since or 0.0, **{f"match_{name}": value for name, value in charge.match}}
    names = ("counter", "limit", "scope", "window")
    kept = {"name": charge.counter, **charge_dict(charge)}
    pairs = ", ".join(f"'{name}', :{name}" for name in names)
    connection.execute(ADOPT.format(pairs=pairs, where=where, listed=LISTED), values | kept)
    found = connection.execute(ADOPTED.format(where=where), values).fetchone()
    connection.execute(WRITE, (charge.counter, *found))
    return found[0], found[1]


def release(connection: sqlite3.Connection, attempts: Sequence[str], at: float) -> int:
    """Settle at zero what is settled by a guess; how many."""
    count = 0
    for attempt in attempts:
        found = connection.execute(MARKED, (attempt,)).fetchone()
        if found is not None and found[0] in DOUBTFUL:
            connection.execute(GIVE_BACK, {"attempt": attempt})
            connection.execute(RELEASE, (Mark.RELEASED, at, attempt))
            count += 1
    return count


def note(connection: sqlite3.Connection, name: str, text: str) -> bool:
    """Write a note unless its name is taken; whether this text is the one that is kept."""
    connection.execute(NOTE, (name, text))
    return bool(connection.execute(NOTED, (name,)).fetchone()[0] == text)


def report(connection: sqlite3.Connection, attempt: str, text: str) -> bool:
    """Write what is said of an attempt's answer; whether there is such a row."""
    return connection.execute(REPORT, (text, attempt)).rowcount == 1


def recounted(connection: sqlite3.Connection) -> Sums:
    """(settled, reserved) of each counter as the rows have it."""
    return {name: (settled, reserved) for name, settled, reserved in connection.execute(RECOUNT)}


def differences(connection: sqlite3.Connection) -> list[str]:
    """One line for each counter that is not what its rows say."""
    return [line for _, line in compared(counters(connection), recounted(connection)).values()]


def rebuild(connection: sqlite3.Connection) -> list[str]:
    """Make the counters what the rows say; a line for each that changed."""
    changed = differences(connection)
    if changed:
        connection.execute("UPDATE counters SET settled = 0, reserved = 0")
        connection.executemany(WRITE, [(name, *sums) for name, sums in recounted(connection).items()])
    return changed


def fold(connection: sqlite3.Connection, before: float, most: int) -> int:
    """Add the oldest settled rows to the checkpoints of their counters and delete them; how many."""
    attempts = connection.execute(OLDEST, (before, most)).fetchall()
    connection.executemany(FOLD, attempts)
    connection.executemany(DELETE, attempts)
    return len(attempts)
