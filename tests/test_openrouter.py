"""OpenRouter on the wire: modes, preferences, its own fallbacks, who served, and what all that costs at most."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from scribe_router.errors import InvalidRequest, ModelNotFound
from scribe_router.exchange import Call
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.server.headers import answer_headers
from scribe_router.stream import AnswerStream
from tests.config.test_catalogue import write
from tests.support.catalogues import FREE, PLAIN, RICH, model
from tests.support.raw_server import http, replying
from tests.support.yaml_text import registry_from

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONFIG = """
model_list:
  - model_name: openrouter/*
    litellm_params: {model: openrouter/*, api_key: any, api_base: os.environ/BASE}
  - model_name: private
    litellm_params:
      {model: openrouter/maker/rich, api_key: any, api_base: os.environ/BASE, extra_body: {provider: {zdr: true}}}
  - model_name: quick
    litellm_params: {model: openrouter/maker/plain:nitro, api_key: any, api_base: os.environ/BASE}
  - model_name: stated
    litellm_params: {model: openrouter/maker/stated, api_key: any, api_base: os.environ/BASE}
    model_info: {input_cost_per_token: 9.0e-6, output_cost_per_token: 2.0e-5, max_input_tokens: 9000}
  - model_name: elsewhere
    litellm_params: {model: openai/gpt-6-luna, api_key: any, api_base: os.environ/BASE}
router_settings:
  model_group_alias: {mine: openrouter/maker/plain}
"""
LIMIT = {"budgets": "limits: [{id: day, scope: user, window: day, usd: 5}]"}
OFF = [{"id": "context-compression", "enabled": False}]
HELLO = [{"role": "user", "content": "hello"}]
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "cost": 0.00023}
SERVED = {"provider": "Some Host", "model": "maker/plain-2"}
RULES = [
    {"match": "hello", "answer": "hello", "usage": USAGE},
    {"match": "free of usage", "answer": "hello", "usage": {**USAGE, "cost": None}},
]


class Routers:
    """Routers of this configuration before one sandbox."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder, self.sandbox = folder, sandbox
        self.opened: list[Router] = []

    def open(self, limit: bool = False, url: str = "", **environment: str) -> Router:
        folder = self.folder / str(len(self.opened))
        write(folder, RICH, PLAIN, FREE, model("maker/dear", "0.00005", "0.0001", context_length=500_000))
        base = {"BASE": url or f"{self.sandbox.url}/v1", **environment}
        self.opened.append(Router(registry_from(folder, CONFIG, LIMIT if limit else None, base)))
        return self.opened[-1]


@pytest_asyncio.fixture(loop_scope="session")
async def routers(tmp_path: Path) -> AsyncIterator[Routers]:
    async with Sandbox(RULES) as sandbox:
        opened = Routers(tmp_path, sandbox)
        yield opened
        for router in opened.opened:
            await router.aclose()


async def sent(routers: Routers, router: Router, **body: Any) -> dict[str, Any]:
    """What reaches the host."""
    routers.sandbox.clear()
    await router.serve(Call("chat", {"messages": HELLO, **body}))
    [received] = routers.sandbox.received
    found: dict[str, Any] = received.json
    return found


@pytest.mark.parametrize(
    ("asked", "name", "told"),
    [
        ({"model": "openrouter/maker/plain"}, "maker/plain", {}),
        ({"model": "openrouter/maker/plain:nitro"}, "maker/plain", {"provider": {"sort": "throughput"}}),
        ({"model": "openrouter/maker/plain:floor"}, "maker/plain", {"provider": {"sort": "price"}}),
        ({"model": "openrouter/maker/plain:exacto"}, "maker/plain", {"provider": {"sort": "exacto"}}),
        ({"model": "openrouter/maker/plain:online"}, "maker/plain", {"tools": [{"type": "openrouter:web_search"}]}),
        ({"model": "openrouter/maker/plain:free"}, "maker/plain:free", {}),
        ({"model": "openrouter/maker/plain:free:nitro"}, "maker/plain:free", {"provider": {"sort": "throughput"}}),
        ({"model": "openrouter/maker/plain:thinking"}, "maker/plain:thinking", {}),
        ({"model": "mine:floor"}, "maker/plain", {"provider": {"sort": "price"}}),
        ({"model": "quick"}, "maker/plain", {"provider": {"sort": "throughput"}}),
        ({"model": "quick:floor"}, "maker/plain", {"provider": {"sort": "price"}}),
        ({"model": "private:nitro"}, "maker/rich", {"provider": {"sort": "throughput", "zdr": True}}),
        ({"model": "mine", "optimize_for": "cost"}, "maker/plain", {"provider": {"sort": "price"}}),
        ({"model": "mine", "optimize_for": "speed"}, "maker/plain", {"provider": {"sort": "throughput"}}),
        ({"model": "mine", "optimize_for": "quality"}, "maker/plain", {"provider": {"sort": "exacto"}}),
        ({"model": "mine", "optimize_for": "reasoning"}, "maker/plain", {}),
        ({"model": "quick", "optimize_for": "balance"}, "maker/plain", {}),
        ({"model": "mine:nitro", "optimize_for": "cost"}, "maker/plain", {"provider": {"sort": "throughput"}}),
        (
            {"model": "mine:nitro", "provider": {"sort": "latency", "order": ["a"]}},
            "maker/plain",
            {"provider": {"sort": "latency", "order": ["a"]}},
        ),
        ({"model": "mine", "provider": "openrouter"}, "maker/plain", {}),
        (
            {"model": "mine", "models": ["a/b"], "route": "fallback"},
            "maker/plain",
            {"models": ["a/b"], "route": "fallback"},
        ),
        ({"model": "mine", "plugins": [{"id": "web"}]}, "maker/plain", {"plugins": [{"id": "web"}]}),
    ],
)
async def test_what_is_sent(routers: Routers, asked: dict[str, Any], name: str, told: dict[str, Any]) -> None:
    body = await sent(routers, routers.open(), **asked)
    del body["messages"], body["max_completion_tokens"]
    assert body == {"model": name, "plugins": OFF, **told}


async def test_the_mode_of_the_environment(routers: Routers) -> None:
    router = routers.open(OPENROUTER_DEFAULT_ROUTING="floor")
    assert (await sent(routers, router, model="mine"))["provider"] == {"sort": "price"}
    assert (await sent(routers, router, model="mine:nitro"))["provider"] == {"sort": "throughput"}
    assert "provider" not in await sent(routers, router, model="mine", optimize_for="balance")
    assert "mode floor" in router.explain(model="mine", messages=HELLO)
    assert "mine:nitro -> mine -> openrouter/maker/plain" in router.explain(model="mine:nitro", messages=HELLO)


async def test_a_mode_belongs_to_who_has_it(routers: Routers) -> None:
    router = routers.open()
    with pytest.raises(ModelNotFound, match="did you mean elsewhere"):
        await router.serve(Call("chat", {"model": "elsewhere:nitro", "messages": HELLO}))
    answer = await router.serve(Call("chat", {"model": "elsewhere", "messages": HELLO, "optimize_for": "cost"}))
    assert answer.exchange.plan is not None
    assert [each.mode for each in answer.exchange.plan.candidates] == [None]


@pytest.mark.parametrize(
    ("asked", "ceiling"),
    [
        ({}, {"prompt": 2, "completion": 10}),
        (
            {"provider": {"max_price": {"prompt": 1, "completion": 99, "image": 3}}},
            {"prompt": 1, "completion": 10, "image": 3},
        ),
        ({"provider": {"max_price": {"prompt": "0.5", "completion": "x"}}}, {"prompt": "0.5", "completion": 10}),
        ({"provider": {"max_price": {"prompt": "99", "completion": 10**400}}}, {"prompt": 2, "completion": 10}),
        ({"provider": {"max_price": {"prompt": -1, "completion": True}}}, {"prompt": 2, "completion": 10}),
        ({"provider": {"max_price": "low"}}, {"prompt": 2, "completion": 10}),
        ({"models": ["maker/dear", "maker/rich"]}, {"prompt": 50, "completion": 100}),
        ({"models": ["maker/stated"]}, {"prompt": 9, "completion": 20}),
    ],
)
async def test_no_host_is_dearer_than_the_limit_counts_on(
    routers: Routers, asked: dict[str, Any], ceiling: dict[str, Any]
) -> None:
    body = await sent(routers, routers.open(limit=True), model="mine:nitro", **asked)
    assert body["provider"] == {"sort": "throughput", "max_price": ceiling}


async def test_its_own_fallbacks_are_bounded_by_the_dearest(routers: Routers) -> None:
    router = routers.open(limit=True)
    body = {"model": "mine", "messages": HELLO, "max_tokens": 10}
    alone = await router.serve(Call("chat", body))
    both = await router.serve(Call("chat", {**body, "models": ["maker/rich", "maker/dear"]}))
    [one], [two] = alone.exchange.attempts, both.exchange.attempts
    assert one.bound == one.ceiling * 2_000 + 10 * 10_000
    assert two.bound == two.ceiling * 50_000 + 10 * 100_000 + 5_000_000  # and a request of maker/rich costs 0.005
    assert one.cost == two.cost == 230_000  # what is reported counts
    for models in (["maker/rich", "maker/unknown"], ["openrouter/auto"], [3], "maker/rich", ["maker/rich"] * 33):
        with pytest.raises(InvalidRequest, match="models can cost more than the listed rates"):
            await router.serve(Call("chat", {**body, "models": models}))


async def test_what_has_no_bound_is_refused_below_a_limit(routers: Routers) -> None:
    router = routers.open(limit=True)
    for asked in ({"model": "mine:online"}, {"model": "mine", "plugins": [{"id": "web"}]}):
        with pytest.raises(InvalidRequest, match="can cost more than the listed rates"):
            await router.serve(Call("chat", {**asked, "messages": HELLO}))
    for asked in (
        {"model": "mine", "plugins": [{"id": "context-compression"}]},
        {"model": "openrouter/maker/plain:free"},
    ):
        assert await router.serve(Call("chat", {**asked, "messages": HELLO}))


async def test_requests_and_images_have_their_price(routers: Routers) -> None:
    router = routers.open(limit=True)
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    content = [{"type": "text", "text": "free of usage"}, picture, picture]
    answer = await router.serve(
        Call("chat", {"model": "private", "messages": [{"role": "user", "content": content}], "max_tokens": 10})
    )
    [attempt] = answer.exchange.attempts
    fees = 5_000_000 + 2 * 1_000_000
    assert attempt.bound == 200_000 * 500 + 10 * 1_500 + fees  # the window, as if it were cached for an hour
    assert attempt.cost == 100 * 250 + 10 * 1_500 + fees


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_who_served(routers: Routers, *, stream: bool) -> None:
    body = {"model": "mine", "models": ["maker/rich"], "messages": HELLO, "stream": stream}
    said = {"message": {"role": "assistant", "content": "me"}, "delta": {"content": "me"}}
    reply = json.dumps({**SERVED, "choices": [{"index": 0, "finish_reason": "stop", **said}], "usage": USAGE}).encode()
    page = http("200 OK", b"data: " + reply + b"\n\ndata: [DONE]\n\n" if stream else reply)
    async with replying(page) as host:
        router = routers.open(limit=True, url=host.url)
        answer = await router.serve(Call("chat", body))
    headers = dict(answer_headers(Receipt.of(answer.exchange), stream=stream))
    assert headers["x-scribe-upstream-provider"] == "Some Host"
    assert headers["x-scribe-provider"] == "openrouter"
    assert headers["x-scribe-model"] == "maker/plain-2"
    if isinstance(answer, AnswerStream):
        assert {chunk["model"] for chunk in [chunk async for chunk in answer]} == {"mine"}
    await router.ledger.flush()
    [row] = await router.ledger.rows()
    assert (row["model"], row["cost"]) == ("openrouter/maker/plain", 230_000)
    raw = row["raw_usage"] if isinstance(row["raw_usage"], dict) else json.loads(row["raw_usage"])
    assert raw["served_by"] == {"provider": "Some Host", "model": "maker/plain-2"}


async def test_nobody_says_who_served(routers: Routers) -> None:
    answer = await routers.open().serve(Call("chat", {"model": "mine", "messages": HELLO}))
    headers = dict(answer_headers(Receipt.of(answer.exchange)))
    assert "x-scribe-upstream-provider" not in headers
    assert headers["x-scribe-model"] == "maker/plain"
