"""What is worth telling about a limit: where its window will end at this pace, and what has been passed. Pure.

Amounts are nano-dollars, times seconds since the epoch.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from scribe_router.exchange import Json
from scribe_router.money import usd

# Before a tenth of the window is over, one large request would be taken for the pace of the whole.
EARLIEST = 10

Kind = Literal["warning", "forecast", "exceeded", "refused"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a limit is used up for one value of its scope, in the window that is open."""

    limit: str
    scope: str
    window: str
    cap: int
    settled: int
    reserved: int
    forecast: int | None = None

    @property
    def left(self) -> int:
        return self.cap - self.settled - self.reserved

    @property
    def counter(self) -> str:
        return f"{self.limit}|{self.scope}|{self.window}"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to tell. `share` is the part of the cap that a warning is about; an `attempt` cost more than its
    bound, by the figures in `detail`."""

    kind: Kind
    standing: Standing
    share: Decimal | None = None
    detail: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """What is told once: the kind (and share) for this limit, scope and window."""
        return f"{self.kind}{'' if self.share is None else ':' + str(self.share)}|{self.standing.counter}"

    def payload(self, now: float) -> Json:
        """What is logged and posted. The same event has the same `id`, whoever tells it."""
        standing = self.standing
        found: dict[str, Any] = {
            "id": "al-" + hashlib.sha256(self.key.encode("utf-8", "surrogatepass")).hexdigest()[:24],
            "event": self.kind,
            "time": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "limit": standing.limit,
            "scope": standing.scope,
            "window": standing.window,
            "cap_usd": usd(standing.cap),
            "spent_usd": usd(standing.settled),
            "reserved_usd": usd(standing.reserved),
            "forecast_usd": None if standing.forecast is None else usd(standing.forecast),
            "warn_at": None if self.share is None else str(self.share),
        }
        return found | dict(self.detail)


def forecast(settled: int, start: float, end: float | None, now: float) -> int | None:
    """What will be settled at the window's end if money goes on being spent at the pace of its part that is over.

    None while less than a tenth of it is, and for a window without an end.
    """
    if end is None:
        return None
    whole, gone = round((end - start) * 1e6), round((now - start) * 1e6)
    if gone * EARLIEST < whole:
        return None
    return settled * whole // min(gone, whole)


def due(standing: Standing, warn_at: Iterable[Decimal]) -> list[Alert]:
    """What may be told of a limit as it stands. Warnings look at settled money: a reservation is mostly given back."""
    if standing.settled > standing.cap:
        return [Alert("exceeded", standing)]
    reached = [share for share in warn_at if 0 < standing.cap * share <= standing.settled]
    alerts = [Alert("warning", standing, share) for share in reached]
    if standing.forecast is not None and standing.forecast > standing.cap:
        alerts.append(Alert("forecast", standing))
    return alerts
