"""What the ledger costs beside a bare forward, in processor time: `python bench/ledger.py [--quick]`.

One process, 32 in flight, SQLite, eight scopes for each attempt, the sandbox in a process of its own. In turns:

- lane:   the shaped request through the wire lane to the sandbox, and its answer read: no plan, no attempt loop
- bare:   the router's whole path to the sandbox, without limits, and a ledger that grants everything, writes nothing
- ledger: `reserve` and `settle` alone, with what they count against
- router: the router's whole path with eight limits and the SQLite ledger

Time is user and system time of all threads. Exits with 1 when the ledger alone costs more than 0.6 of the bare forward
of the same run. What it adds to the router's path is more, once to twice that: working out the limits, smaller
transactions, two threads that take turns at the interpreter. It is printed and not judged.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from _forward import BODY, IN_FLIGHT, Free, Work, configure, measured, model, sandbox

from scribe_router import Router
from scribe_router.exchange import Call, CallOptions, Mark
from scribe_router.policies.budgets import BudgetsPolicy, counting
from scribe_router.stores.contract import Row, Settlement
from scribe_router.stores.sqlite import SqliteLedger
from scribe_router.upstream.shape import shape
from scribe_router.upstream.wire import WireLane

MOST = 0.6
SCOPES = ["user", "team", "key", "model", "provider", "all", ["user", "model"], ["team", "provider"]]
USAGE = {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}


@asynccontextmanager
async def works(folder: Path, base: str) -> AsyncIterator[dict[str, Work]]:
    """What is measured, by name."""
    limits = [
        {"id": f"limit-{number}", "scope": scope, "window": "month", "usd": 1_000_000}
        for number, scope in enumerate(SCOPES)
    ]
    config = configure(folder / "router", {"model_list": [model("m", base)]}, {"budgets": {"limits": limits}})
    router = Router.from_yaml(config)
    unlimited = replace(router.registry, budgets=BudgetsPolicy())
    free = Router(unlimited, ledger=Free(folder / "free.sqlite3"))
    wire, alone = WireLane(), SqliteLedger(folder / "alone.sqlite3")
    (deployment,) = router.registry.deployments.values()
    call, numbers = Call("chat", BODY, CallOptions(team="t")), itertools.count()
    counted = counting(router.registry.budgets)
    values = {"user": "u", "team": "t", "key": "k", "model": "m", "provider": "openai"}

    async def forward() -> None:
        await wire.call(shape(call, deployment).with_cap(100))

    async def ledger() -> None:
        attempt, now = f"at-{next(numbers):024}", time.time()
        _, scopes = counted(values, now, ())
        price = deployment.price.to_row() if deployment.price else {}
        of = (attempt, "ex", "k", "u", "openai/echo", "m", "openai", "wire", now)
        await alone.reserve(Row(*of, bound=1_000_000, charges=scopes, price=price, cap=100), 1_000_000)
        alone.settle(Settlement(attempt, 1000, Mark.COMPUTED, "answered", now, USAGE, USAGE, 100))

    try:
        yield {
            "lane": forward,
            "bare": lambda: free.serve(call),
            "ledger": ledger,
            "router": lambda: router.serve(call),
        }
    finally:
        assert len(await alone.counters()) == len(SCOPES)
        for each in (router, free):
            await each.aclose()
        await wire.aclose()
        alone.close()


async def costs(rounds: int, calls: int) -> dict[str, float]:
    with sandbox() as base, tempfile.TemporaryDirectory() as folder:
        async with works(Path(folder), base) as each:
            found = await measured(each, rounds, calls)
    return {name: median(costs) for name, costs in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds, calls = (5, 500) if parser.parse_args().quick else (15, 1000)
    cost = asyncio.run(costs(rounds, calls))
    added = cost["router"] - cost["bare"]
    lines = {
        "wire lane alone": cost["lane"],
        "bare forward": cost["bare"],
        "ledger alone": cost["ledger"],
        "router with 8 limits": cost["router"],
        "what they add": added,
    }
    print(f"processor time of one call, {IN_FLIGHT} in flight, median of {rounds} rounds of {calls} calls\n")
    for name, microseconds in lines.items():
        print(f"{name:<22}{microseconds:8.0f} us{microseconds / cost['bare']:8.2f} x the bare forward")
    return int(cost["ledger"] > MOST * cost["bare"])


if __name__ == "__main__":
    sys.exit(main())
