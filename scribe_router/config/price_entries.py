"""Entries of LiteLLM's price map as prices. Knows the map's names, no file and no deployment."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from scribe_router.policies.prices import PICO, Hours, Price, Rates, Tiers

# LiteLLM's names in its price map -> ours
CLASSES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
}
_TIER = re.compile(r"(.+?)_above_(\d+)k_tokens")
_TALKING = ("chat", "completion", "responses")
# Ends of the map's names: what a service tier costs. OpenAI has named its priority tier anew.
_VARIANTS = {"priority": "priority", "fast": "priority", "flex": "flex", "ultrafast": "ultrafast"}
# Anthropic's words for a place and a speed that multiply every rate; other vendors keep other things there.
_FACTORS = ("us", "fast")
_GOOGLE = ("gemini", "vertex_ai", "vertex_ai-language-models")
# A cache write for an hour costs twice the input (Anthropic); many rows of resold Claude models do not say so.
# OpenAI has no such class, nor has who writes for nothing (DeepSeek).
_NO_LONG_WRITES = ("openai", "azure")


def compile_price(entry: Mapping[str, Any], source: str, factor: Decimal = Decimal(1)) -> Price | None:
    """An entry of LiteLLM's price map (USD per token, as Decimal) as a Price; None when it does not price tokens.

    `factor` is a region's or provider's uplift. A chat entry with a price for input and none for output (Azure's
    model router, whose own fee it is) does not price tokens. Raises ValueError for a price that makes no sense.
    """
    first = _tables(entry).get(0, {})
    if "input" not in first or (entry.get("mode") in _TALKING and first["input"] and not first.get("output")):
        return None
    quiet = entry.get("off_peak_pricing") or {}
    off_peak = {**{name: entry[name] for name in CLASSES if name in entry}, **quiet}
    provider = entry.get("litellm_provider")
    return Price(
        _compiled(entry, factor, provider),
        source,
        variants=tuple(
            (name, _compiled(variant, factor, provider))
            for name, ending in _VARIANTS.items()
            if "input_cost_per_token" in (variant := _variant(entry, ending))
        ),
        factors=_factors(entry.get("provider_specific_entry") or {}),
        search=_search(entry),
        search_once=provider in _GOOGLE and entry.get("web_search_billing_unit") != "per_query",
        hours=_hours(quiet),
        off_peak=_compiled(off_peak, factor, provider) if quiet else (),
        call=_whole(Decimal(entry.get("fee_cost_per_request", 0)) * PICO),
        image=_whole(Decimal(entry.get("fee_cost_per_image", 0)) * PICO),
    )


def _compiled(entry: Mapping[str, Any], factor: Decimal, provider: Any) -> Tiers:
    tables, double = _tables(entry), provider not in _NO_LONG_WRITES
    return tuple((above, _rates(tables[above], factor, double)) for above in sorted(tables))


def _tables(entry: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    return _tiered(entry) if entry.get("tiered_pricing") else _thresholds(entry)


def _variant(entry: Mapping[str, Any], ending: str) -> dict[str, Any]:
    """The prices of a service tier, by their names without its ending."""
    end = f"_{ending}"
    return {name.removesuffix(end): value for name, value in entry.items() if name.endswith(end) and value is not None}


def _factors(stated: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    return tuple((name, _whole(Decimal(stated[name]) * 1000)) for name in _FACTORS if name in stated)


def _search(entry: Mapping[str, Any]) -> int:
    """Pico-dollars per web search: ours, else the dearest of LiteLLM's sizes of it."""
    sizes = entry.get("search_context_cost_per_query") or {}
    fee = entry.get("web_search_cost_per_call", max(map(Decimal, sizes.values()), default=0))
    return _whole(Decimal(fee) * PICO)


def _hours(quiet: Mapping[str, Any]) -> tuple[Hours, ...]:
    zone = quiet.get("weekday_timezone") or "UTC"
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"weekday_timezone {zone} is no time zone") from error
    rules = [*quiet.get("windows", ()), *([quiet] if "hours_utc" in quiet else ())]
    return tuple(Hours(*_minutes(window), _weekdays(rule), zone) for rule in rules for window in _windows(rule))


def _windows(rule: Mapping[str, Any]) -> list[str]:
    windows = rule.get("hours_utc", [])
    return [windows] if isinstance(windows, str) else list(windows)


def _weekdays(rule: Mapping[str, Any]) -> tuple[int, ...]:
    weekdays = tuple(rule.get("weekdays") or range(1, 8))
    if not set(weekdays) <= set(range(1, 8)):
        raise ValueError("weekdays are numbers, 1 for Monday")
    return weekdays


def _minutes(window: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d\d):(\d\d)-(\d\d):(\d\d)", window)
    if match is None:
        raise ValueError("hours are written as 16:30-00:30, in UTC")
    first, second, third, fourth = map(int, match.groups())
    return first * 60 + second, third * 60 + fourth


def _thresholds(entry: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """`..._above_272k_tokens`: a tier inherits what it does not name from the one below."""
    named: dict[int, dict[str, Any]] = {0: _named(entry)}
    for key, value in entry.items():
        match = _TIER.fullmatch(key)
        if match and match[1] in CLASSES and value is not None:
            named.setdefault(int(match[2]) * 1000, {})[CLASSES[match[1]]] = value
    below: dict[str, Any] = {}
    return {above: (below := {**below, **named[above]}) for above in sorted(named)}


def _tiered(entry: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """`tiered_pricing`: a tier stands for itself, only an output price that it does not name is the entry's."""
    own = {name: rate for name, rate in _named(entry).items() if name == "output"}
    return {_start(table): {**own, **_named(table)} for table in entry["tiered_pricing"] if "range" in table}


def _start(table: Mapping[str, Any]) -> int:
    try:
        return int(table["range"][0])
    except (LookupError, TypeError):
        raise ValueError("the range of a tier is [first, last] in tokens") from None


def _named(table: Mapping[str, Any]) -> dict[str, Any]:
    return {ours: table[theirs] for theirs, ours in CLASSES.items() if table.get(theirs) is not None}


def _rates(named: Mapping[str, Any], factor: Decimal, double: bool) -> Rates:
    if "input" not in named:
        raise ValueError("a tier has no price for input")
    pico = {name: _whole(Decimal(rate) * factor * PICO) for name, rate in named.items()}
    base, output = pico["input"], pico.get("output", 0)
    write = pico.get("cache_write", base)
    long_write = max(write, 2 * base) if double and write and "cache_write" in pico else write
    return Rates(
        input=base,
        output=output,
        cache_read=pico.get("cache_read", base),
        cache_write=write,
        cache_write_1h=pico.get("cache_write_1h", long_write),
        reasoning=pico.get("reasoning", output),
    )


def _whole(rate: Decimal) -> int:
    whole = int(rate.to_integral_value(rounding="ROUND_CEILING"))
    if whole < 0:
        raise ValueError("a price cannot be negative")
    return whole
