"""What an answer costs, from the provider's own usage object to the receipt: each row of tests/cases/costs.yaml on
both lanes, plain and streamed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from scribe_router.config.load import load_config
from scribe_router.exchange import Call, Lane
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.sandboxed import sandboxed
from scribe_router.stream import AnswerStream
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
Row = dict[str, Any]
ROWS: list[Row] = yaml.safe_load((Path(__file__).parent / "cases" / "costs.yaml").read_text(encoding="utf-8"))
# Formats that only LiteLLM's lane translates.
TRANSLATED = ("anthropic", "gemini", "ollama_chat")
ANY_DAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
REGIONS = {"moonshot": "international", "dashscope": "singapore", "minimax": "international"}


def lanes(row: Row) -> tuple[Lane, ...]:
    return ("litellm",) if row["model"].partition("/")[0] in TRANSLATED else ("wire", "litellm")


SERVED = [(row, lane) for row in ROWS for lane in lanes(row)]


def entry(row: Row, lane: Lane) -> Row:
    provider = row["model"].partition("/")[0]
    params = {"model": row["model"], "api_key": "any"}
    if provider in ("hosted_vllm", "ollama_chat"):
        params["api_base"] = "http://127.0.0.1:9/v1"
    region = {"region": REGIONS[provider]} if provider in REGIONS else {}
    return {
        "model_name": f"{lane}: {row['name']}",
        "litellm_params": params,
        "model_info": {"lane": lane, **region, **row.get("info", {})},
    }


@pytest.fixture(scope="module")
def now() -> list[float]:
    """The router's clock."""
    return [ANY_DAY.replace(tzinfo=UTC).timestamp()]


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def costing(tmp_path_factory: pytest.TempPathFactory, now: list[float]) -> AsyncIterator[Router]:
    """A router with a model for each row and lane, before a sandbox that reports the usage of the row asked for."""
    folder = tmp_path_factory.mktemp("costs")
    config = {"model_list": [entry(row, lane) for row, lane in SERVED]}
    (folder / "litellm_config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    rules = [
        {"match": f"^{row['name']}$", "answer": "said", "usage": row["usage"], "extra": row.get("extra", {})}
        for row in ROWS
    ]
    async with Sandbox(rules) as sandbox:
        registry = sandboxed(load_config(folder / "litellm_config.yaml").or_raise(), sandbox.url)
        router = Router(registry, clock=lambda: now[0])
        yield router
        await router.aclose()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(("row", "lane"), SERVED, ids=[f"{row['name']}-{lane}" for row, lane in SERVED])
async def test_cost(costing: Router, now: list[float], row: Row, lane: Lane, *, stream: bool) -> None:
    now[0] = row.get("at", ANY_DAY).replace(tzinfo=UTC).timestamp()
    asked = [{"role": "user", "content": row["name"]}]
    answer = await costing.serve(
        Call(
            "chat",
            {
                "model": f"{lane}: {row['name']}",
                "messages": asked,
                "stream": stream,
                "max_tokens": 100,
                **row.get("asked", {}),
            },
        )
    )
    if isinstance(answer, AnswerStream):
        assert [chunk async for chunk in answer]
    receipt = Receipt.of(answer.exchange)
    assert (receipt.lane, receipt.attempts) == (lane, 1)
    assert receipt.cost_usd == row["usd"]


LIMITED = """
model_list:
  - model_name: fast
    litellm_params: {model: anthropic/claude-opus-5-5, api_base: os.environ/BASE, api_key: any}
  - model_name: searching
    litellm_params: {model: anthropic/claude-sonnet-5-5, api_base: os.environ/BASE, api_key: any}
"""
BUDGETS = {"budgets": "limits: [{id: day, scope: user, window: day, usd: 100, when_short: reject}]"}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("model", "asked", "usd"),
    [
        # 50 in and 20 out, twice and a tenth more: 4 and 20 USD per million.
        ("fast", {"speed": "fast", "inference_geo": "us"}, "0.00132"),
        # At 2 and 10 USD per million, and one search.
        ("searching", {"tools": [SEARCH]}, "0.0103"),
    ],
)
async def test_surcharges_pass_a_limit_that_bounds_them(
    router: RouterFrom, model: str, asked: Row, usd: str, *, stream: bool
) -> None:
    usage = {"input_tokens": 50, "output_tokens": 20, "server_tool_use": {"web_search_requests": int(model != "fast")}}
    async with Sandbox([{"match": ".", "answer": "said", "usage": usage}]) as sandbox:
        limited = router(LIMITED, BUDGETS, {"BASE": f"{sandbox.url}/anthropic"})
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100, "stream": stream}
        answer = await limited.serve(Call("chat", {**body, **asked}))
        if isinstance(answer, AnswerStream):
            assert [chunk async for chunk in answer]
        [received] = sandbox.received
        assert {name: received.json[name] for name in asked} == asked
    [attempt] = answer.exchange.attempts
    assert Receipt.of(answer.exchange).cost_usd == usd
    assert attempt.cost is not None
    assert attempt.cost <= attempt.granted == attempt.bound
    await limited.ledger.flush()
    [row] = await limited.ledger.rows()
    assert row["usage"]["searches"] == int(model != "fast")
    assert row["price"]["search"] == 10_000_000_000
