"""Any interleaving of what a ledger can do, against a model of rows that is easy to believe.

After every step: settled + reserved is at most the cap (the highest that it had, where a reload lowered it), a refusal
names a scope that has no room, every attempt has one state, a truth after a sweep corrects its row once, and the
counters are what the rows say.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from scribe_router.counters import Charge
from scribe_router.exchange import Mark
from scribe_router.stores.contract import Granted, Ledger, Refused, StoreUnavailable
from tests.stores.ledger_rows import charge, row, settlement
from tests.stores.model_stores import RedisStore, SqliteStore, Store
from tests.stores.redis_servers import Server

LIVENESS = 2.0
SEEDED = Charge("new", "user:ann", "today", 50, since=150.0, match=(("user", "ann"),))
LIMITS = [charge("a", 40), charge("b", 60), charge("c", 25), replace(charge("a", 40), window="2030-02"), SEEDED]
ATTEMPTS = [f"attempt-{number}" for number in range(12)]
OWNERS = st.integers(0, 2)
CHARGES = st.lists(st.sampled_from(LIMITS), unique=True)
DOUBTFUL = (Mark.BOUND, Mark.DOUBT, Mark.SWEPT)


@dataclass
class Known:
    """An attempt as the model remembers it. `state`: reserved, provisional, or final."""

    owner: int
    user: str
    opened: float
    charges: list[str]
    granted: int
    state: str = "reserved"
    orphan: bool = False
    cost: int = 0
    mark: Mark | None = None

    def total(self, counter: str) -> int:
        return (counter in self.charges) * (self.granted if self.state == "reserved" else self.cost)

    def end(self, cost: int, mark: Mark) -> None:
        self.state, self.cost, self.mark = "provisional" if mark is Mark.SWEPT else "final", cost, mark


class LedgerMachine(RuleBasedStateMachine):
    """Three owners of one store; `None` is an owner that crashed."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store

    @initialize()
    def start(self) -> None:
        self.store.empty()
        self.runner = asyncio.Runner()
        self.now = 3000.0
        self.known: dict[str, Known] = {}
        self.folded: dict[str, int] = {}
        self.void: set[str] = set()
        self.seeded = False
        self.serial = itertools.count()
        self.caps = {each.counter: each.cap for each in LIMITS}
        self.highest = dict(self.caps)
        self.ledgers: list[Ledger | None] = [None, None, None]
        for number in range(3):
            self.reopen(number)

    def teardown(self) -> None:
        for ledger in filter(None, self.ledgers):
            ledger.close()
        self.runner.close()
        self.store.end()

    def reopen(self, number: int) -> Ledger:
        ledger = self.ledgers[number]
        if ledger is None:
            ledger = self.ledgers[number] = self.store.open(lambda: self.now)
            self.runner.run(ledger.flush())
            self.runner.run(ledger.sweep())
            self.model_sweep()
        return ledger

    def model_sweep(self) -> int:
        orphans = [known for known in self.known.values() if known.orphan and known.state == "reserved"]
        for known in orphans:
            known.end(known.granted, Mark.SWEPT)
        return len(orphans)

    def model_seed(self, charges: Sequence[Charge]) -> None:
        if all(each.counter != SEEDED.counter for each in charges) or self.seeded:
            return
        self.seeded = True
        for known in self.known.values():
            if known.opened >= 150.0 and known.user == "ann":
                known.charges.append(SEEDED.counter)

    def current(self, charges: Sequence[Charge]) -> list[Charge]:
        """The charges with the caps that the configuration has now."""
        return [replace(each, cap=self.caps[each.counter]) for each in charges]

    @rule(limit=st.sampled_from(LIMITS[:4]), cap=st.integers(0, 60))
    def reload(self, limit: Charge, cap: int) -> None:
        self.caps[limit.counter] = cap
        self.highest[limit.counter] = max(cap, self.highest[limit.counter])

    def total(self, counter: str) -> int:
        return self.folded.get(counter, 0) + sum(known.total(counter) for known in self.known.values())

    @rule(
        owner=OWNERS,
        attempt=st.sampled_from(ATTEMPTS),
        user=st.sampled_from(["ann", "bob"]),
        opened=st.sampled_from([100.0, 200.0]),
        charges=CHARGES,
        bound=st.integers(0, 30),
        data=st.data(),
    )
    def reserve(
        self, owner: int, attempt: str, user: str, opened: float, charges: list[Charge], bound: int, data: st.DataObject
    ) -> None:
        charges = self.current(charges)
        floor = data.draw(st.integers(0, bound), label="floor")
        ledger = self.reopen(owner)
        asked = replace(row(attempt, bound, *charges), user=user, opened=opened)
        if attempt in self.void:
            with pytest.raises(StoreUnavailable, match="given back"):
                self.runner.run(ledger.reserve(asked, floor))
            return
        if attempt in self.known:
            assert self.runner.run(ledger.reserve(asked, floor)) == Granted(self.known[attempt].granted)
            return
        answer = self.runner.run(ledger.reserve(asked, floor))
        self.judge(answer, Known(owner, user, opened, [], bound), attempt, charges, floor)

    def judge(
        self, answer: Granted | Refused, known: Known, attempt: str, charges: Sequence[Charge], floor: int
    ) -> None:
        """The answer is what the model says."""
        # A cluster asks the counters in order: one that comes after the refusal is not seeded yet.
        last = "~" if self.store.exact or isinstance(answer, Granted) else answer.charge.counter
        if SEEDED.counter <= last:
            self.model_seed(charges)
        left = {each.counter: each.cap - self.total(each.counter) for each in charges}
        if isinstance(answer, Refused):
            assert answer.left == left[answer.charge.counter] < floor
            assert not self.store.exact or answer.left == min(left.values())
        else:
            assert answer == Granted(min(known.granted, *left.values(), known.granted))
            assert answer.amount >= floor
            known.granted, known.charges = answer.amount, [each.counter for each in charges]
            self.known[attempt] = known

    @rule(
        bounds=st.lists(st.integers(1, 30), min_size=2, max_size=6),
        charges=st.lists(st.sampled_from(LIMITS[:4]), min_size=1, unique=True),
    )
    def reserve_at_once(self, bounds: list[int], charges: list[Charge]) -> None:
        """Several owners together. Whoever is refused did not fit into what is there at the end."""
        charges = self.current(charges)
        ledgers = [self.reopen(number % 3) for number in range(len(bounds))]
        names = [f"at-once-{next(self.serial)}" for _ in bounds]

        async def together() -> list[Granted | Refused]:
            asked = zip(ledgers, names, bounds, strict=True)
            return await asyncio.gather(
                *(
                    ledger.reserve(replace(row(name, bound, *charges), opened=100.0), bound)
                    for ledger, name, bound in asked
                )
            )

        answers = self.runner.run(together())
        for number, (name, answer) in enumerate(zip(names, answers, strict=True)):
            if isinstance(answer, Granted):
                assert answer.amount == bounds[number]
                counters = [each.counter for each in charges]
                self.known[name] = Known(number % 3, "ann", 100.0, counters, answer.amount)
        for number, (name, answer) in enumerate(zip(names, answers, strict=True)):
            if isinstance(answer, Refused):
                self.refused_at_once(ledgers[number], number, name, answer, bounds[number], charges)

    def refused_at_once(
        self, ledger: Ledger, number: int, name: str, answer: Refused, bound: int, charges: list[Charge]
    ) -> None:
        fits = all(self.total(each.counter) + bound <= each.cap for each in charges)
        if self.store.exact:
            assert self.total(answer.charge.counter) + bound > answer.charge.cap
        until = time.monotonic() + LIVENESS
        while fits:
            again = self.runner.run(ledger.reserve(replace(row(name, bound, *charges), opened=100.0), bound))
            if isinstance(again, Granted):
                counters = [each.counter for each in charges]
                self.known[name] = Known(number % 3, "ann", 100.0, counters, bound)
                return
            assert time.monotonic() < until, "it fits, nobody else calls, and it is refused"

    @rule(
        owner=OWNERS,
        attempt=st.sampled_from(ATTEMPTS),
        cost=st.integers(0, 30),
        mark=st.sampled_from([Mark.COMPUTED, Mark.BOUND, Mark.DOUBT]),
    )
    def settle(self, owner: int, attempt: str, cost: int, mark: Mark) -> None:
        """A truth is at most what was granted: that is what a bound is for."""
        ledger, known = self.reopen(owner), self.known.get(attempt)
        cost = min(cost, known.granted) if known else cost
        ledger.settle(settlement(attempt, cost, mark))
        self.runner.run(ledger.flush())
        if known is None:
            self.void |= {attempt} if self.store.voids and cost == 0 else set()
        elif known.state != "final":
            known.end(cost, mark)

    @rule(owner=OWNERS, attempts=st.lists(st.sampled_from(ATTEMPTS), unique=True))
    def release(self, owner: int, attempts: list[str]) -> None:
        released = self.runner.run(self.reopen(owner).release(attempts, self.now))
        doubtful = [known for name, known in self.known.items() if name in attempts and known.mark in DOUBTFUL]
        assert released == len(doubtful)
        for known in doubtful:
            known.end(0, Mark.RELEASED)

    @rule(owner=OWNERS)
    def crash(self, owner: int) -> None:
        ledger, self.ledgers[owner] = self.ledgers[owner], None
        if ledger is None:
            return
        self.runner.run(self.store.crash(ledger))
        for known in self.known.values():
            known.orphan |= known.owner == owner

    @rule(owner=OWNERS)
    def sweep(self, owner: int) -> None:
        ledger = self.reopen(owner)
        swept = self.runner.run(ledger.sweep())
        assert swept == self.model_sweep()

    @rule(now=st.floats(-1e6, 1e10))
    def clock(self, now: float) -> None:
        self.now = now

    @rule(owner=OWNERS)
    def rebuild(self, owner: int) -> None:
        assert self.runner.run(self.reopen(owner).rebuild()) == []

    @rule(owner=OWNERS)
    def retain(self, owner: int) -> None:
        """On Redis a row that was written behind a younger one is as young as that; it stays a little longer."""
        ledger = self.reopen(owner)
        old = {name for name, known in self.known.items() if known.state != "reserved" and known.opened < 150.0}
        count = self.runner.run(ledger.retain(150.0))
        gone = self.known.keys() - {each["attempt"] for each in self.runner.run(ledger.rows())}
        assert len(gone) == count
        assert gone <= old if self.store.voids else gone == old
        for name in gone:
            for counter in self.known[name].charges:
                self.folded[counter] = self.folded.get(counter, 0) + self.known[name].cost
            del self.known[name]

    @invariant()
    def counters_are_what_the_rows_say(self) -> None:
        ledger = next(filter(None, self.ledgers), None)
        if ledger is None:
            return
        assert self.runner.run(ledger.check()) == []
        rows = {each["attempt"]: each for each in self.runner.run(ledger.rows())}
        assert {name: (each["granted"], each["cost"] or 0, each["mark"]) for name, each in rows.items()} == {
            name: (known.granted, known.cost, known.mark) for name, known in self.known.items()
        }
        provisional = {name for name, known in self.known.items() if known.state == "provisional"}
        assert {name for name, each in rows.items() if each["provisional"]} == provisional
        for name, counter in self.runner.run(ledger.counters()).items():
            assert counter.settled + counter.reserved == self.total(name), counter

    @invariant()
    def no_cap_is_passed(self) -> None:
        for each in LIMITS[:4]:
            assert self.total(each.counter) <= self.highest[each.counter]


def run(store: Store, examples: int, steps: int = 30) -> None:
    quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    chosen = settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=quiet)

    class OfStore(LedgerMachine):
        def __init__(self) -> None:
            super().__init__(store)

    run_state_machine_as_test(OfStore, settings=chosen)


@pytest.fixture
def one(redis_url: str, redis_server: Server) -> Store:
    return RedisStore(redis_url, [redis_server], exact=True)


@pytest.fixture
def clustered(cluster_url: str, redis_masters: list[Server]) -> Store:
    return RedisStore(cluster_url, redis_masters, exact=False)


def test_sqlite() -> None:
    run(SqliteStore(), 10)


def test_one_redis(one: Store) -> None:
    run(one, 4)


def test_a_cluster(clustered: Store) -> None:
    run(clustered, 1, 20)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_sqlite_for_long() -> None:
    run(SqliteStore(), 400, 50)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_redis_for_long(one: Store) -> None:
    run(one, 300, 50)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_cluster_for_long(clustered: Store) -> None:
    run(clustered, 40, 40)
