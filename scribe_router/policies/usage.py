"""Token counts as providers report them, in one shape. Knows where each provider puts a number, and no price."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from math import ceil
from typing import Any

from scribe_router.exchange import Usage
from scribe_router.money import NANO

# More than any request can be: a count above it, or a cost (USD), is a mistake, and no figure.
MOST_TOKENS, MOST_USD = 1_000_000_000, 1_000_000
TERMS = ("service_tier", "inference_geo", "speed")
_NOTHING: Mapping[str, Any] = {}


def normalise(raw: object) -> Usage | None:
    """An OpenAI-shaped usage object as Usage; None when there is none, or it counts nothing, or it cannot be true.

    Cached input stands in `prompt_tokens_details.cached_tokens` (OpenAI, Dashscope, LiteLLM's reading of Anthropic and
    Gemini), at the top as `cached_tokens` (Moonshot), `num_cached_tokens` (Mistral) or `prompt_cache_hit_tokens`
    (DeepSeek). `prompt_tokens` includes both kinds of cache and `completion_tokens` includes reasoning; a provider that
    leaves them out shows by its own sums, and is put right. Parts are never above their wholes.
    """
    if not isinstance(raw, Mapping) or not raw:
        return None
    reported = _reported(raw)
    output = _output(raw)
    if output is None or _broken(raw.get("prompt_tokens")):
        return None if reported is None else Usage(reported_cost=reported)
    usage = _with_input(raw, output, reported)
    return None if usage.empty and reported is None else usage


def _with_input(raw: Mapping[str, Any], output: tuple[int, int], reported: int | None) -> Usage:
    before = _part(raw, "prompt_tokens_details")
    lasting = _part(before, "cache_creation_token_details")
    long_writes = _count(lasting, "ephemeral_1h_input_tokens")
    writes = _count(raw, "cache_creation_input_tokens") or _count(
        before, "cache_creation_tokens", "cache_write_tokens", "cache_creation_input_tokens"
    )
    writes = max(writes, long_writes + _count(lasting, "ephemeral_5m_input_tokens"))
    cached = _count(before, "cached_tokens") or _count(
        raw, "cached_tokens", "num_cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"
    )
    total = _count(raw, "prompt_tokens")
    return Usage(
        input=total if total >= cached + writes else total + cached + writes,
        output=output[0],
        cache_read=cached,
        cache_write=writes - long_writes,
        cache_write_1h=long_writes,
        reasoning=output[1],
        reported_cost=reported,
        searches=_searches(raw, before),
        terms=tuple((name, value) for name in TERMS if isinstance(value := raw.get(name), str)),
    )


def _searches(raw: Mapping[str, Any], before: Mapping[str, Any]) -> int:
    """Web searches: Anthropic counts them, LiteLLM counts Gemini's queries, and we OpenAI's cited answers."""
    counted = _count(_part(raw, "server_tool_use"), "web_search_requests")
    return counted or _count(before, "web_search_requests") or _count(raw, "web_search_requests")


def _output(raw: Mapping[str, Any]) -> tuple[int, int] | None:
    """(output, reasoning within it); None when the count cannot be true. xAI's output leaves reasoning out."""
    if _broken(raw.get("completion_tokens")):
        return None
    output = _count(raw, "completion_tokens")
    reasoning = _count(_part(raw, "completion_tokens_details"), "reasoning_tokens")
    if reasoning and _count(raw, "total_tokens") == _count(raw, "prompt_tokens") + output + reasoning:
        output += reasoning
    return output, min(reasoning, output)


def _part(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = raw.get(name)
    return part if isinstance(part, Mapping) else _NOTHING


def _count(raw: Mapping[str, Any], *names: str) -> int:
    """The first of the names that holds a count; a whole number may come as a float."""
    for name in names:
        value = raw.get(name)
        if value and not _broken(value):
            count: int = ceil(value)
            return count
    return 0


def _broken(value: object) -> bool:
    """Whether something stands there that is no count."""
    if value is None:
        return False
    return not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MOST_TOKENS


def _reported(raw: Mapping[str, Any]) -> int | None:
    """OpenRouter's `usage.cost` in USD; with a key of one's own, what the provider behind it charges is added."""
    cost = _usd(raw.get("cost"))
    if cost is None or raw.get("is_byok") is not True:
        return None if cost is None else _nano(cost)
    behind = _usd(_part(raw, "cost_details").get("upstream_inference_cost"))
    return None if behind is None else _nano(cost + behind)


def _usd(value: object) -> Decimal | None:
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount <= MOST_USD else None


def _nano(amount: Decimal) -> int:
    return int((amount * NANO).to_integral_value(rounding="ROUND_CEILING"))
