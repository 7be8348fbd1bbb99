"""The walk over the shards of a Redis Cluster as data: what to ask next, and what an answer makes of it.

A reservation writes its row as an intent, takes from each counter in one order, gives back what a later counter did not
have, then turns the row into a reservation; only then may bytes leave. Refused half-way, it gives back all that it
took. A step whose outcome is unknown is never repeated: a `Closing` with a cost of zero undoes the attempt for good,
wherever it stands.

Pure: it knows neither Redis nor time. An answer is what a script returned: its first element names what happened.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Answer = Sequence[Any]
TRIMMED, FOR_GOOD = 2, 9


@dataclass(frozen=True, slots=True)
class Step:
    """One script to run: on the row, or on the counter that is named."""

    kind: Literal["intent", "take", "trim", "grant", "close", "apply", "done", "drop"]
    counter: str = ""
    amount: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Walk:
    """A reservation on its way. `counters` are in the order of all walks, `amount` is what may still be granted."""

    counters: tuple[str, ...]
    amount: int
    stage: Literal["intent", "take", "trim", "grant", "back", "drop", "end"] = "intent"
    taken: tuple[int, ...] = ()
    answer: Answer = ()

    def asks(self) -> tuple[Step, ...]:
        """The scripts to run now, in any order; none at the end."""
        match self.stage:
            case "intent" | "drop":
                return (Step(self.stage),)
            case "take":
                return (Step("take", self.counters[len(self.taken)], self.amount),)
            case "trim":
                return tuple(Step("trim", counter, self.amount, TRIMMED) for counter in self.above())
            case "grant":
                return (Step("grant", amount=self.amount),)
            case "back":
                return tuple(Step("apply", counter) for counter in self.counters[: len(self.taken)])
        return ()

    def above(self) -> tuple[str, ...]:
        """The counters from which more was taken than will be granted."""
        pairs = zip(self.counters, self.taken, strict=False)
        return tuple(counter for counter, taken in pairs if taken > self.amount)

    def told(self, answers: Sequence[Answer]) -> "Walk":
        """The walk after these answers. At the end `answer` is the one that decided."""
        what, first = answers[0][0], answers[0]
        match self.stage, what:
            case "back", _:
                return replace(self, stage="drop")
            case "drop", _:
                return replace(self, stage="end")
            case "intent", "intent":
                return replace(self, stage="take" if self.counters else "grant")
            case "take", "taken":
                return _onward(replace(self, taken=(*self.taken, int(first[1])), amount=int(first[1])))
            case "trim", _:
                return replace(self, stage="grant")
            case "take", "refused":
                refusal = (*first, self.counters[len(self.taken)])
                return replace(self, stage="back" if self.taken else "drop", answer=refusal)
            case "grant", "granted":
                return replace(self, stage="end", answer=("granted", self.amount))
        return replace(self, stage="end", answer=first)


def _onward(walk: Walk) -> Walk:
    if len(walk.taken) < len(walk.counters):
        return walk
    return replace(walk, stage="trim" if walk.above() else "grant")


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of an attempt on its way to the counters: of a settlement, a sweep, a release, or of what was undone.

    Every step may be repeated, by anyone, until the row is done.
    """

    stage: Literal["close", "counters", "row", "end"] = "close"
    counters: tuple[str, ...] = ()
    amount: int = 0
    version: int = 0
    answer: Answer = ()

    def asks(self) -> tuple[Step, ...]:
        """The scripts to run now, in any order; none at the end."""
        match self.stage:
            case "close":
                return (Step("close"),)
            case "counters":
                return tuple(Step("apply", counter, self.amount, self.version) for counter in self.counters)
            case "row":
                return (Step("drop" if self.version == FOR_GOOD else "done", version=self.version),)
        return ()

    def told(self, answers: Sequence[Answer]) -> "Closing":
        """The closing after these answers. `answer` is what became of the row."""
        if self.stage != "close":
            return replace(self, stage="row" if self.stage == "counters" else "end")
        match answers[0]:
            case ["apply", version, amount, counters]:
                return self._moves(answers[0], tuple(counters), int(amount), int(version))
            case ["undo", counters]:
                return self._moves(answers[0], tuple(counters), 0, FOR_GOOD)
        return replace(self, stage="end", answer=answers[0])

    def _moves(self, answer: Answer, counters: tuple[str, ...], amount: int, version: int) -> "Closing":
        stage: Literal["counters", "row"] = "counters" if counters else "row"
        return replace(self, stage=stage, counters=counters, amount=amount, version=version, answer=answer)
