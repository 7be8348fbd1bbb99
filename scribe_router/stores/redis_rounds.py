"""The rounds of the one thread that talks to Redis: whatever waits becomes one round trip.

It knows epochs, owners, retries and ends. It must never know what a row or a counter is. `GROUP` is in jobs, `RETRY` in
seconds, `BIRTHS` in tries.
"""

import logging
import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty
from typing import Any

from scribe_router.stores.contract import Granted, StoreUnavailable
from scribe_router.stores.delivery import Answer, deliver
from scribe_router.stores.redis_calls import Call, Session
from scribe_router.stores.redis_epoch import agree, condemn
from scribe_router.stores.redis_jobs import Beat, Flush, Job, Leave, Reserve, Settle, Sweep
from scribe_router.stores.redis_line import CLOSING, Line
from scribe_router.stores.redis_link import Again, Fault, Forgot, Link, NotSent

GROUP = 128
BIRTHS = 5
RETRY = 0.2

logger = logging.getLogger(__name__)


class Rounds:
    """The life of the thread."""

    def __init__(
        self,
        line: Line,
        place: str,
        connect: Callable[[Callable[[str], None]], Link],
        shards: Sequence[str],
        *,
        clock: Callable[[], float],
        lease: float,
        sweep_every: float,
    ) -> None:
        self._line, self._queue = line, line.queue
        self._place, self._link, self._shards = place, connect(self._silent), tuple(shards)
        self._clock, self._lease, self._sweep_every = clock, lease, sweep_every
        self._epochs: tuple[str, ...] | None = None
        self._seen: tuple[str, ...] | None = None
        self._owner: str | None = None
        self._pending: deque[Job] = deque()
        self._next_beat, self._next_sweep = math.inf, 0.0
        self._stop_at = math.inf
        self._problem: NotSent | None = None
        self._faulty = self._suspect = False

    def run(self) -> None:
        while self._wait():
            try:
                self._round(self._session())
            except Fault as problem:
                if isinstance(problem, Forgot):
                    self._suspect = True
                    with suppress(Fault):
                        self._condemn()
                self._away(problem if isinstance(problem, NotSent) else NotSent(str(problem)))
            except Exception:
                logger.exception("%s: a fault of the ledger itself", self._place)
                self._away(NotSent("a fault of the ledger itself; see the log"))
            self._settle_flushes()
        self._end()

    def _wait(self) -> bool:
        """Take what waits in the queue; False when it is time to end."""
        with suppress(Empty):
            self._take(self._queue.get(timeout=min(max(0.0, self._due() - time.monotonic()), 3600.0)))
        while not self._queue.empty():
            self._take(self._queue.get())
        now, stopping = time.monotonic(), self._stop_at < math.inf
        self._recur(now, stopping)
        finished = stopping and (not self._pending or (self._problem is not None and self._problem.lasting))
        return now < self._stop_at and not finished

    def _due(self) -> float:
        """When there is something to do, if nobody puts anything in the queue."""
        if self._stop_at < math.inf and not self._pending:
            return 0.0
        ready = [job.resume_at for job in self._pending if not _heard(job)]
        return min(self._next_beat, self._next_sweep, self._stop_at, *ready)

    def _take(self, job: Job | None) -> None:
        if job is None:
            self._stop_at = time.monotonic() + CLOSING
            self._pending = deque(job for job in self._pending if not (isinstance(job, Sweep) and job.looking))
        else:
            self._pending.append(job)

    def _recur(self, now: float, stopping: bool) -> None:
        """Beat and sweep when it is time."""
        if now >= self._next_beat:
            self._pending.appendleft(Beat(self._lease / 2, birth=False))
            self._next_beat = now + self._lease / 5
        if now >= self._next_sweep and not stopping:
            if not any(isinstance(job, Sweep) for job in self._pending):
                self._pending.append(Sweep(self._clock(), self._lease))
            self._next_sweep = now + self._sweep_every

    def _session(self) -> Session:
        """The epoch that holds and a living owner. Raises `NotSent`."""
        self._link.open()
        if self._suspect:
            self._condemn()
        for _ in range(BIRTHS):
            if self._epochs is None:
                self._epochs = self._seen = agree(self._link, self._shards, self._seen)
            if self._owner is not None or self._born(self._epochs):
                return Session(self._shards, self._epochs, self._owner or "")
            self._epochs = None
        raise NotSent("its epoch does not hold still")

    def _born(self, epochs: tuple[str, ...]) -> bool:
        """Begin to live under a new name; whether the epoch still stood. Raises `Fault`."""
        session = Session(self._shards, epochs, uuid.uuid4().hex)
        answers = self._link.run(Beat(self._lease / 2, birth=True).asks(session))
        for answer in answers:
            if isinstance(answer, Fault):
                raise answer
        if not all(_fine(answer) for answer in answers):
            return False
        self._owner, self._next_beat = session.owner, time.monotonic() + self._lease / 5
        return True

    def _condemn(self) -> None:
        """Say that the server forgot. Raises `Fault`."""
        if self._seen is not None:
            condemn(self._link, self._shards, self._seen)
        self._suspect, self._epochs = False, None

    def _round(self, session: Session) -> None:
        """One round trip for every job that may go."""
        jobs = self._chosen()
        asked = [(job, each) for job in jobs if (each := _asks(job, session))]
        answers = self._link.run([call for _, each in asked for call in each])
        self._problem, at = None, 0
        self._suspect |= any(isinstance(answer, Forgot) for answer in answers)
        for job, each in asked:
            self._tell(job, answers[at : at + len(each)])
            at += len(each)
        self._faulty = self._faulty and any(job.resume_at for job in self._pending)
        self._finish([job for job in jobs if job.done])

    def _chosen(self) -> list[Job]:
        """The first jobs of their attempts; what nobody waits for any more is not begun."""
        for job in [job for job in self._pending if not job.keep and not job.begun and _abandoned(job)]:
            self._pending.remove(job)
        busy: set[str] = set()
        chosen: list[Job] = []
        now = time.monotonic()
        for job in self._pending:
            if not _heard(job) and job.attempt not in busy and job.resume_at <= now:
                chosen.append(job)
            if job.attempt is not None:
                busy.add(job.attempt)
            if len(chosen) == GROUP:
                break
        return chosen

    def _silent(self, text: str) -> None:
        """The server says nothing: who waits to reserve hears of it now. What Redis makes of it later is undone."""
        while not self._queue.empty():
            self._take(self._queue.get())
        problem = StoreUnavailable(f"{self._place}: {text}")
        deliver(Answer(job.future, problem=problem) for job in self._pending if isinstance(job, Reserve))

    def _tell(self, job: Job, answers: list[Any]) -> None:
        if all(_fine(answer) for answer in answers):
            job.told(answers)
            job.begun = True
            if job.problem is not None:
                self._undo(job)
            return
        told = [answer[0] for answer in answers if not isinstance(answer, Fault)]
        self._owner = None if "owner" in told else self._owner
        self._epochs = None if "epoch" in told else self._epochs
        faults = [answer for answer in answers if isinstance(answer, Fault) and not isinstance(answer, Again)]
        if job.keep:
            job.resume_at = self._retry_at(faults)
        elif faults or job.begun:
            self._fail(job, faults[0] if faults else NotSent("it was emptied or rebuilt"))

    def _retry_at(self, faults: list[Fault]) -> float:
        """When what is kept runs again; at once when only the epoch or the owner was stale."""
        if not faults:
            return 0.0
        if not self._faulty:
            logger.error("%s: %s; what is to be settled is kept and tried again", self._place, faults[0])
        self._faulty = True
        return time.monotonic() + RETRY

    def _fail(self, job: Job, fault: Fault) -> None:
        """End a job that cannot wait. If it may have run, it is undone."""
        job.end(problem=str(fault))
        if job.begun or not isinstance(fault, NotSent):
            self._undo(job)

    def _undo(self, job: Job) -> None:
        undo = job.undo()
        if undo is not None:
            self._pending.append(undo)

    def _finish(self, jobs: list[Job]) -> None:
        gone = set(map(id, jobs))
        self._pending = deque(job for job in self._pending if id(job) not in gone)
        deliver(self._answer(job) for job in jobs)
        for job in jobs:
            if isinstance(job, Sweep) and job.value:
                logger.warning("%d reservations of ended processes are settled provisionally", job.value)

    def _answer(self, job: Job) -> Answer:
        problem = StoreUnavailable(f"{self._place}: {job.problem}") if job.problem is not None else None
        if job.future is None:
            return Answer(None, job.value)
        return Answer(job.future, job.value, problem, lambda: self._unheard(job))

    def _unheard(self, job: Job) -> None:
        """Nobody waited for the answer: what was reserved is taken back."""
        undo = job.undo()
        if undo is not None and isinstance(job.value, Granted):
            with suppress(StoreUnavailable):  # closed: it becomes a sweep's
                self._line.submit(undo)

    def _away(self, problem: NotSent) -> None:
        """Nothing can be sent: fail what cannot wait, keep the rest."""
        self._problem = problem
        jobs = [job for job in self._pending if not job.keep]
        for job in jobs:
            self._fail(job, problem)
        self._finish([job for job in jobs if job.done])
        for job in self._pending:
            job.resume_at = self._retry_at([problem])

    def _settle_flushes(self) -> None:
        """A flush is done when nothing older is kept, and fails at once when waiting does not help."""
        flushes = [job for job in self._pending if isinstance(job, Flush)]
        oldest = min((job.number for job in self._pending if isinstance(job, Settle)), default=math.inf)
        for job in flushes:
            if self._problem is not None and self._problem.lasting:
                job.end(problem=str(self._problem))
            elif job.heard and job.number < oldest:
                job.end()
        self._finish([job for job in flushes if job.done])

    def _end(self) -> None:
        kept = [job for job in self._pending if isinstance(job, Settle)]
        if kept:
            logger.error("%s: closed before %d settlements could be written", self._place, len(kept))
        for job in self._pending:
            job.end(problem="closed before this could be written; see the log")
        self._finish(list(self._pending))
        if self._owner is not None and self._epochs is not None:
            with suppress(Fault):
                self._link.run(Leave().asks(Session(self._shards, self._epochs, self._owner)))
        self._link.close()


def _fine(answer: Any) -> bool:
    return not isinstance(answer, Fault) and answer[0] not in ("epoch", "owner")


def _heard(job: Job) -> bool:
    return isinstance(job, Flush) and job.heard


def _abandoned(job: Job) -> bool:
    return job.future is not None and job.future.done()


def _asks(job: Job, session: Session) -> list[Call]:
    """What the job asks; a job that cannot even ask has failed, alone."""
    try:
        return job.asks(session)
    except Exception as problem:
        logger.exception("a job of the ledger cannot be sent")
        job.end(problem=str(problem))
        return []
