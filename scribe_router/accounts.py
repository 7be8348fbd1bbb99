"""What an attempt may cost and what it did cost: prices, limits and the ledger, joined around one upstream attempt.

Knows no wire format beyond the shaped body's size and its output cap, and nothing of HTTP.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, replace

from scribe_router.counters import Charge
from scribe_router.deployment import Deployment
from scribe_router.errors import BudgetExceeded
from scribe_router.exchange import Attempt, AttemptFailed, Exchange, Json, Mark, Usage
from scribe_router.money import usd
from scribe_router.policies.budgets import BudgetsPolicy, Limit, Scope, counting, renews, room
from scribe_router.policies.prices import Price, surcharged
from scribe_router.policies.prices import cost as cost_of
from scribe_router.policies.settlement import settled
from scribe_router.policies.usage import normalise
from scribe_router.quote import Quote, for_request, quoted
from scribe_router.stores.contract import Accounting, Granted, Refused, Row, Settlement, StoreUnavailable
from scribe_router.upstream.shape import CAPS, Shaped, default_cap, input_ceiling

log = logging.getLogger("scribe_router.accounts")
_COUNTED = tuple(field.name for field in fields(Usage))


class Accounts:
    """Reserves before an attempt and settles after it, against one ledger.

    `needs_ledger` False lets requests pass while the ledger is away: they are neither counted nor recorded, which the
    log and the answer say. A deployment that cost more than its bound serves nothing under a limit any more, until the
    process is started anew: its price is wrong.
    """

    def __init__(
        self, ledger: Accounting, budgets: BudgetsPolicy, clock: Callable[[], float], *, needs_ledger: bool = True
    ) -> None:
        self._ledger, self._budgets, self._clock, self._needs_ledger = ledger, budgets, clock, needs_ledger
        self._counted = counting(budgets)
        self._exceeded: set[str] = set()

    async def reserve(self, exchange: Exchange, attempt: Attempt, shaped: Shaped) -> Shaped:
        """Reserve the bound of this attempt and return the request with the output cap that the bound rests on.

        The cap is the client's, else the deployment's default, and smaller where only a smaller one can be paid.
        Raises `BudgetExceeded`, `InvalidRequest` and `StoreUnavailable`; whatever it raises, nothing stays reserved.
        """
        now = self._clock()
        limits, scopes = self.scopes(exchange, _place(shaped.deployment), now)
        self._check_trusted(shaped.deployment, limits)
        shaped = _capped(exchange, attempt, for_request(shaped, limits))
        quote = quoted(shaped, limits, self._budgets)
        attempt.bound, floor = quote.bound(shaped.cap or 0), quote.bound(quote.least)
        attempt.ceiling, attempt.terms, attempt.fees = quote.ceiling, quote.terms, quote.fees
        most = within_request(limits, exchange, attempt.bound, floor)
        row = _row(exchange, attempt, shaped, scopes, most, now)
        self.let_go(exchange)  # at once before it is taken again: nobody else comes between
        booked = await self.book(exchange, row, floor)
        attempt.recorded, attempt.granted = booked is not None, row.bound if booked is None else booked.amount
        try:
            return _granted(attempt, shaped, quote)
        except BaseException:
            self.release(attempt.id)
            raise

    async def hold(self, exchange: Exchange, shaped: Shaped, more: int) -> None:
        """Reserve the least that a request can cost, with so many input tokens more, until `let_go` or the exchange's
        next `reserve`. Raises as that does."""
        now = self._clock()
        limits, scopes = self.scopes(exchange, _place(shaped.deployment), now)
        shaped = for_request(shaped.with_cap(shaped.requested_cap or default_cap(shaped)), limits)
        quote = quoted(shaped, limits, self._budgets)
        floor = replace(quote, ceiling=quote.ceiling + more).bound(quote.least)
        within_request(limits, exchange, floor, floor)
        attempt = Attempt(f"at-{secrets.token_hex(12)}", shaped.deployment.id, "", "", "wire", now, "")
        row = _row(exchange, attempt, shaped, scopes, floor, now)
        if await self.book(exchange, row, floor) is not None:
            exchange.held = row.attempt

    def let_go(self, exchange: Exchange) -> None:
        """Give back what was held for this exchange's next round. Idempotent."""
        whole = exchange.of or exchange
        if whole.held is not None:
            self.release(whole.held)
            whole.held = None

    def scopes(
        self, exchange: Exchange, place: Mapping[Scope, str], now: float
    ) -> tuple[tuple[Limit, ...], tuple[Charge, ...]]:
        """The limits that hold for whoever asks and this model and provider, and what counts against them."""
        who = exchange.principal
        values: dict[Scope, str] = {"user": who.user, "team": who.team, "key": who.name}
        return self._counted({**values, **place}, now, who.grant.limits)

    async def book(self, exchange: Exchange, row: Row, floor: int) -> Granted | None:
        """Write a reservation into the ledger; None where it is away, and may be. Raises `BudgetExceeded` and
        `StoreUnavailable`, with nothing reserved."""
        try:
            answer = await self._ledger.reserve(row, floor)
        except asyncio.CancelledError:
            self.release(row.attempt)  # it may have been written
            raise
        except StoreUnavailable as problem:
            if self._needs_ledger:
                raise
            log.error("%s is served without a row, and counts against nothing: %s", exchange.id, problem)
            exchange.warnings.append("the ledger is away: this request is not recorded")
            self.release(row.attempt)
            return None
        if isinstance(answer, Refused):
            raise self._refusal(answer, floor, row.opened)
        return answer

    def _check_trusted(self, deployment: Deployment, limits: tuple[Limit, ...]) -> None:
        enforced = next((limit.id for limit in limits if limit.enforced), None)
        if enforced is not None and deployment.id in self._exceeded:
            text = f"{deployment.id} has cost more than its bound, so limit {enforced} cannot rest on its price"
            raise BudgetExceeded(f"{text}; write the right one, and start anew", limit=enforced, elsewhere=True)

    def settle(
        self,
        attempt: Attempt,
        deployment: Deployment,
        usage: Json | None,
        failure: AttemptFailed | None,
        streamed: int = 0,
    ) -> None:
        """Replace the reservation by what the attempt really cost. Cannot be cancelled, and never waits.

        `streamed` is how many tokens came at most, where we ended the stream ourselves.
        """
        price, counted, ended = deployment.price, normalise(usage), self._clock()
        true_cost, reported = _true_cost(price and price.at(attempt.started, ended), counted, attempt.terms)
        dearest = price and surcharged(price, attempt.terms.values())
        quote = Quote(dearest, attempt.ceiling, choices=1, least=0, fees=attempt.fees)
        cost, mark = settled(
            reached=failure.reached if failure else None,
            true_cost=true_cost,
            reported=reported,
            granted=attempt.granted,
            priced=price is not None,
            doubt={"bound": attempt.granted, "input": quote.input_bound, "zero": 0}[deployment.doubt],
            streamed=quote.streamed(streamed),
        )
        attempt.usage, attempt.ended, attempt.cost, attempt.mark = counted, ended, cost, mark
        if failure is not None:
            attempt.category, attempt.reached = failure.category, failure.reached
            attempt.detail, attempt.status = failure.detail, failure.status
        if price is not None and (cost or 0) > attempt.granted:
            self._exceeded.add(attempt.deployment)
            log.error("%s cost %s usd, above its bound of %s", attempt.id, usd(cost or 0), usd(attempt.granted))
        if attempt.recorded:
            outcome = attempt.category.value if attempt.category else "answered"
            tokens = None if counted is None else {name: getattr(counted, name) for name in _COUNTED}
            self._ledger.settle(Settlement(attempt.id, cost, mark, outcome, ended, tokens, usage, attempt.cap))

    def _refusal(self, refused: Refused, floor: int, now: float) -> BudgetExceeded:
        charge = refused.charge
        end = renews(self._budgets, charge.limit, now)
        return BudgetExceeded(
            f"limit {charge.limit} ({charge.scope}, {charge.window}) has {usd(max(0, refused.left))} of "
            f"{usd(charge.cap)} usd left, this request can cost {usd(floor)} usd"
            + (f"; it renews at {end}" if end else "; it does not renew"),
            limit=charge.limit,
            elsewhere=self._budgets.limit(charge.limit).elsewhere,
        )

    def record(self, settlement: Settlement) -> None:
        """Settle a row that was booked. Never waits."""
        self._ledger.settle(settlement)

    def release(self, row: str) -> None:
        """Take a reservation back: nothing was sent."""
        with suppress(StoreUnavailable):
            self._ledger.settle(Settlement(row, 0, Mark.ZERO, "not_sent", self._clock()))


def _place(deployment: Deployment) -> dict[Scope, str]:
    return {"model": deployment.model, "provider": deployment.provider}


def within_request(limits: tuple[Limit, ...], exchange: Exchange, most: int, floor: int) -> int:
    """What the limits of one request leave of `most`, after its attempts so far. Raises `BudgetExceeded`."""
    spent = exchange.spent
    tightest = room(limits, spent)
    if tightest is None or tightest[1] >= most:
        return most
    limit, left = tightest
    if left < floor:
        needs = usd(spent + floor)
        text = f"limit {limit.id} allows {usd(limit.cap)} usd for one request, this one can cost {needs} usd"
        raise BudgetExceeded(text, limit=limit.id)
    return left


def _capped(exchange: Exchange, attempt: Attempt, shaped: Shaped) -> Shaped:
    """The request with the output cap that it asks for, or the default. Embeddings have none."""
    if shaped.api == "embeddings":
        return shaped
    cap = shaped.requested_cap or default_cap(shaped)
    attempt.cap = cap
    attempt.cap_origin = "client" if any(exchange.call.body.get(name) for name in CAPS) else "default"
    return shaped.with_cap(cap)


def _granted(attempt: Attempt, shaped: Shaped, quote: Quote) -> Shaped:
    """The request with the cap that was granted. The bound was taken of this very body, or is taken anew."""
    cap = shaped.cap or 0
    affordable = quote.affordable(cap, attempt.granted)
    if affordable == cap:
        return shaped
    attempt.cap, attempt.cap_origin = affordable, "clamped"
    shaped = shaped.with_cap(affordable)
    anew = replace(quote, ceiling=max(quote.ceiling, input_ceiling(shaped) or 0))
    if anew.bound(affordable) > attempt.granted:
        raise AssertionError("the request that would leave is dearer than what was reserved for it")
    return shaped


def _row(
    exchange: Exchange, attempt: Attempt, shaped: Shaped, scopes: tuple[Charge, ...], most: int, now: float
) -> Row:
    deployment, exposure = shaped.deployment, exchange.exposure
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
        team=exchange.principal.team,
        model_name=deployment.model,
        experiment=exposure.experiment if exposure else "",
        arm=exposure.arm if exposure else "",
        unit=exposure.unit if exposure else "",
    )


def _true_cost(price: Price | None, usage: Usage | None, asked: Mapping[str, str]) -> tuple[int | None, bool]:
    """(cost, whether the provider named it); None where neither usage nor the provider tells.

    A zero that a provider reports for a paid model is no figure, and no prompt has no tokens. The reply's own word on
    its service tier, place and speed counts; where it has none, what the request `asked` for.
    """
    paid = price is not None and not price.free
    if usage is not None and usage.reported_cost is not None and (usage.reported_cost or not paid):
        return usage.reported_cost, True
    if price is None:
        return None, False
    if not paid:
        return 0, False
    if usage is None or not usage.input:
        return None, False
    return cost_of(price, usage, {**asked, **dict(usage.terms)}.values()), False
