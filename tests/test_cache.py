"""The cache in the path of a request: who asks upstream, who waits, what is stored, what a hit costs."""

import asyncio
import json
import logging
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scribe_router.errors import BudgetExceeded, DeadlineExceeded, RequestError, StreamError, UpstreamError
from scribe_router.exchange import Call, CallOptions
from scribe_router.principals import EVERYTHING, LOCAL, Principal
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.sandboxed import sandboxed
from scribe_router.stream import Answer, AnswerStream
from tests.stores.redis_servers import Server, one_server
from tests.support.examples import examples
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
both = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
NAMES = (
    *("echo", "slow-500ms", "error-500", "error-400", "cut-after-2", "no-end", "hang", "pace-50ms"),
    *("flaky-1", "slow-500ms+error-503", "think-3", "tool", "tools-2", "empty", "no-usage", "no-done", "long-4096"),
)
ROW = """
  - model_name: {name}
    litellm_params: {{model: openai/{name}, api_base: {url}/v1, api_key: k}}
    model_info: {{id: {name}, {lane}input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6, mode: {mode}}}"""
ON = "enabled: true"
MESSAGES = [{"role": "user", "content": "hello big world of many words"}]
ANN, BOB = Principal("key", "ann", grant=EVERYTHING), Principal("key", "bob", grant=EVERYTHING)
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("weather", "news")
]


def rows(url: str, names: tuple[str, ...] = NAMES) -> str:
    listed = [ROW.format(name=name, url=url, lane="", mode="chat") for name in names]
    lane = ROW.format(name="echo", url=url, lane="lane: litellm, ", mode="chat").replace("name: echo", "name: litellm")
    embed = ROW.format(name="embed", url=url, lane="", mode="embedding")
    return "model_list:" + "".join([*listed, lane.replace("id: echo", "id: litellm"), embed])


Build = Callable[..., Router]


@pytest.fixture
def cached(router: RouterFrom, sandbox: Sandbox) -> Build:
    """`cached(policy)` is a router with this `cache.yaml`."""

    def build(policy: str = ON, **policies: str) -> Router:
        return router(rows(sandbox.url), {"cache": policy, **policies})

    return build


async def read(answer: Answer | AnswerStream) -> Any:
    """What a client sees: the body, or the chunks."""
    return answer.body if isinstance(answer, Answer) else [chunk async for chunk in answer]


async def ask(
    one: Router, model: str = "echo", who: Principal = LOCAL, options: CallOptions | None = None, **more: Any
) -> tuple[str | None, Any]:
    """Where the answer came from, and what a client sees."""
    body = {"model": model, "messages": MESSAGES, **more}
    answer = await one.serve(Call("chat", body, options or CallOptions()), who)
    said = await read(answer)
    return Receipt.of(answer.exchange).cache, said


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110  (what it waits for has no event)
            await asyncio.sleep(0.005)


def text(said: Any) -> str:
    """The words of an answer, plain or streamed."""
    choices = said["choices"] if isinstance(said, dict) else [each for chunk in said for each in chunk["choices"]]
    return "".join((each.get("message") or each.get("delta")).get("content") or "" for each in choices)


@both
async def test_a_hundred_at_once_are_one_call(cached: Build, sandbox: Sandbox, *, stream: bool) -> None:
    one = cached()
    said = await asyncio.gather(*(ask(one, "slow-500ms", stream=stream) for _ in range(100)))
    assert len(sandbox.received) == 1
    assert sorted(cache or "" for cache, _ in said) == ["miss"] + ["shared"] * 99
    assert all(each == said[0][1] for _, each in said)
    assert len(await one.ledger.rows()) == 1
    assert await ask(one, "slow-500ms", stream=stream) == ("hit", said[0][1])
    assert len(sandbox.received) == 1
    assert one._cache._flights == {}


@both
@pytest.mark.parametrize("share", ["principal", "all"])
async def test_two_principals_are_two_calls(cached: Build, sandbox: Sandbox, share: str, *, stream: bool) -> None:
    one = cached(f"{ON}\nshare: {share}")
    await asyncio.gather(*(ask(one, "slow-500ms", who, stream=stream) for who in (ANN, BOB) * 50))
    assert len(sandbox.received) == 2
    assert {row["user"] for row in await one.ledger.rows()} == {"ann", "bob"}


@pytest.mark.parametrize(("share", "second"), [("principal", "miss"), ("team", "miss"), ("all", "hit")])
async def test_who_gets_what_another_paid_for(cached: Build, share: str, second: str) -> None:
    one = cached(f"{ON}\nshare: {share}")
    assert [(await ask(one, "echo", who))[0] for who in (ANN, ANN, BOB)] == ["miss", "hit", second]


async def test_a_user_named_in_the_options_is_a_principal(cached: Build) -> None:
    one = cached()
    seen = [(await ask(one, options=CallOptions(user=user)))[0] for user in ("ann", "bob", "ann")]
    assert seen == ["miss", "miss", "hit"]


async def test_a_hit_is_free_and_said(cached: Build, tmp_path: Path, sandbox: Sandbox) -> None:
    limits = "limits: [{id: day, scope: user, window: day, usd: 0.002, when_short: reject}]"
    one = cached(budgets=limits, store=f"ledger: sqlite:l.db\njournal: {tmp_path}/j.jsonl")
    body = {"model": "echo", "messages": MESSAGES, "max_tokens": 20}
    answers = [await one.serve(Call("chat", body)) for _ in range(50)]
    receipts = [Receipt.of(each.exchange) for each in answers]
    assert receipts[0].cost
    assert [(each.cache, each.cost, each.attempts) for each in receipts[1:]] == [("hit", 0, 0)] * 49
    assert [counter.reserved for counter in (await one.ledger.counters()).values()] == [0]
    assert [counter.settled for counter in (await one.ledger.counters()).values()] == [receipts[0].cost]
    lines = [json.loads(line) for line in (tmp_path / "j.jsonl").read_text().splitlines()]
    assert [(line["cache"], line["outcome"]) for line in lines] == [("miss", "answered")] + [("hit", "answered")] * 49
    assert [(line["cost_usd"], line["attempts"]) for line in lines[1:]] == [("0", [])] * 49


async def test_the_console_says_that_it_was_the_cache(cached: Build, caplog: pytest.LogCaptureFixture) -> None:
    one = cached()
    with caplog.at_level(logging.INFO, "scribe_router.requests"):
        await ask(one)
        await ask(one)
    assert "-> cache (hit): answered" in caplog.messages[1]
    assert "cache" not in caplog.messages[0]


@pytest.mark.parametrize("policy", [None, "{}", "enabled: false", "enabled: [false]"])
async def test_it_is_off_unless_switched_on(
    router: RouterFrom, sandbox: Sandbox, policy: str | None, tmp_path: Path
) -> None:
    one = router(rows(sandbox.url), {"cache": policy} if policy else {})
    assert [await ask(one, "echo"), await ask(one, "echo")][1][0] is None
    assert len(sandbox.received) == 2


async def test_the_environment_switches_it_on(router: RouterFrom, sandbox: Sandbox, tmp_path: Path) -> None:
    shipped = (Path(__file__).parent.parent / "policies" / "cache.yaml").read_text()
    for set_, on in (({}, False), ({"LLM_CACHE_ENABLED": "true"}, True), ({"LITELLM_ENABLE_CACHE": "True"}, True)):
        more = {"LLM_CACHE_TTL_SECONDS": "7", "LITELLM_CACHE_TYPE": "local"} if on else {}
        policy = router(rows(sandbox.url), {"cache": shipped}, {**set_, **more}).registry.cache
        assert (policy.on, policy.ttl_seconds) == (on, 7 if on else 3600)


@both
async def test_the_store_answers_for_its_time_only(
    cached: Build, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, *, stream: bool
) -> None:
    one = cached(f"{ON}\nttl_seconds: 60")
    now = time.time()
    store: Any = one._cache._store
    store._clock = lambda: now
    seen = []
    for seconds in (0, 59, 61):
        now += seconds if seconds != 61 else 2
        seen.append((await ask(one, stream=stream))[0])
    assert seen == ["miss", "hit", "miss"]


MODES = [
    ("stream", "plain", "miss"),
    ("plain", "stream", "hit"),
    ("plain", "plain", "hit"),
    ("stream", "stream", "hit"),
]


@pytest.mark.parametrize(("first", "second", "cache"), MODES)
async def test_a_stream_is_served_from_either(cached: Build, first: str, second: str, cache: str) -> None:
    one = cached()
    _, before = await ask(one, stream=first == "stream")
    found, after = await ask(one, stream=second == "stream")
    assert found == cache
    assert text(after) == text(before)
    assert (await ask(one, stream=True))[0] == (await ask(one, stream=second == "stream"))[0] == "hit"


@pytest.mark.parametrize("model", ["litellm", "think-3", "tool", "tools-2", "empty", "no-usage", "no-done", "echo"])
@pytest.mark.parametrize("usage", [False, True])
async def test_a_replay_is_a_valid_stream(cached: Build, model: str, *, usage: bool) -> None:
    one = cached()
    body: dict[str, Any] = {"tools": TOOLS} if model.startswith("tool") else {}
    plain = (await ask(one, model, **body))[1]
    found, chunks = await ask(one, model, stream=True, stream_options={"include_usage": usage}, **body)
    assert found == "hit"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {model}
    choice = plain["choices"][0]
    deltas = [each["delta"] for chunk in chunks for each in chunk["choices"]]
    assert deltas[0]["role"] == "assistant"
    assert text(chunks) == (choice["message"].get("content") or "")
    for name in ("reasoning_content", "tool_calls"):
        said = [part for delta in deltas if name in delta for part in delta[name] or ()]
        if name == "tool_calls":
            said = [{key: value for key, value in call.items() if key != "index"} for call in said]
            assert said == (choice["message"].get(name) or [])
        else:
            assert "".join(said) == (choice["message"].get(name) or "")
    assert [each["finish_reason"] for chunk in chunks for each in chunk["choices"]][-1] == choice["finish_reason"]
    assert [chunk["usage"] for chunk in chunks if chunk.get("usage")] == (
        [plain["usage"]] if usage and "usage" in plain else []
    )


@both
async def test_usage_is_shown_to_who_asks_for_it(cached: Build, *, stream: bool) -> None:
    one = cached()
    await ask(one, stream=stream)
    for wanted in (True, False):
        found, chunks = await ask(one, stream=True, stream_options={"include_usage": wanted})
        assert found == "hit"
        assert any(chunk.get("usage") for chunk in chunks) is wanted


async def test_what_is_hidden_stays_hidden(cached: Build) -> None:
    one = cached()
    open_answer = (await ask(one, "think-3"))[1]
    for stream in (False, True):
        for _ in range(2):
            _, hidden = await ask(one, "think-3", hide_thinking=True, stream=stream)
            assert "reasoning_content" not in json.dumps(hidden)
    assert open_answer["choices"][0]["message"]["reasoning_content"]
    assert (await ask(one, "think-3")) == ("hit", open_answer)


async def test_embeddings(cached: Build, sandbox: Sandbox) -> None:
    one = cached()
    call = Call("embeddings", {"model": "embed", "input": ["hello", "world"]})
    first, *others = await asyncio.gather(*(one.serve(call) for _ in range(10)))
    again = await one.serve(call)
    assert isinstance(first, Answer)
    assert len(sandbox.received) == 1
    assert all(isinstance(each, Answer) and each.body == first.body for each in (*others, again))
    assert again.exchange.cache == "hit"


@both
async def test_what_one_caller_does_to_an_answer_is_not_seen_by_another(cached: Build, *, stream: bool) -> None:
    one = cached()

    async def spoiled() -> str:
        _, said = await ask(one, "slow-500ms", stream=stream)
        seen = json.dumps(said)
        for part in said if stream else [said]:
            for choice in part["choices"]:
                choice.clear()
        return seen

    seen = [*(await asyncio.gather(*(spoiled() for _ in range(3)))), await spoiled(), await spoiled()]
    assert len(set(seen)) == 1


class TestFresh:
    async def test_no_store_neither_takes_nor_gives(self, cached: Build, sandbox: Sandbox) -> None:
        one, never = cached(), CallOptions(cache="no-store")
        assert [(await ask(one, options=never))[0] for _ in range(2)] == [None, None]
        assert (await ask(one))[0] == "miss"
        assert len(sandbox.received) == 3

    @both
    async def test_no_cache_replaces_what_is_stored(self, cached: Build, sandbox: Sandbox, *, stream: bool) -> None:
        one = cached()
        seen = [
            (await ask(one, stream=stream, options=CallOptions(cache=wish)))[0] for wish in (None, "no-cache", None)
        ]
        assert seen == ["miss", "miss", "hit"]
        assert len(sandbox.received) == 2

    async def test_no_cache_joins_nobody(self, cached: Build, sandbox: Sandbox) -> None:
        one = cached()
        fresh = CallOptions(cache="no-cache")
        await asyncio.gather(*(ask(one, "slow-500ms", options=fresh) for _ in range(3)))
        assert len(sandbox.received) == 3
        assert one._cache._flights == {}


class TestFailures:
    @both
    async def test_all_who_wait_get_the_same_error(self, cached: Build, sandbox: Sandbox, *, stream: bool) -> None:
        one = cached()
        model = "slow-500ms+error-503"
        errors = await asyncio.gather(*(ask(one, model, stream=stream) for _ in range(20)), return_exceptions=True)
        assert len(sandbox.received) == 1
        assert {(type(each), str(each)) for each in errors} == {(UpstreamError, str(errors[0]))}
        exchanges = {each.exchange.id for each in errors if isinstance(each, RequestError)}
        assert len(exchanges) == 20, "each has its own exchange"
        with pytest.raises(UpstreamError):
            await ask(one, model, stream=stream)
        assert len(sandbox.received) == 2
        assert one._cache._flights == {}

    @pytest.mark.parametrize("model", ["cut-after-2", "no-end"])
    async def test_a_stream_that_breaks_breaks_for_all_and_is_not_stored(
        self, cached: Build, sandbox: Sandbox, model: str
    ) -> None:
        one = cached()

        async def broken() -> str:
            answer = await one.serve(Call("chat", {"model": model, "messages": MESSAGES, "stream": True}))
            assert isinstance(answer, AnswerStream)
            seen = ""
            try:
                async for chunk in answer:
                    seen += text([chunk])
            except StreamError as error:
                return f"{seen}: {error}"
            return "it did not break"

        assert len({await each for each in asyncio.as_completed([broken() for _ in range(5)])}) == 1
        assert len(sandbox.received) == 1
        assert "interrupted" in await broken()
        assert len(sandbox.received) == 2

    async def test_nobody_waits_longer_than_wanted(self, cached: Build, sandbox: Sandbox) -> None:
        one = cached()
        leader = asyncio.create_task(ask(one, "slow-500ms"))
        await until(lambda: len(sandbox.received) == 1)
        with pytest.raises(DeadlineExceeded, match="identical request"):
            await ask(one, "slow-500ms", options=CallOptions(timeout=0.05))
        assert (await leader)[0] == "miss"
        assert len(sandbox.received) == 1

    async def test_a_deadline_is_each_ones_own(self, cached: Build, sandbox: Sandbox) -> None:
        one = cached()
        hasty = asyncio.create_task(ask(one, "slow-500ms", options=CallOptions(timeout=0.2)))
        await until(lambda: len(sandbox.received) == 1)
        patient = asyncio.create_task(ask(one, "slow-500ms"))
        with pytest.raises(DeadlineExceeded):
            await hasty
        assert (await patient)[0] == "miss"
        assert len(sandbox.received) == 2

    async def test_a_bad_request_is_not_stored(self, cached: Build, sandbox: Sandbox) -> None:
        one = cached()
        for _ in range(2):
            with pytest.raises(RequestError):
                await ask(one, "error-400")
        assert len(sandbox.received) == 2

    async def test_money_that_is_short_is_told_to_all(self, cached: Build, sandbox: Sandbox) -> None:
        limits = "limits: [{id: day, scope: user, window: day, usd: 0.002, when_short: reject}]"
        one = cached(budgets=limits)
        errors = await asyncio.gather(*(ask(one, max_tokens=4000) for _ in range(5)), return_exceptions=True)
        assert {type(each) for each in errors} == {BudgetExceeded}
        assert {getattr(each, "limit", None) for each in errors} == {"day"}

    async def test_a_fallbacks_answer_is_not_stored(self, router: RouterFrom, sandbox: Sandbox) -> None:
        chain = f"{rows(sandbox.url)}\nrouter_settings: {{fallbacks: [{{error-500: [echo]}}]}}"
        one = router(chain, {"cache": ON})
        assert [(await ask(one, "error-500"))[0] for _ in range(2)] == ["miss", "miss"]
        assert [each.model for each in sandbox.received] == ["error-500", "echo"] * 2

    async def test_a_clamped_answer_is_not_stored(self, cached: Build, sandbox: Sandbox) -> None:
        limits = "limits: [{id: one, scope: request, usd: 0.002}]"
        one = cached(budgets=limits)
        for _ in range(2):
            cache, said = await ask(one, "long-4096", max_tokens=4000)
            assert (cache, said["choices"][0]["finish_reason"]) == ("miss", "length")
        assert (await ask(one, "echo", max_tokens=10))[0] == "miss"
        assert (await ask(one, "echo", max_tokens=10))[0] == "hit"


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


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def redis() -> Iterator[Server]:
    with one_server() as server:
        yield server


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that a loaded machine slows down is not away."""
    monkeypatch.setattr("scribe_router.cache.PATIENCE", 20.0)
    monkeypatch.setattr("scribe_router.stores.redis_answers.SILENT", 20.0)


class TestStores:
    @both
    @pytest.mark.usefixtures("patient")
    @pytest.mark.parametrize("store", ["disk", "redis"])
    async def test_it_outlives_the_process_and_is_shared(
        self, router: RouterFrom, sandbox: Sandbox, tmp_path: Path, redis: Server, store: str, *, stream: bool
    ) -> None:
        policy = f"{ON}\nstore: {store}\npath: {tmp_path}/c.db\nredis: {redis.url}"
        first, second = (router(rows(sandbox.url), {"cache": policy}) for _ in range(2))
        seen = [(await ask(each, stream=stream))[0] for each in (first, second, first)]
        assert seen == ["miss", "hit", "hit"]
        assert len(sandbox.received) == 1

    @pytest.mark.usefixtures("patient")
    async def test_another_configuration_has_answers_of_its_own(
        self, router: RouterFrom, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        policy = {"cache": f"{ON}\nstore: disk\npath: {tmp_path}/c.db"}
        one, other = router(rows(sandbox.url), policy), router(rows(sandbox.url, NAMES[:2]), policy)
        assert [(await ask(each))[0] for each in (one, other, one)] == ["miss", "miss", "hit"]

    async def test_the_sandbox_has_answers_of_its_own(self, cached: Build, sandbox: Sandbox) -> None:
        registry = cached().registry
        assert sandboxed(registry, sandbox.url).version != registry.version

    @pytest.mark.usefixtures("patient")
    async def test_a_relative_path_is_beside_the_configuration(
        self, router: RouterFrom, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        await ask(router(rows(sandbox.url), {"cache": f"{ON}\nstore: disk"}))
        assert (tmp_path / "router-1" / ".scribe" / "cache.sqlite3").exists()

    @both
    @pytest.mark.usefixtures("patient")
    async def test_a_store_that_is_away_fails_nobody_and_is_said_once(
        self,
        router: RouterFrom,
        sandbox: Sandbox,
        caplog: pytest.LogCaptureFixture,
        redis: Server,
        monkeypatch: pytest.MonkeyPatch,
        *,
        stream: bool,
    ) -> None:
        monkeypatch.setattr("scribe_router.cache.PAUSE", 0.0)
        one = router(rows(sandbox.url), {"cache": f"{ON}\nstore: redis\nredis: {redis.url}"})

        async def asked() -> str | None:
            cache, _ = await ask(one, stream=stream)
            await until(lambda: not one._cache._flights)  # what waits for the store to take it is shared
            return cache

        assert [await asked(), await asked()] == ["miss", "hit"]
        redis.kill()
        with caplog.at_level(logging.ERROR, "scribe_router.cache"):
            assert [await asked() for _ in range(20)] == ["miss"] * 20
        assert len(caplog.messages) == 1
        assert "away" in caplog.messages[0]
        redis.start()
        async with asyncio.timeout(20):
            while await asked() != "hit":  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def test_a_store_that_is_silent_delays_one_request_in_a_while(
        self, router: RouterFrom, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with silent() as url:
            one = router(rows(sandbox.url), {"cache": f"{ON}\nstore: redis\nredis: {url}"})
            seen = await asyncio.gather(*(ask(one, seed=number) for number in range(50)))
        assert [cache for cache, _ in seen] == ["miss"] * 50
        assert len(caplog.messages) == 1
        assert one._cache._away_until > time.monotonic() - 5, "it is left alone for a while"

    async def test_what_had_no_turn_at_a_silent_store_does_not_make_it_say_so_again(
        self, router: RouterFrom, sandbox: Sandbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("scribe_router.cache.PAUSE", 0.0)
        async with silent() as url:
            one = router(rows(sandbox.url), {"cache": f"{ON}\nstore: redis\nredis: {url}"})
            for several in range(3):
                await asyncio.gather(*(ask(one, seed=10 * several + number) for number in range(10)))
        assert len(caplog.messages) == 1

    async def test_a_file_that_is_none(self, router: RouterFrom, sandbox: Sandbox, tmp_path: Path) -> None:
        (tmp_path / "c.db").write_bytes(b"no database " * 100)
        one = router(rows(sandbox.url), {"cache": f"{ON}\nstore: disk\npath: {tmp_path}/c.db"})
        assert [(await ask(one))[0] for _ in range(2)] == ["miss", "miss"]

    async def test_a_closed_router_has_no_cache(self, cached: Build) -> None:
        one = cached()
        await ask(one)
        one._cache.close()
        one._cache.close()
        assert (await ask(one))[0] is None


async def test_each_loop_has_its_own_flights_and_the_same_store(cached: Build, sandbox: Sandbox) -> None:
    one = cached()
    body: Mapping[str, Any] = {"model": "slow-500ms", "messages": MESSAGES}
    in_thread = asyncio.to_thread(lambda: [one.completion(**body).scribe.cache for _ in range(2)])
    other, (cache, _) = await asyncio.gather(in_thread, ask(one, "slow-500ms"))
    assert (other[1], cache) == ("hit", "miss")
    assert (await ask(one, "slow-500ms"))[0] == "hit"
    assert len(sandbox.received) == 2
    await asyncio.to_thread(one.close)


WORDS = st.lists(st.sampled_from(["a", "naïve", "漢字", "👩‍🚀", '"', "\n", "\u2028", "{}"]), min_size=1).map(" ".join)
MODELS = st.sampled_from(["echo", "litellm", "think-3", "tool", "no-usage", "empty", "no-done"])


def comparable(said: Any) -> Any:
    return json.loads(json.dumps(said))


@pytest.mark.hypothesis
async def test_a_hit_is_the_answer(router: RouterFrom, sandbox: Sandbox) -> None:
    """Whatever is asked, of whichever lane, in words of any kind: what comes later is what came first."""
    one = router(rows(sandbox.url), {"cache": ON})
    seeds = iter(range(10**6))
    loop = asyncio.get_running_loop()

    async def same(model: str, words: str, n: int, *, stream: bool, hidden: bool) -> None:
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": words}],
            "n": n,
            "hide_thinking": hidden,
            "stream": stream,
            "seed": next(seeds),
            **({"tools": TOOLS} if model == "tool" else {}),
            **({"stream_options": {"include_usage": True}} if stream else {}),
        }
        first, again = await ask(one, model, **body), await ask(one, model, **body)
        assert (first[0], again[0]) == ("miss", "hit")
        assert comparable(again[1]) == comparable(first[1])

    @settings(max_examples=examples(60), deadline=None, derandomize=True)
    @given(model=MODELS, words=WORDS, n=st.integers(1, 3), stream=st.booleans(), hidden=st.booleans())
    def check(model: str, words: str, n: int, stream: bool, hidden: bool) -> None:
        asyncio.run_coroutine_threadsafe(same(model, words, n, stream=stream, hidden=hidden), loop).result(30)

    await asyncio.to_thread(check)


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
