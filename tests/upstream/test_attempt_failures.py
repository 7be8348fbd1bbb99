"""What a failed attempt means, over both lanes and in three formats: real sockets, no made-up exceptions."""

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from scribe_router.deployment import Deployment
from scribe_router.errors import RequestError
from scribe_router.exchange import AttemptFailed, Call, CallOptions, Category, Reached
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.upstream.litellm_lane import LiteLLMLane
from scribe_router.upstream.shape import shape
from scribe_router.upstream.wire import WireLane
from tests.support.raw_server import http, replying
from tests.support.yaml_text import RouterFrom, registry_from

pytestmark = pytest.mark.asyncio(loop_scope="session")
BASES = {"openai": "/v1", "anthropic": "/anthropic", "gemini": "/gemini"}
WAYS = [("wire", "openai"), ("litellm", "openai"), ("litellm", "anthropic"), ("litellm", "gemini")]
ways = pytest.mark.parametrize(("lane", "provider"), WAYS, ids=["-".join(way) for way in WAYS])
both = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
KEY = "sk-the-deployments-key"
SECRETS = (KEY, "litellm", "sk-", "127.0.0.1", "http://", "do not repeat me", "Traceback")


CONFIG = f"""
model_list:
  - {{model_name: openai, litellm_params: {{model: openai/m, api_key: {KEY}}}}}
  - {{model_name: anthropic, litellm_params: {{model: anthropic/m, api_key: {KEY}}}}}
  - {{model_name: gemini, litellm_params: {{model: gemini/m, api_key: {KEY}}}}}
"""
BODY = {"messages": [{"role": "user", "content": "do not repeat me"}]}


class Lanes:
    """Sends one attempt, past the router: what it raises is what is looked at."""

    def __init__(self, deployments: Mapping[str, Deployment]) -> None:
        self._deployments, self._numbers = deployments, itertools.count()
        self._lanes: dict[str, Any] = {"wire": WireLane(), "litellm": LiteLLMLane()}

    async def fail(
        self, url: str, lane: str, provider: str, model: str = "m", *, stream: bool = False
    ) -> AttemptFailed:
        deployment = replace(
            self._deployments[provider],
            id=f"{provider}-{next(self._numbers)}",
            api_base=url + BASES[provider],
            litellm_model=f"{provider}/{model}",
            upstream_model=model,
        )
        shaped = shape(Call("chat", {**BODY, "stream": stream}), deployment).with_cap(64)
        try:
            if stream:
                async for _ in self._lanes[lane].stream(shaped):
                    pass
            else:
                await self._lanes[lane].call(shaped)
        except AttemptFailed as failure:
            return failure
        raise AssertionError("it did not fail")

    async def aclose(self) -> None:
        await self._lanes["wire"].aclose()
        self._lanes["litellm"].close()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def lanes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lanes]:
    lanes = Lanes(registry_from(tmp_path_factory.mktemp("lanes"), CONFIG).deployments)
    yield lanes
    await lanes.aclose()


def safe(failure: AttemptFailed) -> bool:
    return not any(secret.lower() in failure.detail.lower() for secret in SECRETS)


BY_MODEL = [
    ("error-400", Category.BAD_REQUEST, Reached.REPLIED),
    ("error-401", Category.AUTHENTICATION, Reached.REPLIED),
    ("error-402", Category.AUTHENTICATION, Reached.REPLIED),
    ("error-403", Category.AUTHENTICATION, Reached.REPLIED),
    ("error-404", Category.NOT_FOUND, Reached.REPLIED),
    ("error-408", Category.TIMEOUT, Reached.REPLIED),
    ("error-409", Category.SERVER, Reached.REPLIED),
    ("error-413", Category.CONTEXT_LENGTH, Reached.REPLIED),
    ("error-422", Category.BAD_REQUEST, Reached.REPLIED),
    ("error-429", Category.RATE_LIMIT, Reached.REPLIED),
    ("error-500", Category.SERVER, Reached.REPLIED),
    ("error-503", Category.SERVER, Reached.REPLIED),
    ("error-504", Category.TIMEOUT, Reached.REPLIED),
    ("error-529", Category.RATE_LIMIT, Reached.REPLIED),
    ("error-context", Category.CONTEXT_LENGTH, Reached.REPLIED),
    ("error-content", Category.CONTENT_POLICY, Reached.REPLIED),
    ("html-502", Category.SERVER, Reached.REPLIED),
    ("html-404", Category.NOT_FOUND, Reached.REPLIED),
    ("refuse", Category.NETWORK, Reached.LOST),
    ("cut-after-0", Category.NETWORK, Reached.LOST),
]


@ways
@pytest.mark.parametrize(("model", "category", "reached"), BY_MODEL, ids=[row[0] for row in BY_MODEL])
async def test_replies_and_lost_ones(
    sandbox: Sandbox, lanes: Lanes, lane: str, provider: str, model: str, category: Category, reached: Reached
) -> None:
    for stream in (False, True):
        failure = await lanes.fail(sandbox.url, lane, provider, model, stream=stream)
        assert (failure.category, failure.reached) == (category, reached), stream
        assert safe(failure), failure.detail
        assert failure.status == (int(model[-3:]) if model[-3:].isdigit() else failure.status)
    assert len(sandbox.received) == 2  # each attempt is one request: nothing behind it tries again


@ways
@both
async def test_what_the_provider_says_of_a_bad_request_is_kept(
    sandbox: Sandbox, lanes: Lanes, lane: str, provider: str, *, stream: bool
) -> None:
    failure = await lanes.fail(sandbox.url, lane, provider, "error-400", stream=stream)
    said = (failure.error or {})["message"]
    assert said == ("Request contains an invalid argument." if provider == "gemini" else "The request is invalid.")
    assert (await lanes.fail(sandbox.url, lane, provider, "error-500", stream=stream)).error is None


@ways
@both
async def test_retry_after(sandbox: Sandbox, lanes: Lanes, lane: str, provider: str, *, stream: bool) -> None:
    failure = await lanes.fail(sandbox.url, lane, provider, "error-429-after-7", stream=stream)
    assert (failure.status, failure.retry_after) == (429, 7.0)
    assert (await lanes.fail(sandbox.url, lane, provider, "error-503", stream=stream)).retry_after is None


def closed_port() -> str:
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{once.getsockname()[1]}"


@ways
@both
@pytest.mark.parametrize("place", ["closed port", "unknown name", "tls to a plain port"])
async def test_not_connected(
    sandbox: Sandbox, lanes: Lanes, lane: str, provider: str, place: str, *, stream: bool
) -> None:
    url = {
        "closed port": closed_port(),
        "unknown name": "http://no-such-host.invalid",
        "tls to a plain port": sandbox.url.replace("http://", "https://"),
    }[place]
    failure = await lanes.fail(url, lane, provider, stream=stream)
    assert (failure.category, failure.reached) == (Category.NETWORK, Reached.NOT_CONNECTED)
    assert safe(failure), failure.detail
    assert sandbox.received == []


SECRET_ERROR = {"error": {"message": f"key {KEY} at http://internal: do not repeat me", "code": None, "type": "x"}}
RAW: dict[str, tuple[bytes, bool, Category, Reached]] = {
    "an error that says 200": (
        http("200 OK", json.dumps(SECRET_ERROR).encode(), "Content-Type: application/json"),
        False,
        Category.SERVER,
        Reached.REPLIED,
    ),
    "a rate limit that says 200": (
        http("200 OK", b'{"error": {"message": "slow down", "code": 429}}', "Content-Type: application/json"),
        False,
        Category.RATE_LIMIT,
        Reached.REPLIED,
    ),
    "not json": (
        http("200 OK", b"do not repeat me", "Content-Type: application/json"),
        False,
        Category.SERVER,
        Reached.LOST,
    ),
    "no answer in it": (
        http("200 OK", b'{"hello": "world"}', "Content-Type: application/json"),
        False,
        Category.SERVER,
        Reached.LOST,
    ),
    "nothing in it": (http("200 OK", b"", "Content-Type: application/json"), False, Category.SERVER, Reached.LOST),
    "an error with a secret": (
        http("500 Oops", json.dumps(SECRET_ERROR).encode(), "Content-Type: application/json"),
        False,
        Category.SERVER,
        Reached.REPLIED,
    ),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-", False, Category.NETWORK, Reached.LOST),
    "half a body": (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
        False,
        Category.NETWORK,
        Reached.LOST,
    ),
    "half an error": (
        b"HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
        False,
        Category.NETWORK,
        Reached.LOST,
    ),
    "no http": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", False, Category.NETWORK, Reached.LOST),
    "reset": (b"", True, Category.NETWORK, Reached.LOST),
}


@ways
@pytest.mark.parametrize("name", RAW)
async def test_strange_replies(lanes: Lanes, lane: str, provider: str, name: str) -> None:
    reply, reset, category, reached = RAW[name]
    async with replying(reply, reset=reset) as server:
        failure = await lanes.fail(server.url, lane, provider)
        if lane == "litellm" and "says 200" in name:  # LiteLLM says no more than that it cannot read it
            category, reached = Category.SERVER, Reached.LOST
        assert (failure.category, failure.reached) == (category, reached), failure.detail
        assert safe(failure), failure.detail
        assert len(server.requests) == 1


@both
@ways
async def test_a_host_that_does_not_answer(
    sandbox: Sandbox, router: RouterFrom, lane: str, provider: str, *, stream: bool
) -> None:
    """The deadline ends it, and what it may have cost is in doubt."""
    text = f"""
    model_list:
      - model_name: m
        litellm_params: {{model: {provider}/hang, api_base: "{sandbox.url}{BASES[provider]}", api_key: {KEY}}}
        model_info: {{id: m, lane: {lane}, max_input_tokens: 1000, input_cost_per_token: 1.0e-6,
                      output_cost_per_token: 1.0e-6}}
    """
    one: Router = router(text)
    await one.warm_up()
    call = Call("chat", {"model": "m", "messages": [], "stream": stream}, CallOptions(timeout=0.3))
    call.body["messages"] = [{"role": "user", "content": "hi"}]
    with pytest.raises(RequestError) as raised:
        await asyncio.wait_for(one.serve(call), 5)
    assert (raised.value.status, raised.value.code) == (504, "deadline_exceeded")
    [row] = await one.ledger.rows()
    assert (row["outcome"], row["mark"], row["cost"]) == ("timeout", "doubt", row["granted"])


@both
@pytest.mark.parametrize(
    ("provider", "more"),
    [
        ("openai", {"tools": [5]}),
        ("anthropic", {"tools": [5]}),
        ("anthropic", {"messages": [{"role": "somebody", "content": "hi"}]}),
        ("gemini", {"messages": [{"role": "tool", "tool_call_id": "of-nothing", "content": "hi"}]}),
        ("gemini", {"response_format": "json"}),
    ],
)
async def test_what_cannot_be_translated_was_not_sent_and_costs_nothing(
    router: RouterFrom, sandbox: Sandbox, provider: str, more: dict[str, Any], *, stream: bool
) -> None:
    model = "gpt-5.6" if provider == "openai" else "m"  # whose tools LiteLLM moves to the Responses API
    one = router(
        f"""
        model_list:
          - model_name: m
            litellm_params: {{model: {provider}/{model}, api_key: k, api_base: "{sandbox.url}{BASES[provider]}"}}
            model_info: {{max_output_tokens: 50, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}}
        """,
        {"retries": "server: {retries: 0}"},
    )
    with pytest.raises(RequestError):
        await one.serve(Call("chat", {"model": "m", **BODY, **more, "stream": stream}))
    [row] = await one.ledger.rows()
    assert (sandbox.received, row["mark"], row["cost"]) == ([], "zero", 0)


@pytest.mark.parametrize("lane", ["wire", "litellm"])
@pytest.mark.parametrize("choices", [[None], ["text"], [5]])
async def test_choices_that_are_none_are_no_answer(router: RouterFrom, lane: str, choices: list[Any]) -> None:
    body = json.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": choices}).encode()
    async with replying(http("200 OK", body, "Content-Type: application/json")) as server:
        one = router(
            f"""
            model_list:
              - model_name: m
                litellm_params: {{model: openai/m, api_key: k, api_base: "{server.url}/v1"}}
                model_info: {{lane: {lane}, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}}
            """,
            {"retries": "server: {retries: 0}"},
        )
        with pytest.raises(RequestError) as failed:
            await one.serve(Call("chat", {"model": "m", **BODY}))
    [row] = await one.ledger.rows()
    assert (failed.value.code, row["mark"]) == ("server", "doubt")
