"""Reserve and settle against a real ledger: what leaves is never dearer than what was reserved for it."""

from decimal import Decimal
from typing import Any

import pytest

from scribe_router.errors import BudgetExceeded, InvalidRequest
from scribe_router.exchange import (
    Attempt,
    Call,
    Json,
    Mark,
)
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.policies.prices import bound
from scribe_router.upstream.shape import Shaped, input_ceiling, shape
from tests.policies.registries import deployment
from tests.support.books import HELLO, NOW, PRICE, SEEN, Build, budgets


def most(shaped: Shaped) -> int:
    """The bound of a request as it leaves, from its body alone."""
    assert shaped.deployment.price is not None
    cap = shaped.body.get(shaped.deployment.cap_parameter, 0)
    return bound(shaped.deployment.price, input_ceiling(shaped) or 0, cap, shaped.choices)


# -- the output cap


@pytest.mark.parametrize(
    ("facts", "body", "cap", "origin"),
    [
        ({}, {"max_tokens": 100}, 100, "client"),
        ({}, {"max_completion_tokens": 100}, 100, "client"),
        ({}, {}, 4096, "default"),
        ({"default_output_cap": 16_384}, {}, 16_384, "default"),
        ({"default_output_cap": 16_384, "max_output": 8_000}, {}, 8_000, "default"),
        ({"params": {"max_tokens": 77}}, {}, 77, "default"),
        ({"params": {"max_tokens": 77}}, {"max_tokens": 100}, 100, "client"),
        ({"cap_parameter": "max_completion_tokens"}, {"max_tokens": 100}, 100, "client"),
    ],
)
async def test_the_cap_that_is_written(books: Build, facts: dict[str, Any], body: Json, cap: int, origin: str) -> None:
    where = deployment("m", price=PRICE, **facts)
    attempt, shaped = await books(budgets("1")).reserve(where, {**HELLO, **body})
    assert (attempt.cap, attempt.cap_origin) == (cap, origin)
    written = {name: shaped.body[name] for name in ("max_tokens", "max_completion_tokens") if name in shaped.body}
    assert written == {where.cap_parameter: cap}
    assert most(shaped) <= attempt.granted == attempt.bound


async def test_too_little_left_clamps(books: Build) -> None:
    where = deployment("m", price=PRICE)
    attempt, shaped = await books(budgets("0.005")).reserve(where, {**HELLO, "max_tokens": 5_000})
    assert attempt.cap_origin == "clamped"
    assert attempt.granted == 5_000_000 < attempt.bound
    assert shaped.body["max_tokens"] == shaped.cap == attempt.cap
    assert most(shaped) <= attempt.granted < most(shaped.with_cap((shaped.cap or 0) + 1)), "as large as can be paid"


def per_request(usd: str, when_short: str = "clamp") -> BudgetsPolicy:
    row = {"id": "one", "scope": "request", "usd": usd, "when_short": when_short}
    return BudgetsPolicy.model_validate({"limits": [row]})


async def test_one_request_is_clamped_to_its_limit(books: Build) -> None:
    attempt, shaped = await books(per_request("0.005")).reserve(
        deployment("m", price=PRICE), {**HELLO, "max_tokens": 5_000}
    )
    assert (attempt.granted, attempt.cap_origin) == (5_000_000, "clamped")
    assert most(shaped) <= attempt.granted


async def test_the_attempts_of_one_request_share_its_limit(books: Build) -> None:
    some, where = books(per_request("0.005")), deployment("m", price=PRICE)
    first = Attempt("at-0", "m", "m", "openai", "wire", NOW, "", granted=3_000_000)
    attempt, _ = await some.reserve(where, {**HELLO, "max_tokens": 5_000}, before=[first])
    assert attempt.granted == 2_000_000
    first.cost = 0
    attempt, _ = await some.reserve(where, {**HELLO, "max_tokens": 5_000}, before=[first])
    assert attempt.granted == 5_000_000


@pytest.mark.parametrize("when_short", ["clamp", "reject"])
async def test_one_request_that_is_too_dear_is_refused(books: Build, when_short: str) -> None:
    with pytest.raises(
        BudgetExceeded, match=r"limit one allows 0.0001 usd for one request, this one can cost 0\.0"
    ) as caught:
        await books(per_request("0.0001", when_short)).reserve(
            deployment("m", price=PRICE), {**HELLO, "max_tokens": 5_000}
        )
    assert caught.value.limit == "one"


async def test_what_can_cost_more_than_the_rates_is_refused_under_a_limit(books: Build) -> None:
    body = {**HELLO, "service_tier": "priority"}
    with pytest.raises(InvalidRequest, match=r"service_tier can cost more .* so limit day cannot bound it"):
        await books(budgets("1")).reserve(deployment("m", price=PRICE), body)
    _, shaped = await books(BudgetsPolicy()).reserve(deployment("m", price=PRICE), body)
    assert shaped.body["service_tier"] == "priority"


@pytest.mark.parametrize(
    ("asked", "least", "fits"), [(5_000, 64, False), (5_000, 32, True), (32, 64, True), (33, 64, False)]
)
async def test_never_fewer_than_is_useful(books: Build, asked: int, least: int, fits: bool) -> None:
    """There is money for the input and 32 tokens of output."""
    where = deployment("m", price=PRICE)
    body = {**HELLO, "max_tokens": asked}
    ceiling = input_ceiling(shape(Call("chat", body), where).with_cap(asked)) or 0
    assert where.price is not None
    cap = Decimal(bound(where.price, ceiling, 32)) / 1_000_000_000
    some = books(budgets(str(cap), least=least))
    if fits:
        attempt, _ = await some.reserve(where, body)
        assert attempt.cap == 32
        return
    with pytest.raises(BudgetExceeded):
        await some.reserve(where, body)
    assert await some.counter() == (0, 0)


async def test_reject_does_not_clamp(books: Build) -> None:
    some = books(budgets("0.005", when_short="reject"))
    where = deployment("m", price=PRICE)
    with pytest.raises(BudgetExceeded) as caught:
        await some.reserve(where, {**HELLO, "max_tokens": 5_000})
    assert caught.value.limit == "day"
    assert caught.value.headers() == {"x-should-retry": "false"}
    attempt, _ = await some.reserve(where, {**HELLO, "max_tokens": 100})
    assert attempt.cap_origin == "client"


async def test_a_refusal_names_the_limit_what_is_left_and_when_it_renews(books: Build) -> None:
    some = books(budgets("0.001", "1"))
    attempt, _ = await some.reserve(deployment("m", price=(0.1, 0.4)), {**HELLO, "max_tokens": 1_000})
    with pytest.raises(BudgetExceeded) as caught:
        await some.reserve(deployment("m", price=(2, 1000)), HELLO)
    left = Decimal(1_000_000 - attempt.bound) / 1_000_000_000
    assert caught.value.message.startswith(f"limit day (user:ann, 2026-11-20) has {left} of 0.001 usd left, ")
    assert caught.value.message.endswith("it renews at 2026-11-21T00:00:00Z")


async def test_the_tightest_limit_decides(books: Build) -> None:
    attempt, shaped = await books(budgets("0.05", "0.005")).reserve(deployment("m", price=PRICE), HELLO)
    assert attempt.granted == 5_000_000
    assert most(shaped) <= 5_000_000


async def test_reservations_add_up(books: Build) -> None:
    some = books(budgets("0.1"))
    where = deployment("m", price=PRICE)
    attempts = [(await some.reserve(where, HELLO))[0] for _ in range(2)]
    third, shaped = await some.reserve(where, HELLO)
    assert third.cap_origin == "clamped"
    with pytest.raises(BudgetExceeded):
        await some.reserve(where, HELLO)
    assert await some.counter() == (0, sum(each.granted for each in (*attempts, third)))
    assert most(shaped) <= third.granted


# -- several answers, embeddings, content by reference


async def test_every_answer_counts(books: Build) -> None:
    some, where = books(budgets("1")), deployment("m", price=PRICE)
    one, _ = await some.reserve(where, {**HELLO, "max_tokens": 1_000, "n": 1})
    three, shaped = await some.reserve(where, {**HELLO, "max_tokens": 1_000, "n": 3})
    assert three.bound - one.bound == 2 * 1_000 * 10_000
    assert most(shaped) == three.bound


async def test_clamping_shares_what_is_left_among_the_answers(books: Build) -> None:
    attempt, shaped = await books(budgets("0.005")).reserve(deployment("m", price=PRICE), {**HELLO, "n": 4})
    assert most(shaped) <= attempt.granted < most(shaped.with_cap((shaped.cap or 0) + 1))


async def test_embeddings_have_no_output(books: Build) -> None:
    where = deployment("v", mode="embedding", price=(0.02, 0))
    body = {"model": "v", "input": "hello" * 100}
    attempt, shaped = await books(budgets("0.1")).reserve(where, body, "embeddings")
    assert (attempt.cap, attempt.cap_origin, shaped.cap) == (None, "none", None)
    assert "max_tokens" not in shaped.body
    assert 0 < attempt.bound == attempt.granted == most(shaped)


async def test_embeddings_are_not_clamped(books: Build) -> None:
    where = deployment("v", mode="embedding", price=(0.02, 0))
    with pytest.raises(BudgetExceeded):
        await books(budgets("0.000001")).reserve(where, {"model": "v", "input": "hello" * 100}, "embeddings")


async def test_content_by_reference_counts_as_the_window(books: Build) -> None:
    attempt, shaped = await books(budgets("1")).reserve(deployment("m", price=PRICE, window=100_000), SEEN)
    assert attempt.bound >= (100_000 - 4_096) * 2_000 + 4_096 * 10_000
    assert most(shaped) <= attempt.granted


async def test_content_by_reference_without_a_window_is_refused_under_a_limit(books: Build) -> None:
    some = books(budgets("1"))
    with pytest.raises(BudgetExceeded, match=r"m has no known window, .* so limit day cannot bound its cost"):
        await some.reserve(deployment("m", price=PRICE), SEEN)
    free, _ = await some.reserve(deployment("m", price=(0, 0)), SEEN)
    assert free.bound == 0


async def test_content_by_reference_without_a_window_and_a_limit_is_estimated(books: Build) -> None:
    some = books(budgets())
    attempt, shaped = await some.reserve(deployment("m", price=PRICE), SEEN)
    assert attempt.bound >= len(shaped.encoded()) * 2_000
    some.accounts.settle(attempt, shaped.deployment, None, None)
    assert (attempt.cost, attempt.mark) == (attempt.bound, Mark.BOUND)


# -- no price


async def test_without_a_price_a_limit_refuses(books: Build) -> None:
    some = books(budgets("1"))
    with pytest.raises(BudgetExceeded, match="m has no price, so limit day cannot bound its cost") as caught:
        await some.reserve(deployment("m"), HELLO)
    assert caught.value.limit == "day"
    assert await some.ledger.rows() == []


async def test_without_a_price_and_a_limit_it_is_served_and_said(books: Build) -> None:
    some = books(budgets())
    attempt, shaped = await some.reserve(deployment("m"), HELLO)
    assert (attempt.bound, attempt.granted, shaped.cap) == (0, 0, 4096)
    some.accounts.settle(attempt, shaped.deployment, {"prompt_tokens": 5, "completion_tokens": 5}, None)
    assert (attempt.cost, attempt.mark) == (None, Mark.UNPRICED)
