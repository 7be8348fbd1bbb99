"""Paid tools under load: as many run as the limit pays for, by the server's own count; and a kill in between."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from scribe_router.sandbox import Sandbox, running_sandbox
from scribe_router.stores import open_ledger
from scribe_router.stores.sqlite import SqliteLedger
from tests.mcp.servers import executed, over_http
from tests.stores.redis_servers import one_server
from tests.support.proxy import Proxy, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
REQUESTS, PAID = 50, 3
BODY = {"messages": [{"role": "user", "content": "look"}], "mcp_tools": ["box__web_search"], "max_tokens": 50}


@contextmanager
def proxies(folder: Path, fake: Sandbox, mcp: str, ledger: str, *, count: int, usd: float) -> Iterator[list[Proxy]]:
    """Proxies with one ledger, whose models are free and whose search costs 0.001 USD."""
    free = {"input_cost_per_token": 0, "output_cost_per_token": 0}
    models = [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_base": f"{fake.url}/v1", "api_key": "k"},
            "model_info": free,
        }
        for name in ("tool", "tool+slow-1s")
    ]
    policies: dict[str, Any] = {
        "store": {"ledger": ledger, "journal": "journal.jsonl", "fail": "closed"},
        "budgets": {"limits": [{"id": "day", "scope": "all", "window": "day", "usd": usd}]},
        "mcp": {"servers": {"box": {"url": mcp, "prices": {"web_search": 0.001}, "timeout_seconds": 120}}},
        "retries": {"deadline_seconds": 200},
    }
    (folder / "policies").mkdir()
    (folder / "litellm_config.yaml").write_text(json.dumps({"model_list": models}))
    for name, policy in policies.items():
        (folder / "policies" / f"{name}.yaml").write_text(json.dumps(policy))
    with ExitStack() as stack:
        yield [stack.enter_context(serving(folder)) for _ in range(count)]


async def all_at_once(urls: list[str], body: dict[str, Any]) -> list[tuple[int, Any]]:
    """(status, body) of each of the requests, spread over the proxies."""
    async with httpx.AsyncClient(timeout=250, limits=httpx.Limits(max_connections=REQUESTS)) as client:
        each = (client.post(f"{urls[n % len(urls)]}/v1/chat/completions", json=body) for n in range(REQUESTS))
        answers = await asyncio.gather(*each)
    return [
        (answer.status_code, answer.json() if "json" in answer.headers["content-type"] else None) for answer in answers
    ]


@pytest.mark.parametrize("store", ["sqlite", "redis"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_limit_for_three_calls_pays_for_three(tmp_path: Path, store: str, *, stream: bool) -> None:
    record = tmp_path / "record"
    with ExitStack() as stack:
        ledger = "sqlite:ledger.sqlite3"
        if store == "redis":
            ledger = stack.enter_context(one_server(**{"maxmemory-policy": "noeviction"})).url
        fake, mcp = stack.enter_context(running_sandbox()), stack.enter_context(over_http(record))
        running = stack.enter_context(proxies(tmp_path, fake, mcp, ledger, count=2, usd=0.0035))
        answers = await all_at_once([proxy.url for proxy in running], {"model": "tool", "stream": stream, **BODY})
        books = open_ledger(ledger if store == "redis" else f"sqlite:{tmp_path}/ledger.sqlite3", "normal")
        try:
            await books.flush()
            rows = [row for row in await books.rows(limit=10_000) if row["tool"]]
            assert await books.check() == []
        finally:
            books.close()
    assert executed(record) == ["web_search"] * PAID
    codes = Counter(body["error"]["code"] if status != 200 else "answered" for status, body in answers)
    away = codes.pop("store_unavailable", 0) if store == "redis" else 0  # silent for 50 ms on a machine that is full
    assert PAID - away <= codes["answered"] <= PAID
    assert codes == {"answered": codes["answered"], "budget_exceeded": REQUESTS - codes["answered"] - away}
    assert [row["cost"] for row in rows if row["cost"]] == [1_000_000] * PAID


async def test_a_kill_between_a_tool_and_the_next_round(tmp_path: Path) -> None:
    record = tmp_path / "record"
    with ExitStack() as stack:
        fake, mcp = stack.enter_context(running_sandbox()), stack.enter_context(over_http(record))
        running = stack.enter_context(proxies(tmp_path, fake, mcp, "sqlite:ledger.sqlite3", count=1, usd=1))
        async with httpx.AsyncClient(timeout=60) as client:
            body = {"model": "tool+slow-1s", **BODY}
            asking = asyncio.create_task(client.post(f"{running[0].url}/v1/chat/completions", json=body))
            until = time.monotonic() + 60
            while len(fake.received) < 2 and time.monotonic() < until:  # noqa: ASYNC110  (no event tells it)
                await asyncio.sleep(0.01)
            running[0].kill()
            with pytest.raises(httpx.HTTPError):
                await asking
    assert executed(record) == ["web_search"]
    ledger = SqliteLedger(tmp_path / "ledger.sqlite3")
    try:
        await ledger.sweep()
        rows = await ledger.rows()
        assert await ledger.check() == []
    finally:
        ledger.close()
    tools = [(row["tool"], row["cost"], row["mark"], row["outcome"]) for row in rows if row["tool"]]
    assert tools in (
        [("box__web_search", 1_000_000, "computed", "answered")],
        [("box__web_search", 1_000_000, "swept", None)],  # its settlement had not been written yet
    )
    assert len({row["exchange"] for row in rows}) == 1
    assert {row["state"] for row in rows} == {"settled"}
