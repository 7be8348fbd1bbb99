"""A thousand calls at once against a limit that pays for a hundred: over HTTP, on each store, on one and three proxies.

The sandbox bills exactly the output cap, and input is free, so a call's bound is its true cost.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from scribe_router.sandbox import running_sandbox
from scribe_router.stores import open_ledger
from tests.load import counter_watch
from tests.stores.redis_servers import Server, cluster, one_server
from tests.support.proxy import serving

CALLS, PAID = 1000, 100
OUTPUT = 100  # tokens of each call's cap, at a thousand nano-dollars each
BOUND = OUTPUT * 1000
CAP = PAID * BOUND
PATIENCE = 10.0
CONFIG = """
model_list:
  - model_name: m
    litellm_params: {model: openai/MODEL, api_base: BASE, api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 1.0e-6}
"""
BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": OUTPUT}


@dataclass(frozen=True)
class Store:
    """A ledger's URL, and where its counters can be looked at."""

    url: str
    watched: tuple[str, ...]


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    durable = {"maxmemory-policy": "noeviction"}
    with ExitStack() as stack:
        servers: list[Server] = []
        match request.param:
            case "sqlite":
                path = f"{tmp_path}/ledger.sqlite3"
                yield Store(f"sqlite:{path}", ("sqlite", path))
                return
            case "redis":
                servers = [stack.enter_context(one_server(**durable))]
                url = servers[0].url
            case _:
                servers = stack.enter_context(cluster(appendfsync="everysec"))
                url = "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers)
        yield Store(url, ("redis", *(str(server.port) for server in servers)))


@contextmanager
def proxies(folder: Path, count: int, model: str, base: str, store: Store) -> Iterator[list[str]]:
    """Proxies as processes of their own, all with the limit and the store. They step back behind Redis: eight busy
    processes on two cores would keep it from answering for fifty milliseconds, and that is another test."""
    (folder / "litellm_config.yaml").write_text(CONFIG.replace("MODEL", model).replace("BASE", base + "/v1"))
    (folder / "policies").mkdir()
    limit = f"limits: [{{id: everybody, scope: all, usd: {CAP / 1e9}, when_short: reject}}]"
    (folder / "policies" / "budgets.yaml").write_text(limit)
    (folder / "policies" / "store.yaml").write_text(f"ledger: {store.url}")
    with ExitStack() as stack:
        yield [stack.enter_context(serving(folder, before=("nice", "-n", "10"))).url for _ in range(count)]


@contextmanager
def watched(store: Store) -> Iterator[dict[str, int]]:
    """What the watcher saw is in the mapping once the block is left."""
    command = [sys.executable, "-W", "ignore", str(counter_watch.__file__), *store.watched]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        seen: dict[str, int] = {}
        try:
            yield seen
        finally:
            output, _ = process.communicate(timeout=30)
        seen |= json.loads(output)


class Crowd:
    """Clients that call all at once, each on a connection of its own."""

    def __init__(self, session: aiohttp.ClientSession, urls: list[str]) -> None:
        self._session, self._urls = session, urls
        self._last_served = time.monotonic()

    async def once(self, number: int) -> int:
        """One call, and its status."""
        url = f"{self._urls[number % len(self._urls)]}/v1/chat/completions"
        async with self._session.post(url, json=BODY) as reply:
            await reply.read()
        if reply.status == 200:
            self._last_served = time.monotonic()
        return reply.status

    async def patient(self, number: int) -> int:
        """The same again while it is refused, until for ten seconds nobody was served: by progress and not by the
        clock, since a machine that is slow is slow for everybody."""
        dice = random.Random(number)
        pause = 0.25
        while (status := await self.once(number)) != 200 and time.monotonic() < self._last_served + PATIENCE:
            await asyncio.sleep(pause * dice.random())
            pause = min(2 * pause, 2.0)
        return status


@asynccontextmanager
async def crowd(urls: list[str]) -> AsyncIterator[Crowd]:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)  # the proxy lets go of what is idle for five seconds
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:
        yield Crowd(session, urls)


async def rows_of(store: Store) -> list[dict[str, Any]]:
    """Every row, once the counters are seen to agree with them."""
    ledger = open_ledger(store.url)
    try:
        assert await ledger.check() == []
        return [row async for row in ledger.export()]
    finally:
        ledger.close()


VARIANTS = [
    ("sqlite", 1, 100),
    ("redis", 1, 100),
    ("sqlite", 3, 99),
    ("redis", 3, 99),
    ("cluster", 1, 99),
    ("cluster", 3, 99),
]
variants = pytest.mark.parametrize(
    ("store", "processes", "least"),
    VARIANTS,
    indirect=["store"],
    ids=[f"{name}-{count}" for name, count, _ in VARIANTS],
)


@pytest.mark.slow
@pytest.mark.timeout(180)
@variants
async def test_a_limit_of_a_hundred_serves_a_hundred(tmp_path: Path, store: Store, processes: int, least: int) -> None:
    """A call costs what it was bounded by, and nobody asks twice."""
    with running_sandbox() as sandbox, proxies(tmp_path, processes, "max-bill", sandbox.url, store) as urls:
        with watched(store) as seen:
            async with crowd(urls) as clients:
                statuses = Counter(await asyncio.gather(*map(clients.once, range(CALLS))))
        upstream = len(sandbox.received)
    rows = await rows_of(store)
    assert set(statuses) == {200, 429}
    assert least <= statuses[200] == upstream <= PAID
    assert seen["highest"] <= CAP
    assert seen["looks"] > 10
    assert Counter((row["bound"], row["cost"]) for row in rows if row["cost"]) == {(BOUND, BOUND): upstream}


@pytest.mark.slow
@pytest.mark.timeout(180)
@variants
async def test_what_is_given_back_serves_others(tmp_path: Path, store: Store, processes: int, least: int) -> None:
    """A call costs a tenth of its bound, so there is money for all, but never at once: who comes again is served. The
    last nine cannot be: a tenth of a bound is left for each, and a whole one is needed."""
    model = f"usage-1-{OUTPUT // 10}"
    with running_sandbox() as sandbox, proxies(tmp_path, processes, model, sandbox.url, store) as urls:
        with watched(store) as seen:
            async with crowd(urls) as clients:
                statuses = Counter(await asyncio.gather(*map(clients.patient, range(CALLS))))
        upstream = len(sandbox.received)
    rows = await rows_of(store)
    assert 985 <= statuses[200] == upstream
    assert seen["highest"] <= CAP
    assert Counter((row["bound"], row["cost"]) for row in rows if row["cost"]) == {(BOUND, BOUND // 10): upstream}
