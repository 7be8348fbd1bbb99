"""The shared ledger: one Redis, exact by one script for each step, or a Redis Cluster, which never overspends either.

On a cluster a reservation walks over the slots of its counters; it may be refused for a moment while another one gives
back what it took. What Redis acknowledged it must keep: an append-only file and no eviction are demanded at the start.

This module knows the contract, and what is answered to whom. It must never know scripts, sockets or threads.
"""

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial
from math import ceil
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from scribe_router.stores.checks import check_row, check_settlement
from scribe_router.stores.contract import Counter, Granted, Refused, Row, Settlement, StoreUnavailable
from scribe_router.stores.delivery import Tally
from scribe_router.stores.redis_cluster import SCHEMES, Cluster, spread
from scribe_router.stores.redis_epoch import agree
from scribe_router.stores.redis_erasure import erase
from scribe_router.stores.redis_jobs import Batch, Flush, Release, Reserve, ReserveWalk, Settle, Sweep
from scribe_router.stores.redis_line import Line
from scribe_router.stores.redis_link import Fault, Link, OneServer, Waiting
from scribe_router.stores.redis_reports import Reports
from scribe_router.stores.redis_rounds import Rounds

SHARDS = 64
FLUSHING = 5.0
READING = 5.0
# A server that was silent for so long is connected anew.
GIVEN_UP = 0.25
# How long a reservation may wait for its turn.
PATIENCE = 5.0

T = TypeVar("T")


class RedisLedger:
    """A `Ledger` on Redis: `redis://`, `rediss://`, or `redis+cluster://host:port,host:port`.

    `deadline` is how long the server may be silent before `reserve` fails, in seconds; while it answers others, a
    reservation waits for its turn. An owner of reservations counts as dead when it was not heard for `lease` seconds of
    the server's clock. It connects at first use. Dropping it, or a normal end of the interpreter, closes it: what was
    handed to `settle` is written.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        accepted_loss: bool = False,
        deadline: float = 0.050,
        lease: float = 15.0,
        sweep_every: float = 10.0,
    ) -> None:
        parts = urlsplit(url)
        self._place = f"ledger {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._clock, self._lease, self._patience = clock, lease, max(PATIENCE, 2 * deadline)
        self._clustered = parts.scheme in SCHEMES
        tags = spread(SHARDS) if self._clustered else ["0"]
        self._shards = shards = tuple(f"scribe:{{{tag}}}:" for tag in tags)
        self._link = link = _links(url, accepted_loss=accepted_loss)
        self._tally = Tally()
        place, silences = self._place, max(1, ceil(GIVEN_UP / deadline))
        times = {"lease": lease, "sweep_every": sweep_every}

        def run(line: Line) -> None:
            def connect(silent: Callable[[str], None]) -> Link:
                return link(waiting=Waiting(deadline, silences, silent), writes=True)

            Rounds(line, place, connect, shards, clock=clock, **times).run()

        self._line = Line(self._place, run)
        weakref.finalize(self, self._line.close)

    @property
    def unknown(self) -> int:
        """How many settlements with a cost found no row that could take it; each was logged as an error."""
        return self._tally.unknown

    async def reserve(self, row: Row, floor: int) -> Granted | Refused:
        """Reserve `row.bound`, or as much as every charge has left if that is at least `floor`.

        Whatever keeps the answer away, a cancellation too, what was reserved is taken back. Raises `StoreUnavailable`;
        `ValueError` for amounts that make no sense.
        """
        check_row(row, floor)
        job = ReserveWalk(row, floor) if self._clustered else Reserve(row, floor)
        return cast("Granted | Refused", await self._line.answered(job, self._patience))

    def settle(self, settlement: Settlement) -> None:
        """Queue the settlement and return; the first for an attempt counts, one more may replace a sweep's. A cost of
        None counts as zero.

        From any thread. Once it has returned, the settlement is tried until Redis has it, unless the process is killed
        or closes while Redis is away. Raises `StoreUnavailable` after `close`, `ValueError` for a negative cost.
        """
        check_settlement(settlement)
        self._line.submit(Settle(settlement, tally=self._tally))

    async def flush(self) -> None:
        """Wait until everything handed to `settle` so far is written; `StoreUnavailable` after five seconds."""
        await self._line.answered(Flush(self._lease / 2, birth=False), FLUSHING)

    async def sweep(self) -> int:
        """Settle provisionally what dead owners had reserved; how many rows. It also runs by itself."""
        return cast("int", await self._line.answered(Sweep(self._clock(), self._lease), FLUSHING))

    async def release(self, attempts: Sequence[str], at: float) -> int:
        """Settle rows whose cost is in doubt at zero, for good; how many."""
        await self.flush()
        found = (
            await self._line.answered(Batch([Release(attempt, at) for attempt in attempts]), FLUSHING)
            if attempts
            else []
        )
        return sum(what in ("settled", "apply") for what in found)

    async def counters(self, names: Collection[str] | None = None) -> dict[str, Counter]:
        """Counters by name, every one or those of `names` that exist; all settlements so far are in them."""
        return await self._read(lambda reports: reports.counters(names))

    async def rows(self, *, exchange: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """Rows, newest first, with charges, price and usage as objects."""
        return await self._read(lambda reports: reports.newest(exchange, limit))

    async def export(self, since: float = 0.0) -> AsyncIterator[dict[str, Any]]:
        """The rows opened at or after `since`, in opening order, a page at a time."""
        last = float(int(since * 1e6) - 1)  # a row's place is when it was opened, or behind the one before it
        while last < float("inf"):
            page, last = await self._read(lambda reports, last=last: reports.after(last))  # type: ignore[misc]
            for row in page:
                if row["opened"] >= since:
                    yield row

    async def check(self) -> list[str]:
        """Compare counters with rows; one line for each difference. Others may go on writing."""
        return await self._read(Reports.differences)

    async def rebuild(self) -> list[str]:
        """Write the counters anew from the rows that are there, and let everyone go on. Nobody reserves meanwhile."""
        return await asyncio.to_thread(self._run, Reports.rebuild, writes=True)

    async def erase(self, user: str, instead: str) -> int:
        """Put another name in a user's place everywhere; how many rows. Nobody reserves meanwhile."""

        def work(reports: Reports) -> int:
            agree(reports.link, reports.shards, None)
            return erase(reports, user, instead)

        await self.flush()
        return await asyncio.to_thread(self._run, work, writes=True)

    async def retain(self, before: float) -> int:
        """Fold settled rows opened before `before` into one checkpoint for each counter; how many rows."""

        def fold(reports: Reports) -> int:
            return reports.fold(agree(reports.link, reports.shards, None), before)

        await self.flush()
        return await asyncio.to_thread(self._run, fold, writes=True)

    async def report(self, attempt: str, said: dict[str, Any]) -> bool:
        """Keep with a row what a client says of the answer; whether there is such a row."""
        return await asyncio.to_thread(self._run, lambda reports: reports.report(attempt, said), writes=True)

    async def note(self, name: str, text: str) -> bool:
        """Keep a note for good, unless its name is taken; whether this text is the one that is kept."""
        return await asyncio.to_thread(self._run, lambda reports: reports.note(name, text), writes=True)

    async def notes(self, prefix: str) -> dict[str, str]:
        """The notes whose names begin with `prefix`, in the order of their names."""
        return await self._read(lambda reports: reports.notes(prefix))

    def close(self) -> None:
        """Write what is pending, end the thread. What is still reserved becomes a sweep's."""
        self._line.close()

    async def _read(self, read: Callable[[Reports], T]) -> T:
        await self.flush()
        return await asyncio.to_thread(self._run, read, writes=False)

    def _run(self, read: Callable[[Reports], T], *, writes: bool) -> T:
        link = self._link(waiting=Waiting(READING), writes=writes)
        try:
            return read(Reports(link, self._shards))
        except Fault as problem:
            raise StoreUnavailable(f"{self._place}: {problem}") from problem
        finally:
            link.close()


def _links(url: str, *, accepted_loss: bool) -> Callable[..., Link]:
    """Makes a link, to write or only to read, with a time limit for each command. Raises `ValueError` for a URL that
    names no Redis."""
    if not urlsplit(url).netloc:
        raise ValueError(f"a shared ledger is named redis://HOST or redis+cluster://HOST,HOST, found {url!r}")
    kind = Cluster if urlsplit(url).scheme in SCHEMES else OneServer
    links = partial(kind, url, accepted_loss=accepted_loss)
    links(waiting=Waiting(READING), writes=False)
    return links
