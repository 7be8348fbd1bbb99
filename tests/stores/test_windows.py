"""Limits of rate in both stores: never more than the limit in any minute, or at once; all of a request or nothing."""

import asyncio
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scribe_router.counters import Draw
from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.redis_windows import RedisWindows
from scribe_router.stores.windows import MemoryWindows, Windows
from tests.stores.redis_servers import Server, one_server, tell
from tests.support.examples import examples

NOW = 1_795_170_000.25
names = (f"limit-{number}" for number in itertools.count())


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Open = Callable[[], Windows]


@pytest.fixture(params=["memory", "redis", "cluster"])
def open_windows(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Open]:
    """Opens windows over the same clock; in memory they are one process's, so they are opened once."""
    opened: list[Windows] = []

    def build() -> Windows:
        if request.param == "memory":
            opened.append(MemoryWindows(clock))
        else:
            url = request.getfixturevalue("redis_server").url if request.param == "redis" else cluster_url(request)
            opened.append(RedisWindows(url, clock=clock, deadline=5.0))
        return opened[-1]

    yield build
    for each in opened:
        each.close()


def cluster_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("cluster_url"))


@pytest.fixture
def windows(open_windows: Open) -> Windows:
    return open_windows()


def requests(most: int, amount: int = 1, name: str | None = None) -> Draw:
    return Draw(name or next(names), "user:ann", "requests", most, amount)


def at_once(most: int) -> Draw:
    return Draw(next(names), "user:ann", "concurrent", most)


async def take(windows: Windows, *draws: Draw) -> bool:
    return (await windows.take(draws)).granted


events = st.lists(
    st.tuples(st.floats(0, 25, allow_nan=False), st.integers(1, 4), st.booleans()), min_size=1, max_size=40
)


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(events=events, most=st.integers(1, 8))
def test_never_more_than_the_limit_in_any_minute(
    clock: Clock, redis_server: Server, events: list[tuple[float, int, bool]], most: int
) -> None:
    """Both stores against the naive model: a list of what began when. Some of it is given back."""

    async def run() -> None:
        clock.now = NOW
        stores: list[Windows] = [MemoryWindows(clock), RedisWindows(redis_server.url, clock=clock, deadline=5.0)]
        name, began = next(names), list[tuple[float, int]]()
        for pause, amount, kept in events:
            clock.now += pause
            draw = requests(most, amount, name)
            used = sum(size for at, size in began if int(at) >= int(clock.now) - 60)
            answers = [await store.take((draw,)) for store in stores]
            assert [each.granted for each in answers] == [used + amount <= most] * 2
            assert [each.looks[0] for each in answers] == [answers[0].looks[0]] * 2
            assert answers[0].looks[0].used == used
            assert [each.wait(0) for each in answers] == pytest.approx([answers[0].wait(0)] * 2, abs=1e-3)
            if answers[0].granted and kept:
                began.append((clock.now, amount))
            elif answers[0].granted:
                for store, answer in zip(stores, answers, strict=True):
                    store.give(answer.at, [(draw, -amount)])
        for first, _ in began:
            assert sum(size for at, size in began if first <= at < first + 60) <= most
        for store in stores:
            store.close()

    asyncio.run(run())


async def test_after_the_wait_there_is_room(windows: Windows, clock: Clock) -> None:
    draw = requests(2)
    for seconds in (0.0, 7.5):
        clock.now += seconds
        assert await take(windows, draw)
    clock.now += 1.0
    refused = await windows.take((draw,))
    assert (refused.granted, refused.looks[0].used) == (False, 2)
    assert 60 - 8.5 < refused.wait(0) <= 61 - 8.5
    assert 60 - 1.0 < refused.reset(0) <= 61 - 1.0
    wait = refused.wait(0)
    clock.now += wait - 0.01
    assert not await take(windows, draw)
    clock.now += 0.011
    assert await take(windows, draw)


async def test_all_of_a_request_or_nothing(windows: Windows) -> None:
    first, second, third = requests(5), at_once(5), at_once(1)
    assert await take(windows, first, second, third)
    for _ in range(3):
        refused = await windows.take((first, second, third))
        assert (refused.granted, refused.wait(0), refused.wait(2)) == (False, 0.0, 1.0)
    standing = await windows.standing()
    assert {name: n for name, n in standing.used.items() if name in (first.counter, second.counter, third.counter)} == {
        first.counter: 1,
        second.counter: 1,
        third.counter: 1,
    }
    assert [standing.hits.get(each.limit, 0) for each in (first, second, third)] == [0, 0, 3]


async def test_more_than_the_limit_never_fits(windows: Windows) -> None:
    refused = await windows.take((requests(5, 6),))
    assert (refused.granted, refused.wait(0)) == (False, inf)


async def test_what_was_too_much_is_given_back_and_what_was_too_little_is_added(windows: Windows, clock: Clock) -> None:
    draw = Draw(next(names), "user:ann", "tokens", 100, 60)
    taken = await windows.take((draw,))
    assert not await take(windows, draw)
    windows.give(taken.at, [(draw, -50)])
    assert (await windows.take((draw,))).looks[0].used == 10
    windows.give(taken.at, [(draw, 500)])
    assert (await windows.take((draw,))).looks[0].used == 570
    clock.now += 61
    windows.give(taken.at, [(draw, 500)])
    assert (await windows.take((draw,))).looks[0].used == 0, "its window is over"


async def test_at_once_lasts_until_it_is_given_back(windows: Windows, clock: Clock) -> None:
    draw = at_once(2)
    taken = [await windows.take((draw,)) for _ in range(3)]
    assert [each.granted for each in taken] == [True, True, False]
    clock.now += 3600
    assert not await take(windows, draw)
    windows.give(taken[0].at, [(draw, -1)])
    assert await take(windows, draw)
    assert not await take(windows, draw)


@pytest.mark.timeout(30)
async def test_what_ends_while_it_is_counted_waits_for_nobody(clock: Clock) -> None:
    """A stream that the collector drops ends wherever the collector runs."""
    windows, draw = MemoryWindows(clock), Draw("one", "user:a", "concurrent", 9)
    taken = await windows.take((draw, draw))
    with windows._lock:
        windows.give(taken.at, [(draw, -1)])
    assert (await windows.standing()).used == {draw.counter: 1}


async def test_what_counts_no_more_is_forgotten(clock: Clock) -> None:
    windows = MemoryWindows(clock)
    for _ in range(500):
        await windows.take((requests(5),))
    clock.now += 61
    await windows.take((requests(5),))
    assert len(windows._counts) == 1


# -- several processes, and a Redis that goes


@pytest.fixture
def server() -> Iterator[Server]:
    with one_server() as running:
        yield running


@contextmanager
def process(url: str, lease: float, most: int) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.stores.window_programs", url, str(lease), str(most)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.wait(10)
        if running.stdout is not None:
            running.stdout.close()


def line(running: "subprocess.Popen[str]") -> int:
    assert running.stdout is not None
    return int(running.stdout.readline())


async def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_a_killed_process_frees_what_it_had_in_use(server: Server) -> None:
    """And a living one keeps it, well beyond its lease."""
    draw = Draw("p", "provider:x", "concurrent", 10)
    mine = RedisWindows(server.url, deadline=5.0, lease=1.0)
    assert [await take(mine, draw) for _ in range(3)] == [True] * 3
    with process(server.url, 1.0, 10) as other:
        assert line(other) == 7, "together they have what one may have"
        await asyncio.sleep(3.0)
        assert not await take(mine, draw)
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        await until(lambda: take(mine, draw))
    assert [await take(mine, draw) for _ in range(7)] == [True] * 6 + [False]
    mine.close()
    assert await take(RedisWindows(server.url, deadline=5.0), draw), "who closes gives back at once"


async def test_a_redis_that_forgot_is_told_again(server: Server) -> None:
    draw, windows = at_once(2), RedisWindows(server.url, deadline=5.0, lease=1.0)
    taken = await windows.take((draw,))
    tell(server, "FLUSHALL")
    await until(lambda: _in_use(windows, draw, 1))
    server.kill()
    windows.give(taken.at, [(draw, -1)])  # nobody hears of it
    await asyncio.sleep(0.2)
    server.start()
    await until(lambda: _in_use(windows, draw, 0))
    windows.close()


async def test_a_window_that_is_over_stays_away(server: Server) -> None:
    windows, draw = RedisWindows(server.url, deadline=5.0), Draw("t", "user:ann", "tokens", 9)
    windows.give(time.time() - 100, [(draw, 5)])
    assert draw.counter not in (await windows.standing()).used
    assert tell(server, "KEYS", "*user:ann*") == []
    windows.close()


async def _in_use(windows: Windows, draw: Draw, count: int) -> bool:
    try:
        return (await windows.standing()).used.get(draw.counter, 0) == count
    except StoreUnavailable:
        return False


async def test_a_redis_that_is_away_or_silent_is_noticed(server: Server) -> None:
    """What it runs after it was given up is taken by nobody."""
    windows, draw = RedisWindows(server.url, deadline=0.05, lease=1.5), at_once(1)
    await until(lambda: _taken(windows, requests(1)))
    server.signal(signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no answer within 50 ms"):
        await windows.take((draw,))
    assert time.monotonic() - begun < 3.0
    server.signal(signal.SIGCONT)
    await until(lambda: _taken(windows, draw))
    server.kill()
    with pytest.raises(StoreUnavailable, match="limits of rate at redis://127"):
        await windows.take((draw,))
    windows.close()


async def _taken(windows: Windows, draw: Draw) -> bool:
    try:
        return (await windows.take((draw,))).granted
    except StoreUnavailable:
        return False


async def test_who_leaves_before_the_answer_has_taken_nothing(server: Server) -> None:
    windows, draw = RedisWindows(server.url, deadline=5.0), at_once(1)
    for _ in range(20):
        leaving = asyncio.ensure_future(windows.take((draw,)))
        await asyncio.sleep(0)
        leaving.cancel()
    await until(lambda: _taken(windows, draw))
    windows.close()
