"""What an operator does to the ledger: check it, mend it, copy it, shrink it, release what is in doubt, and compare the
arms of an experiment.

Each opens the ledger for itself, while proxies go on using it. Knows stores and rows, not how a command is typed.
Every function raises `ValueError` or `WrongArgument` for what makes no sense, and `StoreUnavailable`.
"""

import asyncio
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from scribe_router.money import usd
from scribe_router.names import did_you_mean
from scribe_router.policies.budgets import BudgetsPolicy, opened
from scribe_router.registry import Registry
from scribe_router.reports.comparison import FORMS
from scribe_router.reports.exposures import compare
from scribe_router.reports.questions import WrongArgument, day
from scribe_router.reports.spend import DOUBTFUL, aligned
from scribe_router.stores import existing_ledger
from scribe_router.stores.contract import Row, Settlement
from scribe_router.stores.sqlite import SqliteLedger

_OF_STORES = ("granted", "state", "owner", "provisional", "exceeded", "reported")
_KEPT = (*_OF_STORES, *(field.name for field in fields(Settlement)))
COLUMNS = tuple(dict.fromkeys((*(field.name for field in fields(Row)), *_KEPT)))
RELEASED = "release|"


async def check(registry: Registry) -> list[str]:
    """One line for each counter that is not what its rows say."""
    with existing_ledger(registry.store.url, registry.store.durability) as ledger:
        return await ledger.check()


async def rebuild(registry: Registry) -> list[str]:
    """Write the counters anew from the rows; one line for each that changed."""
    with existing_ledger(registry.store.url, registry.store.durability) as ledger:
        return await ledger.rebuild()


async def sweep(registry: Registry) -> None:
    """Settle at the bound, provisionally, what ended processes had reserved."""
    with existing_ledger(registry.store.url, registry.store.durability) as ledger:
        await ledger.sweep()


async def export(registry: Registry, form: str, since: str | None, out: TextIO) -> None:
    """Write the rows opened since a day (UTC) in opening order, a page at a time; amounts are whole nano-dollars, as
    they are stored."""
    if form not in ("jsonl", "csv"):
        raise WrongArgument("format", f"jsonl or csv, not {form}")
    start = 0.0 if since is None else day("since", since)
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    if form == "csv":
        writer.writeheader()
    with existing_ledger(registry.store.url, registry.store.durability) as ledger:
        async for row in ledger.export(start):
            named = {name: row.get(name) for name in COLUMNS}  # a row may be older than a column
            if form == "csv":
                writer.writerow({name: _cell(value) for name, value in named.items()})
            else:
                out.write(json.dumps(named) + "\n")


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list | bool) else value


async def experiment(registry: Registry, name: str, since: str | None, form: str) -> str:
    """The comparison of an experiment's arms, of the rows opened since a day (UTC)."""
    if form not in FORMS:
        raise WrongArgument("format", f"{' or '.join(FORMS)}, not {form}")
    known = registry.experiments.experiments
    start, arms = 0.0 if since is None else day("since", since), known[name].arms if name in known else ()
    with existing_ledger(registry.store.url, registry.store.durability) as ledger:
        found = await compare(ledger.export(start), name, arms)
    if not found.arms:
        hint = did_you_mean(name, known) or "; policies/experiments.yaml has none of that name, nor has the ledger"
        raise ValueError(f"there is no experiment {name}{hint}")
    return FORMS[form](found)


async def backup(registry: Registry, path: Path) -> None:
    """Copy the ledger while it is in use. The copy is whole, or is not there."""
    if await asyncio.to_thread(path.exists):
        raise ValueError(f"{path} is there already; name a file that is not")
    with existing_ledger(registry.store.url, registry.store.durability) as ledger:
        if not isinstance(ledger, SqliteLedger):
            raise ValueError(
                f"Redis keeps its own backups: redis-cli --rdb {path} copies one server, and ledger export the rows"
            )
        await ledger.backup(path)


async def retain(registry: Registry, before: str, now: float) -> int:
    """Fold the settled rows opened before a day (UTC) into sums; how many. No limit's window may be open since then."""
    until = day("before", before)
    first = _oldest_open(registry.budgets, now)
    if until > first:
        shown = datetime.fromtimestamp(first, UTC).strftime("%Y-%m-%d")
        raise WrongArgument("before", f"{before} reaches into a window that is open; name {shown} or a day before it")
    with existing_ledger(registry.store.url, registry.store.durability) as ledger:
        return await ledger.retain(until)


def _oldest_open(budgets: BudgetsPolicy, now: float) -> float:
    """When the first of the open windows began. A total has no end, and keeps its sum when its rows are folded."""
    windows = (opened(limit, now) for limit in budgets.limits)
    return min((window.start for window in windows if window.end is not None), default=now)


async def doubtful(registry: Registry) -> str:
    """The attempts whose cost is not known and was settled at the most that it can be, as a table."""
    head = ("attempt", "opened", "user", "deployment", "outcome", "mark", "usd")
    with existing_ledger(registry.store.url, registry.store.durability) as ledger:
        lines = [_doubt(row) async for row in ledger.export() if row["mark"] in DOUBTFUL]
    return aligned([head, *lines], left=6) if lines else "no attempt is in doubt"


def _doubt(row: Mapping[str, Any]) -> tuple[str, ...]:
    names = ("user", "deployment", "outcome", "mark")
    return row["attempt"], _time(row["opened"]), *(str(row[name]) for name in names), usd(row["cost"] or 0)


async def release(registry: Registry, attempts: Sequence[str], *, who: str, reason: str, now: float) -> int:
    """Settle doubtful attempts at zero, for good; how many.

    Who asked, when and why is in the ledger before the first one is released, and stays there when rows are folded.
    """
    if not reason.strip() or not who.strip():
        raise ValueError("--by and --reason are kept with the release; say who and why")
    with existing_ledger(registry.store.url, registry.store.durability) as ledger:
        wanted = dict.fromkeys(attempts)
        rows = {row["attempt"]: row async for row in ledger.export() if row["attempt"] in wanted}
        for attempt in wanted:
            if attempt not in rows or rows[attempt]["mark"] not in DOUBTFUL:
                raise ValueError(f"{attempt} is not in doubt; scribe-router ledger doubtful lists those that are")
        for attempt, row in rows.items():
            kept = {"attempt": attempt, "time": _time(now), "by": who, "reason": reason, **_settled(row)}
            await ledger.note(f"{RELEASED}{_time(now)}|{attempt}", json.dumps(kept))
        return await ledger.release(list(rows), now)


def _settled(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("mark", "outcome", "user", "principal", "deployment")
    return {"usd": usd(row["cost"] or 0), **{name: row[name] for name in names}}


async def releases(registry: Registry) -> list[str]:
    """Every release that was asked for, as JSON lines, the oldest first."""
    with existing_ledger(registry.store.url, registry.store.durability) as ledger:
        return list((await ledger.notes(RELEASED)).values())


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
