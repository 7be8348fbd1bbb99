"""What makes no sense is refused before any store sees it."""

from dataclasses import fields

from scribe_router.stores.contract import Row, Settlement

LARGEST = 10**18
MATCHED = {field.name for field in fields(Row) if field.type is str}


def check_row(row: Row, floor: int) -> None:
    """Raises `ValueError` for amounts or charges that no store can count."""
    place = f"attempt {row.attempt}"
    check_amounts(place, bound=row.bound, floor=floor)
    for charge in row.charges:
        if not _countable(charge.cap):
            check_amounts(place, **{f"cap of {charge.counter}": charge.cap})
    if floor > row.bound:
        raise ValueError(f"{place}: floor {floor} is above the bound {row.bound}")
    if len({charge.counter for charge in row.charges}) < len(row.charges):
        raise ValueError(f"{place}: two charges count against the same counter")
    for name in {name for charge in row.charges for name, _ in charge.match} - MATCHED:
        raise ValueError(f"{place}: a charge matches rows by {name}, which they do not have")


def check_settlement(settlement: Settlement) -> None:
    """Raises `ValueError` for a cost that no store can count."""
    check_amounts(f"settlement of {settlement.attempt}", cost=settlement.cost or 0)


def check_amounts(place: str, **amounts: int) -> None:
    """Raises `ValueError` for what is no whole number of nano-dollars, or more than all money."""
    for name, amount in amounts.items():
        if not _countable(amount):
            raise ValueError(f"{place}: {name} is {amount!r}, not a whole number from 0 to {LARGEST}")


def _countable(amount: int) -> bool:
    return type(amount) is int and 0 <= amount <= LARGEST
