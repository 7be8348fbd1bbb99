"""Limits of money: `policies/budgets.yaml`. Which limits an attempt counts against, and what is done when one is short.

Knows caps, scopes and windows; never how much is left, which only the store knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from scribe_router.exchange import Charge
from scribe_router.policies.schema import Shape

NANO = 1_000_000_000

Scope = Literal["request", "user", "key", "provider", "all"]
Window = Literal["hour", "day", "week", "month", "total"]
# Which column of a ledger row has the value of a scope, so that a new limit starts with what was spent before it.
COLUMNS: Mapping[Scope, str] = {"user": "user", "key": "principal", "provider": "provider"}


class Limit(Shape):
    """At most `usd` in each window for each value of `scope`; a list, [user, provider], is for each combination.

    `request` is one request with all its attempts, `all` everybody together. `id` is stable: it names the counter.
    Windows begin in `time_zone`; a week begins on Monday.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    scope: Scope | tuple[Scope, ...]
    window: Window = "total"
    usd: Decimal = Field(ge=0, le=1_000_000_000, decimal_places=9)
    when_short: Literal["clamp", "reject"] = "clamp"
    time_zone: str = "UTC"

    @field_validator("scope")
    @classmethod
    def _sensible(cls, scope: Scope | tuple[Scope, ...]) -> Scope | tuple[Scope, ...]:
        if isinstance(scope, str):
            return scope
        if not scope or len(set(scope)) < len(scope):
            raise ValueError("name at least one scope, each once")
        if len(scope) > 1 and ("request" in scope or "all" in scope):
            raise ValueError("request and all stand alone")
        return scope

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("there is no such time zone; write one such as Europe/Berlin") from error
        return name

    @model_validator(mode="after")
    def _one_request_has_no_window(self) -> "Limit":
        if self.of_request and self.window != "total":
            raise ValueError("a limit of one request has no window")
        return self

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """`scope` as a list."""
        return (self.scope,) if isinstance(self.scope, str) else self.scope

    @property
    def of_request(self) -> bool:
        return self.scopes == ("request",)

    @property
    def cap(self) -> int:
        """The cap of one window in nano-dollars."""
        return int(self.usd * NANO)


class BudgetsPolicy(Shape):
    """All limits. `minimum_useful_output` is the fewest output tokens that a clamped request may be left with."""

    limits: tuple[Limit, ...] = ()
    minimum_useful_output: int = Field(default=64, ge=1)

    @field_validator("limits")
    @classmethod
    def _distinct(cls, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
        ids = [limit.id for limit in limits]
        for name in ids:
            if ids.count(name) > 1:
                raise ValueError(f"two limits have the id {name}")
        return limits

    @property
    def clamps(self) -> bool:
        """Whether a request that does not fit may be made smaller: only if no limit that applies says reject."""
        return bool(self.limits) and all(limit.when_short == "clamp" for limit in self.limits)


@dataclass(frozen=True, slots=True)
class Open:
    """The window that is open at a moment: its name, and its start and end in seconds since the epoch."""

    name: str
    start: float
    end: float | None


def charges(policy: BudgetsPolicy, values: Mapping[Scope, str], now: float) -> tuple[Charge, ...]:
    """The scopes that an attempt counts against at `now` (seconds since the epoch). `values` are its user, key and
    provider. Limits of one request are not among them: `room` holds those."""
    return tuple(_charge(limit, values, now) for limit in policy.limits if not limit.of_request)


def _charge(limit: Limit, values: Mapping[Scope, str], now: float) -> Charge:
    found = opened(limit, now)
    named = [(scope, values[scope]) for scope in limit.scopes if scope != "all"]
    text = ",".join(f"{scope}:{value}" for scope, value in named) or "all"
    match = tuple((COLUMNS[scope], value) for scope, value in named)
    return Charge(limit.id, text, found.name, limit.cap, since=found.start, match=match)


def room(policy: BudgetsPolicy, spent: int) -> tuple[Limit, int] | None:
    """The tightest limit of one request, and what it leaves after `spent` nano-dollars; None without such a limit."""
    left = [(limit, limit.cap - spent) for limit in policy.limits if limit.of_request]
    return min(left, key=lambda each: each[1], default=None)


def opened(limit: Limit, now: float) -> Open:
    """The window of `limit` that is open at `now`."""
    if limit.window == "total":
        return Open("total", 0.0, None)
    moment = datetime.fromtimestamp(now, ZoneInfo(limit.time_zone))
    if limit.window == "hour":
        # Hours are counted in UTC: where clocks are turned back, one name would stand for two of them.
        start = now - now % 3600
        return Open(datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%dT%H"), start, start + 3600)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if limit.window == "day":
        return Open(midnight.strftime("%Y-%m-%d"), midnight.timestamp(), (midnight + timedelta(days=1)).timestamp())
    if limit.window == "week":
        monday = midnight - timedelta(days=midnight.weekday())
        return Open(monday.strftime("%G-W%V"), monday.timestamp(), (monday + timedelta(days=7)).timestamp())
    first = midnight.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return Open(first.strftime("%Y-%m"), first.timestamp(), following.timestamp())


def renews(policy: BudgetsPolicy, name: str, now: float) -> str:
    """When the open window of a limit ends, for the text of a refusal; empty when it never does."""
    limit = next(limit for limit in policy.limits if limit.id == name)
    end = opened(limit, now).end
    return "" if end is None else datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
