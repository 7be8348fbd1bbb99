"""Tells once what is worth telling about a limit: a line in the log `scribe_router.alerts`, and a post to a webhook.

It is the ledger as attempts use it, and notes in passing which counters changed. A task looks at those every few
seconds, so no request waits for it. Of all processes that share a ledger one tells: who leaves its note there first.
"""

import asyncio
import json
import logging
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress

from scribe_router.counters import Charge
from scribe_router.exchange import Json
from scribe_router.money import usd
from scribe_router.policies.alerts import Alert, Standing, due
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.reports.spend import standings
from scribe_router.stores.contract import Counter, Granted, Ledger, Refused, Row, Settlement, StoreUnavailable
from scribe_router.upstream.webhook import Webhook

log = logging.getLogger("scribe_router.alerts")
EVERY = 10.0
CLOSING = 5.0
REMEMBERED = 10_000
Detail = tuple[tuple[str, str], ...]


class Alerts:
    """Reserves and settles as the ledger does, from any thread; between `start` and `aclose` it also tells."""

    def __init__(self, ledger: Ledger, budgets: BudgetsPolicy, clock: Callable[[], float]) -> None:
        self._ledger, self._budgets, self._clock = ledger, budgets, clock
        self._limits = {limit.id: limit for limit in budgets.limits}
        self._webhook = Webhook(budgets.webhook.get_secret_value()) if budgets.webhook else None
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Row, int]] = {}
        self._touched: set[str] = set()
        self._refused: dict[str, Alert] = {}
        self._dearer: dict[Charge, Detail] = {}
        self._told: set[str] = set()
        self._asking: dict[str, str] = {}
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- the ledger as attempts use it

    async def reserve(self, row: Row, floor: int) -> Granted | Refused:
        """As `Ledger.reserve`."""
        answer = await self._ledger.reserve(row, floor)
        if isinstance(answer, Granted):
            self._open[row.attempt] = row, answer.amount
        elif self._task is not None:
            alert = Alert("refused", self._standing(answer.charge, answer.settled, answer.reserved))
            with self._lock:
                self._refused.setdefault(alert.key, alert)
        return answer

    def settle(self, settlement: Settlement) -> None:
        """As `Ledger.settle`."""
        self._ledger.settle(settlement)
        found = self._open.pop(settlement.attempt, None)
        if found is None or self._task is None:
            return
        row, granted = found
        cost = settlement.cost or 0
        detail = (("attempt", row.attempt), ("deployment", row.deployment), ("bound_usd", usd(granted)))
        with self._lock:
            self._touched.update(charge.counter for charge in row.charges)
            if cost > granted:
                self._dearer.update((charge, (*detail, ("cost_usd", usd(cost)))) for charge in row.charges)

    # -- telling

    def start(self, every: float = EVERY) -> None:
        """Look every `every` seconds, in a task of the running loop. `aclose` belongs into the same loop."""
        if self._task is None and self._budgets.limits:
            self._task = asyncio.get_running_loop().create_task(self._watch(every))

    async def aclose(self) -> None:
        """Look a last time and post what waits, for some seconds at most. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            self._stop.set()
            await asyncio.wait({task}, timeout=CLOSING)
            if not task.done():
                log.error("the last look at the limits took too long; what is due may not be told")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._webhook is not None:
            await self._webhook.aclose(CLOSING)

    async def _watch(self, every: float) -> None:
        last = False
        while not last:
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    last = await self._stop.wait()
            try:
                await self._look()
            except Exception:  # the next look is another chance
                log.exception("the limits could not be looked at")

    async def _look(self) -> None:
        """Tell what is due of what changed since the last look. What the store cannot answer now waits for the next."""
        with self._lock:
            touched, self._touched = self._touched, set()
            refused, self._refused = self._refused, {}
            dearer, self._dearer = self._dearer, {}
        if not touched and not refused:
            return
        try:
            counters = await self._ledger.counters(touched)
            for alert in (*self._exceeded(dearer, counters), *self._due(counters), *refused.values()):
                await self._tell(alert)
        except StoreUnavailable as problem:
            log.warning("alerts wait for the ledger: %s", problem)
            with self._lock:
                self._touched |= touched
                self._refused = refused | self._refused
                self._dearer = dearer | self._dearer

    def _exceeded(self, dearer: dict[Charge, Detail], counters: dict[str, Counter]) -> list[Alert]:
        found = [(charge, counters.get(charge.counter), detail) for charge, detail in dearer.items()]
        return [
            Alert("exceeded", self._standing(charge, counter.settled, counter.reserved), detail=detail)
            for charge, counter, detail in found
            if counter is not None
        ]

    def _due(self, counters: dict[str, Counter]) -> list[Alert]:
        found = standings(self._budgets, counters.values(), self._clock())
        return [alert for standing in found for alert in due(standing, self._limits[standing.limit].shares)]

    async def _tell(self, alert: Alert) -> None:
        if alert.key in self._told:
            return
        mine = self._asking.setdefault(alert.key, secrets.token_hex(8))  # kept until the ledger has answered
        if await self._ledger.note(f"alert|{alert.key}", mine):
            self._say(alert.payload(self._clock()))
        del self._asking[alert.key]
        if len(self._told) >= REMEMBERED:
            self._told.clear()  # the notes in the ledger still know
        self._told.add(alert.key)

    def _say(self, payload: Json) -> None:
        log.warning("%s", json.dumps(payload))
        if self._webhook is not None:
            self._webhook.post(payload)

    def _standing(self, charge: Charge, settled: int, reserved: int) -> Standing:
        cap = self._limits[charge.limit].cap
        return Standing(charge.limit, charge.scope, charge.window, cap, settled, reserved)
