"""What an answer costs, from the provider's own usage object to the receipt: each row of tests/cases/costs.yaml on
both lanes, plain and streamed."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from scribe_router.config.load import load_config
from scribe_router.exchange import Call, Lane
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.sandboxed import sandboxed
from scribe_router.stream import AnswerStream

pytestmark = pytest.mark.asyncio(loop_scope="session")
Row = dict[str, Any]
ROWS: list[Row] = yaml.safe_load((Path(__file__).parent / "cases" / "costs.yaml").read_text(encoding="utf-8"))
# Formats that only LiteLLM's lane translates.
TRANSLATED = ("anthropic", "gemini", "ollama_chat")
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


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def costing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Router]:
    """A router with a model for each row and lane, before a sandbox that reports the usage of the row asked for."""
    folder = tmp_path_factory.mktemp("costs")
    config = {"model_list": [entry(row, lane) for row, lane in SERVED]}
    (folder / "litellm_config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    rules = [{"match": f"^{row['name']}$", "answer": "said", "usage": row["usage"]} for row in ROWS]
    async with Sandbox(rules) as sandbox:
        registry = sandboxed(load_config(folder / "litellm_config.yaml").or_raise(), sandbox.url)
        router = Router(registry)
        yield router
        await router.aclose()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(("row", "lane"), SERVED, ids=[f"{row['name']}-{lane}" for row, lane in SERVED])
async def test_cost(costing: Router, row: Row, lane: Lane, *, stream: bool) -> None:
    asked = [{"role": "user", "content": row["name"]}]
    answer = await costing.serve(
        Call("chat", {"model": f"{lane}: {row['name']}", "messages": asked, "stream": stream, "max_tokens": 100})
    )
    if isinstance(answer, AnswerStream):
        assert [chunk async for chunk in answer]
    receipt = answer.exchange.receipt()
    assert (receipt.lane, receipt.attempts) == (lane, 1)
    assert receipt.cost_usd == row["usd"]
