"""Several processes on one file: exact together, and exact when one of them dies."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from scribe_router.exchange import Mark
from scribe_router.stores.contract import Counter
from scribe_router.stores.sqlite import SqliteLedger
from tests.stores.ledger_processes import finish, hear, running, say, start
from tests.stores.ledger_programs import TOTAL
from tests.stores.ledger_rows import settlement


@pytest.mark.parametrize("ends", ["reserve", pytest.param("settle", marks=pytest.mark.slow)])
async def test_processes_share_a_cap_exactly(path: Path, ledger: SqliteLedger, ends: str) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(running("hammer", path, f"w{n}", 600, ends)) for n in range(4)]
        for worker, line in workers:
            assert line == "ready"
            say(worker, "go")
        granted = [int(hear(worker)) for worker, _ in workers]
        counter = (await ledger.counters())[TOTAL.counter]
        rows = await ledger.rows(limit=5000)
        for worker, _ in workers:
            say(worker, "end")
            finish(worker)

    assert sum(granted) == len(rows)
    if ends == "reserve":
        assert counter == Counter(TOTAL.counter, settled=0, reserved=TOTAL.cap), "refused only if it does not fit"
        assert sum(granted) == TOTAL.cap
    else:
        assert counter.settled + counter.reserved <= TOTAL.cap < sum(granted)
    assert await ledger.check() == []


async def test_a_killed_process_is_swept_and_truth_replaces_it(path: Path, ledger: SqliteLedger) -> None:
    with running("hold", path, 5) as (process, line):
        assert line == "holding"
        assert await ledger.sweep() == 0, "a living owner is never swept"
        assert (await ledger.counters())[TOTAL.counter] == Counter(TOTAL.counter, settled=0, reserved=50)
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert await ledger.sweep() == 5
    assert await ledger.sweep() == 0
    assert (await ledger.counters())[TOTAL.counter] == Counter(TOTAL.counter, settled=50, reserved=0)
    found = (await ledger.rows())[0]
    assert (found["mark"], found["outcome"], found["provisional"]) == (Mark.SWEPT, "crashed", True)
    assert (found["cost"], found["closed"]) == (10, 3000.0)

    ledger.settle(settlement("held-4", 2))
    assert (await ledger.counters())[TOTAL.counter] == Counter(TOTAL.counter, settled=42, reserved=0)
    assert len(list(path.with_name("ledger.db.owners").iterdir())) == 1
    assert await ledger.check() == []


async def test_opening_sweeps(path: Path, ledger: SqliteLedger) -> None:
    with running("hold", path, 3):
        pass
    assert (await ledger.counters())[TOTAL.counter] == Counter(TOTAL.counter, settled=30, reserved=0)


async def test_two_sweepers_count_once(path: Path) -> None:
    with running("hold", path, 50):
        pass
    ledgers = [SqliteLedger(path), SqliteLedger(path)]
    for ledger in ledgers:
        ledger.settle(settlement("unknown", 0))
    for ledger in ledgers:
        assert (await ledger.counters())[TOTAL.counter] == Counter(TOTAL.counter, settled=500, reserved=0)
        assert await ledger.check() == []
    for ledger in ledgers:
        ledger.close()


async def test_nothing_settled_is_lost_at_a_normal_end(path: Path, ledger: SqliteLedger) -> None:
    finish(start("leave", path, 100))

    assert {(each["cost"], each["mark"]) for each in await ledger.rows()} == {(3, Mark.COMPUTED)}
    assert (await ledger.counters())[TOTAL.counter] == Counter(TOTAL.counter, settled=300, reserved=0)


async def test_a_fork_is_refused_and_harmless(path: Path, ledger: SqliteLedger) -> None:
    with running("fork", path) as (process, refused):
        assert "opened before a fork" in refused
        assert hear(process) == "[] 1"
        assert await ledger.sweep() == 0, "the child's end did not give the parent's lock away"
    assert await ledger.sweep() == 2


async def test_an_orphan_does_not_keep_its_parent_alive(path: Path, ledger: SqliteLedger) -> None:
    with running("orphan", path) as (process, child):
        process.kill()
        process.wait()
        try:
            assert (await ledger.counters())[TOTAL.counter] == Counter(TOTAL.counter, settled=10, reserved=0)
        finally:
            os.kill(int(child), signal.SIGKILL)


async def test_a_ledger_may_be_built_before_a_fork(path: Path, ledger: SqliteLedger) -> None:
    finish(start("built", path))
    assert (await ledger.counters())[TOTAL.counter] == Counter(TOTAL.counter, settled=4, reserved=0)
