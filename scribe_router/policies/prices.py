"""What tokens cost. Rates are integer pico-dollars per token; an attempt's cost is rounded up once to nano-dollars.

Knows rates and token counts, never where a rate was read or what a limit is.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from scribe_router.exchange import Usage

PICO = 1_000_000_000_000
PICO_PER_NANO = 1_000


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
    dearest_input: int = field(init=False, repr=False, compare=False)
    dearest_output: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Every plan that looks at prices asks for the dearest of each deployment."""
        dearest_input = max(self.input, self.cache_read, self.cache_write, self.cache_write_1h)
        object.__setattr__(self, "dearest_input", dearest_input)
        object.__setattr__(self, "dearest_output", max(self.output, self.reasoning))


_FIELDS = tuple(each.name for each in fields(Rates) if each.init)
Tiers = tuple[tuple[int, Rates], ...]


@dataclass(frozen=True, slots=True)
class Hours:
    """Minutes of a day in UTC, from `start` to before `end` (past midnight where that is not later), on `weekdays` of
    `zone`, 1 for Monday."""

    start: int
    end: int
    weekdays: tuple[int, ...]
    zone: str = "UTC"

    def hold(self, moment: float) -> bool:
        now = datetime.fromtimestamp(moment, UTC)
        minute = now.hour * 60 + now.minute
        late, early = minute >= self.start, minute < self.end
        within = (late and early) if self.start < self.end else (late or early)
        return within and now.astimezone(ZoneInfo(self.zone)).isoweekday() in self.weekdays


@dataclass(frozen=True, slots=True)
class Price:
    """`tiers` are (input tokens above which the rates hold, rates), ascending, the first at 0: all or nothing.

    `variants` are the tiers of a service tier by its name, `factors` multiply every rate (in thousandths), `search` is
    pico-dollars per web search (`search_once`: per answer that searched), `call` per request, `image` per image in it.
    In `hours`, `off_peak` replaces `tiers`.
    """

    tiers: Tiers
    source: str
    variants: tuple[tuple[str, Tiers], ...] = ()
    factors: tuple[tuple[str, int], ...] = ()
    search: int = 0
    search_once: bool = False
    hours: tuple[Hours, ...] = ()
    off_peak: Tiers = ()
    call: int = 0
    image: int = 0

    def rates(self, input_tokens: int) -> Rates:
        """The rates of a request with this many input tokens."""
        return _reached(self.tiers, input_tokens)

    @property
    def terms(self) -> frozenset[str]:
        """What a request may ask for at a price that is known: names of service tiers, places and speeds."""
        return frozenset(name for name, _ in (*self.variants, *self.factors))

    def at(self, *moments: float) -> "Price":
        """The price of a request that took from the first of these moments to the last: off-peak where all are."""
        quiet = bool(moments) and all(any(hours.hold(moment) for hours in self.hours) for moment in moments)
        return replace(self, tiers=self.off_peak) if quiet else self

    @property
    def free(self) -> bool:
        return not self.call and all(rates.dearest_input == rates.dearest_output == 0 for _, rates in self.tiers)

    def to_row(self) -> dict[str, Any]:
        """The rates as a ledger row keeps them."""
        return _to_row(self)


@lru_cache(maxsize=1024)  # a row for each attempt; making one takes 140 µs, finding it 3
def _to_row(price: Price) -> dict[str, Any]:
    row: dict[str, Any] = {"source": price.source, "tiers": _tiers_to_row(price.tiers)}
    if price.variants:
        row["variants"] = {name: _tiers_to_row(tiers) for name, tiers in price.variants}
    if price.factors:
        row["factors"] = dict(price.factors)
    if price.search or price.search_once:
        row |= {"search": price.search, "search_once": price.search_once}
    if price.hours:
        row |= {"hours": [asdict(each) for each in price.hours], "off_peak": _tiers_to_row(price.off_peak)}
    if price.call or price.image:
        row |= {"call": price.call, "image": price.image}
    return row


def from_row(row: Mapping[str, Any]) -> Price:
    """The price that `to_row` wrote, also one of a version that wrote less."""
    return Price(
        _tiers_of_row(row["tiers"]),
        row["source"],
        variants=tuple((name, _tiers_of_row(tiers)) for name, tiers in row.get("variants", {}).items()),
        factors=tuple(row.get("factors", {}).items()),
        search=row.get("search", 0),
        search_once=row.get("search_once", False),
        hours=tuple(Hours(**{**each, "weekdays": tuple(each["weekdays"])}) for each in row.get("hours", ())),
        off_peak=_tiers_of_row(row.get("off_peak", ())),
        call=row.get("call", 0),
        image=row.get("image", 0),
    )


def _tiers_to_row(tiers: Tiers) -> list[dict[str, int]]:
    return [{"above": above, **{name: getattr(rates, name) for name in _FIELDS}} for above, rates in tiers]


def _tiers_of_row(rows: Any) -> Tiers:
    return tuple((row["above"], Rates(**{name: row[name] for name in _FIELDS})) for row in rows)


def cost(price: Price, usage: Usage, terms: Collection[str] = ()) -> int:
    """The true cost of an attempt in nano-dollars. `usage` is consistent: its parts are within its wholes.

    `terms` are the service tier, place and speed that were in force; those that the price does not know cost nothing.
    """
    tiers = next((tiers for name, tiers in price.variants if name in terms), price.tiers)
    rates = _scaled(_reached(tiers, usage.input), price, terms)
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
    searches = min(usage.searches, 1) if price.search_once else usage.searches
    return _nano(pico + price.search * searches + price.call)


def surcharged(price: Price, terms: Collection[str]) -> Price:
    """The price that a bound is taken of: never below the listed one, nor below that of the terms, in any tier."""
    if not price.terms.intersection(terms):
        return price
    every = [price.tiers, *(tiers for name, tiers in price.variants if name in terms)]
    starts = sorted({above for tiers in every for above, _ in tiers})
    return replace(
        price,
        tiers=tuple(
            (above, _scaled(_most([_reached(tiers, above + 1) for tiers in every]), price, terms)) for above in starts
        ),
    )


def fee(price: Price, searches: int) -> int:
    """What a request costs beside its tokens, with so many web searches, in nano-dollars."""
    return _nano(price.search * searches + price.call)


def with_images(price: Price, images: int) -> Price:
    """The price of a request with so many images: they are part of what each call costs."""
    return replace(price, call=price.call + price.image * images) if price.image and images else price


def dearest(prices: Sequence[Price]) -> Price:
    """The price that bounds a request which any of several models may serve."""
    starts = sorted({above for price in prices for above, _ in price.tiers})
    return Price(
        tuple((above, _most([price.rates(above + 1) for price in prices])) for above in starts),
        "dearest of " + ", ".join(dict.fromkeys(price.source for price in prices)),
        search=max(price.search for price in prices),
        call=max(price.call for price in prices),
        image=max(price.image for price in prices),
    )


def _reached(tiers: Tiers, input_tokens: int) -> Rates:
    return next(rates for above, rates in reversed(tiers) if input_tokens > above or above == 0)


def _most(every: list[Rates]) -> Rates:
    return Rates(**{name: max(getattr(rates, name) for rates in every) for name in _FIELDS})


def _scaled(rates: Rates, price: Price, terms: Collection[str]) -> Rates:
    """The rates times the factors of the terms. A rate that is no whole number of pico-dollars is rounded up."""
    for name, thousandths in price.factors:
        if name in terms:
            rates = Rates(**{each: -(-getattr(rates, each) * thousandths // 1000) for each in _FIELDS})
    return rates


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
    (_, first), *dearer = price.tiers
    dearest_input, dearest_output = first.dearest_input, first.dearest_output
    for above, rates in dearer:
        if input_ceiling > above:
            dearest_input = max(dearest_input, rates.dearest_input)
            dearest_output = max(dearest_output, rates.dearest_output)
    return dearest_input, dearest_output


def _nano(pico: int) -> int:
    return -(-pico // PICO_PER_NANO)
