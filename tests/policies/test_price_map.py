"""LiteLLM's whole price map: it compiles, and no price in it is mis-scaled by what we make of it."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from scribe_router.config.knowledge import price_map
from scribe_router.config.price_entries import compile_price
from scribe_router.exchange import Usage
from scribe_router.policies.prices import cost

EXAMPLES = (
    Usage(input=1_000, output=500),
    Usage(input=50_000, output=2_000, cache_read=20_000, cache_write=5_000),
    Usage(input=300_000, output=4_000, cache_read=100_000, reasoning=1_000),
    Usage(input=900_000, output=1),
)


def talking() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, entry in price_map().entries.items():
        if entry.get("mode") in ("chat", "completion", "responses", "embedding"):
            yield name, entry


def test_the_whole_map_compiles() -> None:
    compiled = {name: compile_price(entry, "map") for name, entry in talking()}
    unpriced = [name for name, price in compiled.items() if price is None]
    assert len(compiled) > 3_000
    assert len(unpriced) < 200
    assert {"azure/model-router", "databricks/databricks-gemini-3-8-flash"} <= set(unpriced)


def test_the_rest_of_the_map_does_not_raise_either() -> None:
    for name, entry in price_map().entries.items():
        if name != "sample_spec":
            compile_price(entry, "map")


def test_nothing_is_mis_scaled() -> None:
    """Ours is the figure in plain decimals, and above it by no more than the rounding: a pico-dollar a token, a
    nano-dollar an attempt."""
    wrong = []
    for name, entry in talking():
        price = compile_price(entry, "map")
        if price is None:
            continue
        for usage in EXAMPLES:
            exact, ours = decimally(entry, usage), cost(price, usage)
            if not exact <= ours <= exact + (usage.input + usage.output) / Decimal(1_000) + 1:
                wrong.append((name, usage, exact, ours))
    assert wrong == []


def decimally(entry: Mapping[str, Any], usage: Usage) -> Decimal:
    """Nano-dollars by the words of LiteLLM's map, written without a look at the code under test."""
    table = _table(entry, usage.input)
    into = table["input_cost_per_token"]
    out = table.get("output_cost_per_token") or Decimal(0)
    rates = {
        "plain": into,
        "read": _named(table, "cache_read_input_token_cost", into),
        "write": _named(table, "cache_creation_input_token_cost", into),
        "out": out,
        "reasoning": _named(table, "output_cost_per_reasoning_token", out),
    }
    tokens = {
        "plain": usage.input - usage.cache_read - usage.cache_write,
        "read": usage.cache_read,
        "write": usage.cache_write,
        "out": usage.output - usage.reasoning,
        "reasoning": usage.reasoning,
    }
    return sum((tokens[kind] * Decimal(rates[kind]) for kind in rates), Decimal(0)) * 1_000_000_000


def _named(table: Mapping[str, Any], key: str, otherwise: Decimal) -> Decimal:
    return otherwise if table.get(key) is None else table[key]


def _table(entry: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    if entry.get("tiered_pricing"):
        return next(dict(row) for row in reversed(entry["tiered_pricing"]) if tokens > row["range"][0])
    table = dict(entry)
    for limit in (100, 128, 200, 256, 272, 512):
        if tokens > limit * 1000:
            ending = f"_above_{limit}k_tokens"
            table |= {key.removesuffix(ending): value for key, value in entry.items() if key.endswith(ending)}
    return table
