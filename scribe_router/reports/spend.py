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

from scribe_router.money import usd
from scribe_router.policies.alerts import Standing, forecast
from scribe_router.policies.budgets import BudgetsPolicy, opened
from scribe_router.stores.contract import Counter

COLUMNS = (
    *("model", "model_name", "deployment", "provider", "tool", "user", "team", "key"),
    *("lane", "day", "mark", "outcome"),
)
# In place of columns: the limits whose windows are open, and no sums.
LIMITS = ("limit",)
STANDING = ("limit", "scope", "window", "usd", "reserved", "cap", "left", "forecast")
_HEAD = ("attempts", "input", "output", "usd", "in doubt", "reserved")
# Marks of figures that are not the truth but the most that it can be.
DOUBTFUL = ("bound", "doubt", "swept")


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
    """Lines by group, dearest first, their total, and how far the limits are used up (None: not asked for)."""

    by: tuple[str, ...]
    lines: list[Line] = field(default_factory=list)
    total: Line = field(default_factory=lambda: Line(()))
    limits: list[Standing] | None = None


async def summarise(rows: AsyncIterator[Mapping[str, Any]], by: tuple[str, ...]) -> Report:
    """Sum rows by columns out of `COLUMNS`."""
    groups: dict[tuple[str, ...], Line] = {}
    report = Report(by)
    async for row in rows:
        values = tuple(_value(row, name) for name in by)
        for line in (groups.setdefault(values, Line(values)), report.total):
            _add(line, row)
    report.lines = sorted(groups.values(), key=lambda line: (-line.cost, line.values))
    return report


def _value(row: Mapping[str, Any], name: str) -> str:
    if name == "day":
        return datetime.fromtimestamp(row["opened"], UTC).strftime("%Y-%m-%d")
    value = row.get("principal" if name == "key" else name, "")
    return "open" if value is None else str(value)


def _add(line: Line, row: Mapping[str, Any]) -> None:
    usage = row["usage"] or {}
    cost = row["cost"] or 0
    line.attempts += 1
    line.input += usage.get("input", 0)
    line.output += usage.get("output", 0)
    line.cost += cost
    line.doubtful += cost if row["mark"] in DOUBTFUL else 0
    line.reserved += row["granted"] if row["state"] == "reserved" else 0


def as_table(report: Report) -> str:
    """The report for a person."""
    if report.by == LIMITS:
        return _limits(report.limits)
    head = (*report.by, *_HEAD)
    total = ("total", *("" for _ in report.by))[: len(report.by)]
    lines = [line.cells() for line in report.lines] if report.by else []
    text = aligned([head, *lines, (*total, *report.total.cells())], left=len(report.by))
    return text if report.limits is None else f"{text}\n\n{_limits(report.limits)}"


def _limits(standings: list[Standing] | None) -> str:
    rows = [tuple(value or "" for value in _standing(each).values()) for each in standings or ()]
    return aligned([STANDING, *rows], left=3) if rows else "no limit has been used in a window that is open"


def as_csv(report: Report) -> str:
    """The report for a spreadsheet, without the total."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if report.by == LIMITS:
        writer.writerow(STANDING)
        writer.writerows(_standing(each).values() for each in report.limits or ())
    else:
        writer.writerow((*report.by, *(name.replace(" ", "_") for name in _HEAD)))
        writer.writerows(line.cells() for line in report.lines or [report.total])
    return text.getvalue().rstrip("\n")


def as_json(report: Report) -> str:
    """The report for a program; money as decimal strings."""

    def shown(line: Line) -> dict[str, Any]:
        named = dict(zip(report.by, line.values, strict=False))
        counts = {"attempts": line.attempts, "input": line.input, "output": line.output}
        return named | counts | {"usd": usd(line.cost), "in_doubt": usd(line.doubtful), "reserved": usd(line.reserved)}

    sums = {"lines": [shown(line) for line in report.lines], "total": shown(report.total)}
    limits = {"limits": [_standing(each) for each in report.limits or ()]}
    return json.dumps(limits if report.by == LIMITS else sums | limits, indent=2)


def _standing(each: Standing) -> dict[str, str | None]:
    money = [usd(amount) for amount in (each.settled, each.reserved, each.cap, each.left)]
    ahead = None if each.forecast is None else usd(each.forecast)
    return dict(zip(STANDING, (each.limit, each.scope, each.window, *money, ahead), strict=True))


def standings(policy: BudgetsPolicy, counters: Iterable[Counter], now: float) -> list[Standing]:
    """Each counter whose window is open, with what is spent and reserved of its cap, and where it ends at this pace."""
    by_id = {limit.id: (limit, opened(limit, now)) for limit in policy.limits}
    found = []
    for counter in sorted(counters, key=lambda each: each.name):
        name, _, rest = counter.name.partition("|")
        scope, _, window = rest.rpartition("|")
        limit, current = by_id.get(name, (None, None))
        if limit is None or current is None or current.name != window:
            continue
        ahead = forecast(counter.settled, current.start, current.end, now)
        found.append(Standing(name, scope, window, limit.cap, counter.settled, counter.reserved, ahead))
    return found


def aligned(rows: list[tuple[str, ...]], left: int) -> str:
    """Columns, the first `left` of them text, the others figures."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
