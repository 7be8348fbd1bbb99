"""What follows a failed attempt: `policies/retries.yaml`. Waiting is the last resort.

Every candidate is tried before anything is waited for; only when none is left does a failure of a category that
passes (rate limit, server, network, timeout) earn another try, after a pause that grows.
"""

from typing import Literal

from pydantic import Field

from scribe_router.exchange import Category
from scribe_router.policies.schema import Shape

Next = Literal["stop", "walk", "context_window", "content_policy"]

WHAT_FOLLOWS: dict[Category, Next] = {
    Category.RATE_LIMIT: "walk",
    Category.SERVER: "walk",
    Category.NETWORK: "walk",
    Category.TIMEOUT: "walk",
    Category.STREAM: "walk",
    Category.AUTHENTICATION: "walk",
    Category.NOT_FOUND: "walk",
    Category.BAD_REQUEST: "stop",
    Category.INTERNAL: "stop",
    Category.CONTEXT_LENGTH: "context_window",
    Category.CONTENT_POLICY: "content_policy",
}


# What passes with time, and the rule that says how long to wait for it. A broken stream counts as network.
RULES: dict[Category, str] = {
    Category.RATE_LIMIT: "rate_limit",
    Category.SERVER: "server",
    Category.NETWORK: "network",
    Category.TIMEOUT: "timeout",
    Category.STREAM: "network",
}


class Backoff(Shape):
    """How often a deployment is tried again after failures of one category, and how long the pauses are (seconds)."""

    retries: int = Field(default=0, ge=0, le=20)
    initial_seconds: float = Field(default=1.0, ge=0, le=60)


class RetriesPolicy(Shape):
    """`deadline_seconds` bounds the whole request, for a stream until its first content.

    Within it four clocks bound one attempt, each none where nothing is written: `connect_seconds` until there is a
    connection; after that `headers_seconds` until the head of a stream's answer; from the start `first_token_seconds`
    until the first content of a stream, or a plain answer; `idle_seconds` the silence between two parts of a stream.
    LiteLLM's lane shows neither connection nor head: there the last two hold.
    """

    deadline_seconds: float = Field(default=600.0, gt=0, le=86_400)
    connect_seconds: float | None = Field(default=10.0, gt=0, le=600)
    headers_seconds: float | None = Field(default=None, gt=0, le=86_400)
    first_token_seconds: float | None = Field(default=None, gt=0, le=86_400)
    idle_seconds: float | None = Field(default=120.0, gt=0, le=3_600)
    base: float = Field(default=2.0, ge=1, le=10)
    maximum_seconds: float = Field(default=60.0, gt=0, le=600)
    jitter: float = Field(default=0.25, ge=0, le=1)
    rate_limit: Backoff = Backoff()
    server: Backoff = Backoff()
    network: Backoff = Backoff()
    timeout: Backoff = Backoff()

    def backoff(self, rule: str) -> Backoff:
        """The rule of this name."""
        found: Backoff = getattr(self, rule)
        return found


def pause(
    policy: RetriesPolicy, category: Category, failures: int, *, retry_after: float | None, draw: float
) -> float | None:
    """Seconds to wait before the next try after `failures` failures of the category's rule, or None to give up.

    `draw` in [0, 1) spreads the pause by ± `jitter`, within the maximum. A provider's `retry_after` is never undercut.
    """
    rule = policy.backoff(RULES[category]) if category in RULES else Backoff()
    if failures > rule.retries:
        return None
    seconds = rule.initial_seconds * policy.base ** (failures - 1)
    spread = min(seconds, policy.maximum_seconds) * (1 + policy.jitter * (2 * draw - 1))
    return max(min(spread, policy.maximum_seconds), retry_after or 0.0)
