"""What every store promises: rows of attempts, and counters that never pass their caps.

A row is written and its charges are reserved in one step, before any byte goes upstream. Settlement replaces the
reservation with the truth, once, from what the row stored. Amounts are integer nano-dollars, times float seconds.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scribe_router.counters import Charge
from scribe_router.errors import ScribeError
from scribe_router.exchange import Mark


class StoreUnavailable(ScribeError):
    """The store did not answer in time, or cannot be opened."""


@dataclass(frozen=True, slots=True)
class Row:
    """An attempt as the ledger records it when it is reserved; it holds all that settlement will need.

    `model` is LiteLLM's name for what is billed, `model_name` the public one of the configuration. `unit` (a digest) is
    in this `arm` of this `experiment`. `tool` is the MCP tool that was called (empty: the row is of a model).
    """

    attempt: str
    exchange: str
    principal: str
    user: str
    model: str
    deployment: str
    provider: str
    lane: str
    opened: float
    bound: int
    charges: tuple[Charge, ...]
    price: dict[str, Any]
    cap: int | None = None
    team: str = ""
    model_name: str = ""
    experiment: str = ""
    arm: str = ""
    unit: str = ""
    tool: str = ""


@dataclass(frozen=True, slots=True)
class Granted:
    """The reservation stands. `amount` is between the floor that was asked for and the bound."""

    amount: int


@dataclass(frozen=True, slots=True)
class Refused:
    """settled + reserved + what was asked for is above the cap of `charge`; nothing was reserved."""

    charge: Charge
    settled: int
    reserved: int

    @property
    def left(self) -> int:
        return self.charge.cap - self.settled - self.reserved


@dataclass(frozen=True, slots=True)
class Settlement:
    """How an attempt ended: its true cost (None: there is no price, it counts as zero) and where the figure comes from.

    `cap` is the output cap that was granted, in tokens.
    """

    attempt: str
    cost: int | None
    mark: Mark
    outcome: str
    closed: float
    usage: dict[str, Any] | None = None
    raw_usage: dict[str, Any] | None = None
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter as it stands."""

    name: str
    settled: int
    reserved: int


class Accounting(Protocol):
    """What one attempt needs of a ledger."""

    async def reserve(self, row: Row, floor: int) -> Granted | Refused:
        """Reserve `row.bound`, or as much as every charge has left if that is at least `floor`.

        Idempotent by attempt id.
        """

    def settle(self, settlement: Settlement) -> None:
        """Replace the reservation by the truth. Cannot be cancelled; the first call for an attempt counts, and one
        more may replace a provisional settlement of a sweep."""


class Ledger(Accounting, Protocol):
    """The contract of both stores. Every method may raise `StoreUnavailable`, `settle` only after `close`."""

    async def flush(self) -> None:
        """Wait until everything handed to `settle` so far is committed."""

    async def sweep(self) -> int:
        """Settle provisionally, at what was granted, the rows of owners that have ended; how many."""

    async def release(self, attempts: Sequence[str], at: float) -> int:
        """Settle rows whose cost is in doubt (marks bound, doubt, swept) at zero for good, mark released; how many."""

    async def rebuild(self) -> list[str]:
        """Write the counters anew from the rows; one line for each that changed."""

    async def counters(self, names: Collection[str] | None = None) -> dict[str, Counter]:
        """Counters by name, every one or those of `names` that exist; all settlements so far are in them."""

    async def rows(self, *, exchange: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """Rows, newest first."""

    def export(self, since: float = 0.0) -> AsyncIterator[dict[str, Any]]:
        """The rows opened at or after `since`, in opening order, without loading them all."""

    async def retain(self, before: float) -> int:
        """Fold settled rows opened before `before` into one checkpoint for each counter, which keeps its sums; how
        many. It is for windows that have closed: folded rows seed no new limit and take no late settlement."""

    async def erase(self, user: str, instead: str) -> int:
        """Put another name in a user's place: in its rows, their charges, what was folded of them, counters and notes.
        How many rows. Amounts stay, and counters are what their rows say; idempotent. A limit of that user alone goes
        on under the other name."""

    async def check(self) -> list[str]:
        """Compare counters with rows; one line for each difference, empty when they agree."""

    async def report(self, attempt: str, said: dict[str, Any]) -> bool:
        """Keep with a row, as `reported`, what a client says of the answer, in place of what it said before; whether
        there is such a row."""

    async def note(self, name: str, text: str) -> bool:
        """Keep a note for good, unless its name is taken; whether this text is the one that is kept.

        Idempotent: of all who note different texts under one name, one is told yes, however often it asks.
        """

    async def notes(self, prefix: str) -> dict[str, str]:
        """The notes whose names begin with `prefix`, in the order of their names."""

    def close(self) -> None:
        """Commit what is pending and let go of the files. Idempotent."""
