"""Token counts as providers report them, in one shape. Knows where each provider puts a number, and no price."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from scribe_router.exchange import Usage

NANO = 1_000_000_000


def normalise(raw: Mapping[str, Any] | None) -> Usage | None:
    """An OpenAI-shaped usage object as Usage; None when there is none or it counts nothing.

    Cached input stands in `prompt_tokens_details.cached_tokens` (OpenAI, Dashscope), at the top as `cached_tokens`
    (Moonshot), `num_cached_tokens` (Mistral) or `prompt_cache_hit_tokens` (DeepSeek); cache writes as LiteLLM gives
    Anthropic's. `prompt_tokens` includes both; reasoning is inside `completion_tokens`.
    """
    if not raw:
        return None
    before = _part(raw, "prompt_tokens_details")
    after = _part(raw, "completion_tokens_details")
    writes = _count(raw, "cache_creation_input_tokens") or _count(before, "cache_creation_tokens", "cache_write_tokens")
    long_writes = _count(_part(before, "cache_creation_token_details"), "ephemeral_1h_input_tokens")
    output = _count(raw, "completion_tokens")
    cached = _count(before, "cached_tokens") or _count(
        raw, "cached_tokens", "num_cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"
    )
    usage = Usage(
        input=_count(raw, "prompt_tokens"),
        output=output,
        cache_read=cached,
        cache_write=max(0, writes - long_writes),
        cache_write_1h=long_writes,
        reasoning=min(_count(after, "reasoning_tokens"), output),
        reported_cost=_reported(raw),
    )
    return None if usage.empty and usage.reported_cost is None else usage


def _part(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = raw.get(name)
    return part if isinstance(part, Mapping) else {}


def _count(raw: Mapping[str, Any], *names: str) -> int:
    for name in names:
        value = raw.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0


def _reported(raw: Mapping[str, Any]) -> int | None:
    """OpenRouter's `usage.cost` in USD; with a key of one's own, what the provider behind it charges is added."""
    if not isinstance(raw.get("cost"), int | float | Decimal) or isinstance(raw.get("cost"), bool):
        return None
    details = _part(raw, "cost_details")
    own_key = details.get("upstream_inference_cost") if raw.get("is_byok") else None
    try:
        total = Decimal(str(raw["cost"])) + Decimal(str(own_key or 0))
    except InvalidOperation:
        return None
    return max(0, int((total * NANO).to_integral_value(rounding="ROUND_CEILING"))) if total.is_finite() else None
