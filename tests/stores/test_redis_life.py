"""The life of a ledger on Redis: its thread, its loops, its end, and its name."""

import asyncio
import gc
import signal
import threading
import time
from collections.abc import Callable

import pytest

from scribe_router.stores import open_ledger, redis_line
from scribe_router.stores.contract import Counter, StoreUnavailable
from scribe_router.stores.redis import RedisLedger
from tests.stores.ledger_rows import DAY, row, settlement, until_granted
from tests.stores.ledger_threads import threads
from tests.stores.redis_servers import Server

OpenShared = Callable[[str], RedisLedger]


async def test_close_writes_what_waits(redis_url: str, open_shared: OpenShared) -> None:
    ledger = open_shared(redis_url)
    await ledger.reserve(row("one", 10, DAY), 10)
    ledger.settle(settlement("one", 4))
    ledger.close()
    ledger.close()

    assert threads() == []
    with pytest.raises(StoreUnavailable, match="closed; open a new one"):
        await ledger.reserve(row("two", 10, DAY), 10)
    with pytest.raises(StoreUnavailable, match="closed; open a new one"):
        ledger.settle(settlement("one", 4))
    again = open_shared(redis_url)
    assert await again.counters() == {DAY.counter: Counter(DAY.counter, settled=4, reserved=0)}


async def test_dropping_without_close_leaks_nothing(redis_url: str, open_shared: OpenShared) -> None:
    ledger = RedisLedger(redis_url, deadline=5.0)
    await ledger.reserve(row("one", 10, DAY), 10)
    ledger.settle(settlement("one", 4))
    assert len(threads()) == 1

    del ledger
    gc.collect()

    assert threads() == []
    assert (await open_shared(redis_url).counters())[DAY.counter].settled == 4


async def test_closing_without_a_server_says_what_was_lost(
    server: Server, open_shared: OpenShared, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scribe_router.stores.redis_rounds.CLOSING", 0.3)
    monkeypatch.setattr(redis_line, "CLOSING", 0.3)
    ledger = open_shared(server.url)
    attempt = await until_granted(ledger)
    server.kill()
    ledger.settle(settlement(attempt, 1))
    await asyncio.sleep(0.1)
    ledger.close()
    assert threads() == []
    assert "what is to be settled is kept and tried again" in caplog.text
    assert "closed before 1 settlements could be written" in caplog.text


def test_any_number_of_threads_and_loops(redis_url: str, open_shared: OpenShared) -> None:
    ledger = open_shared(redis_url)

    async def work(name: str) -> None:
        for number in range(40):
            attempt = f"{name}-{number}"
            await ledger.reserve(row(attempt, 2, DAY), 1)
            ledger.settle(settlement(attempt, number % 2))

    workers = [threading.Thread(target=lambda name=f"w{n}": asyncio.run(work(name))) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert asyncio.run(ledger.check()) == []
    assert asyncio.run(ledger.counters()) == {DAY.counter: Counter(DAY.counter, settled=80, reserved=0)}


def test_a_closed_loop_harms_nobody(server: Server) -> None:
    ledger = RedisLedger(server.url, deadline=5.0)
    asyncio.run(ledger.flush())
    server.signal(signal.SIGSTOP)
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(ledger.reserve(row("one", 10, DAY), 10))
    loop.run_until_complete(asyncio.sleep(0.05))
    waiting.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    server.signal(signal.SIGCONT)
    time.sleep(0.3)
    assert asyncio.run(ledger.counters())[DAY.counter].reserved == 0
    ledger.close()


NAMED = [
    ("redis://localhost:1/2", "ledger redis://localhost:1/2"),
    ("rediss://:secret@host:1", "ledger rediss://host:1"),
    ("redis+cluster://user:secret@a:1,b:2", "ledger redis+cluster://a:1,b:2"),
]


@pytest.mark.parametrize(("url", "place"), NAMED, ids=[each[0] for each in NAMED])
def test_a_url_opens_a_ledger_and_hides_its_password(url: str, place: str) -> None:
    ledger = open_ledger(url)
    assert isinstance(ledger, RedisLedger)
    assert ledger._place == place


@pytest.mark.parametrize("url", ["redis:", "postgres://x", "sqlite:", "redis+cluster:x", "redis://h:port"])
def test_a_url_that_names_no_ledger(url: str) -> None:
    with pytest.raises(ValueError, match=r"ledger|URL|[Pp]ort"):
        open_ledger(url)
