"""Counters are a cache of rows: what a row keeps of a charge, and how the two are compared."""

from collections.abc import Mapping
from typing import Any

from scribe_router.counters import Charge
from scribe_router.stores.contract import Counter

Sums = dict[str, tuple[int, int]]


def charge_dict(charge: Charge) -> dict[str, Any]:
    """A charge as its row keeps it, but for the amount."""
    kept = {"counter": charge.counter, "limit": charge.limit, "scope": charge.scope, "window": charge.window}
    return kept | {"cap": charge.cap}


def compared(counters: Mapping[str, Counter], sums: Sums) -> dict[str, tuple[tuple[int, int], str]]:
    """Where counters are not what the rows say, (settled, reserved): by how much, and a line that says so."""
    found = {}
    for name in sorted(counters.keys() | sums.keys()):
        counter, (settled, reserved) = counters.get(name, Counter(name, 0, 0)), sums.get(name, (0, 0))
        difference = (counter.settled - settled, counter.reserved - reserved)
        if difference != (0, 0):
            found[name] = (
                difference,
                (
                    f"{name}: counter says settled {counter.settled}, reserved {counter.reserved}; "
                    f"rows say settled {settled}, reserved {reserved}"
                ),
            )
    return found
