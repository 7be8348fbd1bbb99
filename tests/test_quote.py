"""What a request can cost: what bounds it, how far it may shrink, and what a limit has to refuse."""

from dataclasses import replace
from typing import Any

import pytest

from scribe_router.config.knowledge import price_map
from scribe_router.config.price_entries import compile_price
from scribe_router.deployment import Deployment
from scribe_router.errors import BudgetExceeded, InvalidRequest
from scribe_router.exchange import Call, Json
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.policies.reasoning import LEVELS, Family
from scribe_router.quote import Quote, quoted
from scribe_router.upstream.shape import shape
from tests.policies.registries import deployment
from tests.support.books import HELLO, PRICE, budgets

REASONING = {"supports": frozenset({"reasoning"}), "max_output": 50_000}
THINKING = {"type": "enabled", "budget_tokens": 8_000}
LEVELED: Json = {"providers": ("minimax",), "default": "medium", **dict.fromkeys(LEVELS, "medium"), "medium": {}}
ALWAYS = Family.model_validate(LEVELED)
CAP = 20_000
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}


def quote(where: Deployment, body: Json, policy: BudgetsPolicy) -> Quote:
    return quoted(shape(Call("chat", body), where).with_cap(CAP), policy.limits, policy)


@pytest.mark.parametrize(
    ("facts", "body", "least"),
    [
        ({}, {}, 64),
        ({}, {"thinking": THINKING}, 8_064),
        ({}, {"thinking": {"type": "enabled", "budget_tokens": 19_990}}, CAP),
        (REASONING, {}, 1_024),
        (REASONING, {"reasoning_effort": "none"}, 64),
        (REASONING, {"enable_thinking": False}, 64),
        (REASONING, {"thinking": {"type": "disabled"}}, 64),
        (REASONING | {"wire": "anthropic"}, {}, 64),
        (REASONING | {"wire": "anthropic"}, {"reasoning_effort": "low"}, 1_024),
        (REASONING | {"wire": "anthropic"}, {"thinking": {"type": "adaptive"}}, 1_024),
    ],
)
def test_the_least_that_is_of_use(facts: dict[str, Any], body: Json, least: int) -> None:
    where = deployment("m", price=PRICE, **facts)
    assert quote(where, {**HELLO, **body}, budgets("1")).least == least
    assert quote(where, {**HELLO, **body}, budgets("1", when_short="reject")).least == CAP


@pytest.mark.parametrize(
    ("counted", "facts", "body", "outside"),
    [
        (True, REASONING, {}, 0),
        (False, {}, {}, 0),
        (False, REASONING, {}, 50_000),
        (False, REASONING, {"reasoning_effort": "none"}, 0),
        (False, REASONING, {"enable_thinking": False}, 0),
        (False, {"supports": frozenset({"reasoning"})}, {}, 4_096),
        (False, {"family": ALWAYS}, {}, 4_096),
        (False, {"family": ALWAYS.model_copy(update={"default": "none"})}, {}, 0),
    ],
)
def test_thinking_that_the_cap_does_not_count(counted: bool, facts: dict[str, Any], body: Json, outside: int) -> None:
    where = deployment("m", price=PRICE, cap_includes_thinking=counted, **facts)
    found = quote(where, {**HELLO, **body}, budgets("1"))
    inside = Quote(found.price, found.ceiling, 1, found.least)
    assert found.outside == outside
    assert found.bound(CAP) == inside.bound(CAP + outside)
    assert found.affordable(CAP, found.bound(CAP) - 1) < CAP
    assert found.bound(found.affordable(CAP, found.bound(500))) <= found.bound(500)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("service_tier", "priority"),
        ("best_of", 3),
        ("options", {"num_predict": 9}),
        ("web_search_options", {}),
        ("my_own", None),
    ],
)
def test_what_may_cost_more_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"{name} .*limit day cannot bound it") as caught:
        quote(deployment("m", price=PRICE), {**HELLO, name: value}, budgets("1"))
    assert (caught.value.param, caught.value.code) == (name, "unbounded_parameter")
    assert quote(deployment("m", price=PRICE), {**HELLO, name: value}, budgets()).price is not None


def test_an_unknown_parameter_may_pass_or_be_listed() -> None:
    body = {**HELLO, "my_own": 1, "seed": 4, "top_k": 5, "guided_json": {}}
    passing = BudgetsPolicy.model_validate(
        {"limits": [{"id": "day", "scope": "user", "usd": 1, "unknown_parameters": "pass"}]}
    )
    assert quote(deployment("m", price=PRICE), body, passing).price is not None
    listed = deployment("m", price=PRICE, parameters=frozenset({"my_own"}))
    assert quote(listed, body, budgets("1")).price is not None


def test_what_only_observes_refuses_nothing() -> None:
    watching = budgets("1", when_short="observe")
    assert quote(deployment("m"), {**HELLO, "my_own": 1}, watching).price is None
    with pytest.raises(BudgetExceeded) as caught:
        quote(deployment("m"), HELLO, budgets("1"))
    assert caught.value.elsewhere


# -- what the price knows a surcharge of


def listed(model: str, wire: str, **facts: Any) -> Deployment:
    """A deployment at the price of LiteLLM's map."""
    price = compile_price(price_map().entries[model], "map")
    return replace(deployment("m", wire=wire, **facts), price=price, upstream_model=model)


@pytest.mark.parametrize(
    ("model", "wire", "asked", "times"),
    [
        ("gpt-6.1-sol", "openai", {"service_tier": "priority"}, 20),
        ("gpt-6.1-sol", "openai", {"service_tier": "fast"}, 20),
        ("gpt-6.1-sol", "openai", {"service_tier": "ultrafast"}, 60),
        ("gpt-6.1-sol", "openai", {"service_tier": "flex"}, 10),
        ("claude-opus-5-5", "anthropic", {"speed": "fast"}, 20),
        ("claude-opus-5-5", "anthropic", {"inference_geo": "us"}, 11),
        ("claude-opus-5-5", "anthropic", {"inference_geo": "us", "speed": "fast"}, 22),
    ],
)
def test_a_surcharge_with_a_price_is_in_the_bound(model: str, wire: str, asked: Json, times: int) -> None:
    plain = quote(listed(model, wire), HELLO, budgets("1"))
    dearer = quote(listed(model, wire), {**HELLO, **asked}, budgets("1"))
    same = replace(plain, ceiling=dearer.ceiling)
    assert 10 * dearer.bound(CAP) == times * same.bound(CAP)
    assert dearer.affordable(CAP, dearer.bound(500)) == 500


@pytest.mark.parametrize(
    ("model", "wire", "asked", "param"),
    [
        ("gpt-5", "openai", {"service_tier": "ultrafast"}, "service_tier"),
        ("claude-haiku-4-5", "anthropic", {"inference_geo": "us"}, "inference_geo"),
        ("claude-sonnet-5-5", "anthropic", {"speed": "fast"}, "speed"),
        ("claude-sonnet-5-5", "anthropic", {"tools": [{**SEARCH, "max_uses": None}]}, "tools"),
        ("claude-sonnet-5-5", "openai", {"tools": [SEARCH]}, "tools"),
        ("claude-haiku-4-5", "anthropic", {"tools": [SEARCH]}, "tools"),
    ],
)
def test_a_surcharge_without_a_price_is_refused(model: str, wire: str, asked: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        quote(listed(model, wire, window=1_000_000), {**HELLO, **asked}, budgets("1"))
    assert caught.value.param == param


def test_searches_are_bounded_by_their_number_and_the_window() -> None:
    body = {**HELLO, "tools": [SEARCH]}
    found = quote(listed("claude-sonnet-5-5", "anthropic", window=1_000_000), body, budgets("100"))
    # Read anew after each of two searches, at the dearest class of input, 4 USD; 20,000 out at 10; 0.01 for a search.
    assert found.bound(CAP) == 12_000_000_000 + 200_000_000 + 20_000_000
    assert found.affordable(CAP, found.bound(7_000)) == 7_000
    with pytest.raises(BudgetExceeded, match="no known window"):
        quote(listed("claude-sonnet-5-5", "anthropic"), body, budgets("100"))


def test_a_model_that_always_searches_has_the_fee_in_its_bound() -> None:
    searching = quote(listed("gpt-5-search-api", "openai"), HELLO, budgets("1"))
    plain = quote(listed("gpt-5", "openai"), HELLO, budgets("1"))
    assert searching.fees == 10_000_000
    assert plain.fees == 0
