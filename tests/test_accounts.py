"""Reserve and settle against a real ledger: what leaves is never dearer than what was reserved for it."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scribe_router.accounts import Accounts
from scribe_router.errors import BudgetExceeded, InvalidRequest
from scribe_router.exchange import (
    Api,
    Attempt,
    AttemptFailed,
    Call,
    Category,
    Exchange,
    Json,
    Mark,
    Principal,
    Reached,
)
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.policies.prices import Price, Rates, bound
from scribe_router.registry import Deployment
from scribe_router.stores.contract import Counter
from scribe_router.stores.sqlite import SqliteLedger
from scribe_router.upstream.shape import Shaped, input_ceiling, shape
from tests.policies.registries import deployment, priced

NOW = 1_795_170_000.0  # 2026-11-20T10:20:00Z
HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
IMAGE = {"type": "image_url", "image_url": {"url": "https://host/cat.png"}}
SEEN = {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, IMAGE]}]}
PRICE = (2, 10)  # USD per million tokens


def budgets(*usd: str, when_short: str = "clamp", least: int = 64) -> BudgetsPolicy:
    """Limits per user and day; the first is called `day`."""
    rows = [
        {"id": name, "scope": "user", "window": "day", "usd": amount, "when_short": when_short}
        for name, amount in zip(("day", "wide"), usd, strict=False)
    ]
    return BudgetsPolicy.model_validate({"limits": rows, "minimum_useful_output": least})


@dataclass
class Books:
    """Accounts over one ledger, and one request at a time."""

    ledger: SqliteLedger
    accounts: Accounts
    user: str = "ann"
    number: int = 0

    def ask(self, where: Deployment, body: Json, api: Api = "chat") -> tuple[Exchange, Attempt, Shaped]:
        self.number += 1
        name = f"{self.user}-{self.number}"
        exchange = Exchange(f"ex-{name}", Call(api, body), Principal("key", self.user), "v", NOW)
        attempt = Attempt(f"at-{name}", where.id, where.litellm_model, where.provider, "wire", NOW, "test")
        return exchange, attempt, shape(exchange.call, where)

    async def reserve(
        self, where: Deployment, body: Json, api: Api = "chat", before: Sequence[Attempt] = ()
    ) -> tuple[Attempt, Shaped]:
        exchange, attempt, shaped = self.ask(where, body, api)
        exchange.attempts += before
        return attempt, await self.accounts.reserve(exchange, attempt, shaped)

    async def counter(self) -> tuple[int, int]:
        """(settled, reserved) of the first limit's window."""
        name = f"day|user:{self.user}|2026-11-20"
        found = (await self.ledger.counters()).get(name, Counter(name, 0, 0))
        return found.settled, found.reserved


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    opened = SqliteLedger(tmp_path / "ledger.db", clock=lambda: NOW, sweep_every=3600.0)
    yield opened
    opened.close()


@pytest.fixture
def books(ledger: SqliteLedger) -> "Build":
    return lambda policy: Books(ledger, Accounts(ledger, policy, lambda: NOW))


Build = Callable[[BudgetsPolicy], Books]


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
    some.accounts.settle(attempt, shaped.deployment.price, None, None)
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
    some.accounts.settle(attempt, None, {"prompt_tokens": 5, "completion_tokens": 5}, None)
    assert (attempt.cost, attempt.mark) == (None, Mark.UNPRICED)


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
    some.accounts.settle(attempt, where.price, usage, failure)
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
    some.accounts.settle(attempt, where.price, None, REFUSED)
    assert (attempt.category, attempt.reached, attempt.detail, attempt.status) == (
        Category.SERVER,
        Reached.REPLIED,
        "the provider failed",
        500,
    )


async def test_more_than_the_bound_is_settled_at_the_truth(books: Build) -> None:
    some, where = books(budgets("1")), deployment("m", price=PRICE)
    attempt, _ = await some.reserve(where, {**HELLO, "max_tokens": 10})
    some.accounts.settle(attempt, where.price, {"prompt_tokens": 1_000, "completion_tokens": 60_000}, None)
    assert attempt.cost == 602_000_000 > attempt.granted
    assert await some.counter() == (602_000_000, 0)
    assert (await some.ledger.rows())[0]["exceeded"] is True


async def test_the_row_ends_with_the_cap_that_was_granted(books: Build) -> None:
    some, where = books(budgets("0.005")), deployment("m", price=PRICE)
    attempt, shaped = await some.reserve(where, {**HELLO, "max_tokens": 5_000})
    some.accounts.settle(attempt, where.price, USAGE, None)
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


# -- nothing stays reserved when a reservation is of no use


class Growing(Shaped):
    """A request that grows whenever a cap is written into it, which no real one does."""

    def with_cap(self, cap: int) -> "Growing":
        shaped = Shaped.with_cap(self, cap)
        return replace(self, cap=cap, body={**shaped.body, "padding": str(self.body.get("padding", "")) + "x" * 5_000})


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
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
