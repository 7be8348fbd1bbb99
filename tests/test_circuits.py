"""Circuits and clocks over real sockets: who is let through when, and what the others get."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from scribe_router.errors import (
    CircuitOpen,
    DeadlineExceeded,
    RequestError,
    StreamError,
    UpstreamError,
    UpstreamRateLimited,
)
from scribe_router.exchange import Call, CallOptions, Exchange
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox, running_sandbox
from scribe_router.stream import AnswerStream
from tests.support.raw_server import http, replying
from tests.support.served import served
from tests.support.yaml_text import RouterFrom, registry_from

session = pytest.mark.asyncio(loop_scope="session")
PRICE = "input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6"
PATIENCE = 20.0


def entry(identity: str, model: str, base: str, *, name: str = "") -> str:
    return f"""
  - model_name: {name or identity}
    litellm_params: {{model: openai/{model}, api_base: "{base}/v1", api_key: sandbox-key}}
    model_info: {{id: {identity}, {PRICE}}}"""


def config(url: str, first: str, *fallbacks: str) -> str:
    """A model `first`, and its fallbacks by the name of what they do."""
    names = [f"next-{number}" for number in range(len(fallbacks))]
    rows = [entry("first", first, url), *map(lambda name, model: entry(name, model, url), names, fallbacks)]
    return f"model_list:{''.join(rows)}\nrouter_settings: {{fallbacks: [{{first: [{', '.join(names)}]}}]}}"


async def ask(router: Router, *, stream: bool = False, timeout: float | None = None) -> Exchange:  # noqa: ASYNC109
    body = {"model": "first", "messages": [{"role": "user", "content": "hello big world"}], "stream": stream}
    answer = await router.serve(Call("chat", body, CallOptions(timeout=timeout)))
    if isinstance(answer, AnswerStream):
        async for _ in answer:
            pass
    return answer.exchange


async def fail(router: Router, times: int, **how: Any) -> None:
    for _ in range(times):
        with pytest.raises(RequestError):
            await ask(router, **how)


def health(router: Router, identity: str = "first") -> dict[str, Any]:
    return next(each for each in router.health() if each["deployment"] == identity)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110  (what is waited for is told by nobody)
            await asyncio.sleep(0.01)


def sent(sandbox: Sandbox, model: str) -> int:
    return sum(received.model == model for received in sandbox.received)


# -- the probe


@session
async def test_one_probe_among_a_hundred_callers(sandbox: Sandbox, router: RouterFrom) -> None:
    """It fails three times and is up again, slowly: while one of a hundred finds that out, the others go elsewhere."""
    flaky = "flaky-3+slow-1s"
    one = router(config(sandbox.url, flaky, "echo"), {"breaker": "{failures: 3, open_seconds: 1, successes: 1}"})
    for _ in range(3):
        await ask(one)
    assert health(one)["circuit"] == "open"
    await ask(one)
    assert sent(sandbox, flaky) == 3, "an open circuit lets nothing through"
    await until(lambda: health(one)["circuit"] == "half_open")
    exchanges = await asyncio.gather(*(ask(one) for _ in range(100)))
    assert sent(sandbox, flaky) == 4
    assert Counter(each.attempts[-1].deployment for each in exchanges) == {"first": 1, "next-0": 99}
    assert all(len(each.attempts) == 1 for each in exchanges)
    assert health(one)["circuit"] == "closed"


@session
async def test_a_probe_that_fails_goes_on_to_the_next_and_opens_it_anew(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router(config(sandbox.url, "error-500", "echo"), {"breaker": "{failures: 1, open_seconds: 1}"})
    await ask(one)
    await until(lambda: health(one)["circuit"] == "half_open")
    exchange = await ask(one)
    assert [each.deployment for each in exchange.attempts] == ["first", "next-0"]
    assert health(one)["circuit"] == "open"
    assert health(one)["free_in_seconds"] > 1, "the pause has doubled"


@session
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_an_abandoned_probe_sticks_nowhere(sandbox: Sandbox, router: RouterFrom, *, stream: bool) -> None:
    flaky = "flaky-1+slow-1s+pace-100ms"
    one = router(config(sandbox.url, flaky, "echo"), {"breaker": "{failures: 1, open_seconds: 0.1, successes: 9}"})
    await ask(one)
    await until(lambda: health(one)["circuit"] == "half_open")
    client = asyncio.create_task(ask(one, stream=stream))
    await until(lambda: sent(sandbox, flaky) == 2)
    client.cancel()
    with suppress(asyncio.CancelledError):
        await client
    assert one.state.circuits["first"].probing
    await until(lambda: health(one)["in_flight"] == 0)
    found = one.state.circuits["first"]
    assert (found.probing, found.successes) == (False, 1), "what nobody waited for was read all the same"


@session
async def test_a_probe_that_the_callers_own_deadline_ended_tells_nothing(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router(config(sandbox.url, "flaky-1+first-1s"), {"breaker": "{failures: 1, open_seconds: 0.1}"})
    await fail(one, 1)
    await until(lambda: health(one)["circuit"] == "half_open")
    with pytest.raises(DeadlineExceeded):
        await ask(one, timeout=0.2)
    found = one.state.circuits["first"]
    assert (found.probing, found.successes, found.openings, health(one)["circuit"]) == (False, 0, 1, "half_open")


@session
async def test_a_request_that_cannot_be_paid_holds_no_probe(sandbox: Sandbox, router: RouterFrom) -> None:
    limits = "limits: [{id: once, scope: all, usd: 0.002, when_short: reject}]"
    policies = {"breaker": "{failures: 1, open_seconds: 0.1}", "budgets": limits}
    one = router(config(sandbox.url, "flaky-1"), policies)
    body = {"model": "first", "messages": [{"role": "user", "content": "hello"}]}
    with pytest.raises(UpstreamError):
        await one.serve(Call("chat", {**body, "max_tokens": 100}))
    await until(lambda: health(one)["circuit"] == "half_open")
    with pytest.raises(RequestError, match="limit once"):
        await one.serve(Call("chat", {**body, "max_tokens": 5000}))
    assert (health(one)["circuit"], health(one)["in_flight"]) == ("half_open", 0)
    await one.serve(Call("chat", {**body, "max_tokens": 100}))


# -- what opens a circuit


@session
async def test_breaks_in_mid_stream_open_it(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router(config(sandbox.url, "cut-after-2", "echo"), {"breaker": "failures: 3"})
    await fail(one, 3, stream=True)
    assert (health(one)["circuit"], health(one)["last_failure"]) == ("open", "stream")
    exchange = await ask(one, stream=True)
    assert [each.deployment for each in exchange.attempts] == ["next-0"]


@session
@pytest.mark.parametrize(("code", "counted"), [(400, 0), (429, 0), (500, 1), (None, 1)])
async def test_an_error_in_mid_stream_counts_by_what_it_says(
    router: RouterFrom, code: int | None, counted: int
) -> None:
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "hello"}}]}
    events = "".join(f"data: {json.dumps(each)}\n\n" for each in (chunk, {"error": {"message": "m", "code": code}}))
    async with replying(http("200 OK", events.encode(), "Content-Type: text/event-stream")) as host:
        one = router(config(host.url, "m"), {"breaker": "failures: 5"})
        with pytest.raises(StreamError):
            await ask(one, stream=True)
    assert health(one)["failures_in_a_row"] == counted


@session
async def test_what_a_client_does_wrong_never_opens_it(sandbox: Sandbox, router: RouterFrom) -> None:
    for model in ("error-400", "error-context", "error-content", "error-413", "error-429-after-0"):
        one = router(config(sandbox.url, model), {"breaker": "failures: 1"})
        await fail(one, 3)
        assert health(one)["circuit"] == "closed", model


@session
async def test_without_the_file_there_are_no_circuits(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router(config(sandbox.url, "error-500"))
    await fail(one, 7)
    assert (sent(sandbox, "error-500"), health(one)["circuit"]) == (7, "closed")


@session
async def test_a_retry_finds_the_circuit_open(sandbox: Sandbox, router: RouterFrom) -> None:
    policies = {
        "breaker": "failures: 2",
        "retries": "{server: {retries: 5, initial_seconds: 0.01}}",
    }
    one = router(config(sandbox.url, "error-500"), policies)
    with pytest.raises(
        UpstreamError, match="nothing else was tried: the circuit of first is open: 2 failures in a row"
    ):
        await ask(one)
    assert sent(sandbox, "error-500") == 2


# -- Retry-After


@session
async def test_a_retry_after_holds_for_other_requests_too(sandbox: Sandbox, router: RouterFrom) -> None:
    model = "error-429-after-30"
    one = router(config(sandbox.url, model), {"breaker": "failures: 5"})
    for _ in range(3):
        with pytest.raises(UpstreamRateLimited) as told:
            await ask(one)
        assert 20 < (told.value.retry_after or 0) <= 30
    assert sent(sandbox, model) == 1
    assert "at its provider's rate limit for" in one.explain(model="first", messages=[])


@session
async def test_a_request_waits_for_it_as_for_its_own(sandbox: Sandbox, router: RouterFrom) -> None:
    policies = {"breaker": "failures: 5", "retries": "{rate_limit: {retries: 1, initial_seconds: 0.01}}"}
    one = router(config(sandbox.url, "error-429-after-1"), policies)
    await asyncio.gather(fail(one, 1), fail(one, 1))
    assert sent(sandbox, "error-429-after-1") >= 3
    [early, *_, late] = sorted(received.arrived_at for received in sandbox.received)
    assert late - early >= 1.0


# -- where every circuit is open


@session
async def test_all_open_probe_tries_the_one_that_opened_first(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router(config(sandbox.url, "error-500", "error-503"), {"breaker": "failures: 2"})
    await fail(one, 3)
    plan = one.plan(Call("chat", {"model": "first", "messages": []}))
    assert [(each.deployment, each.early) for each in plan.candidates] == [("first", True), ("next-0", True)]
    assert (sent(sandbox, "error-500"), sent(sandbox, "error-503")) == (3, 3)
    assert "all are open" in one.explain(model="first", messages=[])


@session
async def test_all_open_probe_lets_one_through_at_a_time(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router(config(sandbox.url, "flaky-1+slow-500ms"), {"breaker": "{failures: 1, successes: 1}"})
    await fail(one, 1)
    results = await asyncio.gather(*(ask(one) for _ in range(20)), return_exceptions=True)
    assert Counter(type(each) for each in results) == {Exchange: 1, CircuitOpen: 19}


def test_all_open_fail_is_a_503_that_says_when(tmp_path: Path) -> None:
    with running_sandbox() as sandbox:
        policies = {"breaker": "{failures: 1, all_open: fail}", "store": "ledger: sqlite:ledger.db"}
        registry = registry_from(tmp_path, config(sandbox.url, "error-500"), policies)
        body = {"model": "first", "messages": [{"role": "user", "content": "hello"}]}
        with served(Router(registry)) as url:
            statuses = [httpx.post(f"{url}/v1/chat/completions", json=body, timeout=10) for _ in range(3)]
        assert [each.status_code for each in statuses] == [502, 503, 503]
        error = statuses[1].json()["error"]
        assert (error["type"], error["code"]) == ("upstream_error", "circuit_open")
        assert 50 < int(statuses[1].headers["retry-after"]) <= 60
        assert "nothing can serve first: 1 failure in a row (the last: server), a probe may go in" in error["message"]
        assert len(sandbox.received) == 1
        assert statuses[1].headers["x-scribe-attempts"] == "0"


@session
async def test_all_open_wait_waits_within_the_deadline(sandbox: Sandbox, router: RouterFrom) -> None:
    flaky = "flaky-1+slow-200ms"
    one = router(
        config(sandbox.url, flaky), {"breaker": "{failures: 1, open_seconds: 1.5, successes: 1, all_open: wait}"}
    )
    await fail(one, 1)
    with pytest.raises(CircuitOpen):
        await ask(one, timeout=0.1)
    results = await asyncio.gather(*(ask(one) for _ in range(3)), return_exceptions=True)
    assert any(isinstance(each, Exchange) for each in results)
    first, probe, *_ = sorted(received.arrived_at for received in sandbox.received)
    assert probe - first >= 1.5
    assert sent(sandbox, flaky) >= 4, "the others went after the probe"


@session
@pytest.mark.parametrize(
    "policy",
    [
        {"breaker": "{failures: 1, open_seconds: 0.3, all_open: wait}"},
        {"retries": "{server: {retries: 1, initial_seconds: 0.3}, jitter: 0}"},
    ],
    ids=["open", "retry"],
)
async def test_nothing_is_sent_for_a_client_that_left_in_a_pause(
    sandbox: Sandbox, router: RouterFrom, policy: dict[str, str]
) -> None:
    one = router(config(sandbox.url, "error-500"), policy)
    if "breaker" in policy:
        await fail(one, 1)
    client = asyncio.create_task(ask(one))
    await until(lambda: sent(sandbox, "error-500") == 1)
    await asyncio.sleep(0.1)
    client.cancel()
    await until(lambda: not one._tasks)
    assert sent(sandbox, "error-500") == 1


# -- the clocks


@session
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_host_that_takes_no_connection(
    sandbox: Sandbox, router: RouterFrom, tmp_path: Path, *, stream: bool
) -> None:
    async with full() as url:
        text = config(sandbox.url, "echo").replace(f"{sandbox.url}/v1", f"{url}/v1")
        one = router(text, {"retries": "connect_seconds: 0.3", "breaker": "failures: 5"})
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(UpstreamError, match="could not be reached"):
                await ask(one, stream=stream)
        [row] = await one.ledger.rows()
    assert (row["outcome"], row["mark"]) == ("network", "zero")


@asynccontextmanager
async def full() -> AsyncIterator[str]:
    """A port whose queue of connections is full: the kernel answers no more of them."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        await asyncio.sleep(0.2)
        try:
            yield f"http://127.0.0.1:{address[1]}"
        finally:
            for each in waiting:
                each.close()


@session
async def test_the_head_of_a_stream_has_a_clock_of_its_own(sandbox: Sandbox, router: RouterFrom) -> None:
    clocks = {"retries": "{connect_seconds: 0.5, headers_seconds: 1}"}
    one = router(config(sandbox.url, "slow-30s"), clocks)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(UpstreamError, match="did not answer in time"):
            await ask(one, stream=True)
    await ask(router(config(sandbox.url, "first-2s"), clocks), stream=True)
    await ask(router(config(sandbox.url, "slow-2s"), clocks))


@session
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_the_first_token_has_a_clock(sandbox: Sandbox, router: RouterFrom, *, stream: bool) -> None:
    clocks = {"retries": "first_token_seconds: 1.5", "breaker": "failures: 5"}
    one = router(config(sandbox.url, "first-30s", "echo"), clocks)
    exchange = await ask(one, stream=stream)
    assert [each.category for each in exchange.attempts] == ["timeout", None]
    assert exchange.attempts[0].detail == "the provider did not begin to answer within 1.5 s"
    assert health(one)["failures_in_a_row"] == 1


@session
async def test_a_deadline_counts_where_there_was_time_enough(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router(config(sandbox.url, "hang"), {"retries": "deadline_seconds: 1", "breaker": "failures: 5"})
    with pytest.raises(DeadlineExceeded):
        await ask(one, timeout=0.2)
    assert health(one)["failures_in_a_row"] == 0
    with pytest.raises(DeadlineExceeded):
        await ask(one)
    assert health(one)["failures_in_a_row"] == 1


# -- what was seen decides


@session
async def test_strategies_are_told_what_was_seen(sandbox: Sandbox, router: RouterFrom) -> None:
    rows = [
        entry("slow", "slow-1500ms", sandbox.url, name="first"),
        entry("quick", "slow-400ms", sandbox.url, name="first"),
    ]
    one = router(f"model_list:{''.join(rows)}", {"routing": "strategies: {first: fastest}"})
    for _ in range(2):
        await ask(one, stream=True)
    call = Call("chat", {"model": "first", "messages": []})
    assert [each.deployment for each in one.plan(call).candidates] == ["quick", "slow"]
    under_way = asyncio.create_task(ask(one))
    await until(lambda: health(one, "quick")["in_flight"] == 1)
    assert one.plan(call).snapshot.load["quick"].in_flight == 1
    await under_way


# -- a deployment that is dead


@pytest.mark.slow
async def test_one_of_two_deployments_is_dead(tmp_path: Path) -> None:
    """Of 10,000 calls under 1 % fail, and next to none is sent to the dead one."""
    calls, at_once = 10_000, 50
    with running_sandbox() as sandbox, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{dead.getsockname()[1]}"
        rows = entry("dead", "echo", gone, name="first") + entry("alive", "echo", sandbox.url, name="first")
        policies = {"store": "ledger: sqlite:ledger.db", "breaker": "{failures: 5, open_seconds: 5}"}
        async with Router(registry_from(tmp_path, f"model_list:{rows}", policies)) as one:
            gate, failed, attempts = asyncio.Semaphore(at_once), 0, Counter[str]()

            async def call() -> None:
                nonlocal failed
                async with gate:
                    try:
                        attempts.update(each.deployment for each in (await ask(one)).attempts)
                    except RequestError:
                        failed += 1

            await asyncio.gather(*(call() for _ in range(calls)))
    print(json.dumps({"failed": failed, **attempts}))
    assert failed < calls / 100
    assert attempts["alive"] >= calls - failed
    assert attempts["dead"] <= 5 + at_once + 20, "five open it, with what was under way, then one probe each pause"
