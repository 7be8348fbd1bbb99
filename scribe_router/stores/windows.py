"""How much is in use of limits of rate: in the last minute, and at this moment. Here within one process.

A minute is counted in seconds: what began in one counts until 61 seconds after its begin. So never more than the limit
begins in any 60 seconds, nothing counts longer than 61, and a counter has at most 62 numbers whatever the rate.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from scribe_router.counters import Draw

SPAN = 60
SOON = 1.0  # seconds until another try for what was in use at once: nobody knows when it ends


@dataclass(frozen=True, slots=True)
class Look:
    """What was found of one draw: `used` before it, the second whose end makes room for it, and the last one that has
    anything; both None where there is none."""

    used: int
    frees: int | None = None
    newest: int | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to draws that are taken together or not at all, at `at` (seconds since the epoch)."""

    draws: tuple[Draw, ...]
    looks: tuple[Look, ...]
    at: float
    granted: bool

    def wait(self, index: int) -> float:
        """Seconds until the draw fits as far as is known: 0 where it did, infinity where it never will."""
        draw, look = self.draws[index], self.looks[index]
        if fits(draw, look):
            return 0.0
        if draw.amount > draw.most:
            return inf
        return SOON if look.frees is None else look.frees + SPAN + 1 - self.at

    def reset(self, index: int) -> float:
        """Seconds until nothing counts any more."""
        newest = int(self.at) if self.granted else self.looks[index].newest
        return 0.0 if newest is None else newest + SPAN + 1 - self.at


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in use, by counter, and how often each limit refused."""

    used: Mapping[str, int]
    hits: Mapping[str, int]


class Windows(Protocol):
    """The contract of both stores."""

    async def take(self, draws: tuple[Draw, ...]) -> Taken:
        """Take all draws or none. Raises `StoreUnavailable`; what it took then is given back, or runs out."""

    def give(self, at: float, changes: Sequence[tuple[Draw, int]]) -> None:
        """Change what was taken at `at`: requests and tokens in their window if it is still open, and what is in use
        now. Never waits, from any thread."""

    async def standing(self) -> Standing:
        """What is in use. Raises `StoreUnavailable`."""

    def close(self) -> None:
        """Let go of threads and connections; what is in use is given back. Idempotent."""


class MemoryWindows:
    """`Windows` for one process. Any thread may call."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._counts: dict[str, Counter[int]] = {}  # by counter and second; what is in use now has the second 0
        self._hits: Counter[str] = Counter()
        self._given: deque[tuple[float, Sequence[tuple[Draw, int]]]] = deque()  # until somebody looks: give has no lock
        self._tidied = 0

    async def take(self, draws: tuple[Draw, ...]) -> Taken:
        with self._lock:
            now = self._clock()
            self._hear()
            self._tidy(int(now))
            looks = tuple(looked(self._open(draw.counter, int(now)), draw) for draw in draws)
            taken = Taken(draws, looks, now, all(fits(draw, look) for draw, look in zip(draws, looks, strict=True)))
            if taken.granted:
                self._change(now, [(draw, draw.amount) for draw in draws])
            self._hits.update(draw.limit for draw, look in zip(draws, looks, strict=True) if not fits(draw, look))
            return taken

    def give(self, at: float, changes: Sequence[tuple[Draw, int]]) -> None:
        self._given.append((at, changes))  # a stream that the collector drops ends wherever that runs, in a lock too

    async def standing(self) -> Standing:
        with self._lock:
            now = int(self._clock())
            self._hear()
            used = {name: count for name in self._counts if (count := sum(self._open(name, now).values()))}
            return Standing(used, dict(self._hits))

    def close(self) -> None:
        self._counts.clear()

    def _hear(self) -> None:
        while self._given:
            self._change(*self._given.popleft())

    def _open(self, counter: str, now: int) -> dict[int, int]:
        """What still counts."""
        counts = self._counts.get(counter, Counter())
        return {second: count for second, count in counts.items() if second >= now - SPAN or second == 0}

    def _change(self, at: float, changes: Sequence[tuple[Draw, int]]) -> None:
        """Add up; what has come to nothing is forgotten."""
        for draw, change in changes:
            counts, second = self._counts.setdefault(draw.counter, Counter()), _second(draw, at)
            counts[second] += change
            if counts[second] <= 0:
                del counts[second]

    def _tidy(self, now: int) -> None:
        """Once in each minute, forget what counts no more."""
        if abs(now - self._tidied) >= SPAN:
            self._tidied = now
            found = {counter: Counter(self._open(counter, now)) for counter in self._counts}
            self._counts = {counter: counts for counter, counts in found.items() if counts}


def _second(draw: Draw, at: float) -> int:
    return 0 if draw.rate == "concurrent" else int(at)


def fits(draw: Draw, look: Look) -> bool:
    """Whether there is room for the draw."""
    return look.used + draw.amount <= draw.most


def looked(counts: Mapping[int, int], draw: Draw) -> Look:
    """What a draw finds: amounts by second."""
    used = sum(counts.values())
    if draw.rate == "concurrent":
        return Look(used)
    needed, frees = used + draw.amount - draw.most, None
    for second in sorted(counts):
        if needed <= 0:
            break
        needed, frees = needed - counts[second], second
    return Look(used, frees, max(counts, default=None))
