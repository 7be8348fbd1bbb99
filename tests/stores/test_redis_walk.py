"""The walk over a cluster's shards, explored: every interleaving of three callers over two scopes, with each of them
crashing, losing an answer, or being taken for dead, at every step.

The scripts are modelled here in a few lines each; that the real ones do the same is what the tests on a cluster say.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from scribe_router.stores.redis_walk import FOR_GOOD, Closing, Step, Walk

Entry = tuple[int, int, int]  # version, reserved, settled
GONE: Entry = (-1, 0, 0)


@dataclass(frozen=True)
class Shelf:
    """The row of one caller."""

    state: str = "none"
    granted: int = 0
    version: int = 1
    cost: int = 0
    pending: bool = False


@dataclass(frozen=True)
class World:
    """All that the servers hold: rows by caller, entries by (scope, caller)."""

    caps: tuple[int, ...]
    rows: tuple[Shelf, ...]
    entries: tuple[tuple[Entry, ...], ...]

    def held(self, scope: int) -> int:
        return sum(reserved + settled for _, reserved, settled in self.entries[scope])

    def with_row(self, caller: int, row: Shelf) -> "World":
        return replace(self, rows=(*self.rows[:caller], row, *self.rows[caller + 1 :]))

    def with_entry(self, scope: int, caller: int, entry: Entry) -> "World":
        row = (*self.entries[scope][:caller], entry, *self.entries[scope][caller + 1 :])
        return replace(self, entries=(*self.entries[:scope], row, *self.entries[scope + 1 :]))


@dataclass(frozen=True)
class Caller:
    """One reservation that settles at `cost` when it is granted, and the steps that it still makes.

    `late`: steps that were sent, and may run at any time from now on. `sweeper`: somebody who takes it for dead.
    """

    order: tuple[int, ...]
    amount: int
    floor: int
    cost: int
    walk: Walk | None
    closing: Closing | None = None
    sweeper: Closing | None = None
    dead: bool = False
    truth: int | None = None
    late: tuple[Step, ...] = ()
    faulted: bool = False
    told: tuple[Any, ...] = field(default=())


def run(world: World, caller: int, who: Caller, step: Step, *, swept: bool = False) -> tuple[World, Any]:
    """What the script of a step does."""
    row = world.rows[caller]
    if step.kind in ("take", "trim", "apply"):
        return on_counter(world, caller, who, step)
    if step.kind == "intent":
        return (world.with_row(caller, Shelf("intent")), ("intent",)) if row.state == "none" else (world, ("void",))
    if step.kind == "grant":
        if row.state == "intent":
            return world.with_row(caller, replace(row, state="reserved", granted=step.amount)), ("granted",)
        return world, ("granted" if row.state == "reserved" else "void",)
    if step.kind == "done":
        return world.with_row(caller, replace(row, pending=row.pending and row.version != step.version)), ("done",)
    if step.kind == "drop":
        dropped = row.state in ("intent", "void")
        state = "void" if step.version == FOR_GOOD else "none"
        return (world.with_row(caller, Shelf(state)) if dropped else world), ("dropped",)
    return close(world, caller, who, swept=swept)


def on_counter(world: World, caller: int, who: Caller, step: Step) -> tuple[World, Any]:
    scope = int(step.counter)
    version, reserved, _ = world.entries[scope][caller]
    if step.kind == "take":
        if version >= 0:
            return world, ("taken" if version == 1 else "void", reserved)
        left = world.caps[scope] - world.held(scope)
        if left < who.floor:
            return world, ("refused", world.held(scope), 0)
        amount = min(step.amount, left)
        return world.with_entry(scope, caller, (1, amount, 0)), ("taken", amount)
    if step.version == 0:
        return (world.with_entry(scope, caller, GONE) if version == 1 else world), ("applied",)
    if version >= step.version:
        return world, ("known",)
    entry = (step.version, step.amount, 0) if step.kind == "trim" else (step.version, 0, step.amount)
    return world.with_entry(scope, caller, entry), ("applied",)


def close(world: World, caller: int, who: Caller, *, swept: bool) -> tuple[World, Any]:
    """A settlement: at zero for who gave up, at what was granted for a sweep, else at the truth."""
    row = world.rows[caller]
    version, counters = 3 if swept else 4, tuple(str(scope) for scope in who.order)
    if row.state == "none":
        return (world, ("unknown",)) if swept else (world.with_row(caller, Shelf("void")), ("void",))
    if row.state in ("intent", "void"):
        return world.with_row(caller, replace(row, state="void")), ("undo", counters)
    if row.state == "settled" and row.pending and row.version >= version:
        return world, ("apply", row.version, row.cost, counters)
    if row.state == "settled" and (swept or row.version != 3):
        return world, ("kept",)
    cost = row.granted if swept else who.truth or 0
    settled = replace(row, state="settled", version=version, cost=cost, pending=True)
    return world.with_row(caller, settled), ("apply", version, cost, counters)


State = tuple[World, tuple[Caller, ...]]


def moves(state: State, faults: int) -> Iterator[State]:
    """Every state that can come next."""
    world, callers = state
    used = sum(caller.faulted for caller in callers)
    for index, caller in enumerate(callers):
        for late in range(len(caller.late)):
            after, _ = run(world, index, caller, caller.late[late])
            rest = (*caller.late[:late], *caller.late[late + 1 :])
            yield after, put(callers, index, replace(caller, late=rest))
        if caller.sweeper is not None:
            yield sweep(world, callers, index, caller.sweeper)
        elif caller.dead and (world.rows[index].state in ("intent", "reserved") or world.rows[index].pending):
            yield world, put(callers, index, replace(caller, sweeper=Closing()))
        machine = caller.walk if caller.walk is not None else caller.closing
        if machine is None:
            continue
        asked = machine.asks()
        yield advance(world, callers, index, asked)
        if used < faults and not caller.faulted:
            yield from failing(world, callers, index, asked)


def sweep(world: World, callers: tuple[Caller, ...], index: int, sweeper: Closing) -> State:
    """The sweeper's next step succeeds."""
    answers = []
    for step in sweeper.asks():
        world, answer = run(world, index, callers[index], step, swept=True)
        answers.append(answer)
    after = sweeper.told(answers)
    return world, put(callers, index, replace(callers[index], sweeper=None if after.stage == "end" else after))


def advance(world: World, callers: tuple[Caller, ...], index: int, asked: tuple[Step, ...]) -> State:
    """The caller's next step succeeds."""
    caller, answers = callers[index], []
    for step in asked:
        world, answer = run(world, index, caller, step)
        answers.append(answer)
    if caller.walk is None:
        assert caller.closing is not None
        closing = caller.closing.told(answers)
        return world, put(callers, index, replace(caller, closing=None if closing.stage == "end" else closing))
    walk = caller.walk.told(answers)
    return world, put(callers, index, ended(caller, walk) if walk.stage == "end" else replace(caller, walk=walk))


def ended(caller: Caller, walk: Walk) -> Caller:
    """A granted caller goes on to settle the truth; whoever was told that the attempt is void undoes it."""
    told = tuple(walk.answer)
    if told[0] == "granted":
        truth = min(caller.cost, int(told[1]))
        return replace(caller, walk=None, closing=Closing(), truth=truth, told=told)
    undone = None if told[0] == "refused" else Closing()
    return replace(caller, walk=None, closing=undone, told=told)


def failing(world: World, callers: tuple[Caller, ...], index: int, asked: tuple[Step, ...]) -> Iterator[State]:
    """The caller crashes, hears no answer, or is taken for dead; what it sent ran, or runs later, or never."""
    caller = replace(callers[index], faulted=True)
    after = world
    for step in asked:
        after, _ = run(after, index, caller, step)
    yield world, put(callers, index, replace(caller, sweeper=Closing()))
    crashed = replace(caller, walk=None, closing=None, dead=True)
    again = replace(caller, walk=None, closing=caller.closing or Closing(), truth=caller.truth)
    retried = again if caller.closing is None else replace(again, closing=Closing())
    for survivor in (crashed, retried):
        yield after, put(callers, index, survivor)
        yield world, put(callers, index, survivor)
        yield world, put(callers, index, replace(survivor, late=(*survivor.late, *asked)))


def put(callers: tuple[Caller, ...], index: int, caller: Caller) -> tuple[Caller, ...]:
    return (*callers[:index], caller, *callers[index + 1 :])


def never_above(world: World) -> None:
    for scope, cap in enumerate(world.caps):
        assert world.held(scope) <= cap, world


def settled_down(world: World, callers: tuple[Caller, ...]) -> None:
    """At the end each row has one final state, and every counter holds what its rows say, no more and no less."""
    for index, (row, caller) in enumerate(zip(world.rows, callers, strict=True)):
        assert row.state in ("none", "void", "settled"), row
        assert not row.pending
        cost = row.cost if row.state == "settled" else 0
        for scope in caller.order:
            _, reserved, settled = world.entries[scope][index]
            assert (reserved, settled) == (0, cost), (row, world.entries)
        if not caller.faulted and caller.told[0] == "granted":
            assert (row.state, row.cost) == ("settled", caller.truth)
        if not caller.faulted and caller.told[0] == "refused":
            assert row.state == "none"


def explore(world: World, callers: tuple[Caller, ...], faults: int) -> tuple[int, set[tuple[str, ...]]]:
    """Visit every state that can be reached: how many there are, and the answers that the callers can hear together."""
    seen: set[State] = set()
    waiting = [(world, callers)]
    heard: set[tuple[str, ...]] = set()
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        never_above(state[0])
        found = list(moves(state, faults))
        if not found:
            settled_down(*state)
            heard.add(tuple(caller.told[0] if caller.told else "nothing" for caller in state[1]))
        waiting += found
    return len(seen), heard


def caller(amount: int, *, floor: int | None = None, order: tuple[int, ...] = (0, 1), cost: int = 1) -> Caller:
    walk = Walk(tuple(str(scope) for scope in order), amount)
    return Caller(order, amount, amount if floor is None else floor, cost, walk)


def empty(caps: tuple[int, ...], count: int) -> World:
    return World(caps, (Shelf(),) * count, ((GONE,) * count,) * len(caps))


def test_one_alone() -> None:
    _, heard = explore(empty((10, 10), 1), (caller(10),), faults=0)
    assert heard == {("granted",)}


def test_two_that_both_fit_are_both_granted() -> None:
    _, heard = explore(empty((10, 10), 2), (caller(5), caller(5)), faults=0)
    assert heard == {("granted", "granted")}


def test_of_two_that_do_not_fit_together_both_may_be_granted_in_turn_but_never_none() -> None:
    """The order of all walks is the same, so whoever takes the first counter goes through."""
    _, heard = explore(empty((10, 10), 2), (caller(10), caller(10)), faults=0)
    assert heard == {("granted", "refused"), ("refused", "granted")}


CASES = [
    ("three for two scopes", (10, 10), (caller(6), caller(6, cost=3), caller(4)), 1),
    ("two, clamped by the second scope", (10, 5), (caller(8, floor=2), caller(8, floor=2)), 1),
    ("two, refused by the second scope", (10, 3), (caller(5, floor=4), caller(3, order=(1,))), 2),
]


@pytest.mark.parametrize(
    ("name", "caps", "callers", "faults"),
    [pytest.param(*CASES[0], marks=pytest.mark.slow), *CASES[1:]],
    ids=[each[0] for each in CASES],
)
def test_every_interleaving(name: str, caps: tuple[int, ...], callers: tuple[Caller, ...], faults: int) -> None:
    count, heard = explore(empty(caps, len(callers)), callers, faults)
    assert count > 1000
    assert any("granted" in each for each in heard)


LONG = [
    ("three, clamped by the second scope", (10, 5), (caller(8, floor=2), caller(8, floor=2), caller(3, order=(1,))), 1),
    ("two faults of two", (10, 6), (caller(6, floor=3), caller(6, floor=3)), 2),
    ("two faults of three", (10, 8), (caller(6), caller(6), caller(3, order=(1,))), 2),
]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("name", "caps", "callers", "faults"), LONG, ids=[each[0] for each in LONG])
def test_every_interleaving_at_length(
    name: str, caps: tuple[int, ...], callers: tuple[Caller, ...], faults: int
) -> None:
    count, _ = explore(empty(caps, len(callers)), callers, faults)
    assert count > 10_000
