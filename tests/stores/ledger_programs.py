"""Programs that the tests run as processes of their own: `python ledger_programs.py <name> <ledger> <arguments>`."""

import asyncio
import atexit
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from scribe_router.stores.contract import Granted, Ledger, StoreUnavailable
from scribe_router.stores.redis import RedisLedger
from scribe_router.stores.sqlite import SqliteLedger
from tests.stores.ledger_rows import charge, row, settlement

TOTAL = charge("total", 1000)


def opened(place: str) -> Ledger:
    """The ledger at a path or a URL; the deadline allows for a busy machine."""
    return RedisLedger(place, deadline=10.0) if "://" in place else SqliteLedger(Path(place))


async def hammer(place: str, name: str, calls: int, settle: bool) -> None:
    """When told to go, reserve `calls` times one nano-dollar with 16 in flight; say how many were granted."""
    ledger = opened(place)
    await ledger.flush()
    print("ready", flush=True)
    sys.stdin.readline()
    numbers = iter(range(calls))

    async def work() -> int:
        granted = 0
        for number in numbers:
            attempt = f"{name}-{number}"
            if isinstance(await ledger.reserve(row(attempt, 1, TOTAL), 1), Granted):
                granted += 1
                if settle:
                    ledger.settle(settlement(attempt, number % 2))
        return granted

    print(sum(await asyncio.gather(*(work() for _ in range(16)))), flush=True)
    sys.stdin.readline()
    ledger.close()


async def hold(place: str, count: int) -> None:
    """Reserve `count` times ten nano-dollars, say so, and live until killed."""
    ledger = opened(place)
    for number in range(count):
        await ledger.reserve(row(f"held-{number}", 10, TOTAL), 10)
    print("holding", flush=True)
    signal.pause()


async def leave(place: str, count: int) -> Ledger:
    """Settle and end at once, without `flush` or `close`; one settlement comes from an exit function."""
    ledger = opened(place)
    for number in range(count):
        await ledger.reserve(row(f"left-{number}", 10, TOTAL), 10)
    atexit.register(lambda: ledger.settle(settlement("left-0", 3)))
    for number in range(1, count):
        ledger.settle(settlement(f"left-{number}", 3))
    return ledger


def fork(place: str) -> None:
    """Use the ledger, fork, and use it again; the child must be refused, and its normal end must harm nobody."""
    ledger = opened(place)
    asyncio.run(ledger.reserve(row("before", 10, TOTAL), 10))
    child = os.fork()
    if child == 0:
        try:
            ledger.settle(settlement("before", 1))
        except StoreUnavailable as problem:
            print(problem, flush=True)
        ledger.close()
        sys.exit(0)
    os.waitpid(child, 0)
    asyncio.run(ledger.reserve(row("after", 10, TOTAL), 10))
    folder = Path(f"{place}.owners")
    owners = list(folder.iterdir()) if folder.exists() else ["one"]
    print(asyncio.run(ledger.check()), len(owners), flush=True)
    signal.pause()


def orphan(place: str) -> None:
    """Reserve, then leave a forked child behind that outlives its parent."""
    ledger = opened(place)
    asyncio.run(ledger.reserve(row("before", 10, TOTAL), 10))
    if os.fork() == 0:
        print(os.getpid(), flush=True)
    signal.pause()


def built(place: str) -> None:
    """Build the ledger, fork, and use it first in the child."""
    ledger = opened(place)
    if child := os.fork():
        os.waitpid(child, 0)
        return
    asyncio.run(ledger.reserve(row("child", 10, TOTAL), 10))
    ledger.settle(settlement("child", 4))


def main(name: str, place: str, *rest: str) -> object:
    programs: dict[str, Callable[[], object]] = {
        "hammer": lambda: asyncio.run(hammer(place, rest[0], int(rest[1]), rest[2] == "settle")),
        "hold": lambda: asyncio.run(hold(place, int(rest[0]))),
        "leave": lambda: asyncio.run(leave(place, int(rest[0]))),
        "fork": lambda: fork(place),
        "orphan": lambda: orphan(place),
        "built": lambda: built(place),
    }
    return programs[name]()


if __name__ == "__main__":
    kept = main(*sys.argv[1:])
