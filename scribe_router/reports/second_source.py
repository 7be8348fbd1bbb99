"""The package genai-prices as a second source of prices, where it is installed (the extra `prices`).

Knows its shapes and ours, and no configuration. Its data come with the package; nothing is fetched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from importlib import import_module, metadata, util
from typing import Any

from scribe_router.config.price_entries import compile_price
from scribe_router.policies.prices import Price

# Where its name of a provider is not ours.
_PROVIDERS = {"gemini": "google", "moonshot": "moonshotai", "codestral": "mistral"}
_CLASSES = {
    "input_mtok": "input_cost_per_token",
    "output_mtok": "output_cost_per_token",
    "cache_read_mtok": "cache_read_input_token_cost",
    "cache_write_mtok": "cache_creation_input_token_cost",
    "cache_write_1h_mtok": "cache_creation_input_token_cost_above_1hr",
}
COMPARED = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A class that two sources price more than one per cent apart, for requests above so many input tokens.

    Rates are pico-dollars per token, which is also millionths of a USD per million tokens.
    """

    kind: str
    above: int
    ours: int
    theirs: int

    def __str__(self) -> str:
        tier = f" above {self.above:,} tokens" if self.above else ""
        return f"{self.kind}{tier} {per_million(self.ours)} here, {per_million(self.theirs)} there"


def per_million(rate: int) -> str:
    """Pico-dollars per token as USD per million tokens."""
    return f"{Decimal(rate) / _MILLION:f}"


def version() -> str | None:
    """The installed version of genai-prices, or None."""
    return metadata.version("genai-prices") if util.find_spec("genai_prices") else None


@lru_cache(maxsize=1)
def _providers() -> Mapping[str, Any]:
    return {each.id: each for each in import_module("genai_prices.data").providers}


def second_price(provider: str, model: str, day: date) -> Price | None:
    """What the second source says of a provider's model on a day; None when it does not know it.

    The time is 02:00 UTC, which is DeepSeek's full price. Raises `ModuleNotFoundError` without the package.
    """
    there = _providers().get(_PROVIDERS.get(provider, provider))
    found = next((each for each in there.models if each.is_match(model)), None) if there else None
    if found is None:
        return None
    named = vars(found.get_prices(datetime.combine(day, time(2), UTC)))
    prices = {ours: named[theirs] for theirs, ours in _CLASSES.items() if named.get(theirs) is not None}
    starts = {0, *(tier.start for price in prices.values() for tier in getattr(price, "tiers", ()))}
    tables = [
        {"range": [start, None], **{name: _at(price, start) for name, price in prices.items()}}
        for start in sorted(starts)
    ]
    if "input_cost_per_token" not in prices:
        return None
    return compile_price({"tiered_pricing": tables, "litellm_provider": provider}, "genai-prices")


def _at(price: Any, start: int) -> Decimal:
    """The rate per token of a tiered or plain price in the tier that begins at `start`."""
    if isinstance(price, Decimal):
        return price / _MILLION
    reached = [tier.price for tier in price.tiers if tier.start <= start]
    return Decimal(reached[-1] if reached else price.base) / _MILLION


def differences(ours: Price, theirs: Price) -> tuple[Difference, ...]:
    """Where two prices are more than one per cent apart, in every tier of either."""
    starts = sorted({above for price in (ours, theirs) for above, _ in price.tiers})
    pairs = [
        (above, kind, _rate(ours, above, kind), _rate(theirs, above, kind)) for above in starts for kind in COMPARED
    ]
    return tuple(Difference(kind, above, a, b) for above, kind, a, b in pairs if abs(a - b) * 100 > max(a, b))


def _rate(price: Price, above: int, kind: str) -> int:
    rate: int = getattr(price.rates(above + 1), kind)
    return rate
