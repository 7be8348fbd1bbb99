"""What holds for every reservation: it is never less than what leaves can cost, and none stays behind."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scribe_router.config.documents import load
from scribe_router.config.knowledge import SHIPPED
from scribe_router.errors import BudgetExceeded
from scribe_router.exchange import (
    Json,
)
from scribe_router.policies.prices import Price, Rates, bound
from scribe_router.policies.reasoning import LEVELS, ReasoningKnowledge
from scribe_router.upstream.shape import Shaped, input_ceiling
from tests.policies.registries import deployment, priced
from tests.support.books import HELLO, IMAGE, PRICE, Build, budgets
from tests.support.examples import examples


def most(shaped: Shaped) -> int:
    """The bound of a request as it leaves, from its body alone."""
    assert shaped.deployment.price is not None
    cap = shaped.body.get(shaped.deployment.cap_parameter, 0)
    return bound(shaped.deployment.price, input_ceiling(shaped) or 0, cap, shaped.choices)


# -- nothing stays reserved when a reservation is of no use


class Growing(Shaped):
    """A request that grows whenever a cap is written into it, which no real one does."""

    def with_cap(self, cap: int) -> "Growing":
        shaped = Shaped.with_cap(self, cap)
        return replace(self, cap=cap, body={**shaped.body, "user": str(self.body.get("user", "")) + "x" * 5_000})


async def test_a_request_that_would_leave_dearer_is_released(books: Build) -> None:
    some, where = books(budgets("0.05")), deployment("m", price=PRICE)
    exchange, attempt, shaped = some.ask(where, {**HELLO, "max_tokens": 5_000})
    growing = Growing(shaped.api, where, shaped.body, requested_cap=shaped.requested_cap)
    with pytest.raises(AssertionError, match="dearer than what was reserved"):
        await some.accounts.reserve(exchange, attempt, growing)
    assert await some.counter() == (0, 0)
    row = (await some.ledger.rows())[0]
    assert (row["cost"], row["mark"], row["outcome"]) == (0, "zero", "not_sent")


async def test_a_caller_that_goes_while_it_is_reserved_leaves_nothing(books: Build) -> None:
    some, where = books(budgets("1")), deployment("m", price=PRICE)
    exchange, attempt, shaped = some.ask(where, HELLO)
    task = asyncio.ensure_future(some.accounts.reserve(exchange, attempt, shaped))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await some.counter() == (0, 0)
    assert len(await some.ledger.rows()) == 1, "the reservation was written before it was released"


# -- what holds for every price, body and limit

fresh = count()
rates = st.builds(Rates, *[st.integers(0, 10**8) for _ in range(6)])
prices = st.builds(
    lambda first, second: Price(((0, first), (2_000, second)) if second else ((0, first),), "test"),
    rates,
    st.none() | rates,
)
texts = st.text(max_size=200) | st.text(alphabet='"\\\n\x00é字🎈', max_size=200)
contents = texts | st.just([{"type": "text", "text": "what?"}, IMAGE])
bodies = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": contents}),
                                                 min_size=1, max_size=3)},
    optional={"max_tokens": st.integers(1, 100_000), "max_completion_tokens": st.integers(1, 100_000),
              "n": st.integers(1, 5), "tools": st.just([{"type": "function", "function": {"name": "f"}}]),
              "stream": st.booleans(), "temperature": st.floats(0, 2)},
)  # fmt: skip


@given(
    prices,
    bodies,
    st.integers(0, 10**9),
    st.sampled_from(["clamp", "reject"]),
    st.sampled_from(["max_tokens", "max_completion_tokens"]),
)
@settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_leaves_is_within_what_was_granted_and_the_limit(
    books: Build, price: Price, body: Json, cap: int, when_short: str, name: str
) -> None:
    policy = budgets(str(Decimal(cap) / 1_000_000_000), when_short=when_short)
    some = books(policy)
    some.user = f"user-{next(fresh)}"
    where = deployment("m", price=None, window=50_000, cap_parameter=name)
    try:
        attempt, shaped = await some.reserve(replace(where, price=price), body)
    except BudgetExceeded:
        assert await some.counter() == (0, 0)
        return
    asked: int = body.get("max_completion_tokens") or body.get("max_tokens") or 4096
    written: int = shaped.body[name]
    assert most(shaped) <= attempt.granted <= min(attempt.bound, cap)
    assert min(asked, policy.minimum_useful_output) <= written <= asked
    assert attempt.cap == written
    assert written == asked or when_short == "clamp"
    assert await some.counter() == (0, attempt.granted)


def test_prices_of_this_file_are_per_million() -> None:
    assert priced(2, 10).tiers[0][1].output == 10_000_000


# -- nor for any family of models that reason

FAMILIES = ReasoningKnowledge.model_validate(load(SHIPPED / "policies" / "reasoning.yaml").data).root
efforts = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.just(HELLO["messages"])},
    optional={
        "max_tokens": st.integers(1, 60_000),
        "reasoning_effort": st.sampled_from([*LEVELS, "auto", None]),
        "thinking_budget": st.integers(0, 10**6),
        "thinking": st.sampled_from([{"type": "enabled", "budget_tokens": 3_000}, {"type": "disabled"}, None]),
        "enable_thinking": st.booleans(),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "top_k": st.integers(0, 10**6),
        "n": st.integers(1, 3),
    },
)

SAMPLING = {"temperature": 0.7000000000000001, "top_p": 0.9000000000000001, "top_k": 123_456_789}
THINKS = {**HELLO, **SAMPLING, "max_tokens": 6_000, "reasoning_effort": "high"}


@given(st.sampled_from(sorted(FAMILIES)), efforts, st.integers(4 * 10**7, 10**8))
@example("claude-4.5", THINKS, 46_500_000)
@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_clamped_model_may_think_less_and_nothing_is_dearer(
    books: Build, family: str, body: Json, cap: int
) -> None:
    some = books(budgets(str(Decimal(cap) / 1_000_000_000)))
    some.user = f"user-{next(fresh)}"
    price = Price(((0, Rates(10**8, 10**6, 10**8, 10**8, 10**8, 10**8)),), "test")
    where = replace(deployment("m", window=50_000, max_output=40_000, family=FAMILIES[family]), price=price)
    try:
        attempt, shaped = await some.reserve(where, body)
    except BudgetExceeded:
        return
    assert most(shaped) <= attempt.granted <= cap
    for warning in (*shaped.warnings, *shaped.left_out):
        assert warning.partition(" ")[0] not in shaped.body
    budget = (shaped.body.get("thinking") or {}).get("budget_tokens", 0)
    if shaped.effort is not None or "max_tokens" not in body:
        assert budget < shaped.body["max_tokens"] or FAMILIES[family].sent("none")[0] != "none"
    assert {"thinking", "reasoning_effort"} - shaped.body.keys() or family == "deepseek"
