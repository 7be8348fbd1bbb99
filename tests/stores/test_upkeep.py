"""What every ledger can do beside reserving and settling; nothing here knows which store answers."""

import asyncio
from dataclasses import replace

import pytest

from scribe_router.counters import Charge
from scribe_router.exchange import Mark
from scribe_router.stores.contract import Counter, Granted, Ledger, Refused, Row
from tests.stores.ledger_rows import DAY, charge, row, settlement

ANN = Charge("people", "user:ann", "2030-01-01", 100, since=900.0, match=(("user", "ann"),))


@pytest.fixture
def ledger(any_ledger: Ledger) -> Ledger:
    return any_ledger


async def settled(ledger: Ledger, attempt: str, cost: int, *charges: Charge, mark: Mark = Mark.COMPUTED) -> None:
    await ledger.reserve(row(attempt, 30, *charges), 30)
    ledger.settle(settlement(attempt, cost, mark))


async def test_settlement_keeps_the_granted_cap(ledger: Ledger) -> None:
    await ledger.reserve(row("one", 30, DAY), 30)
    await ledger.reserve(row("two", 30, DAY), 30)
    ledger.settle(replace(settlement("one", 5), cap=17))
    ledger.settle(settlement("two", 5))
    assert [each["cap"] for each in await ledger.rows()] == [64, 17]


@pytest.mark.parametrize("mark", [Mark.BOUND, Mark.DOUBT, Mark.SWEPT])
async def test_a_doubtful_row_is_released_once(ledger: Ledger, mark: Mark) -> None:
    await settled(ledger, "one", 30, DAY, mark=mark)
    await settled(ledger, "two", 7, DAY)

    assert await ledger.release(["one", "two", "nobody"], 5000.0) == 1
    assert await ledger.release(["one"], 6000.0) == 0

    one = (await ledger.rows())[1]
    assert (one["cost"], one["mark"], one["closed"], one["provisional"]) == (0, "released", 5000.0, False)
    assert await ledger.counters() == {DAY.counter: Counter(DAY.counter, settled=7, reserved=0)}
    assert await ledger.check() == []


async def test_a_released_row_is_final(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    """Its room may be taken by others already: a truth that still arrives is told, not counted."""
    await settled(ledger, "one", 30, DAY, mark=Mark.SWEPT)
    await ledger.release(["one"], 5000.0)
    await ledger.reserve(row("two", 100, DAY), 100)
    ledger.settle(settlement("one", 12))

    assert await ledger.counters() == {DAY.counter: Counter(DAY.counter, settled=0, reserved=100)}
    assert "attempt one: was released at zero, its cost of 12 is not counted" in caplog.text


async def test_what_is_reserved_is_not_released(ledger: Ledger) -> None:
    await ledger.reserve(row("one", 30, DAY), 30)
    assert await ledger.release(["one"], 5000.0) == 0
    assert await ledger.release([], 5000.0) == 0


async def history(ledger: Ledger) -> None:
    """Rows before there was a limit for people: ann has 30 reserved and 12 + 0 settled in its window."""
    old = charge("old", 1000)
    for opened, attempt, user in [(800.0, "past", "ann"), (950.0, "one", "ann"), (950.0, "bob", "bob")]:
        await ledger.reserve(replace(row(attempt, 30, old), opened=opened, user=user), 30)
    await ledger.reserve(replace(row("two", 30), opened=960.0), 30)
    await ledger.reserve(replace(row("free", 30), opened=970.0), 30)
    for attempt, cost in [("past", 5), ("one", 12), ("bob", 6)]:
        ledger.settle(settlement(attempt, cost))
    ledger.settle(settlement("free", None, Mark.UNPRICED))
    await ledger.flush()


async def test_a_new_limit_starts_with_its_window(ledger: Ledger) -> None:
    await history(ledger)

    answer = await ledger.reserve(row("new", 59, ANN), 59)

    assert answer == Refused(ANN, settled=12, reserved=30)
    assert await ledger.reserve(row("new", 58, ANN), 58) == Granted(58)
    listed = [each["attempt"] for each in await ledger.rows() if ANN.limit in {c["limit"] for c in each["charges"]}]
    assert listed == ["new", "free", "two", "one"]
    ledger.settle(settlement("two", 4))
    assert (await ledger.counters())[ANN.counter] == Counter(ANN.counter, settled=16, reserved=58)
    assert await ledger.check() == []
    assert await ledger.rebuild() == []


async def test_history_above_the_cap_refuses(ledger: Ledger) -> None:
    await history(ledger)
    small = replace(ANN, cap=40)
    assert await ledger.reserve(row("new", 1, small), 0) == Refused(small, settled=12, reserved=30)


async def test_a_limit_for_all_starts_with_all(ledger: Ledger) -> None:
    await history(ledger)
    everyone = Charge("all", "all", "total", 1000, since=0.0)
    await ledger.reserve(row("new", 1, everyone), 1)
    assert (await ledger.counters())[everyone.counter] == Counter(everyone.counter, settled=23, reserved=31)


async def test_nothing_is_seeded_unasked_or_twice(ledger: Ledger) -> None:
    await history(ledger)
    await ledger.reserve(row("one-more", 1, charge("plain", 100)), 1)
    await ledger.reserve(row("first", 1, ANN), 1)
    await ledger.reserve(row("uncharged", 20), 20)
    await ledger.reserve(row("second", 1, ANN), 1)

    counters = await ledger.counters()
    assert counters[charge("plain", 100).counter].reserved == 1
    assert counters[ANN.counter] == Counter(ANN.counter, settled=12, reserved=33)
    assert await ledger.check() == []


async def test_a_match_by_an_unknown_field_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="matches rows by shoe_size, which they do not have"):
        await ledger.reserve(row("one", 1, replace(ANN, match=(("shoe_size", "44"),))), 1)


async def test_retention_folds_and_keeps_the_sums(ledger: Ledger) -> None:
    await history(ledger)
    before = await ledger.counters()

    assert await ledger.retain(955.0) == 3
    assert await ledger.retain(955.0) == 0

    assert await ledger.counters() == before
    assert await ledger.check() == []
    assert [each["attempt"] for each in await ledger.rows()] == ["free", "two"]
    assert await ledger.retain(9e9) == 1, "what is reserved is never folded"
    assert [each["attempt"] for each in await ledger.rows()] == ["two"]
    assert await ledger.rows(exchange="x1") == await ledger.rows()
    assert await ledger.rebuild() == []


async def test_export_is_in_opening_order(ledger: Ledger) -> None:
    rows = [replace(row(f"a{number}", 1), opened=1000.0 + number) for number in range(1200)]
    names = [each.attempt for each in rows]
    await asyncio.gather(*(ledger.reserve(each, 1) for each in rows[:40]))
    assert [each["attempt"] async for each in ledger.export()] == names[:40]
    for start in range(40, 1200, 100):
        await asyncio.gather(*(ledger.reserve(each, 1) for each in rows[start : start + 100]))

    exported = [each async for each in ledger.export()]

    assert [each["attempt"] for each in exported] == names
    assert exported[::-1] == await ledger.rows(limit=2000)
    assert [each["attempt"] async for each in ledger.export(1100.0)] == names[100:]
    assert [each["attempt"] async for each in ledger.export(9e9)] == []


NAMES = ["a b", "{", "}x{", "größe", 'quo"te', "line\nbreak", "", "user:{0}|x"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
async def test_any_name_will_do(ledger: Ledger, name: str) -> None:
    counted = Charge(name, name, name, 100, since=0.0, match=(("user", name),))
    rows: list[Row] = [replace(row(f"{name}-{number}", 5, exchange=name), user=name) for number in range(2)]
    await ledger.reserve(rows[0], 5)
    await ledger.reserve(replace(rows[1], charges=(counted,)), 5)
    ledger.settle(settlement(rows[0].attempt, 3))

    assert await ledger.counters() == {counted.counter: Counter(counted.counter, settled=3, reserved=5)}
    assert await ledger.check() == []
    assert len(await ledger.rows(exchange=name)) == 2


MOST = 10**18


async def test_amounts_are_exact_to_the_last_nano_dollar(ledger: Ledger) -> None:
    """Doubles are not: 2**53 and 2**53 + 1 are the same."""
    large = charge("large", MOST)
    assert await ledger.reserve(row("one", MOST - 3, large), 0) == Granted(MOST - 3)
    assert await ledger.reserve(row("two", 4, large), 4) == Refused(large, settled=0, reserved=MOST - 3)
    assert await ledger.reserve(row("two", 4, large), 0) == Granted(3)
    ledger.settle(settlement("one", 2**53 + 1))
    assert await ledger.reserve(row("three", MOST, large), 1) == Granted(MOST - 2**53 - 4)
    even = charge("even", 2**53)
    assert await ledger.reserve(row("four", 2**53 + 1, even), 2**53 + 1) == Refused(even, settled=0, reserved=0)
    assert await ledger.reserve(row("four", 2**53 + 1, even), 0) == Granted(2**53)
    assert await ledger.check() == []


async def test_counters_by_name(ledger: Ledger) -> None:
    await ledger.reserve(row("one", 30, DAY, charge("other", 100)), 30)
    assert await ledger.counters([DAY.counter, "nobody"]) == {DAY.counter: Counter(DAY.counter, 0, 30)}
    assert await ledger.counters([]) == {}
    assert len(await ledger.counters()) == 2


async def test_a_note_is_kept_once(ledger: Ledger) -> None:
    assert await ledger.note("told|b", "me") is True
    assert await ledger.note("told|b", "you") is False
    assert await ledger.note("told|b", "me") is True, "whoever heard no answer may ask again"
    await ledger.note("told|a", "you")
    await ledger.note("toll", "nobody")
    assert list((await ledger.notes("told|")).items()) == [("told|a", "you"), ("told|b", "me")]
