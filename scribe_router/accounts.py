"""What an attempt may cost and what it did cost: prices, limits and the ledger, joined around one upstream attempt.

Knows no wire format beyond the shaped body's size and its output cap, and nothing of HTTP.
"""

from collections.abc import Callable
from dataclasses import asdict

from scribe_router.errors import BudgetExceeded
from scribe_router.exchange import Attempt, AttemptFailed, Charge, Exchange, Json, usd
from scribe_router.policies.budgets import BudgetsPolicy, charges, renews
from scribe_router.policies.prices import Price, affordable_cap, bound, cost
from scribe_router.policies.settlement import settled
from scribe_router.policies.usage import normalise
from scribe_router.stores.contract import Ledger, Refused, Row, Settlement
from scribe_router.upstream.shape import Shaped, default_cap, input_ceiling


class Accounts:
    """Reserves before an attempt and settles after it, against one ledger."""

    def __init__(self, ledger: Ledger, budgets: BudgetsPolicy, clock: Callable[[], float]) -> None:
        self._ledger, self._budgets, self._clock = ledger, budgets, clock

    async def reserve(self, exchange: Exchange, attempt: Attempt, shaped: Shaped) -> Shaped:
        """Reserve the bound of this attempt and return the request with the output cap that the bound rests on.

        The cap is the client's, else the deployment's default, and smaller where only a smaller one can be paid.
        Raises `BudgetExceeded` and `StoreUnavailable`.
        """
        now = self._clock()
        scopes = charges(self._budgets, user=exchange.principal.user, now=now)
        shaped, least = self._capped(attempt, shaped)
        price, ceiling, cap = shaped.deployment.price, self._ceiling(shaped, scopes, least), shaped.cap or 0
        attempt.bound = bound(price, ceiling, cap, shaped.choices) if price else 0
        floor = bound(price, ceiling, least, shaped.choices) if price else 0
        answer = await self._ledger.reserve(self._row(exchange, attempt, shaped, scopes), floor)
        if isinstance(answer, Refused):
            raise _refusal(answer, floor, now)
        attempt.granted = answer.amount
        if price is not None and answer.amount < attempt.bound:
            cap = affordable_cap(price, ceiling, answer.amount, shaped.choices) or cap
            attempt.cap, attempt.cap_origin = cap, "clamped"
            shaped = shaped.with_cap(cap)
        if price is not None and bound(price, input_ceiling(shaped, cap) or 0, cap, shaped.choices) > attempt.granted:
            raise AssertionError("the request that would leave is dearer than what was reserved for it")
        return shaped

    def _capped(self, attempt: Attempt, shaped: Shaped) -> tuple[Shaped, int]:
        """The request with the cap it asks for (or the default), and the smallest cap that clamping may leave."""
        if shaped.api != "chat":
            return shaped, 0
        cap = shaped.requested_cap or default_cap(shaped)
        attempt.cap, attempt.cap_origin = cap, "client" if shaped.requested_cap else "default"
        least = min(cap, self._budgets.minimum_useful_output) if self._budgets.clamps else cap
        return shaped.with_cap(cap), least

    def _ceiling(self, shaped: Shaped, scopes: tuple[Charge, ...], least: int) -> int:
        price, ceiling = shaped.deployment.price, input_ceiling(shaped, least)
        if scopes and (price is None or (ceiling is None and not price.free)):
            what = "has no price" if price is None else "has no known window, and the request has content by reference"
            name = shaped.deployment.id
            raise BudgetExceeded(f"{name} {what}, so {scopes[0].limit} cannot bound its cost", limit=scopes[0].limit)
        return ceiling or 0

    def _row(self, exchange: Exchange, attempt: Attempt, shaped: Shaped, scopes: tuple[Charge, ...]) -> Row:
        price = shaped.deployment.price
        return Row(
            attempt=attempt.id,
            exchange=exchange.id,
            principal=exchange.principal.name,
            user=exchange.principal.user,
            model=shaped.deployment.litellm_model,
            deployment=shaped.deployment.id,
            provider=shaped.deployment.provider,
            lane=attempt.lane,
            opened=self._clock(),
            bound=attempt.bound,
            charges=scopes,
            price=price.to_row() if price else {},
            cap=shaped.cap,
        )

    def settle(self, attempt: Attempt, price: Price | None, usage: Json | None, failure: AttemptFailed | None) -> None:
        """Replace the reservation by what the attempt really cost. Cannot be cancelled, and never waits."""
        counted = normalise(usage)
        true_cost = None
        if counted is not None:
            true_cost = counted.reported_cost
            if true_cost is None and price is not None:
                true_cost = cost(price, counted)
        attempt.usage = counted
        attempt.ended = self._clock()
        if price is not None and price.free and true_cost is None:
            true_cost = 0
        attempt.cost, attempt.mark = settled(
            reached=failure.reached if failure else None,
            true_cost=true_cost,
            reported=counted is not None and counted.reported_cost is not None,
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
            )
        )


def _refusal(refused: Refused, floor: int, now: float) -> BudgetExceeded:
    charge = refused.charge
    return BudgetExceeded(
        f"limit {charge.limit} ({charge.scope}, {charge.window}) has {usd(max(0, refused.left))} of "
        f"{usd(charge.cap)} usd left, this request can cost {usd(floor)} usd; it renews at {renews(now)}",
        limit=charge.limit,
    )
