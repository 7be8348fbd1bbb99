"""Each exchange of the suite is explained by its id, whatever test it belongs to: what the journal gives back is the
plan that was made and the attempts that were, and today's configuration makes the same plan again.

Every router has a journal: the one of its configuration, or one in a temporary folder. After a test (its fixtures are
gone by then) each line that was written meanwhile is read, compared and explained; a difference is an error of the
test's teardown, beside whatever the test itself says.
"""

import copy
import json
import re
import tempfile
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from scribe_router.exchange import Attempt, Exchange, Passed
from scribe_router.explain_past import explained, faults, recorded
from scribe_router.journal import Journal, older
from scribe_router.plan import Plan
from scribe_router.record import Record
from scribe_router.registry import Registry
from scribe_router.router import Router

SOUGHT = 20  # exchanges of one test and journal that are sought by their id too; the others are read in one go
_pending: list["Seen"] = []


@dataclass(frozen=True)
class Seen:
    """An exchange as it was when its line was written, and where that is."""

    identity: str
    journal: Path
    registry: Registry
    plan: Plan | None
    downgraded: tuple[Plan, ...]
    later: tuple[Plan, ...]
    attempts: tuple[Attempt, ...]
    passed: tuple[Passed, ...]


class Watched(Journal):
    """The journal of a router, which keeps what it was given until the test has ended."""

    def __init__(self, path: Path, router: Router) -> None:
        super().__init__(path, clock=router._clock, keep=router.registry.store.keep)
        self._place, self._registry = path, router.registry

    def write(self, exchange: Exchange) -> None:
        lost = self.lost
        super().write(exchange)
        if self.lost == lost:
            attempts, downgraded = copy.deepcopy(tuple(exchange.attempts)), tuple(exchange.downgraded)
            made = (self._registry, exchange.plan, downgraded, tuple(exchange.later), attempts, tuple(exchange.passed))
            _pending.append(Seen(exchange.id, self._place, *made))


def pytest_configure(config: pytest.Config) -> None:
    """Give each router a journal that is watched."""
    folder, patch, built = tempfile.TemporaryDirectory(prefix="journals-"), pytest.MonkeyPatch(), Router.__init__

    @wraps(built)
    def watched(self: Router, registry: Registry, **more: Any) -> None:
        built(self, registry, **more)
        own = registry.store.journal
        path = Path(own) if own else Path(tempfile.mkdtemp(dir=folder.name)) / "journal.jsonl"
        self.journal = Watched(path, self)

    patch.setattr(Router, "__init__", watched)
    config.add_cleanup(patch.undo)
    config.add_cleanup(folder.cleanup)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    try:
        yield
    finally:
        seen = _pending.copy()
        del _pending[: len(seen)]
    check(seen)


def check(seen: Iterable[Seen]) -> None:
    """Compare what the journals say of these exchanges with what they were."""
    of_journal: dict[Path, list[Seen]] = {}
    for each in seen:
        of_journal.setdefault(each.journal, []).append(each)
    for journal, mine in of_journal.items():
        records = read(journal, {each.identity for each in mine})
        for each in mine:
            _compare(each, records[each.identity])
        for each in mine[:: -(-len(mine) // SOUGHT)]:
            assert recorded(str(journal), each.identity) == records[each.identity]


def read(journal: Path, identities: set[str]) -> dict[str, Record]:
    """The records of these exchanges by their ids; `KeyError` later is a line that is not there."""
    found = {}
    for part in (*older(journal), journal):
        for line in part.read_bytes().splitlines():
            if line[7:34].decode(errors="replace") in identities:
                found[line[7:34].decode()] = Record.read(json.loads(line))
    return found


def _compare(seen: Seen, record: Record) -> None:
    assert record.plan == seen.plan
    assert record.downgraded == seen.downgraded
    assert record.later == seen.later
    assert record.attempts == seen.attempts
    assert record.passed == seen.passed
    assert not faults(record, seen.registry)
    assert (faults(record, seen.registry) is None) == (seen.plan is None)
    told = explained(record, seen.registry)
    chosen = [] if seen.plan is None else [each.deployment for each in seen.plan.candidates]
    assert_in_order(told, [*chosen, *(each.deployment for each in seen.attempts)])


def assert_in_order(text: str, words: Iterable[str]) -> None:
    """That words stand in a text in this order, each at the beginning of a numbered line."""
    at = 0
    for word in words:
        found = re.compile(rf"^ +\d+\. +{re.escape(word)} ", re.MULTILINE).search(text, at)
        assert found, f"{word} is not where it belongs in:\n{text}"
        at = found.end()
