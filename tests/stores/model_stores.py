"""The stores as the model drives them: opening an owner, and killing one."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from scribe_router.stores.contract import Ledger
from scribe_router.stores.redis import RedisLedger
from scribe_router.stores.sqlite import SqliteLedger
from tests.stores.redis_servers import Server, tell

Clock = Callable[[], float]


class Store(Protocol):
    """`exact`: one step for all scopes. `voids`: a zero for an unknown attempt keeps its reservation out."""

    exact: bool
    voids: bool

    def empty(self) -> None: ...

    def open(self, clock: Clock) -> Ledger: ...

    async def crash(self, ledger: Ledger) -> None: ...

    def end(self) -> None: ...


class SqliteStore:
    exact, voids = True, False

    def empty(self) -> None:
        self.folder = Path(tempfile.mkdtemp())

    def open(self, clock: Clock) -> Ledger:
        return SqliteLedger(self.folder / "ledger.db", clock=clock, sweep_every=3600.0)

    async def crash(self, ledger: Ledger) -> None:
        """The kernel lets go of the lock and leaves the file, as after `kill -9`."""
        assert isinstance(ledger, SqliteLedger)
        await ledger._writer.call(lambda book: book.owner.close())
        ledger.close()

    def end(self) -> None:
        shutil.rmtree(self.folder)


@dataclass
class RedisStore:
    """One Redis, or the masters of a cluster."""

    url: str
    servers: list[Server]
    exact: bool
    voids: bool = True
    owners: dict[int, set[str]] = field(default_factory=dict)
    crashed: list[Ledger] = field(default_factory=list)

    def empty(self) -> None:
        for server in self.servers:
            tell(server, "FLUSHALL")

    def open(self, clock: Clock) -> Ledger:
        ledger = RedisLedger(self.url, clock=clock, sweep_every=3600.0, lease=3600.0, deadline=5.0)
        before = self.living()
        asyncio.run(ledger.flush())
        self.owners[id(ledger)] = self.living() - before
        return ledger

    async def crash(self, ledger: Ledger) -> None:
        """Its lease is over, on the server's clock; it never comes to say that it ends."""
        for server in self.servers:
            for key in tell(server, "KEYS", "*owners"):
                for owner in self.owners[id(ledger)]:
                    tell(server, "ZADD", key, "XX", 0, owner)
        self.crashed.append(ledger)

    def living(self) -> set[str]:
        keys = [(server, key) for server in self.servers for key in tell(server, "KEYS", "*owners")]
        return {owner for server, key in keys for owner in tell(server, "ZRANGE", key, 0, -1)}

    def end(self) -> None:
        for ledger in self.crashed:
            ledger.close()
        self.crashed.clear()
