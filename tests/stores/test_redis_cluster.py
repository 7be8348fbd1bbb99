"""The shared ledger on a Redis Cluster: it never overspends, and what was refused for a moment fits soon after."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from redis.crc import key_slot

from scribe_router.stores.contract import Counter, Granted, StoreUnavailable
from scribe_router.stores.redis import SHARDS, RedisLedger
from scribe_router.stores.redis_calls import Call
from scribe_router.stores.redis_cluster import SLOTS, spread
from scribe_router.stores.redis_link import Waiting
from scribe_router.stores.redis_reports import Reports
from tests.stores.ledger_rows import charge, row, settlement
from tests.stores.redis_servers import Server, cluster, tell, wait_until

OpenShared = Callable[[str], RedisLedger]
TEAM, USER = charge("team", 100), charge("user", 60)


@pytest.fixture
def masters() -> Iterator[list[Server]]:
    """A cluster of the test's own, to be broken."""
    with cluster() as servers:
        yield servers


def url_of(servers: list[Server]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)


def test_the_shards_are_spread_evenly() -> None:
    slots = sorted(key_slot(f"scribe:{{{tag}}}:epoch".encode()) for tag in spread(SHARDS))
    assert [slot * SHARDS // SLOTS for slot in slots] == list(range(SHARDS))


async def test_many_at_once_never_overspend(cluster_url: str, open_shared: OpenShared) -> None:
    """Three processes' worth of callers in opposite orders; what is spent is looked at all the time."""
    ledgers = [open_shared(cluster_url) for _ in range(3)]
    over: list[Counter] = []

    async def watch() -> None:
        while True:
            counters = await ledgers[0].counters()
            over.extend(each for each in counters.values() if each.settled + each.reserved > 100)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    asked = [
        ledgers[number % 3].reserve(row(f"a{number}", 1, *([TEAM, USER][:: 1 if number % 2 else -1])), 1)
        for number in range(300)
    ]
    answers = await asyncio.gather(*asked)
    watching.cancel()

    assert over == []
    assert 59 <= sum(isinstance(answer, Granted) for answer in answers) <= 60
    assert await ledgers[0].check() == []


async def test_what_was_refused_for_a_moment_fits_soon(cluster_url: str, open_shared: OpenShared) -> None:
    """Whoever is refused by the second scope gives back the first; nobody is kept out for long by that."""
    ledgers = [open_shared(cluster_url) for _ in range(2)]
    await ledgers[0].reserve(row("full", 60, USER), 60)
    losing = [ledgers[0].reserve(row(f"loses-{number}", 20, TEAM, USER), 20) for number in range(50)]
    await asyncio.gather(*losing)
    ended = time.monotonic()
    while not isinstance(await ledgers[1].reserve(row(uuid.uuid4().hex, 100, TEAM), 100), Granted):
        assert time.monotonic() - ended < 2.0
    assert await ledgers[0].check() == []


async def test_one_url_is_not_enough_for_a_cluster(redis_masters: list[Server], open_shared: OpenShared) -> None:
    ledgers = [open_shared(server.url) for server in redis_masters]
    problems = await asyncio.gather(*(ledger.flush() for ledger in ledgers), return_exceptions=True)
    told = [str(problem) for problem in problems if problem is not None]
    assert len(told) == 2
    assert all("it is a cluster; name it redis+cluster://" in each for each in told)


async def granted(ledger: RedisLedger, attempt: str) -> bool:
    try:
        return isinstance(await ledger.reserve(row(attempt, 1, charge("wide", 10_000)), 1), Granted)
    except StoreUnavailable:
        return False


async def test_a_master_is_killed_and_comes_back(masters: list[Server]) -> None:
    """What needs it is refused within the deadline, everything else is served; nothing stays half done."""
    ledger = RedisLedger(url_of(masters), deadline=0.5)
    try:
        assert all([await granted(ledger, f"a{number}") for number in range(20)])
        masters[1].kill()
        served = [await granted(ledger, f"b{number}") for number in range(60)]
        for number in range(20):
            ledger.settle(settlement(f"a{number}", 1))
        masters[1].start()
        wait_until(lambda: "cluster_state:ok" in str(tell(masters[1], "CLUSTER", "INFO")), "no cluster")
        until = time.monotonic() + 10.0
        while not await granted(ledger, uuid.uuid4().hex):
            assert time.monotonic() < until
        await ledger.flush()
        assert await ledger.check() == []
        counter = (await ledger.counters())[charge("wide", 10_000).counter]
        assert counter == Counter(counter.name, settled=20, reserved=sum(served) + 1)
    finally:
        ledger.close()


async def test_a_master_that_comes_back_empty_is_noticed(masters: list[Server]) -> None:
    """Even by who has never seen the ledger: a part of it is there."""
    ledger = RedisLedger(url_of(masters), deadline=5.0, lease=0.5)
    try:
        for number in range(20):
            await ledger.reserve(row(f"a{number}", 1, TEAM, USER), 1)
        tell(masters[2], "FLUSHALL")
        await asyncio.sleep(0.3)
        await assert_refused(ledger)
        ledger.close()
        ledger = RedisLedger(url_of(masters), deadline=5.0)
        await assert_refused(ledger)

        await ledger.rebuild()

        assert await ledger.check() == []
        assert isinstance(await ledger.reserve(row("after", 1, TEAM, USER), 1), Granted)
    finally:
        ledger.close()


async def assert_refused(ledger: RedisLedger) -> None:
    for _ in range(10):
        with pytest.raises(StoreUnavailable, match="emptied"):
            await ledger.reserve(row(uuid.uuid4().hex, 1, TEAM, USER), 1)


async def test_slots_move_while_it_works(masters: list[Server]) -> None:
    """Some are refused while a slot is on its way; nothing is lost and nothing is counted twice."""
    ledger = RedisLedger(url_of(masters), deadline=0.5)
    try:
        served = [await granted(ledger, f"a{number}") for number in range(200)]
        assert all(served)
        working = True

        async def work() -> None:
            number = 0
            while working:
                number += 1
                served.append(await granted(ledger, f"b{number}"))
                ledger.settle(settlement(f"b{number}", 0))

        task = asyncio.create_task(work())
        for tag in spread(SHARDS)[:6]:
            await asyncio.to_thread(move_slot, masters, key_slot(tag.encode()))
        working = False
        await task
        until = time.monotonic() + 5.0
        while not await granted(ledger, uuid.uuid4().hex):
            assert time.monotonic() < until
        await ledger.flush()
        assert await ledger.check() == []
        assert (await ledger.counters())[charge("wide", 10_000).counter].reserved == 201
    finally:
        ledger.close()


def move_slot(masters: list[Server], slot: int) -> None:
    """From the first master to the last, key by key, as an operator's tool does."""
    names = [tell(server, "CLUSTER", "MYID") for server in masters]
    tell(masters[-1], "CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
    tell(masters[0], "CLUSTER", "SETSLOT", slot, "MIGRATING", names[-1])
    while keys := tell(masters[0], "CLUSTER", "GETKEYSINSLOT", slot, 3):
        tell(masters[0], "MIGRATE", "127.0.0.1", masters[-1].port, "", 0, 5000, "KEYS", *keys)
    for server in (masters[-1], masters[0], *masters[1:-1]):
        tell(server, "CLUSTER", "SETSLOT", slot, "NODE", names[-1])


async def test_an_attempt_that_is_on_its_way_is_left_alone(
    cluster_url: str, redis_masters: list[Server], open_shared: OpenShared
) -> None:
    ledgers = [open_shared(cluster_url) for _ in range(2)]
    answers = await asyncio.gather(
        *(ledgers[number % 2].reserve(row("same", 1, TEAM, USER), 1) for number in range(6)), return_exceptions=True
    )
    assert Granted(1) in answers
    assert {str(each).rpartition(": ")[2] for each in answers} <= {
        "Granted(amount=1)",
        "attempt same is being reserved; use another attempt",
    }
    counters = await ledgers[0].counters()
    assert {each.reserved for each in counters.values()} == {1}
    assert await ledgers[0].check() == []


async def test_a_walk_that_meets_its_own_end_is_undone(cluster_url: str, open_shared: OpenShared) -> None:
    """One counter knows the attempt as given back, the row no longer does."""
    ledger = open_shared(cluster_url)
    await ledger.reserve(row("other", 1, TEAM, USER), 1)
    reports = Reports(ledger._link(waiting=Waiting(1.0), writes=False), ledger._shards)
    for counter in (TEAM.counter, USER.counter):
        entries = reports.places.entries(counter)
        reports.ask([Call(entries, ("HDEL", entries, "one")), Call(entries, ("HSET", entries, "two", "9 0 0"))])
    entries = reports.places.entries(max(TEAM.counter, USER.counter))
    reports.ask([Call(entries, ("HSET", entries, "one", "9 0 0"))])
    reports.link.close()

    for attempt in ("one", "two"):
        with pytest.raises(StoreUnavailable, match="was given back before it could be reserved"):
            await ledger.reserve(row(attempt, 1, TEAM, USER), 1)

    await ledger.flush()
    assert {each.reserved for each in (await ledger.counters()).values()} == {1}
    assert await ledger.check() == []
