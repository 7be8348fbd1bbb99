"""What holds inside LiteLLM's own proxy, and, in the tests whose names begin with `test_gap`, what does not."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from scribe_router.sandbox import Sandbox
from scribe_router.stores.sqlite import SqliteLedger
from tests.litellm_proxy.conftest import CHAT, LiteLLMProxy

WORDS = 3  # the sandbox counts words: three in, three out
TRUE_COST = WORDS * 1_000 + WORDS * 2_000
MESSAGES = [{"role": "user", "content": "hello big world"}]
PATH = "/v1/chat/completions"
Row = dict[str, Any]
pytestmark = [pytest.mark.proxy, pytest.mark.timeout(150)]


class Caller:
    """One user of the proxy, and that user's rows."""

    def __init__(self, name: str, http: httpx.AsyncClient, ledger: SqliteLedger) -> None:
        self.name, self.http, self.ledger = name, http, ledger

    async def chat(self, model: str, **more: Any) -> httpx.Response:
        return await self.http.post(PATH, json={"model": model, "messages": MESSAGES, **more})

    async def rows(self) -> list[Row]:
        return [row for row in await self.ledger.rows() if row["user"] == self.name]

    async def settled(self, count: int = 1) -> list[Row]:
        """The rows once `count` are settled: LiteLLM tells of streams in a task of its own."""
        for _ in range(100):
            rows = await self.rows()
            if sum(row["state"] == "settled" for row in rows) >= count:
                assert await self.ledger.check() == []
                return rows
            await asyncio.sleep(0.1)
        raise AssertionError(f"not {count} settled rows: {rows}")


@pytest.fixture
async def caller(proxy: LiteLLMProxy, sandbox: Sandbox, request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    """A user of this test's own, whose limit nobody else uses up."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    ledger = proxy.ledger()
    async with proxy.client(name) as http:
        yield Caller(name, http, ledger)
    ledger.close()


def chunks(text: str) -> list[Any]:
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(each) for each in data if each != "[DONE]"]


def told(text: str) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks(text) for choice in chunk["choices"])


@pytest.mark.parametrize("model", ["echo", "claude", "gemini"])
async def test_an_answer_leaves_a_row(caller: Caller, model: str) -> None:
    answer = await caller.chat(model, user="somebody-else")
    assert answer.json()["choices"][0]["message"]["content"] == "hello big world", answer.text
    (row,) = await caller.settled()
    assert (row["cost"], row["mark"], row["deployment"]) == (TRUE_COST, "computed", f"{model}-1")


@pytest.mark.parametrize("model", ["echo", "claude", "gemini"])
@pytest.mark.parametrize("asked", [False, True])
async def test_a_stream_leaves_a_row(caller: Caller, model: str, asked: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if asked else {}
    answer = await caller.chat(model, stream=True, **options)
    assert told(answer.text) == "hello big world"
    (row,) = await caller.settled()
    assert (row["cost"], row["mark"]) == (TRUE_COST, "computed")
    assert any(chunk.get("usage") for chunk in chunks(answer.text)) is asked


@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_is_said_in_the_providers_words(caller: Caller, sandbox: Sandbox, stream: bool) -> None:
    """LiteLLM itself would drop the level of DeepSeek's effort, and refuse a thinking_budget."""
    for ask, sent in (
        ({"reasoning_effort": "max"}, {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}),
        ({"thinking_budget": 0}, {"thinking": {"type": "disabled"}}),
    ):
        sandbox.clear()
        answer = await caller.chat("deepseek", stream=stream, **ask)
        assert answer.status_code == httpx.codes.OK, answer.text
        arrived = sandbox.received[0].json
        assert {name: arrived[name] for name in ("thinking", "reasoning_effort") if name in arrived} == sent
    await caller.settled(2)


async def test_embeddings_leave_a_row(caller: Caller) -> None:
    answer = await caller.http.post("/v1/embeddings", json={"model": "embed", "input": ["hello big world"]})
    assert answer.status_code == httpx.codes.OK
    (row,) = await caller.settled()
    assert (row["cost"], row["mark"]) == (WORDS * 1_000, "computed")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_over_the_limit_is_refused_before_it_leaves(
    caller: Caller, sandbox: Sandbox, stream: bool
) -> None:
    answer = await caller.chat("echo", max_tokens=600_000, stream=stream)
    assert answer.status_code == httpx.codes.TOO_MANY_REQUESTS
    error = answer.json()["error"]
    assert error["type"] == "insufficient_quota"
    assert error["message"].startswith(f"limit daily (user:{caller.name}, ")
    assert answer.headers["x-should-retry"] == "false"
    assert (sandbox.received, await caller.rows()) == ([], [])


async def test_many_at_once_stay_below_the_limit(caller: Caller, sandbox: Sandbox) -> None:
    answers = await asyncio.gather(*(caller.chat("echo", max_tokens=50_000) for _ in range(30)))
    served = sum(answer.status_code == httpx.codes.OK for answer in answers)
    rows = await caller.settled(served)
    assert 0 < served == len(rows) == len(sandbox.received)
    assert {answer.status_code for answer in answers} <= {httpx.codes.OK, httpx.codes.TOO_MANY_REQUESTS}


async def test_every_retry_is_an_attempt(caller: Caller) -> None:
    answer = await caller.chat("flaky-1")
    assert answer.status_code == httpx.codes.OK
    rows = await caller.settled(2)
    assert [row["mark"] for row in rows] == ["computed", "zero"]


async def test_a_failure_costs_nothing(caller: Caller, sandbox: Sandbox) -> None:
    assert (await caller.chat("error-500")).status_code == httpx.codes.INTERNAL_SERVER_ERROR
    rows = await caller.settled(len(sandbox.received))
    assert {(row["mark"], row["outcome"], row["cost"]) for row in rows} == {("zero", "server", 0)}


async def test_a_broken_stream_is_settled_at_its_bound(caller: Caller) -> None:
    await caller.chat("cut-after-2", stream=True)
    (row,) = await caller.settled()
    assert (row["mark"], row["outcome"], row["cost"]) == ("bound", "stream", row["granted"])


async def test_a_stream_without_usage_is_settled_at_its_bound(caller: Caller) -> None:
    await caller.chat("no-usage", stream=True)
    (row,) = await caller.settled()
    assert (row["mark"], row["cost"]) == ("bound", row["granted"])


async def test_a_call_id_of_the_clients_saves_nothing(caller: Caller, sandbox: Sandbox) -> None:
    caller.http.headers["x-litellm-call-id"] = "mine"
    await asyncio.gather(caller.chat("slow-2s"), caller.chat("slow-2s"))
    assert len(await caller.settled(2)) == len(sandbox.received) == 2


async def test_what_cannot_be_counted_is_refused(caller: Caller, sandbox: Sandbox) -> None:
    body = {"model": "echo", "max_tokens": 10, "messages": MESSAGES}
    for path, more in (
        ("/v1/messages", {}),
        ("/v1/responses", {"input": "hello"}),
        ("/v1/completions", {"prompt": "x"}),
    ):
        answer = await caller.http.post(path, json={**body, **more})
        assert "so daily cannot bound its cost" in answer.text, path
    assert (sandbox.received, await caller.rows()) == ([], [])


async def test_health_checks_that_call_a_model_are_refused(caller: Caller, sandbox: Sandbox) -> None:
    answer = await caller.http.get("/health", params={"model": "echo"})
    assert "so daily cannot bound its cost" in answer.text
    assert (sandbox.received, await caller.rows()) == ([], [])


@pytest.mark.parametrize(
    "more",
    [
        {"max_output_tokens": 9_000},
        {"generationConfig": {"maxOutputTokens": 9_000}},
        {"extra_body": {"max_output_tokens": 9_000}},
    ],
)
async def test_the_cap_has_one_name(caller: Caller, sandbox: Sandbox, more: dict[str, Any]) -> None:
    answer = await caller.chat("gemini", **more)
    assert (answer.status_code, sandbox.received) == (httpx.codes.BAD_REQUEST, []), answer.text


@pytest.mark.parametrize("extra", [{"max_tokens": 9_000}, {"max_completion_tokens": 9_000, "model": "dear"}])
async def test_the_body_cannot_lift_the_cap(caller: Caller, sandbox: Sandbox, extra: dict[str, Any]) -> None:
    await caller.chat("echo", max_tokens=50, extra_body=extra)
    (row,) = await caller.settled()
    (received,) = sandbox.received
    caps = {received.json.get("max_tokens"), received.json.get("max_completion_tokens")} - {None}
    assert (caps, received.json["model"]) == ({row["cap"]}, "echo")


async def test_gap_a_client_that_hangs_up_pays_the_bound(caller: Caller, sandbox: Sandbox) -> None:
    """LiteLLM's proxy stops reading, so nobody learns what the provider bills; it is settled at the most it can be."""
    model = "pace-50ms+long-100"
    assert model in CHAT
    body = {"model": model, "messages": MESSAGES, "stream": True, "max_tokens": 500}
    async with caller.http.stream("POST", PATH, json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                break
    (row,) = await caller.settled()
    assert (row["mark"], row["outcome"], row["cost"]) == ("bound", "stream", row["granted"])
    (received,) = sandbox.received
    assert received.billed is not None
    assert row["cost"] > TRUE_COST


async def test_a_client_that_hangs_up_on_a_plain_call_pays_what_it_cost(caller: Caller) -> None:
    """LiteLLM's proxy reads the answer to its end all the same."""
    with pytest.raises(httpx.ReadTimeout):
        await caller.http.post(PATH, json={"model": "slow-2s", "messages": MESSAGES}, timeout=0.5)
    (row,) = await caller.settled()
    assert (row["mark"], row["cost"]) == ("computed", TRUE_COST)


@pytest.mark.parametrize(("model", "asked"), [("no-usage", True), ("no-end", False)])
async def test_gap_litellm_makes_usage_up(caller: Caller, model: str, asked: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if asked else {}
    await caller.chat(model, stream=True, **options)
    (row,) = await caller.settled()
    assert (row["mark"], row["usage"]["input"]) == ("computed", 10)  # the sandbox billed three
