"""The outcome table of the money contract, row by row."""

import pytest

from scribe_router.exchange import Mark, Reached
from scribe_router.policies.settlement import settled

BOUND, TRUTH, STREAMED = 1_000, 300, 500
ANSWER = None

TABLE = [
    ("an answer with usage", ANSWER, TRUTH, False, True, TRUTH, Mark.COMPUTED),
    ("an answer whose provider names a cost", ANSWER, TRUTH, True, True, TRUTH, Mark.REPORTED),
    ("an answer that cost more than its bound", ANSWER, 5_000, False, True, 5_000, Mark.COMPUTED),
    ("an answer without usage", ANSWER, None, False, True, BOUND, Mark.BOUND),
    ("a free answer", ANSWER, 0, False, True, 0, Mark.COMPUTED),
    ("not connected", Reached.NOT_CONNECTED, None, False, True, 0, Mark.ZERO),
    ("a complete error reply", Reached.REPLIED, None, False, True, 0, Mark.ZERO),
    ("a complete error reply with usage in it", Reached.REPLIED, TRUTH, False, True, 0, Mark.ZERO),
    ("sent, and the reply lost", Reached.LOST, None, False, True, BOUND, Mark.DOUBT),
    ("a reply lost after its usage came", Reached.LOST, TRUTH, False, True, TRUTH, Mark.COMPUTED),
    ("a stream cut after its usage came", Reached.STREAMED, TRUTH, False, True, TRUTH, Mark.COMPUTED),
    ("a stream cut, or ended without finish and usage", Reached.STREAMED, None, False, True, BOUND, Mark.BOUND),
    ("a stream cut whose provider names a cost", Reached.STREAMED, TRUTH, True, True, TRUTH, Mark.REPORTED),
    ("no price", ANSWER, None, False, False, None, Mark.UNPRICED),
    ("no price, and the provider names a cost", ANSWER, TRUTH, True, False, TRUTH, Mark.REPORTED),
    ("no price, not connected", Reached.NOT_CONNECTED, None, False, False, 0, Mark.ZERO),
    ("no price, an error reply", Reached.REPLIED, None, False, False, 0, Mark.ZERO),
    ("no price, the reply lost", Reached.LOST, None, False, False, None, Mark.UNPRICED),
    ("no price, a stream cut", Reached.STREAMED, None, False, False, None, Mark.UNPRICED),
]


@pytest.mark.parametrize(
    ("reached", "true_cost", "reported", "priced", "cost", "mark"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_row(
    reached: Reached | None, true_cost: int | None, reported: bool, priced: bool, cost: int | None, mark: Mark
) -> None:
    found = settled(
        reached=reached,
        true_cost=true_cost,
        reported=reported,
        granted=BOUND,
        priced=priced,
        doubt=BOUND,
        streamed=STREAMED,
    )
    assert found == (cost, mark)


@pytest.mark.parametrize(
    ("reached", "doubt", "streamed", "cost", "mark"),
    [
        (Reached.LOST, 0, STREAMED, 0, Mark.DOUBT),
        (Reached.LOST, 7, STREAMED, 7, Mark.DOUBT),
        (Reached.LOST, BOUND + 1, STREAMED, BOUND, Mark.DOUBT),
        (Reached.ABORTED, 0, STREAMED, STREAMED, Mark.ABORT),
        (Reached.ABORTED, 0, BOUND + 1, BOUND, Mark.ABORT),
        (Reached.STREAMED, 0, 0, BOUND, Mark.BOUND),
    ],
)
def test_what_is_in_doubt_is_never_above_what_was_granted(
    reached: Reached, doubt: int, streamed: int, cost: int, mark: Mark
) -> None:
    found = settled(
        reached=reached,
        true_cost=None,
        reported=False,
        granted=BOUND,
        priced=True,
        doubt=doubt,
        streamed=streamed,
    )
    assert found == (cost, mark)
