"""What an attempt may cost and what it did cost: prices, limits and the ledger, joined around one upstream attempt.

Knows no wire format beyond the shaped body's size and its output cap, and nothing of HTTP.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from scribe_router.errors import BudgetExceeded, InvalidRequest
from scribe_router.exchange import Attempt, AttemptFailed, Charge, Exchange, Json, Mark, Usage, usd
from scribe_router.policies.budgets import BudgetsPolicy, Scope, charges, renews, room
from scribe_router.policies.prices import Price, affordable_cap, bound, cost
from scribe_router.policies.settlement import settled
from scribe_router.policies.surcharges import surcharge
from scribe_router.policies.usage import normalise
from scribe_router.stores.contract import Ledger, Refused, Row, Settlement, StoreUnavailable
from scribe_router.upstream.shape import CAPS, Shaped, default_cap, input_ceiling


@dataclass(frozen=True, slots=True)
class _Quote:
    """What one shaped request can cost: `least` is the smallest output cap that clamping may leave."""

    price: Price | None
    ceiling: int
    choices: int
    least: int

    def bound(self, cap: int) -> int:
        """Nano-dollars; zero without a price, since then no limit applies."""
        return bound(self.price, self.ceiling, cap, self.choices) if self.price else 0

    def affordable(self, cap: int, granted: int) -> int:
        """The largest cap, up to `cap`, that `granted` pays for."""
        if self.price is None or granted >= self.bound(cap):
            return cap
        fits = affordable_cap(self.price, self.ceiling, granted, self.choices)
        return cap if fits is None else min(cap, fits)


class Accounts:
    """Reserves before an attempt and settles after it, against one ledger."""

    def __init__(self, ledger: Ledger, budgets: BudgetsPolicy, clock: Callable[[], float]) -> None:
        self._ledger, self._budgets, self._clock = ledger, budgets, clock

    async def reserve(self, exchange: Exchange, attempt: Attempt, shaped: Shaped) -> Shaped:
        """Reserve the bound of this attempt and return the request with the output cap that the bound rests on.

        The cap is the client's, else the deployment's default, and smaller where only a smaller one can be paid.
        Raises `BudgetExceeded`, `InvalidRequest` and `StoreUnavailable`; whatever it raises, nothing stays reserved.
        """
        now = self._clock()
        deployment = shaped.deployment
        values: dict[Scope, str] = {
            "user": exchange.principal.user,
            "key": exchange.principal.name,
            "provider": deployment.provider,
        }
        scopes = charges(self._budgets, values, now)
        shaped = _capped(exchange, attempt, shaped)
        quote = self._quote(shaped)
        attempt.bound, floor = quote.bound(shaped.cap or 0), quote.bound(quote.least)
        most = self._within_request(exchange, attempt.bound, floor)
        try:
            answer = await self._ledger.reserve(_row(exchange, attempt, shaped, scopes, most, now), floor)
        except asyncio.CancelledError:
            self._release(attempt)  # it may have been written
            raise
        if isinstance(answer, Refused):
            raise self._refusal(answer, floor, now)
        attempt.granted = answer.amount
        try:
            return _granted(attempt, shaped, quote)
        except BaseException:
            self._release(attempt)
            raise

    def _within_request(self, exchange: Exchange, most: int, floor: int) -> int:
        """What the limits of one request leave of `most`, after its attempts so far. Raises `BudgetExceeded`."""
        spent = sum(each.cost if each.cost is not None else each.granted for each in exchange.attempts)
        tightest = room(self._budgets, spent)
        if tightest is None or tightest[1] >= most:
            return most
        limit, left = tightest
        if left < floor:
            needs = usd(spent + floor)
            text = f"limit {limit.id} allows {usd(limit.cap)} usd for one request, this one can cost {needs} usd"
            raise BudgetExceeded(text, limit=limit.id)
        return left

    def _quote(self, shaped: Shaped) -> _Quote:
        """Raises `BudgetExceeded` or `InvalidRequest` where a limit applies and nothing bounds the cost."""
        limited = self._budgets.limits[0].id if self._budgets.limits else None
        dearer = surcharge(shaped.body) if limited else None
        if dearer is not None:
            what = f"{dearer} can cost more than the listed rates, so limit {limited} cannot bound it; leave it out"
            raise InvalidRequest(what, code="unbounded_parameter", param=dearer)
        cap, price = shaped.cap or 0, shaped.deployment.price
        least = min(cap, self._budgets.minimum_useful_output) if self._budgets.clamps else cap
        ceiling = input_ceiling(shaped)
        if limited and (price is None or (ceiling is None and not price.free)):
            what = "has no price" if price is None else "has no known window, and the request has content by reference"
            name = shaped.deployment.id
            raise BudgetExceeded(f"{name} {what}, so limit {limited} cannot bound its cost", limit=limited)
        # Without a limit the size of what is there will do: it only stands in for usage that never comes.
        return _Quote(price, len(shaped.encoded()) if ceiling is None else ceiling, shaped.choices, least)

    def settle(self, attempt: Attempt, price: Price | None, usage: Json | None, failure: AttemptFailed | None) -> None:
        """Replace the reservation by what the attempt really cost. Cannot be cancelled, and never waits."""
        counted = normalise(usage)
        true_cost, reported = _true_cost(price, counted)
        attempt.usage, attempt.ended = counted, self._clock()
        attempt.cost, attempt.mark = settled(
            reached=failure.reached if failure else None,
            true_cost=true_cost,
            reported=reported,
            granted=attempt.granted,
            priced=price is not None,
        )
        if failure is not None:
            attempt.category, attempt.reached = failure.category, failure.reached
            attempt.detail, attempt.status = failure.detail, failure.status
        self._ledger.settle(
            Settlement(
                attempt=attempt.id,
                cost=attempt.cost,
                mark=attempt.mark,
                outcome=attempt.category.value if attempt.category else "answered",
                closed=attempt.ended,
                usage=None if counted is None else asdict(counted),
                raw_usage=usage,
                cap=attempt.cap,
            )
        )

    def _refusal(self, refused: Refused, floor: int, now: float) -> BudgetExceeded:
        charge = refused.charge
        end = renews(self._budgets, charge.limit, now)
        return BudgetExceeded(
            f"limit {charge.limit} ({charge.scope}, {charge.window}) has {usd(max(0, refused.left))} of "
            f"{usd(charge.cap)} usd left, this request can cost {usd(floor)} usd"
            + (f"; it renews at {end}" if end else "; it does not renew"),
            limit=charge.limit,
        )

    def _release(self, attempt: Attempt) -> None:
        with suppress(StoreUnavailable):
            self._ledger.settle(Settlement(attempt.id, 0, Mark.ZERO, "not_sent", self._clock()))


def _capped(exchange: Exchange, attempt: Attempt, shaped: Shaped) -> Shaped:
    """The request with the output cap that it asks for, or the default. Embeddings have none."""
    if shaped.api != "chat":
        return shaped
    cap = shaped.requested_cap or default_cap(shaped)
    attempt.cap = cap
    attempt.cap_origin = "client" if any(exchange.call.body.get(name) for name in CAPS) else "default"
    return shaped.with_cap(cap)


def _granted(attempt: Attempt, shaped: Shaped, quote: _Quote) -> Shaped:
    """The request with the cap that was granted. The bound was taken of this very body, or is taken anew."""
    cap = shaped.cap or 0
    affordable = quote.affordable(cap, attempt.granted)
    if affordable == cap:
        return shaped
    attempt.cap, attempt.cap_origin = affordable, "clamped"
    shaped = shaped.with_cap(affordable)
    ceiling = input_ceiling(shaped)
    anew = replace(quote, ceiling=quote.ceiling if ceiling is None else ceiling)
    if anew.bound(affordable) > attempt.granted:
        raise AssertionError("the request that would leave is dearer than what was reserved for it")
    return shaped


def _row(
    exchange: Exchange, attempt: Attempt, shaped: Shaped, scopes: tuple[Charge, ...], most: int, now: float
) -> Row:
    deployment = shaped.deployment
    return Row(
        attempt=attempt.id,
        exchange=exchange.id,
        principal=exchange.principal.name,
        user=exchange.principal.user,
        model=deployment.litellm_model,
        deployment=deployment.id,
        provider=deployment.provider,
        lane=attempt.lane,
        opened=now,
        bound=most,
        charges=scopes,
        price=deployment.price.to_row() if deployment.price else {},
        cap=shaped.cap,
    )


def _true_cost(price: Price | None, usage: Usage | None) -> tuple[int | None, bool]:
    """(cost, whether the provider named it); None where neither usage nor the provider tells.

    A zero that a provider reports for a paid model is no figure, and no prompt has no tokens.
    """
    paid = price is not None and not price.free
    if usage is not None and usage.reported_cost is not None and (usage.reported_cost or not paid):
        return usage.reported_cost, True
    if price is None:
        return None, False
    if not paid:
        return 0, False
    return (cost(price, usage), False) if usage is not None and usage.input else (None, False)
