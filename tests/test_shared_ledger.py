"""Several processes, one ledger: a limit that pays for ten calls is held by all of them together."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scribe_router.sandbox import Sandbox
from tests.stores.redis_servers import one_server
from tests.support.proxy import serving

CONFIG = """
model_list:
  - model_name: m
    litellm_params: {model: openai/max-bill-1000, api_base: BASE, api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 1.0e-6}
"""
CALLS = 60
BOUND = 100e-6  # 100 tokens of output; each call costs what it was bounded by


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path}/l.sqlite3"
    else:
        with one_server(**{"maxmemory-policy": "noeviction"}) as server:
            yield server.url


@pytest.mark.timeout(120)
async def test_two_processes_hold_one_limit(tmp_path: Path, ledger: str) -> None:
    async with Sandbox() as sandbox:
        (tmp_path / "litellm_config.yaml").write_text(CONFIG.replace("BASE", sandbox.url + "/v1"))
        (tmp_path / "policies").mkdir()
        limit = f"limits: [{{id: day, scope: all, window: day, usd: {10 * BOUND}, when_short: reject}}]"
        (tmp_path / "policies" / "budgets.yaml").write_text(limit)
        (tmp_path / "policies" / "store.yaml").write_text(f"ledger: {ledger}")
        with serving(tmp_path) as one, serving(tmp_path) as other:
            body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100}
            async with httpx.AsyncClient(timeout=30) as client:

                async def call(number: int) -> httpx.Response:
                    return await client.post(f"{(one, other)[number % 2].url}/v1/chat/completions", json=body)

                answers = await asyncio.gather(*map(call, range(CALLS)))
                # A machine that is busy makes the store late; what was reserved for nobody is given back by then.
                answers += [await call(number) for number in range(20)]
        assert sum(answer.status_code == 200 for answer in answers) == 10
        assert {answer.status_code for answer in answers} <= {200, 429, 503}
        assert len(sandbox.received) == 10
        refused = answers[-1]
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "insufficient_quota")
        assert refused.headers["x-should-retry"] == "false"
