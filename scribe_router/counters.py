"""What requests and attempts count against: limits of money and of rate, each by the name of its counter. It knows no
policy and no store. Money is integer nano-dollars, times are float seconds since the epoch."""

from dataclasses import dataclass
from typing import Literal

Rate = Literal["requests", "tokens", "concurrent"]  # the first two in any minute


@dataclass(frozen=True, slots=True)
class Charge:
    """One scope that an attempt counts against: a limit, whose window it is, and the cap of that window.

    A counter that does not exist yet starts with the rows opened at or after `since` (the window's start) whose fields
    match, such as `(("user", "alice"),)`; with neither `since` nor `match` it starts at zero.
    """

    limit: str
    scope: str
    window: str
    cap: int
    since: float | None = None
    match: tuple[tuple[str, str], ...] = ()

    @property
    def counter(self) -> str:
        return f"{self.limit}|{self.scope}|{self.window}"


@dataclass(frozen=True, slots=True)
class Draw:
    """What a request or an attempt takes of one limit of rate: `amount` of `most`."""

    limit: str
    scope: str
    rate: Rate
    most: int
    amount: int = 1

    @property
    def counter(self) -> str:
        return f"{self.limit}|{self.scope}|{self.rate}"


@dataclass(frozen=True, slots=True)
class Allowance:
    """How a limit of rate stands: `remaining` of `most`, and in `reset` seconds all of it if nothing more is asked."""

    most: int
    remaining: int
    reset: float
