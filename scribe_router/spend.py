"""What was spent, from the ledger's rows: sums by any columns, and the limits whose windows are open. Pure.

Sums are integer nano-dollars until they are printed, so a report agrees with the ledger to the last digit.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from scribe_router.exchange import usd
from scribe_router.policies.budgets import NANO, BudgetsPolicy, opened
from scribe_router.stores.contract import Counter

COLUMNS = ("model", "deployment", "provider", "user", "key", "lane", "day", "mark", "outcome")
_HEAD = ("attempts", "input", "output", "usd", "in doubt", "reserved")
# Marks of figures that are not the truth but the most that it can be.
_DOUBTFUL = ("bound", "doubt", "swept")


@dataclass(slots=True)
class Line:
    """Sums of one group of attempts: tokens, and nano-dollars. `doubtful` is a part of `cost`; `reserved` is not."""

    values: tuple[str, ...]
    attempts: int = 0
    input: int = 0
    output: int = 0
    cost: int = 0
    doubtful: int = 0
    reserved: int = 0

    def cells(self) -> tuple[str, ...]:
        counts = (str(self.attempts), str(self.input), str(self.output))
        return (*self.values, *counts, usd(self.cost), usd(self.doubtful), usd(self.reserved))


@dataclass(slots=True)
class Report:
    """Lines by group, dearest first, and their total."""

    by: tuple[str, ...]
    lines: list[Line] = field(default_factory=list)
    total: Line = field(default_factory=lambda: Line(()))


async def summarise(rows: AsyncIterator[Mapping[str, Any]], by: tuple[str, ...], since: float) -> Report:
    """Sum the rows opened at or after `since` (seconds since the epoch) by columns out of `COLUMNS`."""
    groups: dict[tuple[str, ...], Line] = {}
    report = Report(by)
    async for row in rows:
        if row["opened"] >= since:
            values = tuple(_value(row, name) for name in by)
            for line in (groups.setdefault(values, Line(values)), report.total):
                _add(line, row)
    report.lines = sorted(groups.values(), key=lambda line: (-line.cost, line.values))
    return report


def _value(row: Mapping[str, Any], name: str) -> str:
    if name == "day":
        return datetime.fromtimestamp(row["opened"], UTC).strftime("%Y-%m-%d")
    return str(row["principal" if name == "key" else name] or "open")


def _add(line: Line, row: Mapping[str, Any]) -> None:
    usage = row["usage"] or {}
    cost = row["cost"] or 0
    line.attempts += 1
    line.input += usage.get("input", 0)
    line.output += usage.get("output", 0)
    line.cost += cost
    line.doubtful += cost if row["mark"] in _DOUBTFUL else 0
    line.reserved += row["granted"] if row["state"] == "reserved" else 0


def as_table(report: Report) -> str:
    """The report for a person."""
    head = (*report.by, *_HEAD)
    total = ("total", *("" for _ in report.by))[: len(report.by)]
    lines = [line.cells() for line in report.lines] if report.by else []
    return _aligned([head, *lines, (*total, *report.total.cells())], left=len(report.by))


def as_csv(report: Report) -> str:
    """The report for a spreadsheet, without the total."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*report.by, *(name.replace(" ", "_") for name in _HEAD)))
    writer.writerows(line.cells() for line in report.lines or [report.total])
    return text.getvalue().rstrip("\n")


def as_json(report: Report) -> str:
    """The report for a program; money as decimal strings."""

    def shown(line: Line) -> dict[str, Any]:
        named = dict(zip(report.by, line.values, strict=False))
        counts = {"attempts": line.attempts, "input": line.input, "output": line.output}
        return named | counts | {"usd": usd(line.cost), "in_doubt": usd(line.doubtful), "reserved": usd(line.reserved)}

    return json.dumps({"lines": [shown(line) for line in report.lines], "total": shown(report.total)}, indent=2)


def limits(policy: BudgetsPolicy, counters: Iterable[Counter], now: float) -> str:
    """Each counter whose window is open: what is spent and reserved of its cap, and where it ends at this pace."""
    rows: list[tuple[str, ...]] = [("limit", "for", "window", "usd", "reserved", "cap", "left", "at this pace")]
    by_id = {limit.id: limit for limit in policy.limits}
    for counter in sorted(counters, key=lambda each: each.name):
        name, _, rest = counter.name.partition("|")
        scope, _, window = rest.rpartition("|")
        limit = by_id.get(name)
        if limit is None or (found := opened(limit, now)).name != window:
            continue
        gone = None if found.end is None else (now - found.start) / (found.end - found.start)
        pace = f"{counter.settled / gone / NANO:.4f}" if gone else ""
        left = limit.cap - counter.settled - counter.reserved
        money = (counter.settled, counter.reserved, limit.cap, left)
        rows.append((name, scope, window, *(usd(amount) for amount in money), pace))
    return _aligned(rows, left=3) if len(rows) > 1 else "no limit has been used in a window that is open"


def _aligned(rows: list[tuple[str, ...]], left: int) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
