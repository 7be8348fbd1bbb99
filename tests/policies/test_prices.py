"""Prices: published figures, how an entry is read, and what holds for every price."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scribe_router.config.knowledge import price_map
from scribe_router.config.price_entries import compile_price
from scribe_router.exchange import Usage
from scribe_router.money import usd
from scribe_router.policies.prices import (
    Hours,
    Price,
    Rates,
    affordable_cap,
    bound,
    cost,
    fee,
    from_row,
    surcharged,
)
from tests.support.examples import examples

OWN = Path(__file__).parent.parent.parent / "policies" / "prices.yaml"
M = 1_000_000


def own(name: str) -> dict[str, Any]:
    """An entry of policies/prices.yaml with its numbers as they are written there."""
    entry: dict[str, Any] = yaml.safe_load(OWN.read_text(encoding="utf-8")).get(name, {})
    return {key: Decimal(str(value)) if isinstance(value, float) else value for key, value in entry.items()}


def priced(name: str) -> Price:
    price = compile_price({**price_map().entries.get(name, {}), **own(name)}, "test")
    assert price is not None, f"{name} has no price"
    return price


def per_million(into: str, out: str, **more: str) -> dict[str, Any]:
    """An entry of the map from USD per million tokens."""
    entry = {"input_cost_per_token": into, "output_cost_per_token": out, **more}
    return {name: Decimal(value) / M for name, value in entry.items()}


# -- published figures: (model, usage, USD)

VECTORS = [
    *(
        (model, Usage(input=10_000, output=2_000), figure)
        for model, figure in {
            "gpt-5": "0.0325",
            "gpt-5-mini": "0.0065",
            "o3": "0.036",
            "o3-mini": "0.0198",
            "moonshot/moonshot-v1-128k": "0.03",
            "moonshot/moonshot-v1-32k": "0.016",
            "moonshot/moonshot-v1-8k": "0.006",
            "claude-opus-4-5": "0.1",
            "claude-sonnet-4-5": "0.06",
            "dashscope/qwen3-max": "0.024",
            "deepseek/deepseek-flash": "0.0054",
            "mistral/mistral-large-4": "0.0112",
        }.items()
    ),
    ("gpt-6.1-terra", Usage(input=100_000, cache_read=50_000), "0.0525"),
    ("gpt-6.1-terra", Usage(input=300_000), "0.6"),
    ("gpt-6.1-terra", Usage(input=300_000, output=1_000), "0.6075"),
    ("moonshot/kimi-k3.1-pro", Usage(input=1_000, output=100), "0.003"),
    ("moonshot/kimi-k3.1-pro-highspeed", Usage(input=1_000, output=100), "0.006"),
    # Cached tokens are a part of the input: 1,000 more at 3, 100,000 at 0.3, 100 out at 15.
    ("claude-sonnet-4-5", Usage(input=101_000, output=100, cache_read=100_000), "0.0345"),
    ("claude-sonnet-4-5", Usage(input=10_000, cache_write=10_000), "0.0375"),
    ("claude-sonnet-4-5", Usage(input=10_000, cache_write_1h=10_000), "0.06"),
    ("claude-sonnet-4-5", Usage(input=10_000, cache_write=6_000, cache_write_1h=2_000, cache_read=1_000), "0.0378"),
    # Reasoning is a part of the output, and has a price of its own in few places.
    ("gpt-5", Usage(input=10_000, output=2_000, reasoning=1_500), "0.0325"),
    ("dashscope/qwen-turbo", Usage(input=1_000, output=1_000), "0.00025"),
    ("dashscope/qwen-turbo", Usage(input=1_000, output=1_000, reasoning=1_000), "0.00055"),
    # Tiers hold for the whole request, from the first token above.
    ("gpt-6.1-sol", Usage(input=272_000), "0.544"),
    ("gpt-6.1-sol", Usage(input=272_001), "1.088004"),
    ("claude-haiku-5-5", Usage(input=100_000, output=1_000), "0.0105"),
    ("claude-haiku-5-5", Usage(input=200_000, output=1_000), "0.1025"),
    ("claude-haiku-5-5", Usage(input=200_000, cache_write_1h=200_000), "0.2"),
    ("dashscope/qwen3-max", Usage(input=32_000), "0.0384"),
    ("dashscope/qwen3-max", Usage(input=32_001), "0.0768024"),
    ("dashscope/qwen3-coder-plus", Usage(input=900_000, output=1_000), "5.46"),
    ("text-embedding-3-small", Usage(input=1_000), "0.00002"),
]


@pytest.mark.parametrize(("model", "usage", "figure"), VECTORS)
def test_published_figure(model: str, usage: Usage, figure: str) -> None:
    assert usd(cost(priced(model), usage)) == figure


def test_a_part_of_a_nano_dollar_is_rounded_up_once() -> None:
    price = compile_price(per_million("0.0001", "0.0001"), "test")
    assert price is not None
    assert cost(price, Usage(input=1)) == 1
    assert cost(price, Usage(input=15, output=5)) == 2, "20 tokens at a tenth of a nano-dollar"


# -- compiling

COMPILED = [
    ("no price at all", {"mode": "chat"}, None),
    ("a price for images only", {"output_cost_per_image": Decimal(1)}, None),
    ("null is not named", {"input_cost_per_token": None, "output_cost_per_token": Decimal(1)}, None),
    ("a search's tiers are not tokens", {"tiered_pricing": [{"max_results_range": [0, 25]}]}, None),
    ("a router's own fee is not its price", {"mode": "chat", **per_million("1", "0")}, None),
    ("nor with the output unnamed", {"mode": "chat", "input_cost_per_token": Decimal("1e-6")}, None),
    ("an embedding model has no output", {"mode": "embedding", "input_cost_per_token": Decimal("1e-6")},
     [(0, Rates(M, 0, M, M, M, 0))]),
    ("free on purpose", {"mode": "chat", **per_million("0", "0")}, [(0, Rates(0, 0, 0, 0, 0, 0))]),
    ("what is not named costs what input costs", per_million("2", "8"),
     [(0, Rates(2 * M, 8 * M, 2 * M, 2 * M, 2 * M, 8 * M))]),
    ("a write for an hour is twice the input where writes cost",
     per_million("2", "8", cache_creation_input_token_cost="2.5"),
     [(0, Rates(2 * M, 8 * M, 2 * M, 2_500_000, 4 * M, 8 * M))]),
    ("nor where they cost nothing", per_million("2", "8", cache_creation_input_token_cost="0"),
     [(0, Rates(2 * M, 8 * M, 2 * M, 0, 0, 8 * M))]),
    ("but not at OpenAI", per_million("2", "8", cache_creation_input_token_cost="2.5") | {"litellm_provider": "openai"},
     [(0, Rates(2 * M, 8 * M, 2 * M, 2_500_000, 2_500_000, 8 * M))]),
    ("a tier inherits from the one below",
     per_million("1", "2", cache_read_input_token_cost="0.1", input_cost_per_token_above_100k_tokens="3",
                 output_cost_per_token_above_200k_tokens="9"),
     [(0, Rates(M, 2 * M, 100_000, M, M, 2 * M)), (100_000, Rates(3 * M, 2 * M, 100_000, 3 * M, 3 * M, 2 * M)),
      (200_000, Rates(3 * M, 9 * M, 100_000, 3 * M, 3 * M, 9 * M))]),
    ("tables stand for themselves",
     {"tiered_pricing": [{"range": [0, 32_000], **per_million("1", "5", cache_read_input_token_cost="0.1")},
                         {"range": [Decimal("32000.0"), 1_000_000], **per_million("2", "9")}]},
     [(0, Rates(M, 5 * M, 100_000, M, M, 5 * M)), (32_000, Rates(2 * M, 9 * M, 2 * M, 2 * M, 2 * M, 9 * M))]),
    ("an empty table is none", {"tiered_pricing": [], **per_million("1", "1")}, [(0, Rates(M, M, M, M, M, M))]),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "tiers"), [row[1:] for row in COMPILED], ids=[row[0] for row in COMPILED])
def test_compiled(entry: dict[str, Any], tiers: list[tuple[int, Rates]] | None) -> None:
    price = compile_price(entry, "test")
    assert (None if price is None else list(price.tiers)) == tiers


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (per_million("-1", "1"), "cannot be negative"),
        ({"tiered_pricing": [{"range": [], **per_million("1", "1")}]}, "the range of a tier"),
        ({"tiered_pricing": [{"range": None, **per_million("1", "1")}]}, "the range of a tier"),
        (
            {"tiered_pricing": [{"range": [0, 5], **per_million("1", "1")}, {"range": [5, 9]}]},
            "a tier has no price for input",
        ),
    ],
)
def test_a_price_that_makes_no_sense(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        compile_price(entry, "test")


def test_an_uplift_raises_every_rate() -> None:
    entry = per_million("2", "8", cache_read_input_token_cost="0.2", input_cost_per_token_above_100k_tokens="4")
    plain, dearer = compile_price(entry, "test"), compile_price(entry, "test", Decimal("1.1"))
    assert plain is not None
    assert dearer is not None
    for (_, before), (_, after) in zip(plain.tiers, dearer.tiers, strict=True):
        assert (after.input, after.output, after.cache_read) == tuple(
            rate * 11 // 10 for rate in (before.input, before.output, before.cache_read)
        )


# -- what holds for every price


def test_the_arithmetic_has_no_floats() -> None:
    for name in ("gpt-6.1-sol", "claude-haiku-5-5", "dashscope/qwen3-max"):
        price = priced(name)
        figures = [
            cost(price, Usage(input=50_000, output=2_000, cache_read=20_000)),
            bound(price, 1_000, 10),
            affordable_cap(price, 1_000, 10**9),
        ]
        assert [type(figure) for figure in figures] == [int, int, int]
        assert from_row(price.to_row()) == price


rates = st.builds(Rates, *[st.one_of(st.just(0), st.integers(1, 10**10)) for _ in range(6)])
prices = st.builds(
    lambda first, more: Price(((0, first), *sorted(more.items())), "test"),
    rates,
    st.dictionaries(st.sampled_from([1_000, 100_000, 272_000]), rates, max_size=2),
)
ceilings = st.integers(0, 1_000_000)
caps = st.integers(0, 200_000)
choices = st.integers(1, 4)


@st.composite
def usages(draw: st.DrawFn, most_input: int, most_output: int) -> Usage:
    """Any split of any usage within a ceiling and a cap."""
    total, output = draw(st.integers(0, most_input)), draw(st.integers(0, most_output))
    read = draw(st.integers(0, total))
    write = draw(st.integers(0, total - read))
    long_write = draw(st.integers(0, total - read - write))
    return Usage(total, output, read, write, long_write, draw(st.integers(0, output)))


@given(prices, ceilings, caps, choices, st.data())
@settings(max_examples=examples(150), deadline=None)
def test_no_usage_within_ceiling_and_cap_costs_more_than_the_bound(
    price: Price, ceiling: int, cap: int, n: int, data: st.DataObject
) -> None:
    assert cost(price, data.draw(usages(ceiling, cap * n))) <= bound(price, ceiling, cap, n)


@given(prices, ceilings, caps, choices, st.integers(0, 300_000), st.integers(0, 1_000))
@settings(max_examples=examples(100), deadline=None)
def test_the_bound_grows_with_ceiling_and_cap(
    price: Price, ceiling: int, cap: int, n: int, more: int, out: int
) -> None:
    assert bound(price, ceiling, cap, n) <= bound(price, ceiling + more, cap + out, n + 1)


@given(prices, ceilings, choices, st.integers(0, 10**13))
@settings(max_examples=examples(150), deadline=None)
def test_the_affordable_cap_is_the_largest_that_fits(price: Price, ceiling: int, n: int, amount: int) -> None:
    cap = affordable_cap(price, ceiling, amount, n)
    if cap is None:
        assert bound(price, ceiling, 10**9, n) == bound(price, ceiling, 0, n), "output is free"
    elif bound(price, ceiling, 0, n) > amount:
        assert cap == 0
    else:
        assert bound(price, ceiling, cap, n) <= amount < bound(price, ceiling, cap + 1, n)


@given(prices)
@settings(max_examples=examples(50), deadline=None)
def test_a_row_keeps_the_price(price: Price) -> None:
    assert from_row(price.to_row()) == price
    assert price.free == (bound(price, 10**6, 10**6) == 0)


# -- service tiers, factors, fees, hours

tiers = st.builds(
    lambda first, more: ((0, first), *sorted(more.items())),
    rates,
    st.dictionaries(st.sampled_from([1_000, 100_000, 272_000]), rates, max_size=2),
)
whole_prices = st.builds(
    Price,
    tiers,
    st.just("test"),
    variants=st.dictionaries(st.sampled_from(["priority", "flex"]), tiers).map(lambda named: tuple(named.items())),
    factors=st.dictionaries(st.sampled_from(["us", "fast"]), st.integers(1_000, 6_000)).map(
        lambda named: tuple(named.items())
    ),
    search=st.integers(0, 10**11),
    search_once=st.booleans(),
    hours=st.just((Hours(60, 30, (1, 7), "Asia/Shanghai"),)),
    off_peak=tiers,
)
terms = st.sets(st.sampled_from(["priority", "us", "fast", "a tier of tomorrow"]))


@given(whole_prices, ceilings, caps, terms, st.booleans(), st.integers(0, 5), st.data())
@settings(max_examples=examples(150), deadline=None)
def test_no_terms_that_were_asked_for_cost_more_than_the_bound(
    price: Price, ceiling: int, cap: int, asked: set[str], served: bool, searches: int, data: st.DataObject
) -> None:
    """The provider serves what was asked for, or less: the standard tier."""
    usage = replace(data.draw(usages(ceiling, cap)), searches=searches)
    most = bound(surcharged(price, asked), ceiling, cap) + fee(price, searches)
    assert cost(price, usage, asked if served else ()) <= most
    assert bound(price, ceiling, cap) <= bound(surcharged(price, asked), ceiling, cap)


@given(whole_prices)
@settings(max_examples=examples(50), deadline=None)
def test_a_row_keeps_the_whole_price(price: Price) -> None:
    assert from_row(json.loads(json.dumps(price.to_row()))) == price


def test_a_row_of_before_is_still_read() -> None:
    price = priced("gpt-5")
    row = {name: part for name, part in price.to_row().items() if name in ("source", "tiers")}
    assert from_row(row).tiers == price.tiers


def hours(window: str, *weekdays: int, zone: str = "UTC") -> Price:
    quiet = {"hours_utc": window, "weekdays": list(weekdays)} if weekdays else {"hours_utc": window}
    block = {"windows": [quiet], "weekday_timezone": zone, "output_cost_per_token": Decimal("1e-6")}
    price = compile_price({**per_million("2", "8"), "off_peak_pricing": block}, "test")
    assert price is not None
    return price


@pytest.mark.parametrize(
    ("price", "moment", "quiet"),
    [
        (hours("16:30-00:30"), "2026-11-20T16:29:59", False),
        (hours("16:30-00:30"), "2026-11-20T16:30:00", True),
        (hours("16:30-00:30"), "2026-11-20T00:29:59", True),
        (hours("16:30-00:30"), "2026-11-20T00:30:00", False),
        (hours("00:00-00:00"), "2026-11-20T12:00:00", True),
        (hours("00:00-00:00", 6, 7), "2026-11-20T23:59:59", False),
        (hours("00:00-00:00", 6, 7), "2026-11-21T00:00:00", True),
        (hours("00:00-00:00", 6, 7, zone="Asia/Shanghai"), "2026-11-20T16:00:00", True),
    ],
)
def test_hours(price: Price, moment: str, quiet: bool) -> None:
    when = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    assert price.at(when).rates(1).output == (M if quiet else 8 * M)
    assert price.at(when).rates(1).input == 2 * M


def test_a_request_is_off_peak_from_its_beginning_to_its_end() -> None:
    price = hours("10:00-11:00")
    inside, outside = (datetime(2026, 11, 20, hour, tzinfo=UTC).timestamp() for hour in (10, 11))
    assert price.at(inside, inside + 60) != price
    assert price.at(inside, outside) == price
    assert price.at() == price


@pytest.mark.parametrize("window", ["all day", "1:00-2:00", ""])
def test_hours_that_make_no_sense(window: str) -> None:
    with pytest.raises(ValueError, match="hours are written as"):
        hours(window)


def test_weekdays_and_zones_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="weekdays are numbers"):
        hours("01:00-02:00", 8)
    with pytest.raises(ValueError, match="Mars is no time zone"):
        hours("01:00-02:00", zone="Mars")


def test_other_vendors_entries_are_no_factors() -> None:
    entry = {**per_million("1", "1"), "provider_specific_entry": {"fast": Decimal("2.0"), "volcengine": {"480p": "x"}}}
    price = compile_price(entry, "test")
    assert price is not None
    assert price.factors == (("fast", 2_000),)
