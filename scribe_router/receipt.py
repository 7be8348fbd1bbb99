"""What an answer tells about the exchange behind it. It knows neither headers nor LiteLLM's objects."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scribe_router.counters import Allowance, Rate
from scribe_router.exchange import Cached, Exchange, Lane, Mark
from scribe_router.money import usd


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an answer tells about itself: `.scribe` in Python, `x-scribe-*` over HTTP.

    `model` is the provider's own name, `cost` nano-dollars over all attempts (None: still open, or without a price),
    `output_cap` the cap in tokens that was written upstream and `cap_origin` who chose it, `effort` the reasoning
    effort that was asked for and what was sent, `upstream_provider` who served behind a router of others' models,
    `cache` whether the answer is a stored one (`hit`), that of an identical request (`shared`) or neither (`miss`;
    None: it cannot be). `tool_calls` is how many MCP tools ran, `tool_cost` their part of the cost. `allowances` are
    what the caller's limits of rate leave, `upstream_limits` what the provider said of its own, as far as the lane sees
    it. `experiment` is the experiment and the arm, as `name=arm`.
    """

    request_id: str
    model: str | None
    deployment: str | None
    provider: str | None
    lane: Lane | None
    attempts: int
    cost: int | None
    mark: Mark | None
    output_cap: int | None
    cap_origin: str
    effort: str | None = None
    upstream_provider: str | None = None
    cache: Cached | None = None
    tool_calls: int = 0
    tool_cost: int | None = None
    warnings: tuple[str, ...] = ()
    allowances: Mapping[Rate, Allowance] = field(default_factory=dict)
    upstream_limits: Mapping[str, str] = field(default_factory=dict)
    experiment: str | None = None

    @classmethod
    def of(cls, exchange: Exchange) -> "Receipt":
        """What there is to tell by now."""
        served = exchange.attempts[-1] if exchange.attempts else None
        return cls(
            request_id=exchange.id,
            model=(served.served or served.model.partition("/")[2]) if served else None,
            deployment=served.deployment if served else None,
            provider=served.provider if served else None,
            lane=served.lane if served else None,
            attempts=len(exchange.attempts),
            cost=exchange.cost,
            mark=served.mark if served else None,
            output_cap=served.cap if served else None,
            cap_origin=served.cap_origin if served else "none",
            effort=(served.effort or None) if served else None,
            upstream_provider=(served.provided_by or None) if served else None,
            cache=exchange.cache,
            tool_calls=len(exchange.tools),
            tool_cost=exchange.tool_cost,
            warnings=tuple(exchange.warnings),
            allowances=exchange.allowances,
            upstream_limits=served.upstream_limits if served else {},
            experiment=exchange.exposure.label if exchange.exposure else None,
        )

    @property
    def cost_usd(self) -> str | None:
        """The cost as a decimal string of USD."""
        return None if self.cost is None else usd(self.cost)

    @property
    def tool_cost_usd(self) -> str | None:
        """What MCP tools cost, as a decimal string of USD."""
        return None if self.tool_cost is None else usd(self.tool_cost)
