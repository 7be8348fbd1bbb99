"""Taking a user out of a ledger: amounts, counters and limits stay exact on each store, whoever writes meanwhile."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scribe_router.counters import Charge
from scribe_router.exchange import Mark
from scribe_router.stores.contract import Granted, Ledger
from scribe_router.stores.erasure import renamed
from scribe_router.stores.sqlite import SqliteLedger
from tests.stores.ledger_rows import row, settlement

CAP = 1_000_000
ALL = Charge("all", "all", "total", CAP)
ANN, BOB = (Charge("mine", f"user:{name},provider:openai", "total", CAP) for name in ("ann", "bob"))
KEY = Charge("keys", "key:ann", "2026-11", CAP)
GONE = "erased-0123"


async def fill(ledger: Ledger) -> None:
    for name, charges in (("ann", (ALL, ANN, KEY)), ("bob", (ALL, BOB)), ("annabel", (ALL,))):
        for number in range(3):
            one = replace(row(f"{name}-{number}", 300, *charges), user=name, principal=name, unit=f"unit-{number}")
            assert isinstance(await ledger.reserve(one, 300), Granted)
            if number:
                ledger.settle(settlement(f"{name}-{number}", 100 * number))
    await ledger.flush()


async def test_sums_stay_and_the_name_goes(any_ledger: Ledger) -> None:
    await fill(any_ledger)
    before = await any_ledger.counters()
    await any_ledger.note("alert|mine|user:ann,provider:openai|total|0.8", "x")
    await any_ledger.note("release|2026|ann-1", json.dumps({"user": "ann", "principal": "k", "reason": "ann said so"}))
    assert await any_ledger.erase("ann", GONE) == 3
    assert await any_ledger.check() == []
    after = await any_ledger.counters()
    moved = {renamed(name, "ann", GONE): (each.settled, each.reserved) for name, each in before.items()}
    assert {name: (each.settled, each.reserved) for name, each in after.items()} == moved
    assert moved["mine|user:erased-0123,provider:openai|total"] == (300, 300)
    rows = [each async for each in any_ledger.export()]
    assert sorted(each["user"] for each in rows) == ["annabel"] * 3 + ["bob"] * 3 + [GONE] * 3
    assert {each["principal"] for each in rows if each["user"] == GONE} == {GONE}
    assert len({each["unit"] for each in rows if each["user"] == GONE}) == 3
    assert not {each["unit"] for each in rows if each["user"] == GONE} & {"unit-0", "unit-1", "unit-2"}
    shown = json.dumps([{name: value for name, value in each.items() if name != "attempt"} for each in rows])
    assert '"ann"' not in shown
    assert "user:ann," not in shown
    notes = await any_ledger.notes("")
    assert set(notes) == {f"alert|mine|user:{GONE},provider:openai|total|0.8", "release|2026|ann-1"}
    assert json.loads(notes["release|2026|ann-1"]) == {"user": GONE, "principal": "k", "reason": "ann said so"}


async def test_again_there_is_nothing(any_ledger: Ledger) -> None:
    await fill(any_ledger)
    assert await any_ledger.erase("nobody", GONE) == 0
    assert [await any_ledger.erase("ann", GONE) for _ in range(2)] == [3, 0]
    assert await any_ledger.check() == []


async def test_what_is_open_settles_and_limits_hold(any_ledger: Ledger) -> None:
    await fill(any_ledger)
    await any_ledger.erase("ann", GONE)
    any_ledger.settle(settlement("ann-0", 250))
    await any_ledger.flush()
    assert await any_ledger.check() == []
    found = await any_ledger.counters(["mine|user:erased-0123,provider:openai|total", "all|all|total"])
    assert {name: (each.settled, each.reserved) for name, each in found.items()} == {
        "mine|user:erased-0123,provider:openai|total": (550, 0),
        "all|all|total": (1_150, 600),
    }


async def test_folded_rows_lose_the_name_too(any_ledger: Ledger) -> None:
    await fill(any_ledger)
    assert await any_ledger.retain(1e12) == 6
    assert await any_ledger.erase("ann", GONE) == 1
    assert await any_ledger.check() == []
    names = (await any_ledger.counters()).keys()
    assert not [name for name in names if ":ann" in name.replace("annabel", "")]
    assert (await any_ledger.counters())["mine|user:erased-0123,provider:openai|total"].settled == 300


async def test_others_write_meanwhile(open_ledger: Callable[[], SqliteLedger]) -> None:
    """Another connection to the file reserves and settles, for the same user too, while it is taken out."""
    one, other = open_ledger(), open_ledger()

    async def write(name: str) -> None:
        for number in range(120):
            charges = (ALL, ANN if name == "ann" else BOB)
            await other.reserve(replace(row(f"{name}:{number}", 10, *charges), user=name), 10)
            other.settle(settlement(f"{name}:{number}", 7, Mark.COMPUTED))

    async def erase() -> None:
        for _ in range(20):
            await one.erase("ann", GONE)
            await asyncio.sleep(0)

    await asyncio.gather(write("ann"), write("bob"), erase())
    await other.flush()
    await one.erase("ann", GONE)
    assert await one.check() == []
    counters = await one.counters()
    assert counters["all|all|total"].settled == 240 * 7
    assert counters["mine|user:erased-0123,provider:openai|total"].settled == 120 * 7
    assert "mine|user:ann,provider:openai|total" not in counters


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("user:ann", "user:X"),
        ("key:ann", "key:X"),
        ("provider:openai,user:ann", "provider:openai,user:X"),
        ("l|user:ann,key:ann|total", "l|user:X,key:X|total"),
        ("user:annabel", "user:annabel"),
        ("team:ann", "team:ann"),
        ("my-user:ann", "my-user:ann"),
        ("all", "all"),
    ],
)
def test_whose_label(label: str, expected: str) -> None:
    assert renamed(label, "ann", "X") == expected


@given(st.text(min_size=1, max_size=8))
def test_any_name_is_taken_as_it_is(name: str) -> None:
    assert renamed(f"user:{name}", name, GONE) == f"user:{GONE}"
    assert renamed(f"l|key:{name},provider:x|d", name, GONE) == f"l|key:{GONE},provider:x|d"
