"""Callers who leave while an identical request is under way, and those who come back."""

import asyncio
import random
from typing import Any

import pytest

from scribe_router.exchange import Call
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from tests.cache.asking import ANN, BOB, MESSAGES, ON, Build, ask, both, read, rows, text, until
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def start(one: Router, sandbox: Sandbox, model: str, *, stream: bool, count: int) -> "list[asyncio.Task[Any]]":
    """Identical calls under way, the first of which asks upstream."""
    leader = asyncio.create_task(ask(one, model, stream=stream))
    await until(lambda: len(sandbox.received) == 1)
    others = [asyncio.create_task(ask(one, model, stream=stream)) for _ in range(count - 1)]
    await until(lambda: any(len(flight.exchange.callers) == count for flight in one._cache._flights.values()))
    return [leader, *others]


async def leave(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class TestHangingUp:
    @both
    async def test_who_pays_leaves_and_the_others_are_served(
        self, cached: Build, sandbox: Sandbox, *, stream: bool
    ) -> None:
        one = cached()
        leader, *others = await start(one, sandbox, "slow-500ms", stream=stream, count=3)
        await leave(leader)
        assert [cache for cache, _ in await asyncio.gather(*others)] == ["shared", "shared"]
        assert len(sandbox.received) == 1

    @both
    async def test_the_failover_goes_on_while_somebody_waits(
        self, router: RouterFrom, sandbox: Sandbox, *, stream: bool
    ) -> None:
        chain = f"{rows(sandbox.url)}\nrouter_settings: {{fallbacks: [{{slow-500ms+error-503: [echo]}}]}}"
        one = router(chain, {"cache": ON})
        leader, other = await start(one, sandbox, "slow-500ms+error-503", stream=stream, count=2)
        await leave(leader)
        cache, said = await other
        assert (cache, text(said)) == ("shared", MESSAGES[0]["content"])

    async def test_nobody_is_left_so_nothing_more_is_tried(self, router: RouterFrom, sandbox: Sandbox) -> None:
        chain = f"{rows(sandbox.url)}\nrouter_settings: {{fallbacks: [{{slow-500ms+error-503: [echo]}}]}}"
        one = router(chain, {"cache": ON})
        await leave(*await start(one, sandbox, "slow-500ms+error-503", stream=False, count=3))
        await until(lambda: not one._tasks)
        assert [each.model for each in sandbox.received] == ["slow-500ms+error-503"]

    @both
    async def test_everybody_leaves_and_the_answer_is_stored(
        self, cached: Build, sandbox: Sandbox, *, stream: bool
    ) -> None:
        one = cached()
        await leave(*await start(one, sandbox, "slow-500ms", stream=stream, count=3))
        await until(lambda: not one._tasks)
        assert (await ask(one, "slow-500ms", stream=stream))[0] == "hit"
        assert len(sandbox.received) == 1

    @both
    async def test_who_comes_back_joins_what_is_under_way(
        self, cached: Build, sandbox: Sandbox, *, stream: bool
    ) -> None:
        one = cached()
        await leave(*await start(one, sandbox, "slow-500ms", stream=stream, count=1))
        cache, said = await ask(one, "slow-500ms", stream=stream)
        assert (cache, text(said)) == ("shared", MESSAGES[0]["content"])
        assert len(sandbox.received) == 1

    @pytest.mark.parametrize("cancel", ["drain", "abort"])
    async def test_half_a_stream_is_read_for_nobody_and_whole_for_another(
        self, router: RouterFrom, sandbox: Sandbox, cancel: str
    ) -> None:
        one = router(rows(sandbox.url), {"cache": ON, "providers": f"openai: {{cancel: {cancel}}}"})
        body = {"model": "pace-50ms", "messages": MESSAGES, "stream": True}
        leader = await one.serve(Call("chat", body))
        other = await one.serve(Call("chat", body))
        assert isinstance(leader, AnswerStream)
        await anext(leader)
        await leader.aclose()
        assert text(await read(other)) == MESSAGES[0]["content"]
        await until(lambda: not one._tasks)
        assert [row["mark"] for row in await one.ledger.rows()] == ["computed"]
        assert (await ask(one, "pace-50ms", stream=True))[0] == "hit"
        assert len(sandbox.received) == 1

    async def test_a_stream_is_not_cut_while_it_is_recorded(self, router: RouterFrom, sandbox: Sandbox) -> None:
        one = router(rows(sandbox.url), {"cache": ON, "providers": "openai: {cancel: abort}"})
        answer = await one.serve(Call("chat", {"model": "pace-50ms", "messages": MESSAGES, "stream": True}))
        assert isinstance(answer, AnswerStream)
        await anext(answer)
        await answer.aclose()
        await until(lambda: not one._tasks)
        assert (await ask(one, "pace-50ms", stream=True))[0] == "hit"
        assert [row["mark"] for row in await one.ledger.rows()] == ["computed"]

    async def test_no_time_is_up_while_somebody_reads(self, router: RouterFrom, sandbox: Sandbox) -> None:
        one = router(rows(sandbox.url), {"cache": ON, "retries": "deadline_seconds: 1"})
        words = "word " * 40
        body = {"model": "pace-50ms", "messages": [{"role": "user", "content": words}], "stream": True}
        leader, other = await one.serve(Call("chat", body)), await one.serve(Call("chat", body))
        assert isinstance(leader, AnswerStream)
        await leader.aclose()
        assert text(await read(other)).split() == words.split()

    async def test_a_stream_is_followed_as_it_comes(self, cached: Build, sandbox: Sandbox) -> None:
        one = cached()
        body = {"model": "pace-50ms", "messages": MESSAGES, "stream": True}
        leader, other = await one.serve(Call("chat", body)), await one.serve(Call("chat", body))
        assert isinstance(other, AnswerStream)
        await anext(other)
        assert not sandbox.received[0].finished, "it came before the end"
        assert text(await read(leader)) == MESSAGES[0]["content"]
        await other.aclose()
        await until(lambda: not one._tasks)

    async def test_a_slow_reader_does_not_hold_up_another(self, cached: Build) -> None:
        one = cached()
        body = {"model": "long-4096", "messages": MESSAGES, "stream": True, "max_tokens": 2000}
        slow, other = await one.serve(Call("chat", body)), await one.serve(Call("chat", body))
        async with asyncio.timeout(20):
            said = await read(other)
        assert text(said) == text(await read(slow)) == "word " * 2000

    async def test_a_stream_that_is_dropped_is_recorded_to_its_end(self, cached: Build, sandbox: Sandbox) -> None:
        one = cached()
        answer = await one.serve(Call("chat", {"model": "pace-50ms", "messages": MESSAGES, "stream": True}))
        del answer
        await until(lambda: not one._tasks)
        assert (await ask(one, "pace-50ms", stream=True))[0] == "hit"


@pytest.mark.timeout(120)
async def test_a_storm_of_callers_who_come_and_go(cached: Build, sandbox: Sandbox) -> None:
    """Callers of two principals, plain and streamed, at random times, half of whom leave: nobody gets another's answer,
    nothing stays open, and each principal and kind has asked upstream at most once."""
    one, chance = cached(), random.Random(7)

    async def caller(number: int) -> None:
        await asyncio.sleep(chance.random() * 0.7)
        words, who = f"question {number % 3}", (ANN, BOB)[number % 2]
        body: dict[str, Any] = {"messages": [{"role": "user", "content": words}], "stream": number % 5 == 0}
        async with asyncio.timeout(chance.choice([0.1, 0.4, 20])):
            _, said = await ask(one, "slow-500ms", who, **body)
        assert text(said) == words

    results = await asyncio.gather(*(caller(number) for number in range(300)), return_exceptions=True)
    assert {type(each) for each in results} <= {type(None), TimeoutError}
    assert sum(each is None for each in results) > 100
    await until(lambda: not one._tasks)
    assert one._cache._flights == {}
    assert len(sandbox.received) <= 2 * 3 * 2
    assert {row["state"] for row in await one.ledger.rows()} == {"settled"}
