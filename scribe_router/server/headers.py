"""What an answer tells about itself in `x-scribe-*` headers. Every value is made safe for a header line."""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

from starlette.requests import Request

from scribe_router.counters import Allowance, Rate
from scribe_router.errors import RequestError
from scribe_router.exchange import Exchange
from scribe_router.explain_past import compact
from scribe_router.policies.access import may_explain
from scribe_router.receipt import Receipt

EXPLAIN = "x-scribe-explain"


def answer_headers(receipt: Receipt, *, stream: bool = False) -> list[tuple[str, str]]:
    """The headers of an answer. The cost of a stream is not known yet; it comes in its last comment."""
    values = {
        "x-scribe-request-id": receipt.request_id,
        "x-scribe-model": receipt.model,
        "x-scribe-deployment": receipt.deployment,
        "x-scribe-provider": receipt.provider,
        "x-scribe-upstream-provider": receipt.upstream_provider,
        "x-scribe-lane": receipt.lane,
        "x-scribe-attempts": receipt.attempts,
        "x-scribe-cost-usd": None if stream else receipt.cost_usd,
        "x-scribe-output-cap": _cap(receipt),
        "x-scribe-effort": receipt.effort,
        "x-scribe-cache": receipt.cache,
        "x-scribe-tool-calls": receipt.tool_calls or None,
        "x-scribe-tool-cost-usd": None if stream else receipt.tool_cost_usd,
        "x-scribe-experiment": receipt.experiment,
    }
    headers = [(name, safe(str(value))) for name, value in values.items() if value is not None]
    headers += _limits(receipt.allowances)
    headers += [(f"x-upstream-ratelimit-{name}", safe(value)) for name, value in receipt.upstream_limits.items()]
    return headers + [("x-scribe-warning", safe(warning)) for warning in receipt.warnings]


def error_headers(error: RequestError) -> list[tuple[str, str]]:
    """The headers of an error: whether to try again, and the exchange that ended with it."""
    headers = list(error.headers().items())
    exchange = error.exchange
    if isinstance(exchange, Exchange):
        headers.append(("x-scribe-request-id", exchange.id))
        headers.append(("x-scribe-attempts", str(len(exchange.attempts))))
        headers += _limits(exchange.allowances)
    return headers


def explanation(request: Request, exchange: Any) -> list[tuple[str, str]]:
    """The header that says how an exchange was planned, where `x-scribe-explain: 1` asks for it; else none."""
    if request.headers.get(EXPLAIN) != "1" or not isinstance(exchange, Exchange):
        return []
    allowed = may_explain(request.scope["state"]["principal"])
    return [(EXPLAIN, compact(exchange) if allowed else "this key may not see how requests are planned")]


def safe(value: str) -> str:
    """Visible ASCII only: a name that a client sent cannot start a header of its own."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in value)[:500]


def _limits(allowances: Mapping[Rate, Allowance]) -> Iterator[tuple[str, str]]:
    """The caller's limits of rate, as OpenAI writes them."""
    for rate, allowance in allowances.items():
        minutes, seconds = divmod(ceil(allowance.reset), 60)
        yield f"x-ratelimit-limit-{rate}", str(allowance.most)
        yield f"x-ratelimit-remaining-{rate}", str(allowance.remaining)
        yield f"x-ratelimit-reset-{rate}", f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _cap(receipt: Receipt) -> str | None:
    if receipt.output_cap is None:
        return None
    chosen = f"; {receipt.cap_origin}" if receipt.cap_origin in ("default", "clamped") else ""
    return f"{receipt.output_cap}{chosen}"
