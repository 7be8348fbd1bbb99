"""Settled against a real ledger: what each outcome of an attempt counts for."""

from typing import Any

import pytest

from scribe_router.errors import BudgetExceeded
from scribe_router.exchange import (
    AttemptFailed,
    Category,
    Mark,
    Reached,
)
from tests.policies.registries import deployment
from tests.support.books import HELLO, NOW, PRICE, Build, budgets

# -- settling

USAGE = {"prompt_tokens": 1_000, "completion_tokens": 100}
LOST = AttemptFailed(Category.NETWORK, Reached.LOST, "the connection broke")
REFUSED = AttemptFailed(Category.SERVER, Reached.REPLIED, "the provider failed", status=500)
BOUND = "the bound"


@pytest.mark.parametrize(
    ("price", "usage", "failure", "cost", "mark"),
    [
        (PRICE, USAGE, None, 3_000_000, Mark.COMPUTED),
        (PRICE, {**USAGE, "cost": 0.002}, None, 2_000_000, Mark.REPORTED),
        (PRICE, {**USAGE, "cost": 0}, None, 3_000_000, Mark.COMPUTED),
        (PRICE, {"cost": 0}, None, BOUND, Mark.BOUND),
        (PRICE, None, None, BOUND, Mark.BOUND),
        (PRICE, [1], None, BOUND, Mark.BOUND),
        (PRICE, {"prompt_tokens": 0, "completion_tokens": 0}, None, BOUND, Mark.BOUND),
        (PRICE, {"prompt_tokens": -7, "completion_tokens": 10**15}, None, BOUND, Mark.BOUND),
        (PRICE, {"completion_tokens": 100}, None, BOUND, Mark.BOUND),
        (PRICE, None, LOST, BOUND, Mark.DOUBT),
        (PRICE, USAGE, LOST, 3_000_000, Mark.COMPUTED),
        (PRICE, None, REFUSED, 0, Mark.ZERO),
        ((0, 0), None, None, 0, Mark.COMPUTED),
        ((0, 0), USAGE, None, 0, Mark.COMPUTED),
        ((0, 0), {**USAGE, "cost": 0.001}, None, 1_000_000, Mark.REPORTED),
    ],
)
async def test_settled(
    books: Build, price: tuple[float, float], usage: Any, failure: AttemptFailed | None, cost: Any, mark: Mark
) -> None:
    some = books(budgets("1"))
    where = deployment("m", price=price)
    attempt, _ = await some.reserve(where, {**HELLO, "max_tokens": 1_000})
    some.accounts.settle(attempt, where, usage, failure)
    truth = attempt.bound if cost == BOUND else cost
    assert (attempt.cost, attempt.mark, attempt.ended) == (truth, mark, NOW)
    assert await some.counter() == (truth, 0)
    row = (await some.ledger.rows())[0]
    assert (row["cost"], row["mark"], row["raw_usage"]) == (truth, mark, usage)
    assert row["outcome"] == (failure.category if failure else "answered")
    assert await some.ledger.check() == []


async def test_a_failure_is_on_the_attempt(books: Build) -> None:
    some, where = books(budgets()), deployment("m", price=PRICE)
    attempt, _ = await some.reserve(where, HELLO)
    some.accounts.settle(attempt, where, None, REFUSED)
    assert (attempt.category, attempt.reached, attempt.detail, attempt.status) == (
        Category.SERVER,
        Reached.REPLIED,
        "the provider failed",
        500,
    )


async def test_more_than_the_bound_is_settled_at_the_truth(books: Build) -> None:
    some, where = books(budgets("1")), deployment("m", price=PRICE)
    attempt, _ = await some.reserve(where, {**HELLO, "max_tokens": 10})
    some.accounts.settle(attempt, where, {"prompt_tokens": 1_000, "completion_tokens": 60_000}, None)
    assert attempt.cost == 602_000_000 > attempt.granted
    assert await some.counter() == (602_000_000, 0)
    assert (await some.ledger.rows())[0]["exceeded"] is True
    with pytest.raises(BudgetExceeded, match="m has cost more than its bound, so limit day cannot rest") as caught:
        await some.reserve(where, HELLO)
    assert caught.value.elsewhere
    await some.reserve(deployment("other", price=PRICE), HELLO)
    unlimited = books(budgets())
    unlimited.user = "bob"
    await unlimited.reserve(where, HELLO)


async def test_the_row_ends_with_the_cap_that_was_granted(books: Build) -> None:
    some, where = books(budgets("0.005")), deployment("m", price=PRICE)
    attempt, shaped = await some.reserve(where, {**HELLO, "max_tokens": 5_000})
    some.accounts.settle(attempt, where, USAGE, None)
    await some.ledger.flush()
    row = (await some.ledger.rows())[0]
    assert row["cap"] == attempt.cap == shaped.cap
    assert shaped.cap is not None
    assert shaped.cap < 5_000


async def test_the_row_says_what_was_promised(books: Build) -> None:
    some, where = books(budgets("1")), deployment("m", price=PRICE)
    attempt, shaped = await some.reserve(where, HELLO)
    row = (await some.ledger.rows())[0]
    assert where.price is not None
    assert row["price"] == where.price.to_row()
    assert (row["user"], row["principal"], row["bound"], row["cap"]) == ("ann", "key", attempt.bound, shaped.cap)
    assert (row["model"], row["opened"]) == ("openai/m", NOW)
