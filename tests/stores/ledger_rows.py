"""Rows, charges and settlements for the tests of the stores, with every field that does not matter filled in."""

from typing import Any

from scribe_router.exchange import Charge, Mark
from scribe_router.stores.contract import Row, Settlement

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
