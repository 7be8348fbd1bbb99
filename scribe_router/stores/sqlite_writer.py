"""One thread that writes: whatever waits in its queue becomes one transaction. When an operation of it makes a mistake,
it is undone and run again, each operation a savepoint in it.

It knows transactions, contention, threads and event loops. It must never know what a row, a counter or an owner is.
`GROUP` is in operations, the other constants are in seconds.
"""

import asyncio
import logging
import math
import random
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from scribe_router.stores.contract import StoreUnavailable
from scribe_router.stores.delivery import Answer, deliver
from scribe_router.stores.queue_thread import QueueThread

GROUP = 64
SLICE = 0.002
PATIENCE = 1.0
CLOSING = 5.0
# With four saturated processes the slowest of 40,000 reserves took 77 ms; with pauses of up to 8 ms, 336 ms.
LONGEST_BUSY_PAUSE = 0.001
LONGEST_FAULT_PAUSE = 0.2

OWN_MISTAKES = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
}

logger = logging.getLogger(__name__)


class Session(Protocol):
    """What the thread opens, and hands to each operation. It never leaves the thread."""

    @property
    def connection(self) -> sqlite3.Connection: ...

    def tick(self) -> object:
        """Work that recurs; it runs as an operation, at once and then every `every` seconds."""

    def close(self) -> None: ...


S = TypeVar("S", bound=Session)


@dataclass(frozen=True, slots=True, eq=False)
class Operation(Generic[S]):
    """One piece of work for the thread.

    A fault of the store fails it at once, or if `keep`, only after `deadline` (monotonic seconds). Contention alone
    fails it only after `deadline`.
    """

    run: Callable[[S], Any]
    deadline: float = math.inf
    keep: bool = False
    future: asyncio.Future[Any] | None = None


class Writer(QueueThread[Operation[S]]):
    """The queue of operations. Any thread and any event loop may call."""

    def __init__(self, place: str, open_session: Callable[[], S], *, every: float) -> None:
        # The loop lives on the thread's stack only: SQLite forbids a fork's child to close an inherited connection.
        super().__init__(place, lambda: _Loop(place, self.queue, open_session, every).run(), CLOSING + PATIENCE)

    async def call(self, run: Callable[[S], Any], *, patience: float = PATIENCE, keep: bool = False) -> Any:
        """The operation's value once it is committed. Cancelling the caller does not take it out of the queue."""
        future = asyncio.get_running_loop().create_future()
        self.submit(Operation(run, time.monotonic() + patience, keep, future))
        return await future


class _Loop(Generic[S]):
    """The life of the thread."""

    def __init__(
        self, place: str, queue: SimpleQueue[Operation[S] | None], open_session: Callable[[], S], every: float
    ) -> None:
        self._place = place
        self._queue = queue
        self._open_session = open_session
        self._every = every
        self._session: S | None = None
        self._pending: deque[Operation[S]] = deque()
        self._next_tick = 0.0
        self._stop_at = math.inf
        self._faults = 0

    def run(self) -> None:
        while self._wait():
            try:
                answers = self._commit()
            except Exception as problem:  # noqa: BLE001  (whatever it is, those who wait must hear of it)
                self._postpone(problem)
            else:
                self._faults = 0
                deliver(answers)
        self._end()

    def _wait(self) -> bool:
        """Take what waits in the queue; False when it is time to end."""
        stopping = self._stop_at < math.inf
        if not self._pending and not stopping:
            with suppress(Empty):
                self._take(self._queue.get(timeout=max(0.0, self._next_tick - time.monotonic())))
        while not self._queue.empty():
            self._take(self._queue.get())
        now = time.monotonic()
        if now >= self._next_tick and not stopping:
            self._pending.appendleft(Operation(lambda session: session.tick(), now + PATIENCE))
            self._next_tick = now + self._every
        return now < self._stop_at and (bool(self._pending) or self._stop_at == math.inf)

    def _take(self, operation: Operation[S] | None) -> None:
        if operation is None:
            self._stop_at = time.monotonic() + CLOSING
        else:
            self._pending.append(operation)

    def _commit(self) -> list[Answer]:
        """Run a group as one transaction; only when it is committed does it leave `_pending`."""
        if self._session is None:
            self._session = self._open_session()
        try:
            return self._transaction(self._session, _run)
        except Exception as problem:
            if _is_fault(problem):
                raise
        self._session.connection.execute("ROLLBACK")
        return self._transaction(self._session, _run_apart)

    def _transaction(self, session: S, run: Callable[[Operation[S], S], Answer]) -> list[Answer]:
        connection = session.connection
        connection.execute("BEGIN IMMEDIATE")
        until = time.monotonic() + SLICE
        answers: list[Answer] = []
        for operation in islice(self._pending, GROUP):
            answers.append(run(operation, session))
            if time.monotonic() > until:
                break
        connection.execute("COMMIT")
        for _ in answers:
            self._pending.popleft()
        return answers

    def _postpone(self, problem: Exception) -> None:
        """After a failed transaction: fail what cannot wait, keep the rest in order, pause."""
        if self._session is not None and self._session.connection.in_transaction:
            with suppress(sqlite3.Error):
                self._session.connection.execute("ROLLBACK")
        busy = _code(problem) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        now = time.monotonic()
        kept: list[Operation[S]] = []
        late: list[Operation[S]] = []
        for operation in self._pending:
            (kept if now < operation.deadline and (busy or operation.keep) else late).append(operation)
        self._pending = deque(kept)
        if kept and not busy and self._faults == 0:
            logger.error("%s (%d operations are kept and tried again)", explained(self._place, problem), len(kept))
        deliver(Answer(operation.future, problem=explained(self._place, problem)) for operation in late)
        self._faults += 1
        if kept:
            time.sleep(_pause(self._faults, LONGEST_BUSY_PAUSE if busy else LONGEST_FAULT_PAUSE))

    def _end(self) -> None:
        message = f"{self._place}: closed before this could be written; see the log"
        deliver(Answer(operation.future, problem=StoreUnavailable(message)) for operation in self._pending)
        if self._session is not None:
            self._session.close()


def _run(operation: Operation[S], session: S) -> Answer:
    """Run one operation; its own mistake ends the transaction, which is rare, and a savepoint for each is dear."""
    return Answer(operation.future, operation.run(session))


def _run_apart(operation: Operation[S], session: S) -> Answer:
    """Run one operation so that its own mistake undoes it alone; a fault of the store is raised."""
    session.connection.execute("SAVEPOINT operation")
    try:
        answer = Answer(operation.future, operation.run(session))
    except Exception as problem:
        if _is_fault(problem):
            raise
        session.connection.execute("ROLLBACK TO operation")
        answer = Answer(operation.future, problem=problem)
    session.connection.execute("RELEASE operation")
    return answer


def _is_fault(problem: Exception) -> bool:
    """Whether it is the store's, and no operation's own mistake."""
    return isinstance(problem, sqlite3.Error) and _code(problem) not in {None, *OWN_MISTAKES}


def _pause(faults: int, longest: float) -> float:
    """Seconds until the next try: growing up to `longest`, with jitter so that processes do not march in step."""
    return random.uniform(0.2, 1.0) * min(longest, 0.0005 * 2.0 ** min(faults, 10))  # noqa: S311


def _code(problem: Exception) -> int | None:
    """SQLite's primary result code; None for an error that did not come from SQLite itself."""
    code = getattr(problem, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


ACCESS = "give this process write access to the file and its folder"
CONTENTION = "another process holds the file; end it, or give it a ledger of its own"
ADVICE = {
    sqlite3.SQLITE_BUSY: CONTENTION,
    sqlite3.SQLITE_LOCKED: CONTENTION,
    sqlite3.SQLITE_CANTOPEN: ACCESS,
    sqlite3.SQLITE_READONLY: ACCESS,
    sqlite3.SQLITE_PERM: ACCESS,
    sqlite3.SQLITE_FULL: "free some disk space",
    sqlite3.SQLITE_NOTADB: "move the file away, or name another path",
    sqlite3.SQLITE_CORRUPT: "restore the file from a backup, or move it away",
}


def explained(place: str, problem: Exception) -> StoreUnavailable:
    """The problem as its reader needs it: place, problem, what to do."""
    if isinstance(problem, StoreUnavailable):
        return StoreUnavailable(str(problem))
    text = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    advice = ACCESS if isinstance(problem, PermissionError) else ADVICE.get(_code(problem) or -1, "look at the disk")
    error = StoreUnavailable(f"{place}: {text.lower()}; {advice}")
    error.__cause__ = problem
    return error
