"""What tokens cost. Rates are integer pico-dollars per token; an attempt's cost is rounded up once to nano-dollars.

Knows rates and token counts, never where a rate was read or what a limit is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from scribe_router.exchange import Usage

PICO = 1_000_000_000_000
PICO_PER_NANO = 1_000

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
# A cache write for an hour costs twice the input (Anthropic); many rows of resold Claude models do not say so.
# OpenAI has no such class, nor has who writes for nothing (DeepSeek).
_NO_LONG_WRITES = ("openai", "azure")


@dataclass(frozen=True, slots=True)
class Rates:
    """Pico-dollars per token of each class. A class that the provider does not name costs what `input` costs
    (`reasoning`: what `output` costs)."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    reasoning: int

    @property
    def dearest_input(self) -> int:
        return max(self.input, self.cache_read, self.cache_write, self.cache_write_1h)

    @property
    def dearest_output(self) -> int:
        return max(self.output, self.reasoning)


_FIELDS = tuple(field.name for field in fields(Rates))


@dataclass(frozen=True, slots=True)
class Price:
    """`tiers` are (input tokens above which the rates hold, rates), ascending, the first at 0: all or nothing."""

    tiers: tuple[tuple[int, Rates], ...]
    source: str

    def rates(self, input_tokens: int) -> Rates:
        """The rates of a request with this many input tokens."""
        return next(rates for above, rates in reversed(self.tiers) if input_tokens > above or above == 0)

    @property
    def free(self) -> bool:
        return all(rates.dearest_input == rates.dearest_output == 0 for _, rates in self.tiers)

    def to_row(self) -> dict[str, Any]:
        """The rates as a ledger row keeps them."""
        tiers = [{"above": above, **{name: getattr(rates, name) for name in _FIELDS}} for above, rates in self.tiers]
        return {"source": self.source, "tiers": tiers}


def from_row(row: Mapping[str, Any]) -> Price:
    """The price that `to_row` wrote."""
    tiers = tuple((tier["above"], Rates(**{k: v for k, v in tier.items() if k != "above"})) for tier in row["tiers"])
    return Price(tiers, row["source"])


def compile_price(entry: Mapping[str, Any], source: str, factor: Decimal = Decimal(1)) -> Price | None:
    """An entry of LiteLLM's price map (USD per token, as Decimal) as a Price; None when it does not price tokens.

    `factor` is a region's or provider's uplift. A chat entry with a price for input and none for output (Azure's
    model router, whose own fee it is) does not price tokens. Raises ValueError for a price that makes no sense.
    """
    tables = _tiered(entry) if entry.get("tiered_pricing") else _thresholds(entry)
    first = tables.get(0, {})
    if "input" not in first or (entry.get("mode") in _TALKING and first["input"] and not first.get("output")):
        return None
    double = entry.get("litellm_provider") not in _NO_LONG_WRITES
    return Price(tuple((above, _rates(tables[above], factor, double)) for above in sorted(tables)), source)


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


def cost(price: Price, usage: Usage) -> int:
    """The true cost of an attempt in nano-dollars. `usage` is consistent: its parts are within its wholes."""
    rates = price.rates(usage.input)
    plain = usage.input - usage.cache_read - usage.cache_write - usage.cache_write_1h
    spoken = usage.output - usage.reasoning
    pico = (
        plain * rates.input
        + usage.cache_read * rates.cache_read
        + usage.cache_write * rates.cache_write
        + usage.cache_write_1h * rates.cache_write_1h
        + spoken * rates.output
        + usage.reasoning * rates.reasoning
    )
    return _nano(pico)


def bound(price: Price, input_ceiling: int, cap: int, n: int = 1) -> int:
    """The most that an attempt can cost in nano-dollars: `input_ceiling` tokens in, `n` answers of `cap` tokens."""
    dearest_input, dearest_output = _dearest(price, input_ceiling)
    return _nano(input_ceiling * dearest_input + cap * n * dearest_output)


def affordable_cap(price: Price, input_ceiling: int, amount: int, n: int = 1) -> int | None:
    """The largest output cap whose bound fits into `amount` nano-dollars: None if output is free, 0 if not even the
    input fits."""
    dearest_input, dearest_output = _dearest(price, input_ceiling)
    if dearest_output == 0:
        return None
    return max(0, (amount * PICO_PER_NANO - input_ceiling * dearest_input) // (dearest_output * n))


def _dearest(price: Price, input_ceiling: int) -> tuple[int, int]:
    reachable = [rates for above, rates in price.tiers if input_ceiling > above or above == 0]
    return max(rates.dearest_input for rates in reachable), max(rates.dearest_output for rates in reachable)


def _nano(pico: int) -> int:
    return -(-pico // PICO_PER_NANO)
