"""What a request can cost: what bounds it, how far it may shrink, and what a limit has to refuse."""

from typing import Any

import pytest

from scribe_router.errors import BudgetExceeded, InvalidRequest
from scribe_router.exchange import Call, Json
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.quote import Quote, quoted
from scribe_router.registry import Deployment
from scribe_router.upstream.shape import shape
from tests.policies.registries import deployment
from tests.support.books import HELLO, PRICE, budgets

REASONING = {"supports": frozenset({"reasoning"}), "max_output": 50_000}
THINKING = {"type": "enabled", "budget_tokens": 8_000}
CAP = 20_000


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
    ("name", "value"), [("service_tier", "priority"), ("best_of", 3), ("enable_search", True), ("my_own", None)]
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
