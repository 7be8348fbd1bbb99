"""The cache in the path of a request: who asks upstream, who waits, what is stored, what a hit costs."""

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scribe_router.errors import BudgetExceeded, DeadlineExceeded, RequestError, StreamError, UpstreamError
from scribe_router.exchange import Call, CallOptions
from scribe_router.receipt import Receipt
from scribe_router.sandbox import Sandbox
from scribe_router.stream import Answer, AnswerStream
from tests.cache.asking import ANN, BOB, MESSAGES, ON, TOOLS, Build, ask, both, rows, text, until
from tests.support.examples import examples
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")


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
    shipped = (Path(__file__).parents[2] / "policies" / "cache.yaml").read_text()
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
