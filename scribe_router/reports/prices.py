"""What `scribe-router prices` says: what is unpriced, past its day or doubtful in a configuration, and how a newer
price map differs. Knows a loaded configuration and prices, not how a report is asked for."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from scribe_router.config.facts import exact, is_price
from scribe_router.config.knowledge import OWN_PRICE_MAP, PriceMap, read_map
from scribe_router.config.load import Loaded
from scribe_router.config.price_entries import compile_price
from scribe_router.deployment import Deployment
from scribe_router.registry import Registry
from scribe_router.reports.second_source import Difference, differences, second_price, version

SOON = timedelta(days=30)
INSTALL = "pip install 'scribe-router[prices]' adds one"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One line of the report. A `problem` wants something done; anything else is worth knowing."""

    problem: bool
    kind: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{'' if self.problem else 'note: '}{self.kind}: {self.name}: {self.text}"


def check(loaded: Loaded, registry: Registry, today: date) -> tuple[str, bool]:
    """The report on the prices in force, and whether anything has to be done."""
    found = sorted(set(findings(loaded, registry, today)), key=lambda each: (not each.problem, each.kind, each.name))
    second = version()
    lines = [
        f"price map: {_named(loaded.prices.map)}",
        f"second source: {f'genai-prices {second}' if second else f'none; {INSTALL}'}",
        *map(str, found),
    ]
    problems = sum(each.problem for each in found)
    lines.append(f"{problems} problem{'s' if problems != 1 else ''}, {len(registry.deployments)} deployments")
    return "\n".join(lines), bool(problems)


def findings(loaded: Loaded, registry: Registry, today: date) -> Iterator[Finding]:
    """Everything that there is to say about the prices of a configuration on a day."""
    deployments = registry.deployments.values()
    yield from _without_price(deployments, loaded)
    yield from _past(deployments, loaded, today)
    yield from _laid_over(deployments, loaded)
    if version():
        yield from _compared(deployments, loaded, today)


def _without_price(deployments: Iterable[Deployment], loaded: Loaded) -> Iterator[Finding]:
    for each in deployments:
        row = loaded.prices.table.get(each.price_row or "", {})
        if each.price is None:
            who = "its catalogue" if "catalogue" in row else "LiteLLM's map"
            zero = row.get("input_cost_per_token") == 0
            why = f"{who} says 0, which is no price" if zero else "nobody says what it costs"
            yield Finding(True, "unpriced", each.id, f"{why}; its model_info can (0 if it is free)")
        elif each.price.free and each.provider not in loaded.self_hosted and not row.get("free"):
            yield Finding(True, "free", each.id, f"its price is written as 0, and {each.provider} bills its models")


def _past(deployments: Iterable[Deployment], loaded: Loaded, today: date) -> Iterator[Finding]:
    for name in {each.price_row for each in deployments if each.price_row}:
        ends = loaded.prices.table[name].get("deprecation_date")
        if ends and str(ends) < today.isoformat():
            yield Finding(True, "retired", name, f"{_whose(loaded, name)} says that it ended on {ends}")
        until = row.valid_until if (row := loaded.prices.rows.get(name)) else None
        if until and until < today:
            yield Finding(True, "past", name, f"its prices held until {until}; policies/prices.yaml wants new ones")
        elif until and until - SOON <= today:
            yield Finding(False, "ends", name, f"its prices hold until {until}")


def _whose(loaded: Loaded, name: str) -> str:
    return "the price map" if name in loaded.prices.map.entries else "its catalogue"


def _laid_over(deployments: Iterable[Deployment], loaded: Loaded) -> Iterator[Finding]:
    """Rows of `prices.yaml` that say what the map says as well, or something else than it does."""
    used = {each.price_row for each in deployments}
    for name, row in loaded.prices.rows.items():
        ours = {key: value for key, value in exact(row.model_extra or {}).items() if is_price(key)}
        theirs = loaded.prices.map.entries.get(name)
        if name not in used or not ours or theirs is None:
            continue
        other = [f"{key} {_shown(theirs[key])}" for key in ours if key in theirs and theirs[key] != ours[key]]
        if other:
            yield Finding(False, "overrides", name, f"the price map says {', '.join(other)}")
        elif all(key in theirs for key in ours):
            yield Finding(False, "needless", name, "the price map says the same now; take the row out of prices.yaml")


def _compared(deployments: Iterable[Deployment], loaded: Loaded, today: date) -> Iterator[Finding]:
    for each in deployments:
        theirs = second_price(each.provider, each.upstream_model, today)
        if each.price is None or each.price.free or theirs is None:
            continue
        name = each.price_row or each.litellm_model
        row = loaded.prices.rows.get(name)
        found: tuple[Difference, ...] = differences(each.price, theirs)
        reasons = {str(kind): reason for kind, reason in row.differs.items()} if row else {}
        yield from (_differs(name, difference, reasons.get(difference.kind)) for difference in found)
        for kind in reasons.keys() - {difference.kind for difference in found}:
            yield Finding(True, "agrees", name, f"{kind}: the second source says the same; take the reason out")


def _differs(name: str, difference: Difference, reason: str | None) -> Finding:
    return Finding(reason is None, "differs", name, f"{difference}{f': {reason}' if reason else ''}")


def update(loaded: Loaded, registry: Registry, path: Path, policies: Path, *, write: bool) -> str:
    """How the map in `path` differs from the one in force; with `write` it is stored as the one in force from now on.

    Raises `OSError` and `ValueError`, also when a model in use is gone from the new map or its price makes no sense.
    """
    now, new = loaded.prices.map, read_map(path)
    rows = (each.price_row for each in registry.deployments.values())
    used = sorted({row for row in rows if row is not None and row in now.entries})
    lines = [f"{_named(now)} -> sha256 {new.sha256[:12]}"]
    for name in used:
        lines += [f"{name}: {line}" for line in _changes(now.entries[name], _readable(name, new))]
    others = (now.entries.keys() & new.entries.keys()) - set(used)
    changed = sum(now.entries[name] != new.entries[name] for name in others)
    lines.append(
        f"of the others {changed} changed, {len(new.entries.keys() - now.entries.keys())} new, "
        f"{len(now.entries.keys() - new.entries.keys())} gone"
    )
    target = policies / OWN_PRICE_MAP
    if write:
        target.write_bytes(path.read_bytes())
    lines.append(f"wrote {target}" if write else f"nothing is written; --write stores it as {target}")
    return "\n".join(lines)


def _readable(name: str, new: PriceMap) -> Mapping[str, Any]:
    """The new row of a model in use; it has to be there, and to compile."""
    if name not in new.entries:
        raise ValueError(f"{name} is in use, and gone from the new map")
    try:
        compile_price(new.entries[name], "new")
    except (ValueError, ArithmeticError, TypeError) as error:
        raise ValueError(f"{name}: a price cannot be read: {error}") from None
    return new.entries[name]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield f"{key} {_shown(before.get(key))} -> {_shown(after.get(key))}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:f}" if isinstance(value, Decimal) else json.dumps(value, default=str)


def _named(table: PriceMap) -> str:
    where = f"policies/{OWN_PRICE_MAP}" if table.own else "LiteLLM's own"
    known = ", which this version was checked with" if table.checked else ""
    return f"{where}, sha256 {table.sha256[:12]}{known}"
