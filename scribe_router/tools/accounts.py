"""What calls of MCP tools may cost and did cost: a row of the ledger for each, reserved before it runs.

Knows prices, limits and the ledger; nothing of sessions, nor of what a model said.
"""

import logging
import secrets
from collections.abc import Callable, Sequence

from scribe_router.accounts import Accounts, within_request
from scribe_router.errors import BudgetExceeded
from scribe_router.exchange import Exchange, ToolCall, ToolOutcome
from scribe_router.money import usd
from scribe_router.policies.mcp import BETWEEN, McpPolicy, settled
from scribe_router.stores.contract import Row, Settlement
from scribe_router.upstream.shape import Shaped

log = logging.getLogger("scribe_router.mcp")
PROVIDER = "mcp"  # of a tool, where a limit or a report asks for the provider


class ToolAccounts:
    """Reserves tools together with the round that will read what they say, and settles each."""

    def __init__(self, accounts: Accounts, policy: McpPolicy, clock: Callable[[], float]) -> None:
        self._accounts, self._policy, self._clock = accounts, policy, clock

    async def reserve(
        self, exchange: Exchange, calls: Sequence[ToolCall], following: Shaped | None = None, more: int = 0
    ) -> None:
        """Reserve the calls, and the least that the next round can cost, which is `following` with so many input tokens
        more. Raises `BudgetExceeded` and `StoreUnavailable`, with nothing reserved."""
        self._check_request(exchange, calls)
        booked: list[ToolCall] = []
        try:
            for call in calls:
                call.id = f"tc-{secrets.token_hex(12)}"
                call.recorded = self._policy.tracking and await self._book(exchange, call)
                booked.append(call)
                exchange.tools.append(call)
            if following is not None:
                await self._accounts.hold(exchange, following, more)
        except BaseException:
            for call in booked:
                exchange.tools.remove(call)
                if call.recorded:
                    self._accounts.release(call.id)
            raise

    async def _book(self, exchange: Exchange, call: ToolCall) -> bool:
        now, who, place = self._clock(), exchange.principal, f"{call.server}{BETWEEN}{call.tool}"
        limits, scopes = self._accounts.scopes(exchange, {"model": place, "provider": PROVIDER}, now)
        within_request(limits, exchange, call.fee, call.fee)
        row = Row(
            attempt=call.id,
            exchange=exchange.id,
            principal=who.name,
            user=who.user,
            model=f"{PROVIDER}/{place}",
            deployment=call.server,
            provider=PROVIDER,
            lane=PROVIDER,
            opened=now,
            bound=call.fee,
            charges=scopes,
            price={"usd_per_call": usd(call.fee), "arguments": call.arguments},
            team=who.team,
            model_name=place,
            tool=place,
        )
        return await self._accounts.book(exchange, row, call.fee) is not None

    def _check_request(self, exchange: Exchange, calls: Sequence[ToolCall]) -> None:
        """What the policy allows one request to spend on tools."""
        most = self._policy.cap
        if most is None:
            return
        so_far = sum(each.fee if each.cost is None else each.cost for each in exchange.tools)
        asked = sum(each.fee for each in calls)
        if so_far + asked > most:
            text = f"policies/mcp.yaml allows {usd(most)} usd of tools for one request, this one has used {usd(so_far)}"
            raise BudgetExceeded(f"{text} and needs {usd(asked)} more", limit=PROVIDER)

    def settle(self, call: ToolCall, outcome: ToolOutcome, reported: int | None) -> None:
        """Replace the reservation by what the call cost."""
        row = self._policy.servers[call.server]
        call.outcome, call.ended = outcome, self._clock()
        call.cost, call.mark = settled(row, call.fee, outcome, reported)
        call.reported = call.mark == "reported"
        if row.reported and reported is not None and reported > call.fee:
            log.error("%s reports %s usd, above its price of %s", call.function, usd(reported), usd(call.fee))
        said = {"reported_usd": usd(reported)} if reported is not None else {}
        raw = {"arguments": call.arguments, "price": "reported" if call.reported else "table", **said}
        if call.recorded:
            self._accounts.record(Settlement(call.id, call.cost, call.mark, outcome, call.ended, raw_usage=raw))
