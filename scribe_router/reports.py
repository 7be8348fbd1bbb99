"""Opens the ledger for a report and closes it again. Knows stores and what a report is made of, not how it looks."""

import time
from datetime import UTC, datetime
from pathlib import Path

from scribe_router import spend
from scribe_router.names import did_you_mean
from scribe_router.registry import Registry
from scribe_router.stores import open_ledger

FORMS = {"table": spend.as_table, "csv": spend.as_csv, "json": spend.as_json}


async def spent(registry: Registry, by: str, since: str | None, form: str) -> str:
    """The report of `scribe-router spend`. Raises `ValueError` for arguments that make no sense."""
    columns = tuple(name.strip() for name in by.split(",") if name.strip())
    for name in columns:
        if name not in spend.COLUMNS:
            raise ValueError(f"there is no column {name}{did_you_mean(name, spend.COLUMNS)}")
    if form not in FORMS:
        raise ValueError(f"--format is {', '.join(FORMS)}, not {form}")
    _there(registry.store.url)
    ledger = open_ledger(registry.store.url)
    try:
        report = await spend.summarise(ledger.export(), columns, _start(since))
        text = FORMS[form](report)
        if form != "table":
            return text
        return text + "\n\n" + spend.limits(registry.budgets, (await ledger.counters()).values(), time.time())
    finally:
        ledger.close()


def _start(since: str | None) -> float:
    if since is None:
        return 0.0
    try:
        return datetime.strptime(since, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise ValueError(f"--since takes a day such as 2026-11-20, not {since}") from None


def _there(url: str) -> None:
    """A report makes no ledger where there is none."""
    scheme, _, path = url.partition(":")
    if scheme == "sqlite" and not Path(path).exists():
        raise ValueError(f"there is no ledger at {path} yet; it comes with the first call")
