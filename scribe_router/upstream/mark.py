"""Tells our own attempts inside LiteLLM from everybody else's, for callbacks that see both.

The cell is emptied at the end, because contexts are copied into tasks that outlive the call; it is never set across a
`yield`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class _Cell:
    __slots__ = ("ours",)

    def __init__(self) -> None:
        self.ours = True


_cell: ContextVar[_Cell | None] = ContextVar("scribe_router_attempt", default=None)


@contextmanager
def ours() -> Iterator[None]:
    """While this is open, callbacks in this context belong to an attempt of ours."""
    cell = _Cell()
    token = _cell.set(cell)
    try:
        yield
    finally:
        cell.ours = False
        _cell.reset(token)


def is_ours() -> bool:
    """Whether the code that asks runs inside an attempt of ours."""
    cell = _cell.get()
    return cell is not None and cell.ours
