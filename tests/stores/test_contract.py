"""What every ledger promises, as tables; nothing here knows which store answers."""

from dataclasses import dataclass, replace

import pytest

from scribe_router.counters import Charge
from scribe_router.exchange import Mark
from scribe_router.stores.contract import Counter, Granted, Ledger, Refused, Row, Settlement
from tests.stores.ledger_rows import DAY, charge, row, settlement


@pytest.fixture
def ledger(any_ledger: Ledger) -> Ledger:
    return any_ledger


@dataclass(frozen=True)
class Case:
    name: str
    before: tuple[int, ...]
    bound: int
    floor: int
    charges: tuple[Charge, ...]
    granted: int | None
    refused_by: str = ""


A, B = charge("a", 100), charge("b", 60)
CASES = [
    Case("no charge", (), 7, 7, (), granted=7),
    Case("fits", (), 100, 100, (A,), granted=100),
    Case("fits to the last nano-dollar", (40,), 60, 60, (A,), granted=60),
    Case("one too many", (41,), 60, 60, (A,), granted=None, refused_by="a"),
    Case("shrinks to what is left", (41,), 60, 10, (A,), granted=59),
    Case("shrinks to the floor", (90,), 60, 10, (A,), granted=10),
    Case("below the floor", (91,), 60, 10, (A,), granted=None, refused_by="a"),
    Case("the tightest of two decides", (), 70, 10, (A, B), granted=60),
    Case("the tightest of two refuses", (), 70, 61, (A, B), granted=None, refused_by="b"),
    Case("a tie names the first", (100,), 1, 1, (A, replace(A, limit="c", cap=0)), granted=None, refused_by="a"),
    Case("nothing left, nothing asked", (100,), 0, 0, (A,), granted=0),
    Case("nothing left, a floor of zero", (100,), 5, 0, (A,), granted=0),
    Case("a cap of zero", (), 1, 1, (charge("z", 0),), granted=None, refused_by="z"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_reserve(ledger: Ledger, case: Case) -> None:
    for number, amount in enumerate(case.before):
        assert await ledger.reserve(row(f"before-{number}", amount, A), amount) == Granted(amount)

    answer = await ledger.reserve(row("now", case.bound, *case.charges), case.floor)

    if case.granted is None:
        assert isinstance(answer, Refused)
        assert answer.charge.limit == case.refused_by
        assert answer.left < case.floor
        assert len(await ledger.rows()) == len(case.before)
    else:
        assert answer == Granted(case.granted)
        assert (await ledger.rows())[0]["granted"] == case.granted
    assert await ledger.check() == []


@dataclass(frozen=True)
class End:
    name: str
    settlements: tuple[Settlement, ...]
    cost: int | None
    mark: Mark
    provisional: bool = False
    exceeded: bool = False


SWEPT = settlement("one", 30, Mark.SWEPT)
ENDS = [
    End("truth", (settlement("one", 12),), 12, Mark.COMPUTED),
    End("zero", (settlement("one", 0, Mark.ZERO),), 0, Mark.ZERO),
    End("no price", (settlement("one", None, Mark.BOUND),), None, Mark.BOUND),
    End("the first counts", (settlement("one", 12), settlement("one", 13, Mark.BOUND)), 12, Mark.COMPUTED),
    End("truth above the bound", (settlement("one", 31),), 31, Mark.COMPUTED, exceeded=True),
    End("swept", (SWEPT,), 30, Mark.SWEPT, provisional=True),
    End("swept twice", (SWEPT, SWEPT), 30, Mark.SWEPT, provisional=True),
    End("truth after a sweep", (SWEPT, settlement("one", 12)), 12, Mark.COMPUTED),
    End("only one truth after a sweep", (SWEPT, settlement("one", 12), settlement("one", 5)), 12, Mark.COMPUTED),
    End("no sweep after the truth", (settlement("one", 12), SWEPT), 12, Mark.COMPUTED),
    End("truth above the bound after a sweep", (SWEPT, settlement("one", 40)), 40, Mark.COMPUTED, exceeded=True),
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.name)
async def test_settle(ledger: Ledger, end: End) -> None:
    await ledger.reserve(row("other", 20, DAY), 20)
    await ledger.reserve(row("one", 30, DAY, A), 30)

    for each in end.settlements:
        ledger.settle(each)
    await ledger.flush()

    found = {each["attempt"]: each for each in await ledger.rows()}["one"]
    assert (found["state"], found["cost"], found["mark"]) == ("settled", end.cost, end.mark)
    assert (found["provisional"], found["exceeded"]) == (end.provisional, end.exceeded)
    assert await ledger.counters() == {
        DAY.counter: Counter(DAY.counter, settled=end.cost or 0, reserved=20),
        A.counter: Counter(A.counter, settled=end.cost or 0, reserved=0),
    }
    assert await ledger.check() == []


async def test_the_same_attempt_is_reserved_once(ledger: Ledger) -> None:
    first = await ledger.reserve(row("one", 80, DAY), 80)
    again = await ledger.reserve(row("one", 80, DAY), 80)
    ledger.settle(settlement("one", 5))
    after = await ledger.reserve(row("one", 80, DAY), 80)

    assert first == again == after == Granted(80)
    assert await ledger.counters() == {DAY.counter: Counter(DAY.counter, settled=5, reserved=0)}


async def test_settlement_moves_what_the_row_stored(ledger: Ledger) -> None:
    """A later configuration with other limits for the same call changes nothing."""
    await ledger.reserve(row("old", 50, DAY), 50)
    tomorrow = replace(DAY, window="2030-01-02", cap=10)
    await ledger.reserve(row("new", 10, tomorrow), 10)

    ledger.settle(settlement("old", 40))

    assert await ledger.counters() == {
        DAY.counter: Counter(DAY.counter, settled=40, reserved=0),
        tomorrow.counter: Counter(tomorrow.counter, settled=0, reserved=10),
    }


async def test_a_truth_above_the_bound_closes_the_limit(ledger: Ledger) -> None:
    await ledger.reserve(row("one", 100, DAY), 100)
    ledger.settle(settlement("one", 130))

    answer = await ledger.reserve(row("two", 1, DAY), 0)

    assert answer == Refused(DAY, settled=130, reserved=0)
    assert answer.left == -30


async def test_rows_hold_what_they_were_given(ledger: Ledger) -> None:
    await ledger.reserve(row("one", 30, DAY, exchange="x1", output=7, tiers=[1, 2]), 20)
    await ledger.reserve(row("two", 5, exchange="x2"), 5)
    ledger.settle(settlement("one", 12, input=3, note="größer"))

    newest, one = await ledger.rows()

    assert (newest["attempt"], newest["state"], newest["cost"]) == ("two", "reserved", None)
    expected = {
        "attempt": "one",
        "exchange": "x1",
        "user": "ann",
        "bound": 30,
        "granted": 30,
        "cap": 64,
        "opened": 1000.0,
    }
    assert one.items() >= expected.items()
    assert one["price"] == {"output": 7, "tiers": [1, 2]}
    assert one["usage"] == one["raw_usage"] == {"input": 3, "note": "größer"}
    assert (one["outcome"], one["closed"]) == ("ok", 2000.0)
    assert [each["limit"] for each in one["charges"]] == ["team"]
    assert [each["attempt"] for each in await ledger.rows(exchange="x1")] == ["one"]
    assert [each["attempt"] for each in await ledger.rows(limit=1)] == ["two"]


NONSENSE = [
    ("a negative bound", row("one", -1), -1, "bound is -1"),
    ("a negative floor", row("one", 5), -1, "floor is -1"),
    ("a floor above the bound", row("one", 5), 6, "floor 6 is above the bound 5"),
    ("a negative cap", row("one", 5, charge("a", -1)), 5, "cap of a|all|2030-01 is -1"),
    ("half a nano-dollar", replace(row("one"), bound=1.5), 0, "bound is 1.5"),  # type: ignore[arg-type]
    ("more than all money", row("one", 10**19), 0, "not a whole number"),
    ("one counter twice", row("one", 5, charge("a", 9), charge("a", 8)), 5, "two charges count against the same"),
]


@pytest.mark.parametrize(("name", "bad", "floor", "message"), NONSENSE, ids=[each[0] for each in NONSENSE])
async def test_nonsense_is_refused(ledger: Ledger, name: str, bad: Row, floor: int, message: str) -> None:
    with pytest.raises(ValueError, match="attempt one: ") as problem:
        await ledger.reserve(bad, floor)
    assert message in str(problem.value)
    assert await ledger.rows() == []


async def test_a_negative_cost_is_refused(ledger: Ledger) -> None:
    await ledger.reserve(row("one", 30, DAY), 30)
    with pytest.raises(ValueError, match="settlement of one: cost is -1"):
        ledger.settle(settlement("one", -1))
