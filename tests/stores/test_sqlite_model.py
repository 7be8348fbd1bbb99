"""Any interleaving of reservations, settlements, crashes and sweeps, against a model of ten lines."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from ledger_rows import charge, row, settlement

from scribe_router.exchange import Charge, Mark
from scribe_router.stores.contract import Granted, Refused
from scribe_router.stores.sqlite import SqliteLedger

CHARGES = [charge("a", 40), charge("b", 60), charge("c", 25)]
ATTEMPTS = [f"attempt-{number}" for number in range(12)]
OWNERS = st.integers(0, 2)


@dataclass
class Known:
    """An attempt as the model remembers it."""

    owner: int
    charges: list[Charge]
    granted: int
    state: str = "reserved"
    orphan: bool = False
    cost: int = 0

    def total(self, counter: str) -> int:
        counts = any(each.counter == counter for each in self.charges)
        return counts * (self.granted if self.state == "reserved" else self.cost)


class LedgerMachine(RuleBasedStateMachine):
    """Three owners of one file; `None` is an owner that crashed."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.known: dict[str, Known] = {}
        self.ledgers: list[SqliteLedger | None] = [None, None, None]
        for number in range(3):
            self.reopen(number)

    def teardown(self) -> None:
        for ledger in filter(None, self.ledgers):
            ledger.close()
        self.runner.close()
        shutil.rmtree(self.folder)

    def reopen(self, number: int) -> SqliteLedger:
        ledger = self.ledgers[number]
        if ledger is None:
            ledger = self.ledgers[number] = SqliteLedger(self.folder / "ledger.db", sweep_every=3600.0)
            self.runner.run(ledger.flush())
            self.model_sweep()
        return ledger

    def model_sweep(self) -> int:
        orphans = [known for known in self.known.values() if known.orphan and known.state == "reserved"]
        for known in orphans:
            known.state, known.cost = "provisional", known.granted
        return len(orphans)

    def total(self, counter: str) -> int:
        return sum(known.total(counter) for known in self.known.values())

    @rule(
        owner=OWNERS,
        attempt=st.sampled_from(ATTEMPTS),
        charges=st.lists(st.sampled_from(CHARGES), unique=True),
        bound=st.integers(0, 30),
        data=st.data(),
    )
    def reserve(self, owner: int, attempt: str, charges: list[Charge], bound: int, data: st.DataObject) -> None:
        floor = data.draw(st.integers(0, bound), label="floor")
        ledger = self.reopen(owner)
        fitting = [
            amount
            for amount in range(floor, bound + 1)
            if all(self.total(each.counter) + amount <= each.cap for each in charges)
        ]
        answer = self.runner.run(ledger.reserve(row(attempt, bound, *charges), floor))

        if attempt in self.known:
            assert answer == Granted(self.known[attempt].granted)
        elif fitting:
            assert answer == Granted(max(fitting))
            self.known[attempt] = Known(owner, charges, max(fitting))
        else:
            assert isinstance(answer, Refused)
            assert answer.left == min(each.cap - self.total(each.counter) for each in charges) < floor

    @rule(owner=OWNERS, attempt=st.sampled_from(ATTEMPTS), cost=st.integers(0, 35), swept=st.booleans())
    def settle(self, owner: int, attempt: str, cost: int, swept: bool) -> None:
        ledger = self.reopen(owner)
        ledger.settle(settlement(attempt, cost, Mark.SWEPT if swept else Mark.COMPUTED))
        self.runner.run(ledger.flush())

        known = self.known.get(attempt)
        if known and (known.state == "reserved" or (known.state == "provisional" and not swept)):
            known.state, known.cost = "provisional" if swept else "settled", cost

    @rule(owner=OWNERS)
    def crash(self, owner: int) -> None:
        """The kernel lets go of the lock and leaves the file, as after `kill -9`."""
        ledger, self.ledgers[owner] = self.ledgers[owner], None
        if ledger is None:
            return
        self.runner.run(ledger._writer.call(lambda book: book.owner.close()))
        ledger.close()
        for known in self.known.values():
            known.orphan |= known.owner == owner

    @rule(owner=OWNERS)
    def sweep(self, owner: int) -> None:
        ledger = self.reopen(owner)
        swept = self.runner.run(ledger.sweep())
        assert swept == self.model_sweep()

    @invariant()
    def counters_are_what_the_rows_say(self) -> None:
        ledger = next(filter(None, self.ledgers), None)
        if ledger is None:
            return
        assert self.runner.run(ledger.check()) == []
        rows = {each["attempt"]: each for each in self.runner.run(ledger.rows())}
        assert {name: (each["granted"], each["cost"] or 0) for name, each in rows.items()} == {
            name: (known.granted, known.cost) for name, known in self.known.items()
        }
        assert {name for name, each in rows.items() if each["provisional"]} == {
            name for name, known in self.known.items() if known.state == "provisional"
        }
        for name, counter in self.runner.run(ledger.counters()).items():
            assert counter.settled + counter.reserved == self.total(name), counter

    @invariant()
    def no_cap_is_passed_but_by_a_truth(self) -> None:
        above = sum(max(0, known.cost - known.granted) for known in self.known.values())
        for each in CHARGES:
            assert self.total(each.counter) <= each.cap + above


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
