"""A chain over three providers: what fails before it commits goes on to the next, and what broke later does not."""

import json
import statistics
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from scribe_router.errors import InvalidRequest, RequestError, StreamError
from scribe_router.exchange import Call
from scribe_router.router import Router
from scribe_router.sandbox import Received, Sandbox, running_sandbox
from scribe_router.stream import AnswerStream
from tests.support.served import served
from tests.support.yaml_text import RouterFrom, registry_from

session = pytest.mark.asyncio(loop_scope="session")
both = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
BASES = {"openai": "/v1", "anthropic": "/anthropic", "gemini": "/gemini"}
PRICE = "max_input_tokens: 100000, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6"
HELLO = [{"role": "user", "content": "hello big world"}]


def deployment(name: str, provider: str, model: str, url: str, lane: str = "") -> str:
    pinned = f"lane: {lane}, " if lane else ""
    return f"""
  - model_name: {name}
    litellm_params: {{model: {provider}/{model}, api_base: {url}{BASES[provider]}, api_key: sandbox-key}}
    model_info: {{id: {name}, {pinned}{PRICE}}}"""


def chain(url: str, first: str, second: str = "error-503", third: str = "echo") -> str:
    rows = [
        deployment("first", "openai", first, url),
        deployment("second", "anthropic", second, url),
        deployment("third", "gemini", third, url),
    ]
    return f"model_list:{''.join(rows)}\nrouter_settings: {{fallbacks: [{{first: [second, third]}}]}}"


async def ask(one: Router, model: str, *, stream: bool, **more: Any) -> tuple[str, Any]:
    """The text of the answer and its exchange."""
    answer = await one.serve(Call("chat", {"model": model, "messages": HELLO, "stream": stream, **more}))
    if not isinstance(answer, AnswerStream):
        return answer.body["choices"][0]["message"]["content"], answer.exchange
    text = ""
    async for chunk in answer:
        assert chunk["model"] == model
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
    return text, answer.exchange


def wires(sandbox: Sandbox) -> list[str]:
    """Which format each request came in."""
    return [received.path.split("/")[1] for received in sandbox.received]


PLAIN = [
    "error-401",
    "error-403",
    "error-404",
    "error-408",
    "error-429",
    "error-500",
    "error-529",
    "html-502",
    "garbage",
]
BREAKS = ["refuse", "cut-after-0", "cut-after-5"]
BEFORE_COMMIT = ["refuse", "cut-after-0", "empty+no-end", "error-mid-0", "garbage"]


@session
@pytest.mark.parametrize("first", [*PLAIN, *BREAKS])
async def test_a_call_goes_down_the_chain(sandbox: Sandbox, router: RouterFrom, first: str) -> None:
    one = router(chain(sandbox.url, first))
    text, exchange = await ask(one, "first", stream=False)
    assert text == "hello big world"
    assert wires(sandbox) == ["v1", "anthropic", "gemini"]
    assert [(each.deployment, each.lane) for each in exchange.attempts] == [
        ("first", "wire"),
        ("second", "litellm"),
        ("third", "litellm"),
    ]
    rows = {row["deployment"]: row for row in await one.ledger.rows(exchange=exchange.id)}
    lost = first in ("garbage", *BREAKS)
    assert [rows[name]["mark"] for name in ("first", "second", "third")] == [
        "doubt" if lost else "zero",
        "zero",
        "computed",
    ]
    assert exchange.cost == (rows["first"]["granted"] if lost else 0) + 3 * 1000 + 3 * 2000


@session
@pytest.mark.parametrize("second", ["error-500", "cut-after-0"])
@pytest.mark.parametrize("first", [*PLAIN[:-1], *BEFORE_COMMIT])
async def test_a_stream_that_has_not_committed_goes_down_the_chain(
    sandbox: Sandbox, router: RouterFrom, first: str, second: str
) -> None:
    one = router(chain(sandbox.url, first, second))
    text, exchange = await ask(one, "first", stream=True)
    assert text == "hello big world"
    assert wires(sandbox) == ["v1", "anthropic", "gemini"]
    assert [each.deployment for each in exchange.attempts] == ["first", "second", "third"]
    assert {row["state"] for row in await one.ledger.rows(exchange=exchange.id)} == {"settled"}


@session
@pytest.mark.parametrize("breaks", ["cut-after-2", "no-end", "error-mid-2"])
@pytest.mark.parametrize(
    ("provider", "lane"), [("openai", "wire"), ("openai", "litellm"), ("anthropic", "litellm"), ("gemini", "litellm")]
)
async def test_a_stream_that_broke_later_stays_broken(
    sandbox: Sandbox, router: RouterFrom, breaks: str, provider: str, lane: str
) -> None:
    text = deployment("first", provider, breaks, sandbox.url, lane) + deployment("next", "openai", "echo", sandbox.url)
    one = router(f"model_list:{text}\nrouter_settings: {{fallbacks: [{{first: [next]}}]}}")
    answer = await one.acompletion(model="first", messages=HELLO, stream=True)
    said = ""
    with pytest.raises(StreamError, match="interrupted"):  # noqa: PT012  (it breaks while it is read)
        async for chunk in answer:
            said += chunk.choices[0].delta.content or ""
    assert said.startswith("hello big ")
    assert len(sandbox.received) == 1
    [row] = await one.ledger.rows()
    assert (row["outcome"], row["mark"], row["cost"]) == ("stream", "bound", row["granted"])


@session
@both
@pytest.mark.parametrize("first", ["error-400", "error-422"])
async def test_a_bad_request_never_walks_on(sandbox: Sandbox, router: RouterFrom, first: str, *, stream: bool) -> None:
    one = router(chain(sandbox.url, first))
    with pytest.raises(InvalidRequest, match="The request is invalid"):
        await ask(one, "first", stream=stream)
    assert wires(sandbox) == ["v1"]


@session
@both
@pytest.mark.parametrize(
    ("models", "status", "code"),
    [
        (("error-429", "error-401", "error-500"), 502, "server"),
        (("error-429", "error-429", "error-429"), 429, "upstream_rate_limited"),
        (("error-401", "error-401", "error-401"), 502, "upstream_authentication"),
    ],
)
async def test_when_all_fail_one_error_tells(
    sandbox: Sandbox, router: RouterFrom, models: tuple[str, str, str], status: int, code: str, *, stream: bool
) -> None:
    with pytest.raises(RequestError, match="after 3 attempts") as raised:
        await ask(router(chain(sandbox.url, *models)), "first", stream=stream)
    assert (raised.value.status, raised.value.code) == (status, code)
    assert wires(sandbox) == ["v1", "anthropic", "gemini"]


@session
@both
async def test_fallbacks_can_be_switched_off(sandbox: Sandbox, router: RouterFrom, *, stream: bool) -> None:
    one = router(chain(sandbox.url, "error-500"))
    with pytest.raises(RequestError, match="HTTP 500"):
        await ask(one, "first", stream=stream, fallback_enabled=False)
    assert wires(sandbox) == ["v1"]


@session
@both
async def test_others_are_tried_before_anything_is_tried_again(
    sandbox: Sandbox, router: RouterFrom, *, stream: bool
) -> None:
    retries = {"retries": "{server: {retries: 1, initial_seconds: 0.01}, jitter: 0}"}
    text, _ = await ask(
        router(chain(sandbox.url, "flaky-1", "error-404", "error-404"), retries), "first", stream=stream
    )
    assert text == "hello big world"
    assert wires(sandbox) == ["v1", "anthropic", "gemini", "v1"]


@session
@both
async def test_without_a_policy_nothing_is_tried_twice(sandbox: Sandbox, router: RouterFrom, *, stream: bool) -> None:
    with pytest.raises(RequestError):
        await ask(router(chain(sandbox.url, "error-500", third="error-500")), "first", stream=stream)
    assert wires(sandbox) == ["v1", "anthropic", "gemini"]


def test_over_http_an_interrupted_stream_ends_in_an_error_event(tmp_path: Any) -> None:
    with running_sandbox() as sandbox:
        registry = registry_from(tmp_path, chain(sandbox.url, "cut-after-2"), {"store": "ledger: sqlite:ledger.db"})
        body = {"model": "first", "messages": HELLO, "stream": True}
        with served(Router(registry)) as url:
            reply = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=10)
    assert reply.status_code == 200
    *_, last = [line for line in reply.text.splitlines() if line]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "stream_interrupted")
    assert "[DONE]" not in reply.text


# --- the time between a failure and the next attempt

CALLS, WARM = 200, 1
MOST_SECONDS = 0.050
LAST_LANES: dict[str, Callable[[str], str]] = {
    "wire to wire": lambda url: deployment("next", "openai", "echo", url, "wire"),
    "wire to litellm": lambda url: deployment("next", "openai", "echo", url, "litellm"),
    "wire to anthropic": lambda url: deployment("next", "anthropic", "echo", url),
}


def gap(failed: Received, following: Received) -> float:
    assert failed.replied_at is not None
    return following.arrived_at - failed.replied_at


@pytest.mark.slow
@session
@both
@pytest.mark.parametrize("way", LAST_LANES)
async def test_the_next_attempt_starts_at_once(router: RouterFrom, way: str, *, stream: bool) -> None:
    """From the last failed reply to the next request, by the sandbox's clock: under 50 ms at the 95th percentile."""
    with running_sandbox() as sandbox:
        rows = deployment("first", "openai", "error-500", sandbox.url) + LAST_LANES[way](sandbox.url)
        one = router(f"model_list:{rows}\nrouter_settings: {{fallbacks: [{{first: [next]}}]}}")
        for _ in range(WARM):
            await ask(one, "first", stream=stream)
        sandbox.clear()
        for _ in range(CALLS):
            await ask(one, "first", stream=stream)
        received = sandbox.received
    gaps = [gap(*pair) for pair in zip(received[::2], received[1::2], strict=True)]
    assert len(gaps) == CALLS
    cuts = statistics.quantiles(gaps, n=100)
    shown = {name: f"{cuts[at] * 1000:.1f} ms" for name, at in (("p50", 49), ("p95", 94), ("p99", 98))}
    print(f"\n{way}, {'stream' if stream else 'plain'}: {shown}, most {max(gaps) * 1000:.1f} ms")
    assert cuts[94] < MOST_SECONDS
