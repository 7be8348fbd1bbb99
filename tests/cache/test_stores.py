"""Where answers are kept: what outlives a process, what is shared, and a store that is away."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scribe_router.sandbox import Sandbox
from scribe_router.sandboxed import sandboxed
from tests.cache.asking import MESSAGES, NAMES, ON, Build, ask, both, rows, settled, until
from tests.stores.redis_servers import Server, one_server
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def redis() -> Iterator[Server]:
    with one_server() as server:
        yield server


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that a loaded machine slows down is not away."""
    monkeypatch.setattr("scribe_router.cache.PATIENCE", 20.0)
    monkeypatch.setattr("scribe_router.stores.redis_answers.SILENT", 20.0)


class TestStores:
    @both
    @pytest.mark.usefixtures("patient")
    @pytest.mark.parametrize("store", ["disk", "redis"])
    async def test_it_outlives_the_process_and_is_shared(
        self, router: RouterFrom, sandbox: Sandbox, tmp_path: Path, redis: Server, store: str, *, stream: bool
    ) -> None:
        policy = f"{ON}\nstore: {store}\npath: {tmp_path}/c.db\nredis: {redis.url}"
        first, second = (router(rows(sandbox.url), {"cache": policy}) for _ in range(2))
        seen = []
        for each in (first, second, first):
            seen.append((await ask(each, stream=stream))[0])
            await until(partial(settled, each))
        assert seen == ["miss", "hit", "hit"]
        assert len(sandbox.received) == 1

    @pytest.mark.usefixtures("patient")
    async def test_another_configuration_has_answers_of_its_own(
        self, router: RouterFrom, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        policy = {"cache": f"{ON}\nstore: disk\npath: {tmp_path}/c.db"}
        one, other = router(rows(sandbox.url), policy), router(rows(sandbox.url, NAMES[:2]), policy)
        assert [(await ask(each))[0] for each in (one, other, one)] == ["miss", "miss", "hit"]

    async def test_the_sandbox_has_answers_of_its_own(self, cached: Build, sandbox: Sandbox) -> None:
        registry = cached().registry
        assert sandboxed(registry, sandbox.url).version != registry.version

    @pytest.mark.usefixtures("patient")
    async def test_a_relative_path_is_beside_the_configuration(
        self, router: RouterFrom, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        await ask(router(rows(sandbox.url), {"cache": f"{ON}\nstore: disk"}))
        assert (tmp_path / "router-1" / ".scribe" / "cache.sqlite3").exists()

    @both
    @pytest.mark.usefixtures("patient")
    async def test_a_store_that_is_away_fails_nobody_and_is_said_once(
        self,
        router: RouterFrom,
        sandbox: Sandbox,
        caplog: pytest.LogCaptureFixture,
        redis: Server,
        monkeypatch: pytest.MonkeyPatch,
        *,
        stream: bool,
    ) -> None:
        monkeypatch.setattr("scribe_router.cache.PAUSE", 0.0)
        one = router(rows(sandbox.url), {"cache": f"{ON}\nstore: redis\nredis: {redis.url}"})

        async def asked() -> str | None:
            cache, _ = await ask(one, stream=stream)
            await until(partial(settled, one))
            return cache

        assert [await asked(), await asked()] == ["miss", "hit"]
        redis.kill()
        with caplog.at_level(logging.ERROR, "scribe_router.cache"):
            assert [await asked() for _ in range(20)] == ["miss"] * 20
        assert len(caplog.messages) == 1
        assert "away" in caplog.messages[0]
        redis.start()
        async with asyncio.timeout(20):
            while await asked() != "hit":  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def test_a_store_that_is_silent_delays_one_request_in_a_while(
        self, router: RouterFrom, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with silent() as url:
            one = router(rows(sandbox.url), {"cache": f"{ON}\nstore: redis\nredis: {url}"})
            seen = await asyncio.gather(*(ask(one, seed=number) for number in range(50)))
        assert [cache for cache, _ in seen] == ["miss"] * 50
        assert len(caplog.messages) == 1
        assert one._cache._away_until > time.monotonic() - 5, "it is left alone for a while"

    async def test_what_had_no_turn_at_a_silent_store_does_not_make_it_say_so_again(
        self, router: RouterFrom, sandbox: Sandbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("scribe_router.cache.PAUSE", 0.0)
        async with silent() as url:
            one = router(rows(sandbox.url), {"cache": f"{ON}\nstore: redis\nredis: {url}"})
            for several in range(3):
                await asyncio.gather(*(ask(one, seed=10 * several + number) for number in range(10)))
        assert len(caplog.messages) == 1

    async def test_a_file_that_is_none(self, router: RouterFrom, sandbox: Sandbox, tmp_path: Path) -> None:
        (tmp_path / "c.db").write_bytes(b"no database " * 100)
        one = router(rows(sandbox.url), {"cache": f"{ON}\nstore: disk\npath: {tmp_path}/c.db"})
        assert [(await ask(one))[0] for _ in range(2)] == ["miss", "miss"]

    async def test_a_closed_router_has_no_cache(self, cached: Build) -> None:
        one = cached()
        await ask(one)
        one._cache.close()
        one._cache.close()
        assert (await ask(one))[0] is None


async def test_each_loop_has_its_own_flights_and_the_same_store(cached: Build, sandbox: Sandbox) -> None:
    one = cached()
    body: Mapping[str, Any] = {"model": "slow-500ms", "messages": MESSAGES}
    in_thread = asyncio.to_thread(lambda: [one.completion(**body).scribe.cache for _ in range(2)])
    other, (cache, _) = await asyncio.gather(in_thread, ask(one, "slow-500ms"))
    assert (other[1], cache) == ("hit", "miss")
    assert (await ask(one, "slow-500ms"))[0] == "hit"
    assert len(sandbox.received) == 2
    await asyncio.to_thread(one.close)
