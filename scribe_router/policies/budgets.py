"""Limits of money: `policies/budgets.yaml`. Which limits an attempt counts against, and what is done when one is short.

Knows caps and windows; never how much is left, which only the store knows.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from pydantic import Field, field_validator

from scribe_router.exchange import Charge
from scribe_router.policies.schema import Shape

NANO = 1_000_000_000


class Limit(Shape):
    """At most `usd` for each user and UTC day. `id` is stable: it names the counter."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    scope: Literal["user"]
    window: Literal["day"]
    usd: Decimal = Field(ge=0, le=1_000_000_000, decimal_places=9)
    when_short: Literal["clamp", "reject"] = "clamp"

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


def charges(policy: BudgetsPolicy, *, user: str, now: float) -> tuple[Charge, ...]:
    """The scopes that an attempt of `user` at `now` (seconds since the epoch) counts against."""
    day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    return tuple(Charge(limit.id, f"user:{user}", day, limit.cap) for limit in policy.limits)


def renews(now: float) -> str:
    """When the window that is open at `now` ends, for the text of a refusal."""
    return datetime.fromtimestamp((now // 86400 + 1) * 86400, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
