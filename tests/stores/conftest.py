"""The ledgers under test: real files in a temporary folder, real servers on this machine."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from scribe_router.stores.contract import Ledger
from scribe_router.stores.redis import RedisLedger
from scribe_router.stores.sqlite import SqliteLedger
from tests.stores.ledger_threads import OTHERS
from tests.stores.redis_servers import Server, cluster, one_server, tell


@pytest.fixture(autouse=True)
def _threads_of_others() -> None:
    OTHERS.clear()
    OTHERS.update(threading.enumerate())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def open_ledger(path: Path) -> Iterator[Callable[[], SqliteLedger]]:
    """Open one more ledger on the same file; all are closed at the end."""
    opened: list[SqliteLedger] = []

    def build() -> SqliteLedger:
        opened.append(SqliteLedger(path, clock=lambda: 3000.0, sweep_every=3600.0))
        return opened[-1]

    yield build
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: Callable[[], SqliteLedger]) -> SqliteLedger:
    return open_ledger()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    with one_server() as server:
        yield server


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own, to be killed; it loses nothing by that."""
    with one_server(appendfsync="always") as server:
        yield server


@pytest.fixture(scope="session")
def redis_masters() -> Iterator[list[Server]]:
    with cluster() as servers:
        yield servers


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """An empty Redis."""
    tell(redis_server, "FLUSHALL")
    return redis_server.url


@pytest.fixture
def cluster_url(redis_masters: list[Server]) -> str:
    """An empty Redis Cluster."""
    for server in redis_masters:
        tell(server, "FLUSHALL")
    return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in redis_masters[:2])


@pytest.fixture
def open_shared() -> Iterator[Callable[[str], RedisLedger]]:
    """Open one more ledger at a URL; all are closed at the end. The deadline allows for a busy machine."""
    opened: list[RedisLedger] = []

    def build(url: str) -> RedisLedger:
        opened.append(RedisLedger(url, clock=lambda: 3000.0, deadline=5.0, sweep_every=3600.0))
        return opened[-1]

    yield build
    for ledger in opened:
        ledger.close()


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def any_ledger(request: pytest.FixtureRequest) -> Ledger:
    """Each of the stores."""
    if request.param == "sqlite":
        return cast("Ledger", request.getfixturevalue("ledger"))
    url = request.getfixturevalue(f"{request.param}_url")
    return cast("Ledger", request.getfixturevalue("open_shared")(url))
