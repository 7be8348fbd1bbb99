"""Several processes on one Redis, or on a cluster: together they never overspend, and one may die."""

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import cast

import pytest

from scribe_router.exchange import Mark
from scribe_router.stores.contract import Counter
from scribe_router.stores.redis import RedisLedger
from tests.stores.ledger_processes import finish, hear, running, say, start
from tests.stores.ledger_programs import TOTAL
from tests.stores.ledger_rows import settlement
from tests.stores.redis_servers import Server, tell

OpenShared = Callable[[str], RedisLedger]


@pytest.fixture(params=["redis", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    return cast("str", request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def servers(request: pytest.FixtureRequest, url: str) -> list[Server]:
    if "cluster" in url:
        return cast("list[Server]", request.getfixturevalue("redis_masters"))
    return [cast("Server", request.getfixturevalue("redis_server"))]


@pytest.fixture
def ledger(url: str, open_shared: OpenShared) -> RedisLedger:
    return open_shared(url)


@pytest.mark.parametrize("ends", ["reserve", pytest.param("settle", marks=pytest.mark.slow)])
async def test_processes_share_a_cap(url: str, ledger: RedisLedger, ends: str) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(running("hammer", url, f"w{n}", 600, ends)) for n in range(3)]
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
        assert counter == Counter(TOTAL.counter, settled=0, reserved=TOTAL.cap)
        assert sum(granted) == TOTAL.cap
    else:
        assert counter.settled + counter.reserved <= TOTAL.cap < sum(granted)
    assert await ledger.check() == []


async def test_a_killed_process_is_swept_and_truth_replaces_it(
    url: str, ledger: RedisLedger, servers: list[Server]
) -> None:
    with running("hold", url, 5) as (process, line):
        assert line == "holding"
        assert await ledger.sweep() == 0, "a living owner is never swept"
        assert (await ledger.counters())[TOTAL.counter] == Counter(TOTAL.counter, settled=0, reserved=50)
        process.send_signal(signal.SIGKILL)
        process.wait()

    owner = (await ledger.rows())[0]["owner"]
    for server in servers:
        for key in tell(server, "KEYS", "*owners"):
            tell(server, "ZADD", key, "XX", 0, owner)
    assert await ledger.sweep() == 5
    assert await ledger.sweep() == 0
    assert (await ledger.counters())[TOTAL.counter] == Counter(TOTAL.counter, settled=50, reserved=0)
    found = (await ledger.rows())[0]
    assert (found["mark"], found["outcome"], found["provisional"]) == (Mark.SWEPT, "crashed", True)
    assert (found["cost"], found["closed"]) == (10, 3000.0)

    ledger.settle(settlement("held-4", 2))
    assert (await ledger.counters())[TOTAL.counter] == Counter(TOTAL.counter, settled=42, reserved=0)
    assert await ledger.check() == []


async def test_nothing_settled_is_lost_at_a_normal_end(url: str, ledger: RedisLedger) -> None:
    finish(start("leave", url, 100))

    assert {(each["cost"], each["mark"]) for each in await ledger.rows()} == {(3, Mark.COMPUTED)}
    assert (await ledger.counters())[TOTAL.counter] == Counter(TOTAL.counter, settled=300, reserved=0)


async def test_who_ended_is_swept_at_once(url: str, ledger: RedisLedger, open_shared: OpenShared) -> None:
    other = open_shared(url)
    await other.flush()
    finish(start("built", url))
    finish(start("leave", url, 3))
    assert await ledger.sweep() == 0


async def test_a_fork_is_refused_and_harmless(url: str, ledger: RedisLedger) -> None:
    with running("fork", url) as (process, refused):
        assert "opened before a fork" in refused
        assert hear(process) == "[] 1"
        assert await ledger.sweep() == 0, "the child's end did not end its parent"


async def test_an_orphan_does_not_keep_its_parent_alive(url: str, ledger: RedisLedger, servers: list[Server]) -> None:
    """The heart beats in a thread, which a fork's child does not have."""
    with running("orphan", url) as (process, child):
        process.kill()
        process.wait()
        try:
            assert int(child) > 0
            assert len(await ledger.rows()) == 1
        finally:
            os.kill(int(child), signal.SIGKILL)
