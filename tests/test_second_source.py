"""The second source in our shape, and the shipped models against it: each difference over one per cent is explained."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from scribe_router.config.load import Loaded, load_config
from scribe_router.config.price_entries import compile_price
from scribe_router.reports.prices import Finding, findings
from scribe_router.reports.second_source import Difference, differences, second_price

ROOT = Path(__file__).parent.parent
DAY = date(2026, 11, 20)
M = 1_000_000
# Nothing to compare with: a vendor that the second source does not have, and your own machines.
ALONE = {"dashscope", "hosted_vllm", "ollama_chat"}


@pytest.fixture(scope="module")
def shipped() -> Loaded:
    return load_config(ROOT / "litellm_config.yaml", None, {})


def test_every_difference_of_the_shipped_models_is_explained(shipped: Loaded) -> None:
    found = list(findings(shipped, shipped.or_raise(), DAY))
    assert [str(each) for each in found if each.problem] == []
    explained = {(each.name, each.text.split(" ", 1)[0]) for each in found if each.kind == "differs"}
    reasons = {(name, kind) for name, row in shipped.prices.rows.items() for kind in row.differs}
    assert explained == reasons, "a reason without a difference is stale"


def test_all_but_known_vendors_are_compared(shipped: Loaded) -> None:
    deployments = shipped.or_raise().deployments.values()
    without = {each.provider for each in deployments if second_price(each.provider, each.upstream_model, DAY) is None}
    assert without == ALONE


def test_introductory_prices_are_known_to_end(shipped: Loaded) -> None:
    """What the second source prices otherwise in three months carries the last day of today's price."""
    later = date(2027, 2, 20)
    changed = {
        each.price_row
        for each in shipped.or_raise().deployments.values()
        if (now := second_price(each.provider, each.upstream_model, DAY))
        and (then := second_price(each.provider, each.upstream_model, later))
        and now != then
    }
    assert changed == {name for name, row in shipped.prices.rows.items() if row.valid_until}


def test_tiers_and_classes_of_the_second_source() -> None:
    price = second_price("anthropic", "claude-haiku-5-5", DAY)
    assert price is not None
    low, high = (rates for _, rates in price.tiers)
    assert [above for above, _ in price.tiers] == [0, 100_000]
    assert (low.input, low.output, low.cache_read, low.cache_write, low.cache_write_1h) == (
        M // 10, M // 2, M // 100, M // 8, M // 5,
    )  # fmt: skip
    assert high.input == M // 2


def test_deepseek_is_compared_at_its_full_price() -> None:
    price = second_price("deepseek", "deepseek-flash", DAY)
    assert price is not None
    assert price.rates(1).output == 1_200_000


@pytest.mark.parametrize("name", [("nobody", "gpt-6-luna"), ("openai", "a-model-of-mine")])
def test_what_it_does_not_know(name: tuple[str, str]) -> None:
    assert second_price(*name, DAY) is None


def test_differences() -> None:
    def price(into: str, **more: str) -> object:
        entry = {"input_cost_per_token": into, "output_cost_per_token": "1e-5", **more}
        return compile_price({name: Decimal(value) for name, value in entry.items()}, "test")

    ours, near, far = price("1e-6"), price("1.01e-6"), price("1.02e-6")
    tiered = price("1e-6", input_cost_per_token_above_100k_tokens="2e-6")
    reading = price("1e-6", cache_read_input_token_cost="1e-7")
    assert ours
    assert near
    assert differences(ours, near) == ()  # type: ignore[arg-type]
    assert [each.kind for each in differences(ours, far)] == ["input", "cache_read", "cache_write", "cache_write_1h"]  # type: ignore[arg-type]
    [first, *_] = differences(ours, tiered)  # type: ignore[arg-type]
    assert first == Difference("input", 100_000, M, 2 * M)
    assert str(first) == "input above 100,000 tokens 1 here, 2 there"
    [only] = differences(reading, ours)  # type: ignore[arg-type]
    assert str(only) == "cache_read 0.1 here, 1 there"


def test_a_finding_is_a_line() -> None:
    assert str(Finding(False, "ends", "a", "soon")) == "note: ends: a: soon"
    assert str(Finding(True, "past", "a", "done")) == "past: a: done"
