"""Limits of rate on the request path: who is refused, who goes elsewhere, and what is given back at the end."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import openai
import pytest

from scribe_router import CallOptions, Router
from scribe_router.errors import BudgetExceeded, RateLimitExceeded, RequestError, Unavailable
from scribe_router.exchange import Call, Exchange
from scribe_router.principals import LOCAL
from scribe_router.sandbox import Sandbox
from scribe_router.sandbox.received import Received
from tests.stores.redis_servers import one_server
from tests.support.proxy import serving
from tests.support.raw_server import http, replying
from tests.support.served import served
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONFIG = """
model_list:
  - model_name: m
    litellm_params: {model: openai/MODEL, api_base: BASE, api_key: os.environ/ONE_KEY}
    model_info: {id: one, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}
  - model_name: also
    litellm_params: {model: deepseek/echo, api_base: BASE, api_key: os.environ/OTHER_KEY}
    model_info: {id: other, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}
  - model_name: failing
    litellm_params: {model: openai/error-500, api_base: BASE, api_key: os.environ/ONE_KEY}
    model_info: {id: failing, input_cost_per_token: 0, output_cost_per_token: 1.0e-9}
router_settings:
  fallbacks: [{m: [also]}]
"""
KEYS = {"ONE_KEY": "sk-one", "OTHER_KEY": "sk-other"}
MESSAGES: Any = [{"role": "user", "content": "hello"}]
RETRIES = "server: {retries: 0}"


def built(router: RouterFrom, sandbox: Sandbox, *limits: str, model: str = "echo", **policies: str) -> Router:
    rows = f"limits: [{', '.join(f'{{{limit}}}' for limit in limits)}]"
    text = CONFIG.replace("BASE", sandbox.url + "/v1").replace("MODEL", model)
    return router(text, {"limits": rows, "retries": RETRIES, **policies}, KEYS)


async def ask(router: Router, model: str = "m", **more: Any) -> Any:
    return await router.acompletion(model=model, messages=MESSAGES, max_tokens=64, **more)


async def in_use(router: Router) -> dict[str, int]:
    return {name: count for limit in await router.limiter.state() for name, count in limit["in_use"].items()}


async def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def most_at_once(received: list[Received]) -> int:
    """By the sandbox's own clock: how many requests were under way together."""
    edges = [(each.arrived_at, 1) for each in received] + [(each.replied_at or 1e18, -1) for each in received]
    count = most = 0
    for _, change in sorted(edges):
        count += change
        most = max(most, count)
    return most


# -- the caller's


async def test_a_request_that_is_planned_anew_counts_once(router: RouterFrom, sandbox: Sandbox) -> None:
    """As one does that waits for a circuit."""
    limiter = built(router, sandbox, "id: person, scope: user, requests_per_minute: 1, concurrent: 1").limiter
    exchange = Exchange("ex-1", Call("chat", {"model": "m"}), LOCAL, "version", 0.0)
    for _ in range(3):
        await limiter.admit(exchange, lambda: pytest.fail("no tokens are limited"))
    with pytest.raises(RateLimitExceeded):
        await limiter.admit(replace(exchange, id="ex-2"), lambda: pytest.fail("no tokens are limited"))
    limiter.close(exchange)
    await limiter.admit(replace(exchange, id="ex-3"), lambda: pytest.fail("no tokens are limited"))


async def test_a_callers_limit_refuses_before_anything_is_reserved(router: RouterFrom, sandbox: Sandbox) -> None:
    limited = built(router, sandbox, "id: person, scope: user, requests_per_minute: 2")
    ann = CallOptions(user="ann")
    for _ in range(2):
        await ask(limited, options=ann)
    with pytest.raises(RateLimitExceeded, match=r"limit person \(user:ann\) allows 2 requests a minute, 2 are") as told:
        await ask(limited, options=ann)
    assert (told.value.status, told.value.code) == (429, "rate_limit_exceeded")
    assert 1 <= int(told.value.headers()["retry-after"]) <= 61
    await ask(limited, options=CallOptions(user="bob"))
    assert len(sandbox.received) == 3
    assert len(await limited.ledger.rows()) == 3


async def test_tokens_are_reserved_before_and_true_after(router: RouterFrom, sandbox: Sandbox) -> None:
    limited = built(router, sandbox, "id: person, scope: user, tokens_per_minute: 1000", model="usage-20-7+slow-300ms")
    asking = [asyncio.ensure_future(ask(limited, max_completion_tokens=400)) for _ in range(3)]
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert sorted(type(each).__name__ for each in answers) == ["RateLimitExceeded", "ScribeResponse", "ScribeResponse"]
    assert await in_use(limited) == {"user:local|tokens": 2 * 27}
    with pytest.raises(RateLimitExceeded) as told:
        await ask(limited, n=100)
    assert told.value.headers() == {"x-should-retry": "false"}, "it never fits"


async def test_what_was_never_sent_does_not_count(router: RouterFrom, sandbox: Sandbox) -> None:
    """The caller's limit and the place's are taken, then money refuses: both are given back."""
    limits = (
        "id: person, scope: user, requests_per_minute: 9, tokens_per_minute: 99999, concurrent: 9",
        "id: place, scope: provider, requests_per_minute: 9, tokens_per_minute: 99999, concurrent: 9",
    )
    money = "limits: [{id: day, scope: user, usd: 0.0000001, when_short: reject}]"
    limited = built(router, sandbox, *limits, budgets=money)
    with pytest.raises(BudgetExceeded):
        await ask(limited)
    assert await in_use(limited) == {}
    assert sandbox.received == []


async def test_a_request_that_failed_counts_without_tokens(router: RouterFrom, sandbox: Sandbox) -> None:
    limits = "id: person, scope: user, requests_per_minute: 9, tokens_per_minute: 9999, concurrent: 1"
    limited = built(router, sandbox, limits)
    with pytest.raises(RequestError):
        await ask(limited, "failing")
    assert await in_use(limited) == {"user:local|requests": 1}


# -- a place's


@pytest.mark.parametrize(
    "scope",
    [
        "model, only: {model: [m]}",
        "deployment, only: {deployment: [one]}",
        "provider",
        "account, only: {account: [ONE_KEY]}",
        "[user, provider]",
    ],
)
async def test_where_a_place_is_full_another_serves(router: RouterFrom, sandbox: Sandbox, scope: str) -> None:
    limited = built(router, sandbox, f"id: place, scope: {scope}, requests_per_minute: 1")
    assert (await ask(limited)).scribe.deployment == "one"
    answer = await ask(limited)
    assert (answer.scribe.deployment, answer.scribe.attempts) == ("other", 1)
    shown = limited.explain(model="m", messages=MESSAGES)
    assert "walked past while they are at a limit of rate" in shown
    assert "one  limit place (" in shown


async def test_a_full_place_gives_the_circuits_probe_back(router: RouterFrom, sandbox: Sandbox) -> None:
    limit, circuit = "id: place, scope: provider, requests_per_minute: 1, only: {provider: [openai]}", "failures: 1"
    limited = built(router, sandbox, limit, model="error-500", breaker=f"{{{circuit}, open_seconds: 0.05}}")
    for refused in (0, 1, 2):
        assert (await ask(limited)).scribe.deployment == "other"
        [place] = await limited.limiter.state()
        assert place["refused"] == refused
        assert limited.state.circuits["one"].probing is False
        assert limited.health()[0]["in_flight"] == 0
        await asyncio.sleep(0.2)


async def test_nowhere_left_is_a_429_that_says_when(router: RouterFrom, sandbox: Sandbox) -> None:
    limited = built(router, sandbox, "id: place, scope: provider, requests_per_minute: 1")
    for _ in range(2):
        await ask(limited)
    rows = len(await limited.ledger.rows())
    with pytest.raises(RateLimitExceeded, match="limit place") as told:
        await ask(limited)
    assert 1 <= int(told.value.headers()["retry-after"]) <= 61
    assert len(await limited.ledger.rows()) == rows


async def test_after_a_providers_error_the_error_names_the_limit(router: RouterFrom, sandbox: Sandbox) -> None:
    place = "id: place, scope: deployment, only: {deployment: [other]}, tokens_per_minute: 1"
    limited = built(router, sandbox, place, model="error-500")
    with pytest.raises(RequestError, match="nothing else was tried: limit place") as told:
        await ask(limited)
    assert told.value.code == "server"


@pytest.mark.parametrize("scope", ["provider", "user"])
async def test_a_hundred_callers_and_five_at_once(router: RouterFrom, sandbox: Sandbox, scope: str) -> None:
    limited = built(router, sandbox, f"id: place, scope: {scope}, concurrent: 5", model="slow-50ms")
    asking = (ask(limited, fallback_enabled=False, stream=number % 2 == 1) for number in range(100))
    answers = await asyncio.gather(*asking, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, BaseException)]
    assert all(isinstance(each, RateLimitExceeded) and each.retry_after == 1.0 for each in refused)
    for each in answers:
        if not isinstance(each, BaseException) and hasattr(each, "__anext__"):
            assert [chunk async for chunk in each]
    assert len(answers) - len(refused) == len(sandbox.received) >= 5
    assert most_at_once(sandbox.received) <= 5
    await until(lambda: _nothing_in_use(limited))
    assert (await ask(limited)).scribe.deployment == "one"


async def _nothing_in_use(router: Router) -> bool:
    return await in_use(router) == {}


@pytest.mark.parametrize("scope", ["provider", "user"])
@pytest.mark.parametrize("hangs_up", [False, True])
async def test_a_stream_holds_its_place_to_the_end(
    router: RouterFrom, sandbox: Sandbox, scope: str, hangs_up: bool
) -> None:
    limited = built(router, sandbox, f"id: place, scope: {scope}, concurrent: 1", model="long-40+pace-20ms")
    stream = await ask(limited, stream=True)
    await anext(stream)
    with pytest.raises(RateLimitExceeded):
        await ask(limited, fallback_enabled=False)
    if hangs_up:
        await stream.aclose()
        with pytest.raises(RateLimitExceeded):
            await ask(limited, fallback_enabled=False)
    else:
        assert [chunk async for chunk in stream]
    await until(lambda: _nothing_in_use(limited))
    assert sandbox.received[-1].finished
    assert (await ask(limited, stream=True)).scribe.deployment == "one"


# -- the store


@pytest.mark.parametrize("fail", ["", "fail: closed"])
async def test_without_the_store(
    router: RouterFrom, sandbox: Sandbox, fail: str, caplog: pytest.LogCaptureFixture
) -> None:
    with one_server() as server:
        store = f"ledger: {server.url}\n{fail}"
        limited = built(router, sandbox, "id: person, scope: user, requests_per_minute: 2", store=store)
        await until(partial(_served, limited))  # a busy machine's Redis may be silent for longer than is waited for
        caplog.clear()
        server.kill()
        for _ in range(3):
            if fail:
                with pytest.raises(RequestError) as told:
                    await ask(limited)
                assert told.value.code == "store_unavailable"
            else:
                await ask(limited)
        assert caplog.text.count("until it is back no limit of rate holds") == (0 if fail else 1)


async def _served(router: Router) -> bool:
    try:
        await ask(router)
    except Unavailable:
        return False
    return True


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_two_proxies_share_one_limit(tmp_path: Any, sandbox: Sandbox) -> None:
    with one_server() as server:
        (tmp_path / "litellm_config.yaml").write_text(
            CONFIG.replace("BASE", sandbox.url + "/v1").replace("MODEL", "echo")
        )
        (tmp_path / "policies").mkdir()
        limit = "limits: [{id: place, scope: model, requests_per_minute: 10, only: {model: [m]}}]"
        (tmp_path / "policies" / "limits.yaml").write_text(limit)
        (tmp_path / "policies" / "store.yaml").write_text(f"ledger: {server.url}")
        with serving(tmp_path, environment=KEYS) as one, serving(tmp_path, environment=KEYS) as other:
            body = {"model": "m", "messages": MESSAGES, "fallback_enabled": False}
            async with httpx.AsyncClient(timeout=30) as client:

                async def call(number: int) -> httpx.Response:
                    return await client.post(f"{(one, other)[number % 2].url}/v1/chat/completions", json=body)

                answers = [await call(number) for number in range(4)]
                answers += await asyncio.gather(*map(call, range(36)))
                limits = (await client.get(f"{other.url}/admin/limits")).json()["limits"]
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 30
    assert len(sandbox.received) == 10
    expected = {"id": "place", "scope": ["model"], "most": {"requests": 10}, "refused": 30}
    assert limits == [{**expected, "in_use": {"model:m|requests": 10}}]


# -- what the client sees


async def test_headers_with_the_official_client(router: RouterFrom, sandbox: Sandbox) -> None:
    limits = (
        "id: wide, scope: key, requests_per_minute: 100, tokens_per_minute: 300",
        "id: person, scope: user, requests_per_minute: 2",
    )
    limited = built(router, sandbox, *limits, model="usage-20-7")
    with served(limited) as url:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
            call = client.chat.completions.with_raw_response.create
            answer = await call(model="m", messages=MESSAGES, max_tokens=64)
            told = {name: value for name, value in answer.headers.items() if name.startswith("x-ratelimit-")}
            assert told.pop("x-ratelimit-remaining-tokens") < "236"
            assert told == {
                "x-ratelimit-limit-requests": "2",
                "x-ratelimit-remaining-requests": "1",
                "x-ratelimit-reset-requests": "1m1s",
                "x-ratelimit-limit-tokens": "300",
                "x-ratelimit-reset-tokens": "1m1s",
            }
            streamed = await call(model="m", messages=MESSAGES, max_tokens=64, stream=True)
            assert streamed.headers["x-ratelimit-remaining-requests"] == "0"
            with pytest.raises(openai.RateLimitError) as refused:
                await call(model="m", messages=MESSAGES, max_tokens=64)
    headers = refused.value.response.headers
    assert refused.value.code == "rate_limit_exceeded"
    assert 1 <= int(headers["retry-after"]) <= 61
    assert headers["x-ratelimit-remaining-requests"] == "0"


ANSWER = b'{"choices": [{"message": {"role": "assistant", "content": "hi"}}], "usage": {"prompt_tokens": 1}}'
CLAUDE = (
    b'{"type": "message", "role": "assistant", "id": "a", "model": "m", "content": [{"type": "text", "text": "hi"}],'
    b' "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}'
)
CHUNKS = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
OPENAIS = ("x-ratelimit-remaining-requests: 41", "X-RateLimit-Reset-Tokens: 6m0s")


@pytest.mark.parametrize(
    ("provider", "reply", "kind", "told", "seen"),
    [
        ("openai", ANSWER, "application/json", OPENAIS, {"remaining-requests": "41", "reset-tokens": "6m0s"}),
        ("openai", CHUNKS, "text/event-stream", OPENAIS, {"remaining-requests": "41", "reset-tokens": "6m0s"}),
        (
            "anthropic",
            CLAUDE,
            "application/json",
            ("anthropic-ratelimit-requests-remaining: 41",),
            {"requests-remaining": "41", "remaining-requests": "41"},  # LiteLLM says it in OpenAI's words too
        ),
    ],
)
async def test_the_providers_own_limits_come_through(
    router: RouterFrom, provider: str, reply: bytes, kind: str, told: tuple[str, ...], seen: dict[str, str]
) -> None:
    async with replying(http("200 OK", reply, f"Content-Type: {kind}", *told)) as raw:
        text = CONFIG.replace("BASE", raw.url).replace("openai/MODEL", f"{provider}/m")
        with served(router(text, {}, KEYS)) as url:
            body = {"model": "m", "messages": MESSAGES, "stream": reply is CHUNKS}
            async with httpx.AsyncClient(timeout=30) as client:
                answer = await client.post(f"{url}/v1/chat/completions", json=body)
    found = {name: value for name, value in answer.headers.items() if "ratelimit" in name}
    assert found == {f"x-upstream-ratelimit-{name}": value for name, value in seen.items()}
