"""Limits of money: `policies/budgets.yaml`. Which limits an attempt counts against, and what is done when one is short.

Knows caps, scopes and windows; never how much is left, which only the store knows.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator, model_validator

from scribe_router.counters import Charge
from scribe_router.money import NANO
from scribe_router.policies.schema import Shape, check_ids, check_named, check_only, check_scopes, holds, label, listed

# In seconds. In every time zone windows begin on one, so what is worked out for a moment holds for the rest of it.
QUARTER_HOUR = 900.0
UNLIMITED = 1_000_000_000 * NANO  # the cap of a counter that only counts: more than any limit may name

Scope = Literal["request", "user", "team", "key", "model", "provider", "all"]
Action = Literal["clamp", "downgrade", "reject", "observe"]
Window = Literal["hour", "day", "week", "month", "total"]
# Which column of a ledger row has the value of a scope, so that a new limit starts with what was spent before it.
COLUMNS: Mapping[Scope, str] = {
    "user": "user",
    "team": "team",
    "key": "principal",
    "model": "model_name",
    "provider": "provider",
}


class Limit(Shape):
    """At most `usd` in each window for each value of `scope`; a list, [user, provider], is for each combination.

    `request` is one request with all its attempts, `all` everybody together, `model` the name in `model_list`; who has
    no team is under no limit of teams. `only` narrows a scope to values: `{model: [gpt-6-astra]}`. `id` is stable: it
    names the counter. One that is `named` holds only for virtual keys whose `limits` have its id. Windows begin in
    `time_zone`; a week begins on Monday. `when_short` is one action or several, tried in order: `clamp` asks for
    fewer output tokens, `downgrade` plans again with the model, group or alias `downgrade_to`, `reject` refuses,
    `observe` (alone) only counts. `unknown_parameters` says what becomes of a request with a parameter that is not
    known to leave the price as it is. A warning is told at each part `warn_at` of the cap.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    scope: Scope | tuple[Scope, ...]
    window: Window = "total"
    usd: Decimal = Field(ge=0, le=1_000_000_000, decimal_places=9)
    only: dict[Scope, tuple[str, ...]] = Field(default_factory=dict)
    named: bool = False
    when_short: Action | tuple[Action, ...] = "clamp"
    downgrade_to: str | None = None
    unknown_parameters: Literal["refuse", "pass"] = "refuse"
    time_zone: str = "UTC"
    warn_at: Decimal | tuple[Decimal, ...] = Decimal("0.8")

    @field_validator("warn_at")
    @classmethod
    def _parts(cls, warn_at: Decimal | tuple[Decimal, ...]) -> Decimal | tuple[Decimal, ...]:
        if not all(0 < share <= 1 for share in ((warn_at,) if isinstance(warn_at, Decimal) else warn_at)):
            raise ValueError("a part of the cap is above 0 and at most 1, such as 0.8")
        return warn_at

    @field_validator("scope")
    @classmethod
    def _sensible(cls, scope: Scope | tuple[Scope, ...]) -> Scope | tuple[Scope, ...]:
        check_scopes(listed(scope))
        if len(listed(scope)) > 1 and ("request" in scope or "all" in scope):
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

    @field_validator("when_short")
    @classmethod
    def _in_order(cls, actions: Action | tuple[Action, ...]) -> Action | tuple[Action, ...]:
        if isinstance(actions, str):
            return actions
        if not actions or len(set(actions)) < len(actions):
            raise ValueError("name at least one action, each once")
        if len(actions) > 1 and "observe" in actions:
            raise ValueError("observe stands alone")
        if "clamp" in actions[1:]:
            raise ValueError("clamp comes first: it keeps the model")
        if "reject" in actions[:-1]:
            raise ValueError("nothing can follow reject")
        return actions

    @model_validator(mode="after")
    def _consistent(self) -> "Limit":
        if self.of_request and self.window != "total":
            raise ValueError("a limit of one request has no window")
        if ("downgrade" in self.actions) != (self.downgrade_to is not None):
            raise ValueError("downgrade and downgrade_to belong together")
        check_only(self.only, set(self.scopes) - {"request", "all"})
        check_named(self.scopes, named=self.named)
        return self

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """`scope` as a list."""
        return listed(self.scope)

    @property
    def shares(self) -> tuple[Decimal, ...]:
        """`warn_at` as a list."""
        return (self.warn_at,) if isinstance(self.warn_at, Decimal) else self.warn_at

    @property
    def actions(self) -> tuple[Action, ...]:
        """`when_short` as a list."""
        return (self.when_short,) if isinstance(self.when_short, str) else self.when_short

    @property
    def enforced(self) -> bool:
        """Whether it can refuse anything."""
        return "observe" not in self.actions

    @property
    def elsewhere(self) -> bool:
        """Whether another deployment may have room when this one has none."""
        return "model" in self.scopes or "provider" in self.scopes

    @property
    def of_request(self) -> bool:
        return self.scopes == ("request",)

    @property
    def cap(self) -> int:
        """The cap of one window in nano-dollars."""
        return int(self.usd * NANO)


class BudgetsPolicy(Shape):
    """All limits. `minimum_useful_output` and, for models that reason before they answer, `minimum_useful_reasoning`
    are the fewest output tokens that a clamped request may be left with. Alerts are posted to `webhook`, a URL."""

    limits: tuple[Limit, ...] = ()
    minimum_useful_output: int = Field(default=64, ge=1)
    minimum_useful_reasoning: int = Field(default=1024, ge=1)
    webhook: SecretStr | None = None

    @field_validator("webhook")
    @classmethod
    def _a_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not re.fullmatch(r"https?://[^/\s]+\S*", url.get_secret_value()):
            raise ValueError("not a URL; write one such as https://hooks.example.com/alerts")
        return url

    @field_validator("limits")
    @classmethod
    def _distinct(cls, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
        check_ids([limit.id for limit in limits])
        return limits

    @property
    def enforced(self) -> tuple[Limit, ...]:
        """The limits that can refuse a request."""
        return tuple(limit for limit in self.limits if limit.enforced)

    def limit(self, name: str) -> Limit:
        """The limit with this id. Raises `StopIteration`."""
        return next(limit for limit in self.limits if limit.id == name)


@dataclass(frozen=True, slots=True)
class Open:
    """The window that is open at a moment: its name, and its start and end in seconds since the epoch."""

    name: str
    start: float
    end: float | None


def applying(policy: BudgetsPolicy, values: Mapping[Scope, str], named: Collection[str] = ()) -> tuple[Limit, ...]:
    """The limits that hold for an attempt; `values` are its user, team, key, model and provider, `named` the ids that
    its key names."""
    return tuple(limit for limit in policy.limits if _holds(limit, values) and (not limit.named or limit.id in named))


Counted = tuple[tuple[Limit, ...], tuple[Charge, ...]]


def counting(policy: BudgetsPolicy) -> Callable[[Mapping[Scope, str], float, tuple[str, ...]], Counted]:
    """The limits that hold for an attempt with these values at a moment, by a key that names these, and what it counts
    against, as one function.

    It remembers: worked out anew for each attempt, eight limits took a fourth of the processor time of the ledger.
    """

    @lru_cache(maxsize=4096)
    def counted(values: tuple[tuple[Scope, str], ...], moment: float, named: tuple[str, ...]) -> Counted:
        limits = applying(policy, dict(values), named)
        return limits, charges(limits, dict(values), moment)

    return lambda values, now, named: counted(tuple(values.items()), now // QUARTER_HOUR * QUARTER_HOUR, named)


def _holds(limit: Limit, values: Mapping[Scope, str]) -> bool:
    return holds([scope for scope in limit.scopes if scope in COLUMNS], limit.only, values)


def clamps(limits: Iterable[Limit]) -> bool:
    """Whether a request that does not fit may be made smaller: only if each limit that can refuse it allows that."""
    enforced = [limit for limit in limits if limit.enforced]
    return bool(enforced) and all("clamp" in limit.actions for limit in enforced)


def charges(limits: Iterable[Limit], values: Mapping[Scope, str], now: float) -> tuple[Charge, ...]:
    """What an attempt counts against at `now` (seconds since the epoch). Limits of one request are not among it: `room`
    holds those."""
    return tuple(_charge(limit, values, now) for limit in limits if not limit.of_request)


def _charge(limit: Limit, values: Mapping[Scope, str], now: float) -> Charge:
    found = opened(limit, now)
    named = [scope for scope in limit.scopes if scope != "all"]
    text = label(named, values) or "all"
    match = tuple((COLUMNS[scope], values[scope]) for scope in named)
    cap = limit.cap if limit.enforced else UNLIMITED
    return Charge(limit.id, text, found.name, cap, since=found.start, match=match)


def room(limits: Iterable[Limit], spent: int) -> tuple[Limit, int] | None:
    """The tightest limit of one request, and what it leaves after `spent` nano-dollars; None without such a limit."""
    left = [(limit, limit.cap - spent) for limit in limits if limit.of_request and limit.enforced]
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
    end = opened(policy.limit(name), now).end
    return "" if end is None else datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
