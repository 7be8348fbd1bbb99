"""Rows, charges and settlements for the tests of the stores, with every field that does not matter filled in."""

import asyncio
import uuid
from typing import Any

from scribe_router.counters import Charge
from scribe_router.exchange import Mark
from scribe_router.stores.contract import Granted, Ledger, Row, Settlement, StoreUnavailable

DAY = Charge(limit="team", scope="blue", window="2030-01-01", cap=100)


def charge(limit: str, cap: int) -> Charge:
    return Charge(limit=limit, scope="all", window="2030-01", cap=cap)


def row(attempt: str, bound: int = 10, *charges: Charge, exchange: str = "x1", **price: Any) -> Row:
    return Row(
        attempt=attempt,
        exchange=exchange,
        principal="local",
        user="ann",
        model="small",
        deployment="small-eu",
        provider="sandbox",
        lane="wire",
        opened=1000.0,
        bound=bound,
        charges=charges,
        price=price,
        cap=64,
    )


def settlement(attempt: str, cost: int | None, mark: Mark = Mark.COMPUTED, **usage: Any) -> Settlement:
    return Settlement(attempt, cost, mark, "ok", 2000.0, usage=usage or None, raw_usage=usage or None)


async def until_granted(ledger: Ledger, amount: int = 1) -> str:
    """Reserve, again and again for a while, until the store is there; the attempt that was granted."""
    for _ in range(200):
        attempt = uuid.uuid4().hex
        try:
            assert await ledger.reserve(row(attempt, amount, DAY), amount) == Granted(amount)
        except StoreUnavailable:
            await asyncio.sleep(0.02)
        else:
            return attempt
    raise AssertionError("the store did not come back")
