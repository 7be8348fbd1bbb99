"""The ledgers under test: real files in a temporary folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scribe_router.stores.sqlite import SqliteLedger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def open_ledger(path: Path) -> Iterator[Callable[[], SqliteLedger]]:
    """Open one more ledger on the same file; all are closed at the end."""
    opened: list[SqliteLedger] = []

    def build() -> SqliteLedger:
        opened.append(SqliteLedger(path, clock=lambda: 3000.0, sweep_every=3600.0))
        return opened[-1]

    yield build
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: Callable[[], SqliteLedger]) -> SqliteLedger:
    return open_ledger()
