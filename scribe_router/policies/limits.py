"""Limits of rate: `policies/limits.yaml`. Which of them hold for a request or an attempt, and what it takes of each.

Knows rates and scopes; never how much is in use, which only the store knows.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from scribe_router.counters import Draw, Rate
from scribe_router.policies.schema import Shape, check_ids, check_named, check_only, check_scopes, holds, label, listed

Scope = Literal["key", "user", "team", "model", "deployment", "provider", "account"]
CALLERS = frozenset({"key", "user", "team"})


class RateLimit(Shape):
    """At most so many requests and tokens in any 60 seconds, and so many requests at once, for each value of `scope`;
    a list, [user, provider], is for each combination. What is absent, or empty, is not limited.

    `key`, `user` and `team` are the caller's, `model` is the name in `model_list`, `account` the variable of a
    deployment's key; who has no team, or no such variable, is under no limit of it. `only` narrows a scope to values:
    `{provider: [groq]}`. A caller's limit refuses; one that names a place sends the request elsewhere, and refuses
    where nothing is left. `id` is stable: it names the counter. One that is `named` holds only for virtual keys whose
    `limits` have its id.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    scope: Scope | tuple[Scope, ...]
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    concurrent: int | None = Field(default=None, ge=1)
    only: dict[Scope, tuple[str, ...]] = Field(default_factory=dict)
    named: bool = False

    @field_validator("requests_per_minute", "tokens_per_minute", "concurrent", mode="before")
    @classmethod
    def _absent(cls, most: Any) -> Any:
        return None if most == "" else most  # a variable of the environment that is not set

    @model_validator(mode="after")
    def _consistent(self) -> "RateLimit":
        check_scopes(self.scopes)
        check_only(self.only, self.scopes)
        check_named(self.scopes, named=self.named)
        return self

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """`scope` as a list."""
        return listed(self.scope)

    @property
    def of_caller(self) -> bool:
        """Whether it is about who asks alone, so that no other deployment helps."""
        return CALLERS.issuperset(self.scopes)

    @property
    def most(self) -> dict[Rate, int]:
        """What is limited, and to how much."""
        named: dict[Rate, int | None] = {
            "requests": self.requests_per_minute,
            "tokens": self.tokens_per_minute,
            "concurrent": self.concurrent,
        }
        return {rate: most for rate, most in named.items() if most is not None}


class LimitsPolicy(Shape):
    """All limits of rate."""

    limits: tuple[RateLimit, ...] = ()

    @field_validator("limits")
    @classmethod
    def _distinct(cls, limits: tuple[RateLimit, ...]) -> tuple[RateLimit, ...]:
        check_ids([limit.id for limit in limits])
        return limits


def draws(
    policy: LimitsPolicy, values: Mapping[Scope, str], named: Collection[str] = (), *, of_caller: bool
) -> Iterator[Draw]:
    """What a request takes of its caller's limits, or an attempt of those of its place; tokens count one until somebody
    knows better. `values` are those of the scopes; a caller's limits look at the caller's alone. `named` are the ids
    that the caller's key names."""
    for limit in policy.limits:
        if limit.named and limit.id not in named:
            continue
        if limit.of_caller is of_caller and holds(limit.scopes, limit.only, values):
            whose = label(limit.scopes, values)
            for rate, most in limit.most.items():
                yield Draw(limit.id, whose, rate, most)
