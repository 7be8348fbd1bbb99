"""The shared ledger on one Redis: what it demands of the server, and what it does when the server is not there."""

import asyncio
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from scribe_router.stores import redis_rounds
from scribe_router.stores.contract import Counter, Granted, Refused, StoreUnavailable
from scribe_router.stores.redis import RedisLedger
from tests.stores.ledger_rows import DAY, charge, row, settlement, until_granted
from tests.stores.redis_servers import Server, one_server, tell, wait_until

OpenShared = Callable[[str], RedisLedger]


@pytest.fixture
def ledger(server: Server) -> Iterator[RedisLedger]:
    """With the deadline that it has in use."""
    ledger = RedisLedger(server.url, clock=lambda: 3000.0)
    yield ledger
    ledger.close()


DEMANDS = [
    ("no append-only file", {"appendonly": "no"}, "appendonly is no, so it may lose what it acknowledged; set"),
    ("eviction", {"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy is allkeys-lru, so it may lose"),
]


async def test_it_refuses_a_server_that_does_not_tell(server: Server, ledger: RedisLedger) -> None:
    tell(server, "ACL", "SETUSER", "default", "-config")
    with pytest.raises(StoreUnavailable, match="cannot be read; allow CONFIG GET, or accept a loss"):
        await ledger.flush()


@pytest.mark.parametrize(("name", "options", "message"), DEMANDS, ids=[each[0] for each in DEMANDS])
async def test_it_refuses_a_server_that_may_forget(name: str, options: dict[str, str], message: str) -> None:
    with one_server(**options) as server:
        strict, lenient = RedisLedger(server.url), RedisLedger(server.url, accepted_loss=True, deadline=5.0)
        try:
            with pytest.raises(StoreUnavailable, match=message) as problem:
                await strict.flush()
            assert str(problem.value).startswith(f"ledger redis://127.0.0.1:{server.port}: ")
            assert await lenient.reserve(row("one"), 10) == Granted(10)
        finally:
            strict.close()
            lenient.close()


async def test_a_server_that_is_not_there(server: Server, ledger: RedisLedger) -> None:
    server.kill()
    began = time.monotonic()
    for number in range(20):
        with pytest.raises(StoreUnavailable, match=r"onnection refused|no answer"):
            await ledger.reserve(row(f"a{number}", 1, DAY), 1)
    assert time.monotonic() - began < 20 * 0.5, "each fails about the deadline"

    server.start()
    await until_granted(ledger)


async def test_a_killed_server_keeps_what_it_acknowledged(server: Server, ledger: RedisLedger) -> None:
    one, two = await until_granted(ledger, 10), await until_granted(ledger, 20)
    ledger.settle(settlement(one, 4))
    await ledger.flush()
    server.kill()
    ledger.settle(settlement(two, 5))
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(row("lost", 10, DAY), 10)
    server.start()

    await ledger.flush()
    assert await ledger.counters() == {DAY.counter: Counter(DAY.counter, settled=9, reserved=0)}
    assert await ledger.check() == []


LOST = "it was emptied, or came back without its last writes; nothing is reserved until its counters are rebuilt"


async def test_an_emptied_server_is_refused_until_rebuilt(server: Server, ledger: RedisLedger) -> None:
    await until_granted(ledger, 90)
    server.kill()
    server.empty()
    server.start()
    newcomer = RedisLedger(server.url, deadline=5.0)
    try:
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                await ledger.reserve(row(uuid.uuid4().hex, 1, DAY), 1)
        for refusing in (ledger, newcomer):
            with pytest.raises(StoreUnavailable, match=LOST):
                await refusing.flush()
            with pytest.raises(StoreUnavailable, match=LOST):
                await refusing.counters()

        assert await newcomer.rebuild() == []

        await until_granted(ledger, 7)
        assert await newcomer.reserve(row("newer", 5, DAY), 5) == Granted(5)
        assert await newcomer.counters() == {DAY.counter: Counter(DAY.counter, settled=0, reserved=12)}
    finally:
        newcomer.close()


async def test_a_server_begun_anew_by_others_is_refused(server: Server, ledger: RedisLedger) -> None:
    """A newcomer to an empty server cannot know, until somebody who does tells it."""
    await until_granted(ledger, 90)
    server.signal(signal.SIGSTOP)
    with pytest.raises(StoreUnavailable):
        await ledger.reserve(row("hangs", 1, DAY), 1)
    server.kill()
    server.empty()
    server.start()
    newcomer = RedisLedger(server.url, deadline=5.0)
    try:
        with suppress(StoreUnavailable):
            await newcomer.reserve(row("new", 5, DAY), 5)
        with pytest.raises(StoreUnavailable, match=LOST):
            await ledger.flush()
        with pytest.raises(StoreUnavailable, match=LOST):
            await newcomer.reserve(row("newer", 5, DAY), 5)
    finally:
        newcomer.close()


async def test_a_server_without_its_last_writes_is_refused(server: Server, ledger: RedisLedger) -> None:
    """Its log was cut: what it had acknowledged is gone, and its epoch is still there."""
    await until_granted(ledger, 10)
    wait_until(lambda: bool(logs_of(server)) and logs_of(server)[0].stat().st_size > 0, "no log")
    tell(server, "SAVE")
    kept = logs_of(server)[0].read_bytes()
    await until_granted(ledger, 20)
    server.kill()
    logs_of(server)[0].write_bytes(kept)
    server.start()

    with pytest.raises(StoreUnavailable, match=LOST):
        await ledger.flush()
    await ledger.rebuild()
    await ledger.flush()
    assert (await ledger.counters())[DAY.counter].reserved == 10


def logs_of(server: Server) -> list[Path]:
    """Its log, one file before Redis 7; none at the moment when another takes its place."""
    return [*server.folder.glob("appendonly.aof"), *server.folder.glob("appendonlydir/*.incr.aof")]


async def test_rebuilding_mends_counters_and_lets_everyone_go_on(
    redis_url: str, redis_server: Server, open_shared: OpenShared
) -> None:
    ledger, other = open_shared(redis_url), open_shared(redis_url)
    await ledger.reserve(row("one", 10, DAY), 10)
    await ledger.reserve(row("two", 20, DAY), 20)
    ledger.settle(settlement("one", 4))
    await ledger.flush()
    with redis_server.client() as client:
        client.hset(f"scribe:{{0}}:counter:{DAY.counter}", mapping={"settled": 1, "reserved": 99})
        client.hset("scribe:{0}:counter:ghost", "settled", 5)
        client.sadd("scribe:{0}:names", "ghost")

    wrong = [
        "ghost: counter says settled 5, reserved 0; rows say settled 0, reserved 0",
        f"{DAY.counter}: counter says settled 1, reserved 99; rows say settled 4, reserved 20",
    ]
    assert await ledger.check() == wrong
    assert await other.rebuild() == wrong
    assert await ledger.check() == []
    assert await ledger.reserve(row("three", 76, DAY), 76) == Granted(76)
    assert await other.reserve(row("four", 1, DAY), 1) == Refused(DAY, settled=4, reserved=96)


async def test_a_rebuild_that_was_cut_off(redis_url: str, redis_server: Server, open_shared: OpenShared) -> None:
    ledger = open_shared(redis_url)
    await ledger.reserve(row("one", 10, DAY), 10)
    tell(redis_server, "SET", "scribe:{0}:epoch", "rebuilding:x")
    with pytest.raises(StoreUnavailable, match="its counters are being rebuilt; if that was cut off, rebuild again"):
        await ledger.reserve(row("two", 10, DAY), 10)
    await ledger.rebuild()
    assert await ledger.reserve(row("three", 10, DAY), 10) == Granted(10)


async def test_a_server_that_hangs(server: Server, ledger: RedisLedger) -> None:
    """Whatever it makes later of what was sent to it, nothing stays reserved."""
    await until_granted(ledger, 3)
    server.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no answer within 50 ms"):
        await ledger.reserve(row("hangs", 10, DAY), 10)
    assert 0.04 < time.monotonic() - began < 0.5
    for number in range(10):
        with pytest.raises(StoreUnavailable):
            await ledger.reserve(row(f"hangs-{number}", 10, DAY), 10)
    await asyncio.sleep(0.5)
    server.signal(signal.SIGCONT)

    await until_granted(ledger, 4)
    await ledger.flush()
    assert await ledger.counters() == {DAY.counter: Counter(DAY.counter, settled=0, reserved=7)}
    assert await ledger.check() == []


BUSY = """
local function now() local time = redis.call('TIME') return time[1] * 1e6 + time[2] end
local stop = now() + 20000
repeat until now() > stop
"""


async def test_waiting_for_ones_turn_is_no_silence_of_the_server(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred reservations, each in a round of its own of up to 20 ms: the last one waits for some deadlines."""
    monkeypatch.setattr(redis_rounds, "GROUP", 1)
    ledger, over = RedisLedger(server.url, deadline=0.5), threading.Event()

    def occupy() -> None:
        while not over.is_set():
            tell(server, "EVAL", BUSY, 0)

    others = threading.Thread(target=occupy)
    try:
        await until_granted(ledger)
        others.start()
        answers = await asyncio.gather(
            *(ledger.reserve(row(f"a{number}", 1, charge("wide", 1000)), 1) for number in range(200))
        )
        assert answers == [Granted(1)] * 200
    finally:
        over.set()
        others.join()
        ledger.close()


async def test_a_pause_of_the_server_kills_nobody(server: Server) -> None:
    ledgers = [RedisLedger(server.url, lease=0.5, sweep_every=0.1, deadline=5.0) for _ in range(2)]
    try:
        for ledger in ledgers:
            await until_granted(ledger)
        await asyncio.sleep(0.7)
        server.signal(signal.SIGSTOP)
        await asyncio.sleep(0.8)
        server.signal(signal.SIGCONT)
        await asyncio.sleep(0.4)
        assert [each["state"] for each in await ledgers[0].rows()] == ["reserved", "reserved"]
    finally:
        for ledger in ledgers:
            ledger.close()


async def test_a_silent_owner_is_swept_when_its_lease_is_over(server: Server) -> None:
    ledger, silent = (RedisLedger(server.url, lease=0.5, sweep_every=3600.0, deadline=5.0) for _ in range(2))
    try:
        await silent.reserve(row("one", 10, DAY), 10)
        await ledger.flush()
        tell(server, "ZADD", "scribe:{0}:owners", "XX", 1, (await ledger.rows())[0]["owner"])
        assert await ledger.sweep() == 0, "it has not watched for a whole lease"
        swept = 0
        for _ in range(100):
            await asyncio.sleep(0.1)
            tell(server, "ZADD", "scribe:{0}:owners", "XX", 1, (await ledger.rows())[0]["owner"])
            swept += await ledger.sweep()
            if swept:
                break
        assert swept == 1

        assert await silent.reserve(row("two", 20, DAY), 20) == Granted(20), "under a new name"
        silent.settle(settlement("one", 4))
        await silent.flush()
        assert await ledger.counters() == {DAY.counter: Counter(DAY.counter, settled=4, reserved=20)}
    finally:
        ledger.close()
        silent.close()


async def test_forgotten_scripts_are_loaded_again(
    redis_url: str, redis_server: Server, open_shared: OpenShared
) -> None:
    ledger = open_shared(redis_url)
    await ledger.reserve(row("one", 10, DAY), 10)
    tell(redis_server, "SCRIPT", "FLUSH")
    assert await ledger.reserve(row("two", 10, DAY), 10) == Granted(10)
    ledger.settle(settlement("two", 4))
    assert await ledger.counters() == {DAY.counter: Counter(DAY.counter, settled=4, reserved=10)}


async def test_a_cancelled_reserve_is_given_back(redis_url: str, open_shared: OpenShared) -> None:
    ledger = open_shared(redis_url)
    await ledger.flush()
    tasks = [asyncio.create_task(ledger.reserve(row(f"a{number}", 1, DAY), 1)) for number in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.05)

    assert await ledger.counters() == {DAY.counter: Counter(DAY.counter, settled=0, reserved=25)}
    assert await ledger.check() == []


async def test_a_zero_before_the_reservation_keeps_it_out(redis_url: str, open_shared: OpenShared) -> None:
    ledger = open_shared(redis_url)
    ledger.settle(settlement("one", 0))
    await ledger.flush()
    with pytest.raises(StoreUnavailable, match="attempt one was given back before it could be reserved"):
        await ledger.reserve(row("one", 10, DAY), 10)
    assert await ledger.rows() == []
    assert ledger.unknown == 0


async def test_a_settlement_of_nothing_is_counted_and_logged(
    redis_url: str, open_shared: OpenShared, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = open_shared(redis_url)
    ledger.settle(settlement("nobody", 7))
    await ledger.flush()
    assert ledger.unknown == 1
    assert "attempt nobody: no such row, its cost of 7 is not counted" in caplog.text


async def test_half_a_surrogate_pair_is_a_name(redis_url: str, open_shared: OpenShared) -> None:
    ledger = open_shared(redis_url)
    await ledger.reserve(row("\ud800", 10, DAY, exchange="\udfff", note="\ud800"), 10)
    ledger.settle(settlement("\ud800", 4))
    assert [each["price"] for each in await ledger.rows(exchange="\udfff")] == [{"note": "\ud800"}]
    assert await ledger.check() == []


async def test_one_round_trip_and_pipelined_settlements(
    redis_url: str, redis_server: Server, open_shared: OpenShared
) -> None:
    ledger = open_shared(redis_url)
    await ledger.flush()
    looking = -redis_server.stats().reads + redis_server.stats().reads
    before = redis_server.stats()
    for number in range(50):
        await ledger.reserve(row(f"a{number}", 1, DAY), 1)
    between = redis_server.stats()
    for number in range(50):
        ledger.settle(settlement(f"a{number}", 1))
    await ledger.flush()
    after = redis_server.stats()

    assert between.scripts - before.scripts == 50
    assert between.reads - before.reads - looking <= 50
    assert after.scripts - between.scripts in (51, 52)
    assert after.reads - between.reads - looking <= 5
