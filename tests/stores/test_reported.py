"""What a client says of an answer stays with its row, on each store: the last word, and never on a row that is gone."""

from dataclasses import replace

from scribe_router.stores.contract import Ledger
from tests.stores.ledger_rows import DAY, row, settlement


async def test_the_last_word_stays_with_the_row(any_ledger: Ledger) -> None:
    exposed = replace(row("one", 10, DAY), experiment="e", arm="a", unit="0123")
    await any_ledger.reserve(exposed, 10)
    assert await any_ledger.report("one", {"success": True, "score": None})
    any_ledger.settle(settlement("one", 5))
    assert await any_ledger.report("one", {"success": False, "score": 0.25})
    assert await any_ledger.report("one", {"success": False, "score": 0.25}), "saying it again is no other word"
    [found] = await any_ledger.rows()
    assert (found["experiment"], found["arm"], found["unit"]) == ("e", "a", "0123")
    assert found["reported"] == {"success": False, "score": 0.25}
    assert (found["state"], found["cost"], await any_ledger.check()) == ("settled", 5, [])


async def test_no_word_on_what_is_not_there(any_ledger: Ledger) -> None:
    assert not await any_ledger.report("one", {"success": True})
    await any_ledger.reserve(row("one", 10, DAY), 10)
    any_ledger.settle(settlement("one", 5))
    assert (await any_ledger.rows())[0]["reported"] is None
    assert await any_ledger.retain(before=2500.0) == 1
    assert not await any_ledger.report("one", {"success": True})
    assert await any_ledger.rows() == []
    assert await any_ledger.check() == []
