"""`kill -9` under load: what was acknowledged is there after the restart, and no limit is passed."""

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from scribe_router.sandbox import Sandbox
from scribe_router.stores.sqlite import SqliteLedger
from tests.support.proxy import serving

CAP = 40_000_000  # nano-dollars a day: some two hundred of the calls below
BOTH_LANES = {"plain": ("slow-20ms", "wire"), "paced": ("pace-2ms", "wire"), "other": ("slow-20ms", "litellm")}
WIRE = ("plain", "paced")  # without a model of the other lane a proxy does not import LiteLLM, which takes seconds
POLICIES = {
    "budgets.yaml": f"limits: [{{id: day, scope: user, window: day, usd: {CAP / 1e9}, when_short: reject}}]",
    "store.yaml": "ledger: sqlite:ledger.sqlite3\njournal: journal.jsonl",
}


def configure(folder: Path, base: str, models: Sequence[str]) -> None:
    entries = []
    for name in models:
        upstream, lane = BOTH_LANES[name]
        params = {"model": f"openai/{upstream}", "api_base": base, "api_key": "k"}
        info = {"id": name, "lane": lane, "input_cost_per_token": 1e-7, "output_cost_per_token": 1e-6}
        entries.append({"model_name": name, "litellm_params": params, "model_info": info})
    (folder / "policies").mkdir()
    (folder / "litellm_config.yaml").write_text(json.dumps({"model_list": entries}))
    for name, text in POLICIES.items():
        (folder / "policies" / name).write_text(text)


async def load(url: str, models: Sequence[str], seconds: float, dice: random.Random) -> None:
    """Calls of all kinds, some fifty in flight, until the proxy is gone."""

    async def caller(client: httpx.AsyncClient) -> None:
        while True:
            body = {
                "model": dice.choice(models),
                "messages": [{"role": "user", "content": "a b c d e f g h"}],
                "stream": dice.random() < 0.5,
                "max_tokens": 100,
            }
            try:
                await client.post(f"{url}/v1/chat/completions", json=body)
            except httpx.HTTPError:
                return

    async with httpx.AsyncClient(timeout=10) as client:
        callers = [asyncio.create_task(caller(client)) for _ in range(50)]
        await asyncio.sleep(seconds)
        for each in callers:
            each.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


async def spent(folder: Path) -> int:
    ledger = SqliteLedger(folder / "ledger.sqlite3")
    try:
        await ledger.sweep()
        assert await ledger.check() == []
        counters = (await ledger.counters()).values()
        return max((each.settled + each.reserved for each in counters), default=0)
    finally:
        ledger.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("models", "seed"),
    [(WIRE, 0), *(pytest.param(tuple(BOTH_LANES), seed, marks=pytest.mark.slow) for seed in range(8))],
    ids=lambda each: "-".join(each) if isinstance(each, tuple) else str(each),
)
async def test_kill_9_under_load(tmp_path: Path, models: tuple[str, ...], seed: int) -> None:
    dice = random.Random(seed)
    async with Sandbox() as sandbox:
        configure(tmp_path, sandbox.url + "/v1", models)
        for _ in range(2):
            with serving(tmp_path) as proxy:
                working = asyncio.create_task(load(proxy.url, models, 20, dice))
                enough = len(sandbox.received) + dice.randint(20, 150)
                while len(sandbox.received) < enough and not working.done():  # noqa: ASYNC110  (no event tells it)
                    await asyncio.sleep(dice.random() / 50)
                proxy.kill()
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
            assert await spent(tmp_path) <= CAP
        asked = len(sandbox.received)
    ledger = SqliteLedger(tmp_path / "ledger.sqlite3")
    rows = await ledger.rows(limit=100_000)
    ledger.close()
    assert asked > 10
    assert len(rows) >= asked, "a request went upstream without a row"
    assert {row["state"] for row in rows} == {"settled"}
    assert any(row["mark"] == "swept" for row in rows)


async def test_a_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        configure(tmp_path, sandbox.url + "/v1", WIRE)
        with serving(tmp_path) as proxy:
            async with httpx.AsyncClient(timeout=20) as client:
                body = {"model": "plain", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 64}
                first = await client.post(f"{proxy.url}/v1/chat/completions", json=body)
            assert first.status_code == 200
            assert proxy.stop() == 0
        before = await spent(tmp_path)
        with serving(tmp_path) as proxy:
            async with httpx.AsyncClient(timeout=20) as client:
                await client.post(f"{proxy.url}/v1/chat/completions", json=body)
            assert proxy.stop() == 0
    assert await spent(tmp_path) == 2 * before > 0
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["answered", "answered"]
