"""What an attempt is settled at: the outcome table of the money contract, as one function."""

from scribe_router.exchange import Mark, Reached


def settled(
    *,
    reached: Reached | None,
    true_cost: int | None,
    reported: bool,
    granted: int,
    priced: bool,
    doubt: int,
    streamed: int,
) -> tuple[int | None, Mark]:
    """(cost in nano-dollars, mark) of an attempt. `reached` is None for an answer, else how far a failure got.

    `true_cost` is what usage or the provider's own figure gives, None when neither came. An attempt without a price
    and without a reported cost has no figure: that is said, never booked as zero. `doubt` is what counts for a reply
    that was lost, `streamed` the most that can be billed for a stream that we ended.
    """
    if reached in (Reached.NOT_CONNECTED, Reached.REPLIED):
        return 0, Mark.ZERO
    if true_cost is not None:
        return true_cost, Mark.REPORTED if reported else Mark.COMPUTED
    if not priced:
        return None, Mark.UNPRICED
    if reached is Reached.LOST:
        return min(granted, doubt), Mark.DOUBT
    if reached is Reached.ABORTED:
        return min(granted, streamed), Mark.ABORT
    return granted, Mark.BOUND
