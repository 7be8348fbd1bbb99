"""What every store of virtual keys promises: texts under an id and a name, and what has changed since a version.

A version is a number that grows with every write, so that who remembers a record can tell whether it still holds. What
a text says, and what a key opens, no store knows.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

CHANGES = 1000  # of more than these nobody is told one by one
PAGE = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """One record as it stands. `version` is that of its last write."""

    id: str
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What was written since some version: the newest `version`, and the ids; None where they are too many."""

    version: int
    ids: tuple[str, ...] | None


class Keys(Protocol):
    """The contract of both stores. Every method may raise `StoreUnavailable`, but `close`."""

    async def find(self, identity: str) -> tuple[int, Kept | None]:
        """A record by its id, with the store's newest version at that moment."""

    async def named(self, name: str) -> Kept | None:
        """A record by its name."""

    async def write(self, identity: str, name: str, text: str, before: int) -> bool:
        """Write a record unless it is no longer at the version `before` (0: it must be new, and so must its name); a
        name stays for good. Whether it was written; once answered it is durable."""

    async def changed(self, since: int) -> Changes:
        """What was written after the version `since`."""

    def every(self) -> AsyncIterator[Kept]:
        """All records in the order of their names, a page at a time."""

    def close(self) -> None:
        """Let go of threads, files and connections. Idempotent."""
