"""Our callbacks in a plain `litellm.Router`, against the sandbox: rows, counters, refusals, and what gaps remain."""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# LiteLLM reads these when it is imported; without them it fetches tables from the network and loads a .env file.
os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION", LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS="True"
)

import litellm
import openai
import pytest
import pytest_asyncio
import yaml
from litellm.integrations.custom_logger import CustomLogger
from litellm.router import Router as LiteLLMRouter
from litellm.types.router import Deployment

from scribe_router import Router
from scribe_router.callbacks import scribe
from scribe_router.config.load import load_config
from scribe_router.config.resolved import resolved
from scribe_router.sandbox import Sandbox, running_sandbox
from scribe_router.stores.sqlite import SqliteLedger
from scribe_router.upstream.callbacks import Refusal
from tests.support.litellm_clients import close_litellm_clients

MESSAGES = [{"role": "user", "content": "hello big world"}]
COMPATIBLE = ("openrouter", "moonshot", "dashscope", "deepseek", "minimax", "hosted_vllm")
WORDS = 3  # the sandbox counts words: three in, three out
TRUE_COST = WORDS * 1_000 + WORDS * 2_000
Rows = list[dict[str, Any]]
pytestmark = [
    # One loop for all: LiteLLM keeps its clients by loop, and closes them only when told to.
    pytest.mark.asyncio(loop_scope="module"),
    # LiteLLM's own: types with read-only fields, and a field of pydantic's read from an instance.
    pytest.mark.filterwarnings("ignore:Item.* on TypedDict class:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:pydantic.warnings.PydanticDeprecatedSince211"),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module", autouse=True)
async def closing() -> AsyncIterator[None]:
    yield
    await close_litellm_clients()


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.clear()
    return running


class Witness(CustomLogger):
    """Counts how often LiteLLM comes to the hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> None:
        self.calls += 1


class Place:
    """A configuration in a folder whose deployments are all at the sandbox, and LiteLLM's Router built from it."""

    def __init__(self, folder: Path, url: str, usd: float | None, witness: Witness) -> None:
        self.folder, self.url, self.witness = folder, url, witness
        self.models: list[dict[str, Any]] = []
        (folder / "policies").mkdir()
        if usd is not None:
            limit = {"id": "daily", "scope": "user", "window": "day", "usd": usd, "when_short": "reject"}
            (folder / "policies" / "budgets.yaml").write_text(yaml.safe_dump({"limits": [limit]}))

    def add(self, model: str, provider: str = "openai", base: str = "/v1", **info: Any) -> None:
        price = {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "max_input_tokens": 100_000}
        self.models.append(
            {
                "model_name": model,
                "litellm_params": {"model": f"{provider}/{model}", "api_base": self.url + base, "api_key": "any"},
                "model_info": {
                    "id": f"{provider}-{model}",
                    "default_output_cap": 100,
                    "lane": "litellm",
                    **price,
                    **info,
                },
            }
        )

    def router(self, *models: str, **settings: Any) -> Any:
        """LiteLLM's Router, of what `check --resolved` prints."""
        for model in models:
            self.add(model)
        config = self.folder / "litellm_config.yaml"
        config.write_text(yaml.safe_dump({"model_list": self.models}))
        loaded = load_config(config, None, os.environ)
        entries = yaml.safe_load(resolved(loaded.source, loaded.or_raise()))["model_list"]
        return LiteLLMRouter(model_list=entries, **{"num_retries": 0, **settings})

    async def rows(self) -> Rows:
        await asyncio.sleep(0.05)
        return await scribe.books().ledger.rows()

    async def settled(self, count: int = 1) -> Rows:
        """The rows once `count` of them are settled: LiteLLM tells of streams in a task of its own."""
        for _ in range(100):
            rows = await self.rows()
            if sum(row["state"] == "settled" for row in rows) >= count:
                assert await scribe.books().ledger.check() == []
                return rows
        raise AssertionError(f"not {count} settled rows: {rows}")


@pytest.fixture
def place(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Place]:
    """`usd` as parameter is a limit for each user and day; without one nothing is limited."""
    witness = Witness()
    monkeypatch.setenv("SCRIBE_CONFIG", str(tmp_path / "litellm_config.yaml"))
    monkeypatch.setattr(litellm, "callbacks", [witness, scribe])
    scribe.close()
    yield Place(tmp_path, sandbox.url, getattr(request, "param", None), witness)
    scribe.close()
    for callback in (scribe, witness):
        litellm.logging_callback_manager.remove_callback_from_all_lists(callback)


limited = pytest.mark.parametrize("place", [1], indirect=True)
poor = pytest.mark.parametrize("place", [0.01], indirect=True)


async def read(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


async def arrival(sandbox: Sandbox) -> None:
    """Returns when the first request has arrived."""
    while not sandbox.received:  # noqa: ASYNC110  (it comes from another thread)
        await asyncio.sleep(0.01)


def texts(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


@limited
async def test_a_plain_call_is_reserved_and_settled(place: Place, sandbox: Sandbox) -> None:
    answer = await place.router("echo").acompletion(model="echo", messages=MESSAGES, user="ann")
    (row,) = await place.settled()
    assert answer.choices[0].message.content == "hello big world"
    assert (row["cost"], row["mark"], row["outcome"]) == (TRUE_COST, "computed", "answered")
    assert (row["user"], row["deployment"], row["lane"], row["cap"]) == ("ann", "openai-echo", "litellm", 100)
    assert row["bound"] > row["cost"]
    (received,) = sandbox.received
    assert received.json["max_completion_tokens"] == 100
    (counter,) = (await scribe.books().ledger.counters()).values()
    assert (counter.settled, counter.reserved) == (TRUE_COST, 0)


@limited
@pytest.mark.parametrize("asked", [False, True])
async def test_a_stream_is_settled_at_its_usage(place: Place, sandbox: Sandbox, asked: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if asked else {}
    chunks = await read(await place.router("echo").acompletion(model="echo", messages=MESSAGES, stream=True, **options))
    (row,) = await place.settled()
    assert texts(chunks) == "hello big world"
    assert any(getattr(chunk, "usage", None) for chunk in chunks) is asked
    assert sandbox.received[0].json["stream_options"] == {"include_usage": True}
    assert (row["cost"], row["mark"]) == (TRUE_COST, "computed")


@limited
@pytest.mark.parametrize("provider", COMPATIBLE)
async def test_usage_of_streams_is_asked_for_everywhere(place: Place, sandbox: Sandbox, provider: str) -> None:
    place.add("echo", provider)
    chunks = await read(await place.router().acompletion(model="echo", messages=MESSAGES, stream=True))
    (row,) = await place.settled()
    assert sandbox.received[0].json["stream_options"] == {"include_usage": True}
    assert (texts(chunks), row["cost"], row["mark"]) == ("hello big world", TRUE_COST, "computed")


@limited
async def test_usage_is_not_asked_for_where_that_is_refused(place: Place, sandbox: Sandbox) -> None:
    place.add("echo", "mistral")
    await read(await place.router().acompletion(model="echo", messages=MESSAGES, stream=True))
    await place.settled()
    assert "stream_options" not in sandbox.received[0].json


@limited
@pytest.mark.parametrize(("provider", "base"), [("anthropic", "/anthropic"), ("gemini", "/gemini")])
@pytest.mark.parametrize("stream", [False, True])
async def test_other_wires(place: Place, sandbox: Sandbox, provider: str, base: str, stream: bool) -> None:
    place.add("echo", provider, base)
    answer = await place.router().acompletion(model="echo", messages=MESSAGES, stream=stream)
    if stream:
        await read(answer)
    (row,) = await place.settled()
    assert (row["cost"], row["mark"]) == (TRUE_COST, "computed")
    body = sandbox.received[0].json
    assert (body.get("max_tokens") or body["generationConfig"]["max_output_tokens"]) == 100


@limited
async def test_embeddings(place: Place) -> None:
    place.add("embed", mode="embedding")
    await place.router().aembedding(model="embed", input=["hello big world"])
    (row,) = await place.settled()
    assert (row["cost"], row["mark"], row["cap"]) == (WORDS * 1_000, "computed", None)


@limited
@pytest.mark.parametrize(
    ("model", "stream", "outcome", "mark"),
    [
        ("no-usage", False, "answered", "bound"),
        ("no-usage", True, "answered", "bound"),
        ("error-500", False, "server", "zero"),
        ("error-429", True, "rate_limit", "zero"),
        ("error-400", False, "bad_request", "zero"),
        ("cut-after-2", True, "stream", "bound"),
        ("error-mid-2", True, "stream", "bound"),
        ("refuse", False, "network", "doubt"),  # closed after the request arrived
    ],
)
async def test_what_is_settled(place: Place, model: str, stream: bool, outcome: str, mark: str) -> None:
    with nullcontext() if outcome == "answered" else pytest.raises(openai.OpenAIError):
        answer = await place.router(model).acompletion(model=model, messages=MESSAGES, stream=stream)
        await read(answer) if stream else None
    (row,) = await place.settled()
    assert (row["outcome"], row["mark"]) == (outcome, mark)
    assert row["cost"] == (0 if mark == "zero" else row["granted"])


@limited
@pytest.mark.parametrize(("model", "options"), [("no-usage", {"include_usage": True}), ("no-end", None)])
async def test_gap_litellm_makes_usage_up(place: Place, model: str, options: dict[str, Any] | None) -> None:
    """It counts with a tokenizer of its own, and does not say so, where a client asked for usage and the provider sent
    none, and where a stream ended without its end mark."""
    router = place.router(model)
    await read(await router.acompletion(model=model, messages=MESSAGES, stream=True, stream_options=options))
    (row,) = await place.settled()
    assert (row["mark"], row["usage"]["input"]) == ("computed", 10)  # the sandbox billed three


@limited
async def test_every_retry_is_an_attempt(place: Place) -> None:
    router = place.router("flaky-1", num_retries=2, retry_after=0)
    await router.acompletion(model="flaky-1", messages=MESSAGES)
    rows = await place.settled(2)
    assert [row["mark"] for row in rows] == ["computed", "zero"]
    assert len({row["exchange"] for row in rows}) == 1


@poor
async def test_a_refusal_ends_the_request_at_once(place: Place, sandbox: Sandbox) -> None:
    router = place.router("echo", "think", num_retries=2, fallbacks=[{"echo": ["think"]}])
    with pytest.raises(Refusal, match=r"limit daily \(user:local, .*\) has 0.01 of 0.01 usd left") as caught:
        await router.acompletion(model="echo", messages=MESSAGES, max_tokens=10_000)
    assert (caught.value.status_code, caught.value.type) == (429, "insufficient_quota")
    assert caught.value.headers == {"x-should-retry": "false"}
    assert place.witness.calls == 1
    assert (sandbox.received, await place.rows()) == ([], [])


@pytest.mark.parametrize("place", [0.01], indirect=True)
async def test_a_hundred_at_once_stay_below_the_limit(place: Place, sandbox: Sandbox) -> None:
    router = place.router("echo")
    calls = [router.acompletion(model="echo", messages=MESSAGES, max_tokens=400) for _ in range(100)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    rows = await place.settled(100 - len(refusals))
    assert 0 < len(refusals) < 100
    assert len(sandbox.received) == len(rows) == 100 - len(refusals)
    (counter,) = (await scribe.books().ledger.counters()).values()
    assert (counter.settled, counter.reserved) == (len(rows) * TRUE_COST, 0)


@limited
async def test_a_call_that_is_translated_is_one_attempt(place: Place, sandbox: Sandbox) -> None:
    place.add("gpt-5.4")
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    with pytest.raises(litellm.exceptions.NotFoundError):  # the sandbox has no Responses API
        await place.router().acompletion(model="gpt-5.4", messages=MESSAGES, reasoning_effort="low", tools=[tool])
    (row,) = await place.settled()
    assert (place.witness.calls, row["mark"], row["outcome"]) == (2, "zero", "not_found")
    assert sandbox.received[0].json["max_output_tokens"] == 100


@limited
async def test_a_call_id_that_a_client_repeats_saves_nothing(place: Place) -> None:
    router = place.router("slow-100ms")
    call = {"model": "slow-100ms", "messages": MESSAGES, "litellm_call_id": "mine"}
    await asyncio.gather(router.acompletion(**call), router.acompletion(**call))
    assert len(await place.settled(2)) == 2


@limited
@pytest.mark.parametrize("extra", [{"max_tokens": 9_000, "model": "dear"}, {"max_completion_tokens": 9_000}])
async def test_the_body_cannot_lift_the_cap(place: Place, sandbox: Sandbox, extra: dict[str, Any]) -> None:
    await place.router("echo").acompletion(model="echo", messages=MESSAGES, max_tokens=50, extra_body=extra)
    (row,) = await place.settled()
    (received,) = sandbox.received
    assert (received.json["max_completion_tokens"], received.json["model"]) == (row["cap"], "echo")
    assert "max_tokens" not in received.json
    assert row["bound"] > row["cap"] * 2_000


@limited
async def test_a_cap_by_another_name_is_refused(place: Place, sandbox: Sandbox) -> None:
    with pytest.raises(Refusal, match="max_output_tokens sets the output cap by another name") as caught:
        await place.router("echo").acompletion(model="echo", messages=MESSAGES, max_output_tokens=9_000)
    assert (caught.value.status_code, sandbox.received) == (400, [])


@pytest.mark.parametrize("place", [0.01], indirect=True)
async def test_a_call_is_clamped_where_the_limit_says_so(place: Place, sandbox: Sandbox) -> None:
    budgets = place.folder / "policies" / "budgets.yaml"
    budgets.write_text(budgets.read_text().replace("reject", "clamp"))
    await place.router("echo").acompletion(model="echo", messages=MESSAGES, max_tokens=10_000)
    (row,) = await place.settled()
    assert 4_000 < sandbox.received[0].json["max_completion_tokens"] < 5_000
    assert row["granted"] == 10_000_000 < row["bound"]


@limited
@pytest.mark.parametrize(
    ("metadata", "user"),
    [
        ({}, "free"),
        ({"user_api_key_hash": "h", "user_api_key_user_id": "ann"}, "ann"),
        ({"user_api_key_hash": "h", "user_api_key_alias": "batch", "user_api_key_user_id": None}, "key:batch"),
        ({"user_api_key_hash": "h"}, "key:h"),
        ({"user_api_key_hash": None}, "key:anonymous"),
    ],
)
async def test_who_pays(place: Place, metadata: dict[str, Any], user: str) -> None:
    await place.router("echo").acompletion(model="echo", messages=MESSAGES, user="free", metadata=metadata)
    (row,) = await place.settled()
    assert row["user"] == user


@limited
async def test_our_own_router_reserves_once(place: Place, tmp_path: Path) -> None:
    place.router("echo")
    async with Router.from_yaml(tmp_path / "litellm_config.yaml") as router:
        answer = await router.acompletion(model="echo", messages=MESSAGES)
        await read(await router.acompletion(model="echo", messages=MESSAGES, stream=True))
        assert answer.scribe.lane == "litellm"
        assert place.witness.calls == 2
        rows = await place.settled(2)
    assert [row["cost"] for row in rows] == [TRUE_COST, TRUE_COST]
    assert not any(row["exchange"].startswith("litellm-") for row in rows)


@limited
async def test_gap_an_abandoned_stream_is_settled_when_litellm_drops_it(place: Place) -> None:
    router = place.router("pace-20ms+long-50")
    stream = await router.acompletion(model="pace-20ms+long-50", messages=MESSAGES, stream=True)
    await anext(aiter(stream))
    await stream.aclose()
    (row,) = await place.rows()
    assert row["state"] == "reserved"
    del stream
    gc.collect()
    (row,) = await place.settled()
    assert (row["cost"], row["mark"], row["outcome"]) == (row["granted"], "bound", "stream")


@limited
async def test_gap_a_stream_that_is_not_to_be_logged_is_settled_at_its_bound(place: Place) -> None:
    call = {"model": "echo", "messages": MESSAGES, "stream": True, "no-log": True}
    await read(await place.router("echo").acompletion(**call))
    gc.collect()
    (row,) = await place.settled()
    assert (row["mark"], row["cost"]) == ("bound", row["granted"])


@limited
async def test_gap_a_cancelled_call_is_settled_when_litellm_drops_it(place: Place, sandbox: Sandbox) -> None:
    router = place.router("slow-30s")
    task = asyncio.create_task(router.acompletion(model="slow-30s", messages=MESSAGES))
    await arrival(sandbox)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    (row,) = await place.settled()
    assert (row["mark"], row["cost"]) == ("bound", row["granted"])


ABANDON = """
import asyncio, sys, yaml, litellm
from scribe_router.callbacks import scribe
litellm.callbacks = [scribe]
async def main():
    router = litellm.Router(model_list=yaml.safe_load(open(sys.argv[1]))["model_list"], num_retries=0)
    await router.acompletion(model="hang", messages=[{"role": "user", "content": "x"}], stream=True)
asyncio.run(main())
"""


@limited
@pytest.mark.slow
async def test_what_a_killed_process_had_reserved_is_swept(place: Place, tmp_path: Path, sandbox: Sandbox) -> None:
    place.router("hang")
    arguments = [sys.executable, "-c", ABANDON, str(tmp_path / "litellm_config.yaml")]
    process = await asyncio.create_subprocess_exec(*arguments)
    try:
        await arrival(sandbox)
    finally:
        process.kill()
        await process.wait()
    ledger = SqliteLedger(Path(scribe.books().registry.store.url.partition(":")[2]))
    await ledger.sweep()
    (row,) = await ledger.rows()
    ledger.close()
    assert (row["mark"], row["cost"], row["provisional"]) == ("swept", row["granted"], True)


@poor
async def test_what_cannot_be_counted_is_refused_below_a_limit(place: Place, sandbox: Sandbox) -> None:
    router = place.router("echo")
    router.add_deployment(Deployment(**_stranger(sandbox.url)))
    for call in (
        router.acompletion(model="stranger", messages=MESSAGES),
        litellm.acompletion(model="openai/echo", messages=MESSAGES, api_base=sandbox.url + "/v1", api_key="any"),
        router.atext_completion(model="echo", prompt="hello"),
    ):
        with pytest.raises(Refusal, match="so daily cannot bound its cost"):
            await call
    assert sandbox.received == []


def _stranger(url: str) -> dict[str, Any]:
    params = {"model": "openai/echo", "api_base": url + "/v1", "api_key": "any"}
    return {"model_name": "stranger", "litellm_params": params, "model_info": {"id": "stranger"}}


async def test_without_a_limit_it_passes_and_the_log_says_so_once(
    place: Place, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    router = place.router("echo")
    router.add_deployment(Deployment(**_stranger(sandbox.url)))
    with caplog.at_level(logging.WARNING, "scribe_router"):
        for _ in range(3):
            await router.acompletion(model="stranger", messages=MESSAGES)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("scribe_router")]
    assert said == ["a call leaves no row: stranger is not a deployment of the router's configuration"]
    assert (len(sandbox.received), await place.rows()) == (3, [])
    assert "max_completion_tokens" not in sandbox.received[0].json


@pytest.mark.parametrize("place", [1, None], indirect=True)
async def test_a_ledger_that_is_away_refuses_below_a_limit(place: Place, sandbox: Sandbox) -> None:
    (place.folder / "policies" / "store.yaml").write_text("ledger: sqlite:policies\n")  # a folder
    router = place.router("echo")
    if scribe.books().limit is None:
        await router.acompletion(model="echo", messages=MESSAGES)
        assert len(sandbox.received) == 1
        return
    with pytest.raises(Refusal, match="ledger ") as caught:
        await router.acompletion(model="echo", messages=MESSAGES)
    assert (caught.value.status_code, caught.value.code) == (503, "store_unavailable")
    assert sandbox.received == []


@poor
async def test_gap_the_synchronous_path_is_refused_below_a_limit(place: Place, sandbox: Sandbox) -> None:
    router = place.router("echo", num_retries=2)
    with pytest.raises(Refusal, match="synchronous calls cannot be counted, so daily"):
        await asyncio.to_thread(lambda: router.completion(model="echo", messages=MESSAGES))
    assert sandbox.received == []


async def test_gap_the_synchronous_path_leaves_no_row(place: Place, sandbox: Sandbox) -> None:
    router = place.router("echo")
    await asyncio.to_thread(lambda: router.completion(model="echo", messages=MESSAGES))
    assert (len(sandbox.received), await place.rows()) == (1, [])


@poor
async def test_gap_a_synchronous_call_without_a_router_is_not_seen(place: Place, sandbox: Sandbox) -> None:
    place.router("echo")
    call = {"model": "openai/echo", "messages": MESSAGES, "api_base": sandbox.url + "/v1", "api_key": "any"}
    await asyncio.to_thread(lambda: litellm.completion(**call))
    assert (len(sandbox.received), await place.rows()) == (1, [])


async def test_a_configuration_that_cannot_be_read_refuses_everything(
    place: Place, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    router = place.router("echo")
    (place.folder / "litellm_config.yaml").write_text("model_list: 7\n")
    with caplog.at_level(logging.ERROR, "scribe_router"):
        for _ in range(2):
            with pytest.raises(Refusal, match="no limit can be kept") as caught:
                await router.acompletion(model="echo", messages=MESSAGES)
    assert (caught.value.status_code, sandbox.received) == (503, [])
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("scribe_router")]
    assert "litellm_config.yaml:1:" in said


@pytest.mark.parametrize(
    ("server", "tool", "usd"),
    [
        ("search", "web", 0.001),
        ("search", "search-web", 0.001),
        ("search", "news", 0.0),
        ("search", "maps", None),
        ("other", "web", None),
    ],
)
async def test_an_mcp_tool_costs_what_our_table_says(place: Place, server: str, tool: str, usd: float | None) -> None:
    """As LiteLLM's proxy goes about it after a call; where our table has no price, LiteLLM's own stays."""
    from litellm.litellm_core_utils.litellm_logging import Logging
    from litellm.proxy._experimental.mcp_server.cost_calculator import MCPCostCalculator
    from mcp_types import CallToolResult, TextContent

    row = {"url": "http://127.0.0.1:9/mcp", "prices": {"web": 0.001, "news": "free", "maps": "refuse"}}
    (place.folder / "policies" / "mcp.yaml").write_text(yaml.safe_dump({"servers": {"search": row}}))
    place.router("echo")
    now = datetime.now(UTC)
    log = Logging(tool, [], False, "call_mcp_tool", now, "id", "function")
    log.dynamic_success_callbacks = [scribe]
    told = {"name": tool, "mcp_server_name": server, "mcp_server_cost_info": {"default_cost_per_query": 7.0}}
    log.model_call_details["mcp_tool_call_metadata"] = told
    said = CallToolResult(content=[TextContent(type="text", text="found")], structured_content={"a": 1})
    after = await log.async_post_mcp_tool_call_hook(log.model_call_details, said.model_copy(deep=True), now, now)
    assert after == said, "what the tool said is not touched"
    assert MCPCostCalculator.calculate_mcp_tool_call_cost(log) == (7.0 if usd is None else usd)
