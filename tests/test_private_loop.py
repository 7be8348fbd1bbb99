"""The loop behind the synchronous API: one thread, results and errors as they are, streams that close."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from scribe_router.private_loop import PrivateLoop


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


class Parts:
    """Counts to three; knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False
        self.count = 0

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        self.count += 1
        if self.count > 3:
            raise StopAsyncIteration
        return self.count

    async def aclose(self) -> None:
        self.closed = True


def test_results_and_errors_come_through() -> None:
    loop = PrivateLoop()
    assert loop.run(double(21)) == 42

    async def broken() -> None:
        raise LookupError("as it is")

    with pytest.raises(LookupError, match="as it is"):
        loop.run(broken())
    loop.close()
    loop.close()


def test_many_threads_share_one_loop() -> None:
    loop = PrivateLoop()
    before = threading.active_count()
    results: list[int] = []
    callers = [threading.Thread(target=lambda n=n: results.append(loop.run(double(n)))) for n in range(20)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert sorted(results) == [2 * n for n in range(20)]
    assert threading.active_count() == before + 1
    loop.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("taken", [1, 2, 3, 10])
def test_parts_are_closed_when_the_caller_stops(taken: int) -> None:
    loop, parts = PrivateLoop(), Parts()
    seen = []
    for part in loop.iterate(parts):
        seen.append(part)
        if len(seen) == taken:
            break
    else:
        assert taken > 3
    loop.run(double(1))
    assert seen == [1, 2, 3][:taken]
    assert parts.closed
    loop.close()


async def test_inside_a_loop_it_says_what_to_do() -> None:
    loop = PrivateLoop()
    with pytest.raises(RuntimeError, match="await"):
        loop.run(double(1))
    loop.close()


def test_it_works_again_after_it_was_closed() -> None:
    loop = PrivateLoop()
    assert loop.run(double(1)) == 2
    loop.close()
    assert loop.run(double(2)) == 4
    loop.close()
