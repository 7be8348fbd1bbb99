"""Fifty `kill -9` of a proxy under load, and a Redis that is killed under one: no row is missing, no limit is passed.

Each call has an output cap of its own, which its row keeps and the sandbox receives: so each request is found again.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from scribe_router.sandbox import Sandbox
from scribe_router.stores import open_ledger
from tests.stores.redis_servers import Server, one_server
from tests.support.proxy import serving

KILLS = 50
CAP = 100_000_000  # nano-dollars: what the killed calls are swept at uses it up before the last kill
CONFIG = """
model_list:
  - model_name: plain
    litellm_params: {model: openai/slow-20ms, api_base: BASE, api_key: k}
    model_info: {input_cost_per_token: 1.0e-7, output_cost_per_token: 1.0e-8}
  - model_name: paced
    litellm_params: {model: openai/pace-2ms, api_base: BASE, api_key: k}
    model_info: {input_cost_per_token: 1.0e-7, output_cost_per_token: 1.0e-8}
"""
DURABLE = {"maxmemory-policy": "noeviction", "appendfsync": "always"}
PATIENCE = 30.0


@pytest.fixture(params=["sqlite", "redis"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path}/ledger.sqlite3"
    else:
        with one_server(**DURABLE) as server:
            yield server.url


def configure(folder: Path, base: str, url: str) -> None:
    (folder / "litellm_config.yaml").write_text(CONFIG.replace("BASE", base + "/v1"))
    (folder / "policies").mkdir()
    limit = f"limits: [{{id: everybody, scope: all, usd: {CAP / 1e9}, when_short: reject}}]"
    (folder / "policies" / "budgets.yaml").write_text(limit)
    (folder / "policies" / "store.yaml").write_text(f"ledger: {url}")


def body(cap: int, dice: random.Random) -> dict[str, Any]:
    messages = [{"role": "user", "content": "a b c d e f g h"}]
    model, stream = dice.choice(["plain", "paced"]), dice.random() < 0.5
    return {"model": model, "messages": messages, "max_tokens": cap, "stream": stream}


async def load(url: str, caps: Iterator[int], dice: random.Random) -> None:
    """Fifty in flight, until the proxy is gone."""

    async def caller(session: aiohttp.ClientSession) -> None:
        for cap in caps:
            try:
                async with session.post(f"{url}/v1/chat/completions", json=body(cap, dice)) as reply:
                    await reply.read()
            except aiohttp.ClientError:
                return

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(caller(session) for _ in range(50)))


async def rows_of(url: str) -> list[dict[str, Any]]:
    """Every row, when the counters are what the rows say, and no limit was passed."""
    ledger = open_ledger(url)
    try:
        await ledger.sweep()
        assert await ledger.check() == []
        assert all(each.settled + each.reserved <= CAP for each in (await ledger.counters()).values())
        return [row async for row in ledger.export()]
    finally:
        ledger.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_fifty_kills_under_load(tmp_path: Path, ledger_url: str) -> None:
    dice, caps = random.Random(50), itertools.count(1)
    marks: Counter[str] = Counter()
    async with Sandbox(log_size=1_000_000) as sandbox:
        configure(tmp_path, sandbox.url, ledger_url)
        for kill in range(KILLS):
            with serving(tmp_path) as proxy:
                working = asyncio.create_task(load(proxy.url, caps, dice))
                await asyncio.sleep(dice.uniform(0.02, 1.0))
                proxy.kill()
                await asyncio.wait_for(working, PATIENCE)
            rows = await rows_of(ledger_url)
            asked = Counter(received.json["max_completion_tokens"] for received in sandbox.received)
            unknown = asked - Counter(row["cap"] for row in rows)
            assert not unknown, f"after kill {kill} requests went upstream without a row"
            marks = Counter(row["mark"] or row["state"] for row in rows)
        assert len(asked) > KILLS
    assert marks["computed"] > 0
    assert marks["swept"] + marks["reserved"] > 0, "no kill hit a call that was under way"


async def until(session: aiohttp.ClientSession, url: str, status: int, text: str = "") -> None:
    """Ask until the proxy answers so."""
    dice, stop = random.Random(0), time.monotonic() + PATIENCE
    while time.monotonic() < stop:
        async with session.post(f"{url}/v1/chat/completions", json=body(64, dice) | {"stream": False}) as reply:
            found = await reply.text()
            if reply.status == status and text in found:
                return
        await asyncio.sleep(0.05)
    raise AssertionError(f"no {status} {text} within {PATIENCE} s, but {reply.status} {found}")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "kept", [pytest.param(True, marks=pytest.mark.slow), False], ids=["with its data", "with an empty directory"]
)
async def test_a_redis_that_was_killed(tmp_path: Path, kept: bool) -> None:
    """While it is away nothing is served. With its data it goes on; without, only once the counters are rebuilt."""
    with one_server(**DURABLE) as server:
        async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
            configure(tmp_path, sandbox.url, server.url)
            with serving(tmp_path) as proxy:
                await until(session, proxy.url, 200)
                before = await settled(server)
                server.kill()
                await until(session, proxy.url, 503, "store_unavailable")
                asked = len(sandbox.received)
                if not kept:
                    server.empty()
                server.start()
                if not kept:
                    await until(session, proxy.url, 503, "was emptied")
                    await until(session, proxy.url, 503, "was emptied")
                    assert len(sandbox.received) == asked, "a request went upstream while the ledger had forgotten"
                    ledger = open_ledger(server.url)
                    assert await ledger.rebuild() == []
                    ledger.close()
                await until(session, proxy.url, 200)
                assert proxy.stop() == 0
            after = await settled(server)
    assert before > 0
    assert after > before if kept else after > 0


async def settled(server: Server) -> int:
    ledger = open_ledger(server.url)
    try:
        assert await ledger.check() == []
        return sum(each.settled for each in (await ledger.counters()).values())
    finally:
        ledger.close()
