"""What the ledger has to do on Redis, one job each: calls out, answers in, until there is a value or a problem.

A job knows what its answers mean. It must never know sockets, threads, or when it runs.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, ClassVar

from scribe_router.counters import Charge
from scribe_router.exchange import Mark
from scribe_router.stores import redis_calls as calls
from scribe_router.stores import redis_scripts as one
from scribe_router.stores.contract import Granted, Refused, Row, Settlement
from scribe_router.stores.delivery import Tally
from scribe_router.stores.redis_calls import Call, Session
from scribe_router.stores.redis_walk import Closing, Walk

CHUNK = 64
GIVEN_BACK = "was given back before it could be reserved; use a new attempt"


class Job:
    """`keep`: it may be repeated, and is until it succeeds. `attempt`: jobs of one attempt run one after another."""

    keep: ClassVar[bool] = False
    begun = False
    done = False
    value: Any = None
    problem: str | None = None

    def __init__(self, attempt: str | None = None) -> None:
        self.attempt = attempt
        self.number, self.resume_at = 0, 0.0
        self.future: asyncio.Future[Any] | None = None

    def asks(self, session: Session) -> list[Call]:
        """The calls to make now."""
        raise LookupError(f"{type(self).__name__} has nothing to ask")

    def told(self, answers: Sequence[Any]) -> None:
        """Take the answers, one for each call of the last `asks`."""
        self.end()

    def undo(self) -> "Job | None":
        """What takes back the job when its outcome is unknown, or nobody waits for it any more."""
        return None

    def end(self, value: Any = None, problem: str | None = None) -> None:
        self.value, self.problem, self.done = value, problem, True


class Reserve(Job):
    """A reservation on one shard: one script over its row and all its counters."""

    def __init__(self, row: Row, floor: int) -> None:
        super().__init__(row.attempt)
        self.row, self.floor = row, floor
        self.seeding: Charge | None = None

    def asks(self, session: Session) -> list[Call]:
        if self.seeding is not None:
            return calls.seed(session, self.seeding)
        return [calls.reserve(session, self.row, self.floor)]

    def told(self, answers: Sequence[Any]) -> None:
        self.seeding = None
        match answers[0]:
            case ["granted", amount]:
                self.end(Granted(int(amount)))
            case ["refused", index, settled, reserved]:
                self.end(Refused(self.row.charges[index], int(settled), int(reserved)))
            case ["seed", index]:
                self.seeding = self.row.charges[index]
            case ["void"]:
                self.end(problem=f"attempt {self.row.attempt} {GIVEN_BACK}")

    def undo(self) -> "Job | None":
        return Settle(Settlement(self.row.attempt, 0, Mark.ZERO, "not_sent", self.row.opened))


class ReserveWalk(Reserve):
    """A reservation over several shards. It keeps the session that it began with: what it took is of that epoch."""

    def __init__(self, row: Row, floor: int) -> None:
        super().__init__(row, floor)
        self.walk = Walk(tuple(sorted(charge.counter for charge in row.charges)), row.bound)
        self.session: Session | None = None
        self.adopted: list[list[Call]] = []

    def asks(self, session: Session) -> list[Call]:
        session = self.session = (self.session if self.begun else None) or session
        if self.adopted:
            return self.adopted[0]
        if self.seeding is not None:
            return calls.seed(session, self.seeding)
        return [calls.walked(session, self.row, self.floor, step) for step in self.walk.asks()]

    def told(self, answers: Sequence[Any]) -> None:
        self.begun = True
        if self.adopted:
            self.adopted = self.adopted[1:]
        elif self.seeding is not None and self.session is not None:
            self._adopt(self.session, self.seeding, answers)
        elif answers[0][0] == "seed":
            counter = self.walk.counters[len(self.walk.taken)]
            self.seeding = next(charge for charge in self.row.charges if charge.counter == counter)
        else:
            self.walk = self.walk.told(answers)
            if self.walk.stage == "end":
                self._conclude()

    def undo(self) -> "Job | None":
        """None when the attempt is on its way in another call: that one would be undone."""
        return None if self.walk.answer and self.walk.answer[0] == "busy" else super().undo()

    def _adopt(self, session: Session, charge: Charge, answers: Sequence[Any]) -> None:
        """Tell the new counter what the rows hold; opening it comes last, and alone."""
        values = [values[index : index + 4] for _, *values in answers for index in range(0, len(values), 4)]
        told = [
            calls.applied(session, attempt, charge.counter, version, reserved, settled)
            for attempt, version, reserved, settled in values
        ]
        self.adopted = [told[index : index + CHUNK] for index in range(0, len(told), CHUNK)]
        self.adopted.append([calls.born(session, charge.counter)])
        self.seeding = None

    def _conclude(self) -> None:
        match self.walk.answer:
            case ["granted", amount]:
                self.end(Granted(int(amount)))
            case ["refused", settled, reserved, counter]:
                charge = next(charge for charge in self.row.charges if charge.counter == counter)
                self.end(Refused(charge, int(settled), int(reserved)))
            case ["busy"]:
                self.end(problem=f"attempt {self.row.attempt} is being reserved; use another attempt")
            case _:
                self.end(problem=f"attempt {self.row.attempt} {GIVEN_BACK}")


class Settle(Job):
    """A settlement. On a cluster its row comes first, then the counters, then the row is done."""

    keep = True

    def __init__(self, settlement: Settlement, *, granted: bool = False, tally: Tally | None = None) -> None:
        super().__init__(settlement.attempt)
        self.settlement, self.granted, self.tally = settlement, granted, tally
        self.closing = Closing()

    def asks(self, session: Session) -> list[Call]:
        if self.closing.stage == "close":
            return [self.close(session)]
        return [calls.closed(session, self.settlement.attempt, step) for step in self.closing.asks()]

    def close(self, session: Session) -> Call:
        return calls.settle(session, self.settlement, granted=self.granted)

    def told(self, answers: Sequence[Any]) -> None:
        if self.closing.stage == "close":
            self.closing = self.closing.told([_names(answers[0])])
        else:
            self.closing = self.closing.told(answers)
        if self.closing.stage == "end":
            self.end(self.closing.answer[0])
            if self.tally is not None:
                self._count(self.tally, *self.closing.answer[:2])

    def _count(self, tally: Tally, what: str, mark: str = "") -> None:
        if what == "unknown":
            tally.miss(self.settlement, "no such row, its cost of %d is not counted; reserve before settling")
        elif what == "kept" and mark == Mark.RELEASED and self.settlement.cost:
            tally.miss(self.settlement, "was released at zero, its cost of %d is not counted")


class Release(Settle):
    """The end of a row whose cost was in doubt, at zero."""

    def __init__(self, attempt: str, at: float) -> None:
        super().__init__(Settlement(attempt, 0, Mark.RELEASED, "", at))

    def close(self, session: Session) -> Call:
        return calls.release(session, self.settlement.attempt, self.settlement.closed)


class Batch(Job):
    """Several jobs, some at a time; its value is theirs. Kept: a row may be closed, and its counters not yet told."""

    keep = True

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__()
        self.jobs = list(jobs)
        self.running: list[tuple[Job, int]] = []

    def asks(self, session: Session) -> list[Call]:
        asked = [(job, job.asks(session)) for job in [job for job in self.jobs if not job.done][:CHUNK]]
        self.running = [(job, len(each)) for job, each in asked]
        return [call for _, each in asked for call in each]

    def told(self, answers: Sequence[Any]) -> None:
        at = 0
        for job, count in self.running:
            job.told(answers[at : at + count])
            at += count
        self.check()

    def check(self) -> None:
        if all(job.done for job in self.jobs):
            self.end([job.value for job in self.jobs])


class Sweep(Batch):
    """Settle what dead owners had reserved, at what was granted; its value is how many rows."""

    def __init__(self, now: float, lease: float) -> None:
        super().__init__([])
        self.now, self.lease, self.swept = now, lease, 0
        self.tried: set[str] = set()
        self.looking = True

    def asks(self, session: Session) -> list[Call]:
        if self.looking:
            return session.everywhere(one.DEAD, session.owner, int(self.lease * 1000), CHUNK)
        return super().asks(session)

    def told(self, answers: Sequence[Any]) -> None:
        if not self.looking:
            super().told(answers)
            return
        self.looking = False
        found = {attempt for _, *attempts in answers for attempt in attempts} - self.tried
        self.tried |= found
        crashed = [Settlement(attempt, 0, Mark.SWEPT, "crashed", self.now) for attempt in sorted(found)]
        self.jobs = [Settle(settlement, granted=True) for settlement in crashed]
        if not self.jobs:
            self.end(self.swept)

    def check(self) -> None:
        if all(job.done for job in self.jobs):
            self.swept += sum(job.value in ("settled", "apply") for job in self.jobs)
            self.looking = True


class Beat(Job):
    """Say on every shard that this owner lives. `birth`: it may be new there."""

    def __init__(self, gap: float, *, birth: bool) -> None:
        super().__init__()
        self.gap, self.birth = gap, birth

    def asks(self, session: Session) -> list[Call]:
        return session.everywhere(one.BEAT, session.owner, int(self.gap * 1000), int(self.birth))


class Flush(Beat):
    """Done when the server answers and every kept job that was submitted before it is done; the rounds see to that."""

    keep = True
    heard = False

    def told(self, answers: Sequence[Any]) -> None:
        self.heard = True


class Leave(Job):
    """Say on every shard that this owner has ended."""

    def asks(self, session: Session) -> list[Call]:
        return session.everywhere(one.LEAVE, session.owner)


def _names(answer: Sequence[Any]) -> Sequence[Any]:
    """What became of the row, with its charges as the counters that they name."""
    if answer[0] not in ("apply", "undo"):
        return answer
    *rest, charges = answer
    return [*rest, [charge["counter"] for charge in json.loads(charges)]]
