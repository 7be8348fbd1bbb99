"""What each arm of an experiment did, from the ledger's rows: its exposures by unit, and the measures with intervals.

An exposure is a request with at least one attempt that left, counted for the arm that its unit is in, whatever served
it in the end. Knows rows, never stores.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from scribe_router.reports.intervals import Estimate, Units, difference, mean, part, quantile


@dataclass(slots=True)
class Exposed:
    """One request as its rows have it so far. Times are seconds since the epoch, cost is nano-dollars (None: one of its
    attempts has no price)."""

    arm: str
    unit: str
    opened: float
    closed: float = 0.0
    cost: int | None = 0
    failed: bool = False
    left: bool = False
    deployments: tuple[str, ...] = ()
    reported: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fell_back(self) -> bool:
        return len(self.deployments) > 1

    def add(self, row: Mapping[str, Any]) -> None:
        """One more attempt that has ended; the last one says how the request did."""
        self.closed = row["closed"]
        self.cost = None if self.cost is None or row["cost"] is None else self.cost + row["cost"]
        self.left = row["mark"] == "abort"
        self.failed = row["outcome"] != "answered" and not self.left
        if row["deployment"] not in self.deployments:
            self.deployments = (*self.deployments, row["deployment"])
        self.reported = row.get("reported") or self.reported


Observe = Callable[[Exposed], float | None]  # None: this exposure says nothing of it
Measure = tuple[Observe, Callable[[Units], Estimate | None]]


def _latency(each: Exposed) -> float | None:
    return None if each.failed or each.left else each.closed - each.opened


def _success(each: Exposed) -> float | None:
    said = each.reported.get("success")
    return None if said is None else float(said)


def _score(each: Exposed) -> float | None:
    return each.reported.get("score")


MEASURES: Mapping[str, Measure] = {
    "error rate": (lambda each: None if each.left else float(each.failed), part),
    "cost usd": (lambda each: None if each.cost is None else each.cost / 1e9, mean),
    "latency mean s": (_latency, mean),
    "latency p50 s": (_latency, partial(quantile, level=0.5)),
    "latency p95 s": (_latency, partial(quantile, level=0.95)),
    "success rate": (_success, part),
    "score": (_score, mean),
}


@dataclass(slots=True)
class ArmReport:
    """One arm. `cost` is what its exposures cost in all (nano-dollars), `fell_back` how many of them more than one
    deployment was asked for. `differences` are from the first arm."""

    name: str
    units: int = 0
    exposures: int = 0
    fell_back: int = 0
    cost: int = 0
    estimates: dict[str, Estimate] = field(default_factory=dict)
    differences: dict[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The arms of an experiment, the first one that which the others are compared with. `open` are requests that had
    not ended; they count for nothing else."""

    experiment: str
    arms: tuple[ArmReport, ...]
    open: int = 0


async def compare(rows: AsyncIterator[Mapping[str, Any]], experiment: str, arms: Iterable[str]) -> Comparison:
    """The report on an experiment: `arms` as they are configured, and those that only the ledger still has."""
    found: dict[str, Exposed] = {}
    under_way: set[str] = set()
    async for row in rows:
        if row.get("experiment") != experiment or row["outcome"] == "not_sent":
            continue
        exchange = row["exchange"]
        if row["state"] == "reserved":
            under_way.add(exchange)
            continue
        found.setdefault(exchange, Exposed(row["arm"], row["unit"], row["opened"])).add(row)
    by_arm: dict[str, list[Exposed]] = {arm: [] for arm in arms}
    for name, each in found.items():
        if name not in under_way:
            by_arm.setdefault(each.arm, []).append(each)
    reports = tuple(_report(name, exposed) for name, exposed in by_arm.items())
    for arm in reports[1:]:
        base = reports[0].estimates
        arm.differences = {name: difference(base[name], arm.estimates[name]) for name in arm.estimates if name in base}
    return Comparison(experiment, reports, len(under_way))


def _report(arm: str, exposed: Sequence[Exposed]) -> ArmReport:
    estimates = {name: estimate(_by_unit(exposed, observe)) for name, (observe, estimate) in MEASURES.items()}
    return ArmReport(
        name=arm,
        units=len({each.unit for each in exposed}),
        exposures=len(exposed),
        fell_back=sum(each.fell_back for each in exposed),
        cost=sum(each.cost or 0 for each in exposed),
        estimates={name: each for name, each in estimates.items() if each is not None},
    )


def _by_unit(exposed: Iterable[Exposed], observe: Observe) -> Units:
    units: dict[str, list[float]] = {}
    for each in exposed:
        seen = observe(each)
        if seen is not None:
            units.setdefault(each.unit, []).append(seen)
    return list(units.values())
