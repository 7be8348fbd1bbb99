"""State that outlives a request. A store keeps rows and counters exact; it does not know what a budget means."""

from pathlib import Path

from scribe_router.stores.contract import Ledger
from scribe_router.stores.sqlite import SqliteLedger


def open_ledger(url: str) -> Ledger:
    """The ledger that a URL names: `sqlite:PATH`. Raises `ValueError` for any other."""
    scheme, _, path = url.partition(":")
    if scheme != "sqlite" or not path:
        raise ValueError(f"a ledger is named sqlite:PATH, found {url!r}")
    return SqliteLedger(Path(path))
