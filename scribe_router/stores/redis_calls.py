"""What is sent to Redis: keys, scripts and arguments. Nothing here opens a connection, waits, or decides.

A shard is a hash tag: its rows, indexes, owners and counters share one slot, so one script may touch them all. One
Redis has one shard. A cluster has many, and a counter lives where its name says, a row where its attempt says.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any
from zlib import crc32

from scribe_router.counters import Charge
from scribe_router.stores import redis_cluster_scripts as cluster
from scribe_router.stores import redis_scripts as one
from scribe_router.stores.contract import Row, Settlement
from scribe_router.stores.redis_scripts import Script
from scribe_router.stores.redis_walk import FOR_GOOD, Step
from scribe_router.stores.selfcheck import charge_dict

INDEXED = ("exchange", "user", "principal", "model")
SHARED = ("epoch", "opened", "names", "owners", "since")
STORED = [field.name for field in fields(Row) if field.name not in ("attempt", "charges")]
SCRIPTS = [script for module in (one, cluster) for script in vars(module).values() if isinstance(script, Script)]


@dataclass(frozen=True, slots=True)
class Call:
    """One command, and the key that says which server it is for."""

    key: str
    command: tuple[str | int | float, ...]


@dataclass(frozen=True, slots=True)
class Session:
    """Who calls: the shards as prefixes of their keys, the epoch of each, and the owner of what is reserved."""

    shards: tuple[str, ...]
    epochs: tuple[str, ...]
    owner: str

    def shard(self, name: str) -> int:
        return crc32(name.encode("utf-8", "surrogatepass")) % len(self.shards)

    def row(self, attempt: str) -> str:
        return f"{self.shards[self.shard(attempt)]}row:{attempt}"

    def indexes(self, row: Row) -> list[str]:
        """Where the row is found again."""
        shard = self.shards[self.shard(row.attempt)]
        return [f"{shard}by:{name}:{getattr(row, name)}" for name in INDEXED]

    def counter(self, name: str) -> str:
        return f"{self.shards[self.shard(name)]}counter:{name}"

    def entries(self, name: str) -> str:
        return f"{self.shards[self.shard(name)]}of:{name}"

    def run(self, script: Script, name: str, keys: Sequence[str], *arguments: str | int | float) -> Call:
        """A script on the shard of `name`, under its epoch."""
        return self._run(script, self.shard(name), keys, arguments)

    def everywhere(self, script: Script, *arguments: str | int | float) -> list[Call]:
        """A script on every shard."""
        return [self._run(script, shard, (), arguments) for shard in range(len(self.shards))]

    def _run(self, script: Script, shard: int, keys: Sequence[str], arguments: Sequence[str | int | float]) -> Call:
        """On a cluster all that a script may write is among its keys: while half of a slot is on its way elsewhere, it
        is refused, instead of beginning a second half there."""
        if len(self.shards) > 1 or not keys:
            names = (*SHARED, f"owned:{self.owner}")
            keys = [*keys, *(f"{self.shards[shard]}{name}" for name in names)]
        return Call(keys[0], ("EVALSHA", script.sha, len(keys), *keys, self.epochs[shard], *arguments))


def dumped(value: Any) -> str:
    """JSON that Lua's reader takes whole: it knows no escape for half a surrogate pair."""
    return json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":"))


def _row_arguments(session: Session, row: Row) -> tuple[str | int, ...]:
    stored = dumped({name: getattr(row, name) for name in STORED})
    charges = dumped([charge_dict(charge) for charge in row.charges])
    opened = int(row.opened * 1e6)
    indexed = (getattr(row, name) for name in INDEXED)
    return row.attempt, session.owner, opened, stored, charges, *indexed


def seeds(charge: Charge) -> bool:
    """Whether a new counter of this charge starts with what its window's rows hold."""
    return charge.since is not None or bool(charge.match)


def reserve(session: Session, row: Row, floor: int) -> Call:
    """Row and counters in one step; for a ledger of one shard."""
    keys = [session.row(row.attempt), *(session.counter(charge.counter) for charge in row.charges)]
    each = [(charge.counter, charge.cap, int(seeds(charge))) for charge in row.charges]
    arguments = (*_row_arguments(session, row), floor, row.bound, *(value for values in each for value in values))
    return session.run(one.RESERVE, row.attempt, keys, *arguments)


def settle(session: Session, settlement: Settlement, *, granted: bool = False) -> Call:
    """The row's part of a settlement, on one shard the whole of it. `granted`: at what the row was granted."""
    cost: str | int = "*" if granted else "" if settlement.cost is None else settlement.cost
    texts = ("" if value is None else dumped(value) for value in (settlement.usage, settlement.raw_usage))
    cap = "" if settlement.cap is None else settlement.cap
    swept = int(settlement.mark == "swept")
    values = (cost, str(settlement.mark), settlement.outcome, repr(settlement.closed), *texts, cap, swept)
    return _on_row(session, (one if len(session.shards) == 1 else cluster).SETTLE, settlement.attempt, *values)


def release(session: Session, attempt: str, at: float) -> Call:
    return _on_row(session, (one if len(session.shards) == 1 else cluster).RELEASE, attempt, repr(at))


def _on_row(session: Session, script: Script, attempt: str, *values: str | int) -> Call:
    return session.run(script, attempt, [session.row(attempt)], attempt, session.owner, *values)


def walked(session: Session, row: Row, floor: int, step: Step) -> Call:
    """A step of the reservation of `row`."""
    match step.kind:
        case "intent":
            keys = [session.row(row.attempt), *session.indexes(row)]
            return session.run(cluster.INTENT, row.attempt, keys, *_row_arguments(session, row))
        case "take":
            charge = next(charge for charge in row.charges if charge.counter == step.counter)
            keys = [session.counter(step.counter), session.entries(step.counter)]
            values = (row.attempt, step.counter, step.amount, floor, charge.cap, int(seeds(charge)))
            return session.run(cluster.TAKE, step.counter, keys, *values)
        case "grant":
            return session.run(cluster.GRANT, row.attempt, [session.row(row.attempt)], row.attempt, step.amount)
        case "trim":
            return applied(session, row.attempt, step.counter, step.version, str(step.amount), "0")
    return closed(session, row.attempt, step)


def closed(session: Session, attempt: str, step: Step) -> Call:
    """A step that ends an attempt: on a counter, or the last one on its row."""
    if step.kind == "apply":
        return applied(session, attempt, step.counter, step.version, "0", str(step.amount))
    if step.kind == "drop":
        for_good = int(step.version == FOR_GOOD)
        return session.run(cluster.DROP, attempt, [session.row(attempt)], attempt, for_good)
    return _on_row(session, cluster.DONE, attempt, step.version)


def applied(session: Session, attempt: str, counter: str, version: int | str, reserved: str, settled: str) -> Call:
    """Tell a counter what an attempt contributes to it."""
    keys = [session.counter(counter), session.entries(counter)]
    return session.run(cluster.APPLY, counter, keys, attempt, version, reserved, settled)


def seed(session: Session, charge: Charge) -> list[Call]:
    """Make the matching rows list the charge; on one shard this also creates its counter."""
    since = charge.since or 0.0
    index = next((f"by:{field}:{value}" for field, value in charge.match if field in INDEXED), "opened")
    values = (charge.counter, dumped(charge_dict(charge)), int(since * 1e6), repr(since), index, dumped(charge.match))
    if len(session.shards) == 1:
        return [session.run(one.SEED, charge.counter, [session.counter(charge.counter)], *values)]
    return session.everywhere(cluster.ADOPT_ROWS, *values)


def born(session: Session, counter: str) -> Call:
    """Open a seeded counter."""
    return session.run(cluster.BORN, counter, [session.counter(counter)], counter)
